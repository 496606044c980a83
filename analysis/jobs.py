"""Work of minutes beside the page: it tells how far it is, and stops when who asked for it has left."""

import html
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import gradio as gr
from gradio.context import LocalContext

_running: dict[Future, threading.Event] = {}  # and how each is told to stop


@dataclass(frozen=True)
class Progress:
    """How far a long work is: ``share`` 0 to 1, ``what`` it is at."""

    share: float = 0.0
    what: str = "starting"

    @property
    def html(self) -> str:
        """A bar with the share and what is being done."""
        return (
            f'<progress value="{self.share:.3f}" max="1"></progress> '
            f"<span>{self.share:.0%}: {html.escape(self.what)}</span>"
        )


def watched(work: Callable) -> Iterator:
    """Run ``work(progress)`` beside the page: yields ``Progress`` twice a second, then what it returns.

    ``progress(share, what)`` is for the work to call; when the visitor has left or stopped, it raises
    ``InterruptedError`` there.
    """
    left, told = threading.Event(), [Progress()]

    def progress(share: float, what: str) -> None:
        if left.is_set():
            raise InterruptedError
        told[0] = Progress(share, what)

    pool = ThreadPoolExecutor(1)
    try:
        running = pool.submit(work, progress)
        _running[running] = left
        running.add_done_callback(_running.pop)
        while not wait([running], timeout=0.5).done:
            yield told[0]
        yield running.result()
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


STOPPED = '<span class="key">Stopped. What was finished is kept: Measure goes on from there.</span>'
"""In the place of a progress bar whose run was stopped."""


def halted(shown: str | None, told: str = STOPPED):
    """What a run that failed leaves in its progress bar's place; where none is ``shown``, that stays.

    Gradio tells of a run that was stopped as failed, too, so this must not wipe what Stop has said.
    """
    return told if "<progress" in (shown or "") else gr.skip()


def stop(seconds: float) -> None:
    """Tell all long work to stop, and wait for it no longer than ``seconds``."""
    under_way = dict(_running)
    for left in under_way.values():
        left.set()
    wait(under_way, timeout=seconds)
