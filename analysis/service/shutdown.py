"""The end of the server: on SIGTERM or Ctrl-C it stops within seconds, leaves no file of a visitor, and says 0."""

import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NoReturn

import gradio as gr

_PATIENCE = 2  # seconds for requests under way, and as many for long work


class Ending:
    """Takes over both signals, and every temporary file made from then on, until ``wait`` ends the process."""

    def __init__(self):
        self._folder = tempfile.tempdir = tempfile.mkdtemp(prefix="crosstalk-")
        self._told = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._tell)

    def _tell(self, *_) -> None:
        """Called between any two steps of the main thread, even within itself, so it must take no lock: not one of
        ``threading.Event`` or of ``print``.
        """
        self._told = True

    def wait(self, demo: gr.Blocks, close: Callable[[float], None]) -> NoReturn:
        """Block until a signal comes; then close ``demo``, have ``close(seconds)`` stop long work, and exit with 0."""
        while not self._told:
            time.sleep(0.2)
        print("Stopping: what was measured so far is kept.", flush=True)
        logging.disable()  # of every request that is cut off now there would be a traceback
        demo.server.config.timeout_graceful_shutdown = _PATIENCE  # a page that is left open would hold it
        demo.close(verbose=False)
        close(_PATIENCE)
        for process in multiprocessing.active_children():  # those that a GPU was lent to
            process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # Python would wait for every thread, and a step of a large model may take minutes
