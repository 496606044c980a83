"""Somebody with a program of her own: sends whatever she likes, past what the page and gradio_client would send."""

import json
import uuid
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import httpx

SECRET = "kept-from-everybody-4711"
"""What stands in files that no visitor may read."""

_PATIENCE = 60  # seconds


@dataclass(frozen=True)
class Reply:
    """What came back: whether it is an answer, all of it as ``text``, and what people are told where it is none."""

    answered: bool
    text: str
    told: str = ""
    data: list = field(default_factory=list)

    def __post_init__(self):
        for word in ("Traceback", 'File "', "site-packages", SECRET, str(Path.cwd())):
            assert word not in self.text, f"{word} in the reply"

    @property
    def clear(self) -> bool:
        """Whether it is an answer, or a sentence that says what was wrong."""
        return self.answered or len(self.told.split()) > 3


class Visitor:
    """One visitor of the app at ``address``; close it at the end."""

    def __init__(self, address: str):
        self._http = httpx.Client(base_url=f"{address}/gradio_api", timeout=_PATIENCE)
        self._session = uuid.uuid4().hex
        config = self._http.get(f"{address}/config").json()
        self.components = {c["id"]: c for c in config["components"]}
        self.handlers = config["dependencies"]
        self.close = self._http.close

    def post(self, route: str, body: str | bytes | dict, **options) -> httpx.Response:
        """Send ``body`` as it is; a dict as JSON in which a lone surrogate, NaN and infinity stay what they are."""
        sent = body if isinstance(body, str | bytes) else json.dumps(body)
        return self._http.post(route, content=sent, **{"headers": {"content-type": "application/json"}} | options)

    def get(self, route: str) -> httpx.Response:
        """Ask for a route; secrets are looked for in what comes back."""
        found = self._http.get(route)
        Reply(False, found.text)
        return found

    def upload(self, name: str, data: bytes) -> dict:
        """Upload a file, and give what stands for it in a call."""
        found = self._http.post("/upload", files={"files": (name, data)})
        assert found.status_code == 200, found.text
        return {"path": found.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def call(self, name: str, data: list | str) -> Reply:
        """Call an endpoint by name with ``data``, its parameters in their order; a text is the whole body."""
        sent = self.post(f"/call/{name}", data if isinstance(data, str) else {"data": data})
        return self._refused(sent) or self._heard(f"/call/{name}/{sent.json()['event_id']}")

    def named(self, name: str, given: dict | str) -> Reply:
        """Call an endpoint with the parameters by name; a text is the whole body."""
        sent = self.post(f"/call/v2/{name}", given)
        return self._refused(sent) or self._heard(f"/call/{name}/{sent.json()['event_id']}")

    def press(self, place: str, event: str = "submit", picture=None, question=None, upload=None, **values) -> Reply:
        """Cause ``event`` at the form of the section at ``place``, with ``values`` of its controls as they are.

        ``picture`` and ``question`` stand on the left, ``upload`` in the section's field for a file. ``data`` are the
        values that the page gets, one entry for each output and message: (the component's type, value).
        """
        ident = place.replace("/", "-")
        given = {"asked-picture": picture, "question": question, f"{ident}-upload": upload}
        return self.at(f"{ident}-form", event, {"values": values, "turn": "1", "pressed": True}, given)

    def at(self, where: str, event: str, data: object = None, given: dict | None = None) -> Reply:
        """Cause ``event`` at the component ``where``, which asks for ``data``; ``given`` are values of components, by
        elem_id.

        Others have the values that they have when the page is opened.
        """
        ids = {c["props"].get("elem_id"): i for i, c in self.components.items()}
        handler = next(h for h in self.handlers if [ids[where], event] in h["targets"] and h["backend_fn"])
        usual = {i: self.components[i]["props"].get("value") for i in handler["inputs"]}
        put = {ids[key]: value for key, value in (given or {}).items() if value is not None} | {ids[where]: data}
        body = {"data": [put.get(i, usual[i]) for i in handler["inputs"]]}
        sent = self.post("/queue/join", {**body, "fn_index": handler["id"], "session_hash": self._session})
        if refused := self._refused(sent):
            return refused
        kinds, shown, text = [self.components[i]["type"] for i in handler["outputs"]], [], ""
        for message in self._messages(f"/queue/data?session_hash={self._session}"):
            text += json.dumps(message)
            if "output" in message:
                shown += zip(kinds, message["output"].get("data") or (), strict=False)
            if message["msg"] == "process_completed":
                told = str(message["output"].get("error") or "")
                return Reply(message["success"], text, told, shown)
        return Reply(False, text)

    def _messages(self, route: str):
        with self._http.stream("GET", route) as lines:
            for line in lines.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line[6:])

    def _heard(self, route: str) -> Reply:
        text, kind = "", ""
        with self._http.stream("GET", route) as lines:
            for line in lines.iter_lines():
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: ") and kind in ("complete", "error"):
                    text = line[6:]
                    break
        data = json.loads(text)
        if kind == "complete":
            return Reply(True, text, data=data)
        return Reply(False, text, str((data.get("error") if isinstance(data, dict) else data) or ""))

    @staticmethod
    def _refused(sent: httpx.Response) -> Reply | None:
        if sent.status_code == 200:
            return None
        assert sent.status_code < 500, f"{sent.status_code}: {sent.text}"
        return Reply(False, sent.text, sent.text)


class _Live(HTMLParser):
    """Collects what would run in a browser."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag in ("script", "iframe", "object", "embed", "meta", "link", "base"):
            self.found.append(tag)
        for name, value in attrs:
            address = (value or "").strip().lower()
            runs = address.startswith(("javascript:", "data:text", "vbscript:"))
            if runs or name.startswith("on") or name in ("action", "formaction"):
                self.found.append(f"{tag} {name}={value}")


def live(shown: list[tuple[str, object]]) -> list[str]:
    """What would run, of the HTML and Markdown among the values that the page got."""
    parser = _Live()
    for kind, value in shown:
        if kind in ("html", "markdown"):
            for text in _texts(value):
                parser.feed(text)
    parser.close()
    return parser.found


def _texts(value) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [text for part in inner for text in _texts(part)]
