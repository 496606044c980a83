"""What every room's page needs: the model's queue, and errors for people."""

import errno
import functools
import inspect
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gradio as gr

from models.devices import exhausted, freed, gpu
from models.errors import CrosstalkError, InputError

MODEL_QUEUE = {"concurrency_id": "model", "concurrency_limit": 1}
"""For every event that runs the model: one at a time on a device, in order of arrival."""

LONG_QUEUE = {"concurrency_id": "measure", "concurrency_limit": 1}
"""For what runs a model for minutes: one at a time, beside the quick ones."""

QUICK = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""For every event that only rearranges the page."""

_NO_MEMORY = (
    "The memory does not suffice for this. Take a smaller picture, a shorter question or fewer at once, or a smaller "
    "model; then try again."
)
_STOPPED = "Stopped, because nobody waits for it any more."
_UNFORESEEN = (
    "Something went wrong that was not foreseen ({}). Try it again, or another way; who runs this server finds what it "
    "was in the log, under this number."
)
_NO_DISK = "The disk of this server is full, so nothing can be written. Tell its host, and try again later."


def told(error: Exception) -> str:
    """What people are told of an error; of one that nobody foresaw, a number under which the log has its traceback."""
    if isinstance(error, CrosstalkError):
        return str(error)
    if isinstance(error, InterruptedError):
        return _STOPPED
    if exhausted(error):  # outside of a forward, as in a backward pass
        return _NO_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _NO_DISK
    number = secrets.token_hex(3)
    logging.getLogger(__name__).error("Not foreseen, and told as %s", number, exc_info=error)
    return _UNFORESEEN.format(number)


def for_people(handler: Callable) -> Callable:
    """The handler, with every error that it raises told to the visitor; the session goes on."""
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streaming(*args, **kwargs):
            with _telling():
                _readable([*args, *kwargs.values()])
                yield from handler(*args, **kwargs)

        return streaming

    @functools.wraps(handler)
    def plain(*args, **kwargs):
        with _telling():
            _readable([*args, *kwargs.values()])
            return handler(*args, **kwargs)

    return plain


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
        return
    except gr.Error:
        raise
    except Exception as error:
        message = told(error)
    # out of the handler, whose error holds what was computed so far
    if message == _NO_MEMORY:
        freed()
    raise gr.Error(message, print_exception=False)


def tell_all(demo: gr.Blocks) -> None:
    """Have every handler of a page tell its errors: of one that does not, the page would say nothing."""
    for event in demo.fns.values():
        if event.fn is not None:
            event.fn = for_people(event.fn)


def _readable(values) -> None:
    """Raise ``InputError`` where a text among a handler's arguments is no valid Unicode: nothing can be made of it."""
    for value in values:
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    "A text has a broken character in it (half of a pair of surrogates), which is no valid Unicode. "
                    "Type it again."
                ) from error
        elif isinstance(value, dict):
            _readable([*value, *value.values()])
        elif isinstance(value, list):
            _readable(value)


def for_model(handler: Callable) -> Callable:
    """``for_people`` of a handler that runs a model: on ZeroGPU with a GPU lent for the call, elsewhere as it is.

    There it runs in a process of its own, from which nothing comes back but what it returns or yields, and of errors
    nothing but ``gr.Error``: so what is told to people is made inside.
    """
    return gpu(for_people(handler))


def sent(asked) -> dict:
    """What the page's script says with an event, in the place of a component's value; nothing where it is not what
    that script sends. It does not travel as the event's own data: of events that had to wait, Gradio 6.31 runs the
    last with the data of the first.
    """
    return asked if isinstance(asked, dict) else {}


def noted(demo: gr.Blocks, kind: str) -> list:
    """What was noted of one kind while a page was built, such as its predictions; gone with the page."""
    return vars(demo).setdefault(f"_{kind}", [])
