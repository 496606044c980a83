"""No file of the server, and nothing that it could reach, is read for a visitor."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

MARK = {"meta": {"_type": "gradio.FileData"}}


@pytest.fixture(scope="module")
def knocked():
    """A server beside the app; what was asked of it."""
    asked: list[str] = []

    class Door(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_POST = do_GET

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


PATHS = {
    "absolute": "{outside}", "passwd": "/etc/passwd", "relative": "../../../../etc/passwd", "source": "app.py",
    "a link": "{link}", "file address": "file://{outside}", "this machine": "{address}/x.png",
    "cloud": "http://169.254.169.254/latest/meta-data", "gopher": "gopher://127.0.0.1:1/x", "zero": "a\0b.png",
    "folder": "/", "long": "/a" * 3000, "home": "~/.bashrc", "process": "/proc/self/environ",
}  # fmt: skip
IMAGES: dict[str, object] = {
    **{name: {"path": path, **MARK} for name, path in PATHS.items()},
    **{f"{name}, unmarked": {"path": path} for name, path in PATHS.items()},
    "an address beside": {"path": "{outside}", "url": "{address}/y.png", **MARK},
    "a text": "{outside}", "a list": [{"path": "{outside}", **MARK}], "nested": {"image": {"path": "{outside}"}},
    "as stream": {"path": "{outside}", "is_stream": True, **MARK}, "a number": {"path": 7, **MARK},
    "other mark": {"path": "{outside}", "meta": {"_type": "gradio.ListFiles"}},
    "no path": {**MARK, "url": "{address}/z"},
}  # fmt: skip


def _filled(value, places: dict[str, str]):
    if isinstance(value, dict):
        return {key: _filled(inner, places) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, places) for inner in value]
    for name, place in places.items() if isinstance(value, str) else ():
        value = value.replace(f"{{{name}}}", place)
    return value


@pytest.fixture(scope="module")
def places(outside, served, knocked):
    """What the places of ``IMAGES`` stand for; the link lies where uploads do."""
    link = served.temporary / "gradio" / "link.png"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    yield {"outside": str(outside), "address": knocked[0], "link": str(link)}
    link.unlink()


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize(
    ("endpoint", "parameter"),
    [("ask", "image"), ("interference", "own_image"), ("forgetting_probe", "image"), ("decode", "image")],
)
def test_endpoints_open_what_was_uploaded_alone(visitor, places, knocked, endpoint, parameter, image):
    found = visitor.named(endpoint, {"question": "What is this?", parameter: _filled(IMAGES[image], places)})
    assert not found.answered  # Gradio itself refuses most of them, and gives no words
    assert not knocked[1]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("place", "field"),
    [("attention/over", "picture"), ("interference/sets", "upload"), ("embedding_space/own", "upload")],
)
def test_the_page_opens_what_was_uploaded_alone(visitor, places, knocked, place, field, path):
    sent = {"path": _filled(PATHS[path], places), **MARK}
    found = visitor.press(place, question="What is this?", **{field: sent})
    assert not found.answered
    assert not knocked[1]


@pytest.mark.parametrize("place", ["{outside}", "/etc/passwd", "app.py", "../../etc/passwd", "{link}", "http://{address}"])
def test_nothing_is_handed_out(visitor, places, knocked, place):
    for route in ("/file=", "/file/", "/proxy=", "/custom_component/", "/stream/"):
        found = visitor.get(route + _filled(place, places))
        assert found.status_code >= 400, route
        assert "root:" not in found.text
    assert not knocked[1]
