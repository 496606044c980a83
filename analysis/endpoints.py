"""What a program sends to an endpoint, checked once by the endpoint's own annotations."""

import functools
import inspect
import math
from collections.abc import Callable
from typing import NamedTuple

from analysis.bar.pictures import Upload
from models.errors import InputError
from models.images import open_picture


class _Kind(NamedTuple):
    """What arguments of one annotation must be, in words, and the test for it."""

    told: str
    fits: Callable[[object], bool]


def _number(value) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _upload(value) -> bool:
    """Gradio has checked that a file with its mark was uploaded, and marks no other."""
    meta = value.get("meta") if isinstance(value, dict) else None
    return isinstance(meta, dict) and meta.get("_type") == "gradio.FileData" and isinstance(value.get("path"), str)


_KINDS = {
    str: _Kind("a text", lambda value: isinstance(value, str)),
    bool: _Kind("true or false", lambda value: isinstance(value, bool)),
    int: _Kind("a whole number", lambda value: _number(value) and value == int(value)),
    float: _Kind("a number", _number),
    list[str] | None: _Kind(
        "a list of texts", lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value)
    ),
    dict[str, dict[str, float | str]] | None: _Kind(
        'numbers by name, by what: {"inter": {"threshold": 1}}',
        lambda value: isinstance(value, dict) and all(isinstance(v, dict) for v in value.values()),
    ),
    Upload: _Kind("an uploaded file; with gradio_client: handle_file(path)", _upload),
}


def checked(endpoint: Callable[..., dict]) -> Callable[..., dict]:
    """The endpoint, called with arguments of the types it is annotated with alone.

    None and an empty text count as left out: the default is taken. Whole numbers arrive as ``int``, numbers are
    finite, and an ``Upload`` arrives as the picture in it. What else is sent raises ``InputError`` with the parameter's
    name. Raises ``TypeError`` for an endpoint with a parameter of a type that cannot be checked.
    """
    signature = inspect.signature(endpoint)
    for name, parameter in signature.parameters.items():
        if parameter.annotation not in _KINDS:
            raise TypeError(f"{endpoint.__name__} cannot be checked: {name} is {parameter.annotation}")

    def read(name: str, value):
        parameter = signature.parameters[name]
        kind = _KINDS[parameter.annotation]
        if value is None or (value == "" and parameter.annotation in (str, Upload)):
            return parameter.default
        if not kind.fits(value):
            raise InputError(f"The {name} must be {kind.told}.")
        if parameter.annotation is Upload:
            return open_picture(value["path"])
        return int(value) if parameter.annotation is int else value

    @functools.wraps(endpoint)
    def called(*args, **kwargs) -> dict:
        given = signature.bind(*args, **kwargs).arguments
        return endpoint(**{name: read(name, value) for name, value in given.items()})

    return called
