"""Prompts in batches of one length, as many at once as memory holds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from models.devices import exhausted, freed

if TYPE_CHECKING:
    from models.encoding import Encoded

ROWS = 32
"""Prompts of a batch, at most, unless told."""

TOKENS = 16_384
"""Tokens of a batch, prompts and answers: what fits beside a model of several billion weights."""

_AT_ONCE = 64  # prompts, with their pictures, in memory

Item, Found = TypeVar("Item"), TypeVar("Found")


def batched(
    places: Iterable[int],
    encode: "Callable[[int], Encoded]",
    run: "Callable[[list[int], list[Encoded]], Iterable[Found]]",
    alike: Callable[[int], object] | None = None,
    rows: int = ROWS,
    tokens: int | None = None,
    new: int = 0,
) -> Iterator[tuple[int, Found]]:
    """``(place, result)`` of each of ``places``, batch after batch: prompts of one length share one, without padding.

    ``run(places, prompts)`` gives the results of a batch in its order. Prompts are made by ``encode(place)`` a few at a
    time; places that ``alike`` maps to the same or to neighbours are taken together, as the same question mostly has
    one length. A batch has at most ``rows`` prompts and ``tokens`` (default: ``TOKENS``), ``new`` to come of each
    included; where memory is short it is run again in halves, and the next ones are smaller from the start. Where it
    does not suffice for a single prompt, what it raised is raised, such as ``OutOfMemory``.
    """
    tokens = tokens or TOKENS
    order = sorted(places, key=alike) if alike else list(places)
    for start in range(0, len(order), _AT_ONCE):
        prompts = {place: encode(place) for place in order[start : start + _AT_ONCE]}
        waiting = sorted(prompts, key=lambda place: prompts[place].length)
        while waiting:
            length = prompts[waiting[0]].length
            most = max(min(rows, tokens // (length + new)), 1)
            same = [place for place in waiting[:most] if prompts[place].length == length]
            found = within_memory(run, same, [prompts[place] for place in same])
            if found is None:
                tokens = len(same) // 2 * (length + new)
                continue
            waiting = waiting[len(same) :]
            yield from zip(same, found, strict=True)


def in_order(
    prompts: "Sequence[Encoded]", run: "Callable[[list[int], list[Encoded]], Iterable[Found]]", **limits: int
) -> list[Found]:
    """The results of prompts that are made already, in their order; else as ``batched``."""
    places = range(len(prompts))
    found = dict(batched(places, prompts.__getitem__, run, lambda place: prompts[place].length, **limits))
    return [found[place] for place in places]


def halved(batch: Sequence[Item], run: Callable[[Sequence[Item]], Iterable[Found]]) -> list[Found]:
    """The results of ``run(batch)``, one an item; where memory is short of its halves, down to single items."""
    found = within_memory(run, batch)
    if found is not None:
        return list(found)
    half = len(batch) // 2
    return halved(batch[:half], run) + halved(batch[half:], run)


def within_memory(run: Callable[..., Found], batch: Sequence, *more) -> Found | None:
    """``run(batch, *more)``; None where memory is short for it, though perhaps not for fewer; of a single one it raises
    what memory raised.
    """
    try:
        return run(batch, *more)
    except Exception as error:
        if not exhausted(error) or len(batch) == 1:
            raise
    freed()  # out of the handler, whose error holds what was allocated
    return None
