"""Work of minutes beside the page: it tells how far it is, and stops when who asked for it has left."""

import html
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import gradio as gr
from gradio.context import LocalContext

_END = object()  # of the results of a work
_running: dict[Future, threading.Event] = {}  # and how each is told to stop


@dataclass(frozen=True)
class Progress:
    """How far a long work is: ``share`` 0 to 1, ``what`` it is at."""

    share: float = 0.0
    what: str = "starting"

    @property
    def html(self) -> str:
        """A bar with the share, what is being done, and a button that stops it."""
        return (
            f'<p class="progress"><progress value="{self.share:.3f}" max="1"></progress> '
            f"<span>{self.share:.0%}: {html.escape(self.what)}</span> "
            '<button type="button" data-stop>Stop</button></p>'
        )


def watched(work: Callable) -> Iterator:
    """Run ``work(progress)`` beside the page: yields ``Progress`` twice a second, and what it returns; of an iterator,
    each of its results as soon as it is there, but for those that a later one has overtaken.

    ``progress(share, what)`` is for the work to call; when the visitor has left or stopped, it raises
    ``InterruptedError`` there.
    """
    left, told, results = threading.Event(), [Progress()], SimpleQueue()

    def progress(share: float, what: str) -> None:
        if left.is_set():
            raise InterruptedError
        told[0] = Progress(share, what)

    def run() -> None:
        try:
            found = work(progress)
            for result in found if isinstance(found, Iterator) else (found,):
                if left.is_set():
                    raise InterruptedError
                results.put(result)
        finally:
            results.put(_END)

    pool = ThreadPoolExecutor(1)
    try:
        running = pool.submit(run)
        _running[running] = left
        running.add_done_callback(_running.pop)
        newest = None
        while newest is not _END:
            try:
                newest = results.get(timeout=0.5)
            except Empty:
                yield told[0]
                continue
            latest = newest
            while newest is not _END and not results.empty():
                newest = results.get()
                latest = latest if newest is _END else newest
            if latest is not _END:
                yield latest
        running.result()
    finally:
        left.set()
        pool.shutdown(wait=False)


def for_caller() -> Callable[[float, str], None]:
    """``progress`` for work that an endpoint does before it answers: raises ``InterruptedError`` there as soon as the
    program that called has closed its connection.
    """
    blocks, number = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    call = blocks._queue.event_ids_to_events.get(number) if blocks and number else None

    def progress(share: float, what: str) -> None:
        if call is not None and not call.alive:
            raise InterruptedError

    return progress


STOPPED = '<p class="progress key">Stopped. What was finished is kept: the button goes on from there.</p>'
"""In the place of a progress bar whose run was stopped."""


def halted(shown: str | None):
    """What a run that failed leaves in its progress bar's place: nothing; where none is ``shown``, that stays.

    Gradio tells of a run that was stopped as failed, too; the browser then hands over nothing (``crosstalk.failed``),
    so that this does not wipe what Stop has said.
    """
    return "" if "<progress" in (shown or "") else gr.skip()


def stop(seconds: float) -> None:
    """Tell all long work to stop, and wait for it no longer than ``seconds``."""
    under_way = dict(_running)
    for left in under_way.values():
        left.set()
    wait(under_way, timeout=seconds)
