"""Logs without what visitors wrote, showed or were told: a traceback tells where and which kind of error, no values."""

import logging
import sys
import threading
import traceback


def keep_out_values() -> None:
    """From now on no log of this process quotes a value: what an error says may be a visitor's question or file.

    Gradio, uvicorn, asyncio and ``logging`` all write their tracebacks by ``traceback.TracebackException``; the two
    hooks of Python that do not are led there, too.
    """
    traceback.TracebackException.format_exception_only = _kind_alone
    threading.excepthook = lambda told: traceback.print_exception(told.exc_value)
    sys.unraisablehook = lambda told: traceback.print_exception(told.exc_value)
    logging.getLogger("asyncio").addFilter(_first_line)


def _kind_alone(self, *args, **kwargs):
    kind = self.exc_type_str if sys.version_info >= (3, 13) else f"{self.exc_type.__module__}.{self.exc_type.__name__}"
    yield f"{kind} (what it says is left out: it may quote a visitor)\n"


def _first_line(record: logging.LogRecord) -> bool:
    """asyncio writes below its first line which task failed, with all that it was given."""
    record.msg, record.args = record.getMessage().partition("\n")[0], ()
    return True
