"""Keeps what was opened within a memory budget: least recently used goes first, what is in use never goes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from models.errors import ModelError


@dataclass
class _Slot:
    label: str
    need: float
    users: int = 0
    value: Any = None
    ready: bool = False


class Shelf:
    """Opened things by key, each with the bytes it needs.

    ``budget()`` gives the bytes they may take together; ``freed()`` is called after something was given up. Opening
    one thing blocks only those who want that very thing.
    """

    def __init__(self, budget: Callable[[], float], freed: Callable[[], None] = lambda: None):
        self._budget, self._freed = budget, freed
        self._slots: dict[str, _Slot] = {}  # least recently used first
        self._changed = threading.Condition()

    @contextmanager
    def using(self, key: str, label: str, need: float, make: Callable[[], Any]) -> Iterator[Any]:
        """The thing called ``key``, made where it is not there; never given up while in here.

        ``label`` is how messages call it. Raises ``ModelError`` with the numbers where there is no room and nothing
        can be given up, and whatever ``make`` raises.
        """
        slot, mine = self._take(key, label, need)
        if mine:
            try:
                slot.value = make()
            except BaseException:
                with self._changed:
                    del self._slots[key]
                    self._changed.notify_all()
                raise
            with self._changed:
                slot.ready = True
                self._changed.notify_all()
        try:
            yield slot.value
        finally:
            with self._changed:
                slot.users -= 1

    def weigh(self, key: str, need: float) -> None:
        """What the thing called ``key`` takes in truth, told by who uses it; others go where that is too much."""
        with self._changed:
            if self._slots[key].need != need:
                self._slots[key].need = need
                self._give_up(self._budget())

    def _take(self, key: str, label: str, need: float) -> tuple[_Slot, bool]:
        """The slot of ``key``, and whether it is the caller's task to fill it."""
        with self._changed:
            self._changed.wait_for(lambda: key not in self._slots or self._slots[key].ready)
            mine = key not in self._slots
            if mine:
                self._make_room(label, need)
            slot = self._slots.pop(key, None) or _Slot(label, need)
            self._slots[key] = slot
            slot.users += 1
            return slot, mine

    def _make_room(self, label: str, need: float) -> None:
        budget = self._budget()
        busy = [slot for slot in self._slots.values() if slot.users]
        used = sum(slot.need for slot in busy)
        if need + used > budget:
            held = f", of which {', '.join(s.label for s in busy)} use {used / 1e9:.1f} GB now" if busy else ""
            remedy = "Try again when they are done, or" if busy else "Choose a smaller model, or"
            raise ModelError(
                f"{label} needs about {need / 1e9:.1f} GB; models may take {budget / 1e9:.1f} GB{held}. "
                f"{remedy} set CROSSTALK_MEMORY (in GB) higher."
            )
        self._give_up(budget - need)

    def _give_up(self, most: float) -> None:
        """Drop what is not in use, least recently used first, until the rest takes no more than ``most`` bytes."""
        given_up = False
        for old in [k for k, s in self._slots.items() if not s.users]:
            if sum(s.need for s in self._slots.values()) <= most:
                break
            del self._slots[old]
            given_up = True
        if given_up:
            self._freed()

    def held(self) -> tuple[str, ...]:
        """Keys of what is there, least recently used first."""
        with self._changed:
            return tuple(self._slots)
