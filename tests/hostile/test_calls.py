"""Calls that no client of ours would make, of endpoints and of the page's own handlers."""

import inspect
import json

import pytest

import app

_VALUES = ("-1e400", "NaN", '"\\u0000/../\\ud800"', "[[]]", '{"a": {"b": 1}}', json.dumps("x" * 100_000))  # fmt: skip


@pytest.mark.parametrize("value", _VALUES, ids=lambda value: value[:20])
@pytest.mark.parametrize("name", app.ENDPOINTS)
def test_parameters_of_any_type(visitor, name, value):
    """One call for each parameter, the others left out."""
    parameters, unclear = inspect.signature(app.ENDPOINTS[name]).parameters, []
    for parameter in parameters:
        asked = '"question": "Who?", ' if "question" in parameters and parameter != "question" else ""
        found = visitor.named(name, f'{{{asked}"{parameter}": {value}}}')
        if not found.clear:
            unclear.append((parameter, found.text[:200]))
    assert not unclear


BODIES = {
    "none": "", "no json": "{", "a number": "7", "a list": "[]", "no data": "{}", "data of null": '{"data": null}',
    "a text as data": '{"data": "abc"}', "too few": '{"data": []}', "too many": json.dumps({"data": [None] * 500}),
    "deep": '{"data": ' + "[" * 50_000 + "]" * 50_000 + "}",
    "deep objects": '{"data": [' + '{"a":' * 900 + "1" + "}" * 900 + "]}",
    "infinite": '{"data": [1e999]}', "bytes": "\x00\x01", "twice": '{"data": [], "data": [null, "Who?"]}',
    "a session of another": '{"data": [null, "Who?"], "session_hash": "../../x"}',
    "an event of another": '{"data": [null, "Who?"], "event_id": "x", "fn_index": 0}',
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_bodies_of_any_kind(visitor, body):
    assert not visitor.call("ask", BODIES[body]).told.startswith("Internal")
