"""Arguments of endpoints: refused by name where they are of another type, left out where they are empty."""

import inspect
import math

import pytest
from PIL import Image

import app
from analysis.bar import Upload
from analysis.endpoints import checked
from models import catalog
from models.errors import InputError

WRONG = {
    str: (3, ["x"], {}, True, b"x"),
    bool: (1, "true", [True]),
    int: (1.5, "3", True, math.nan, math.inf, -math.inf, [1], 10**400),
    float: ("1", True, math.nan, math.inf, -math.inf, [0.5], 10**400),
    list[str] | None: ("cat", [1], [None], {}, ("cat",), 3),
    dict[str, dict[str, float | str]] | None: ([1], {"a": 1}, "x"),
    Upload: ("/etc/passwd", {"path": "/etc/passwd"}, {"path": 3, "meta": {"_type": "gradio.FileData"}}, [1], 7),
}


@checked
def told(
    image: Upload = None,
    text: str = "said",
    sure: bool = False,
    count: int = 2,
    share: float = 0.5,
    names: list[str] | None = None,
    tables: dict[str, dict[str, float | str]] | None = None,
) -> dict:
    """What arrives."""
    return locals()


@pytest.mark.parametrize(
    ("name", "value"),
    [(n, v) for (n, p) in inspect.signature(told).parameters.items() for v in WRONG[p.annotation]],
)
def test_another_type_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=f"The {name} must be "):
        told(**{name: value})


def test_what_is_left_out_has_its_default():
    empty = {"image": None, "text": "said", "sure": False, "count": 2, "share": 0.5, "names": None, "tables": None}
    assert told() == told(**dict.fromkeys(empty)) == told(text="", image="") == empty


def test_what_fits_arrives(tmp_path):
    Image.new("RGB", (3, 2)).save(tmp_path / "p.png")
    upload = {"path": str(tmp_path / "p.png"), "meta": {"_type": "gradio.FileData"}}
    image, *others = told(upload, "x", True, 3.0, 1, [], {"a": {"b": 1}}).values()
    assert image.size == (3, 2) and others == ["x", True, 3, 1, [], {"a": {"b": 1}}] and type(others[2]) is int


def test_a_parameter_that_cannot_be_checked_is_found_at_once():
    with pytest.raises(TypeError, match="which"):

        @checked
        def new(which: tuple = ()) -> dict:
            """Nothing."""


@pytest.mark.parametrize("endpoint", app.ENDPOINTS)
def test_every_endpoint_checks_every_parameter_before_it_opens_a_model(monkeypatch, endpoint):
    monkeypatch.setattr(catalog, "using", lambda name: pytest.fail("a model was opened"))
    for name, parameter in inspect.signature(app.ENDPOINTS[endpoint]).parameters.items():
        for value in WRONG[parameter.annotation]:
            with pytest.raises(InputError, match=f"The {name} must be "):
                app.ENDPOINTS[endpoint](**{name: value})
