"""Many prompts in batches: every place gets its own result, whatever memory holds."""

from types import SimpleNamespace

import pytest
import torch

from models import batches
from models.batches import batched, halved, in_order
from models.errors import OutOfMemory

LENGTHS = (5, 3, 5, 5, 3, 9, 5, 5, 3)


class Run:
    """Results that name their place and prompt; memory is short for more than ``most`` prompts at once."""

    def __init__(self, most=99, error=lambda: OutOfMemory("full")):
        self.most, self.error, self.sizes = most, error, []

    def __call__(self, places, prompts):
        assert len({prompt.length for prompt in prompts}) == 1
        self.sizes.append(len(places))
        if len(places) > self.most:
            raise self.error()
        return [(place, prompt.place) for place, prompt in zip(places, prompts, strict=True)]


def encode(place):
    return SimpleNamespace(place=place, length=LENGTHS[place])


PLACES = range(len(LENGTHS))
EACH = {place: (place, place) for place in PLACES}


def test_prompts_of_one_length_share_a_batch():
    run = Run()
    assert dict(batched(PLACES, encode, run)) == EACH and run.sizes == [3, 5, 1]
    assert dict(batched([8, 2], encode, run)) == {2: (2, 2), 8: (8, 8)}
    assert list(batched([], encode, run)) == []
    assert in_order([encode(place) for place in PLACES], run) == list(EACH.values())


def test_batches_have_no_more_rows_and_tokens_than_told(monkeypatch):
    run = Run()
    assert dict(batched(PLACES, encode, run, rows=2)) == EACH and run.sizes == [2, 1, 2, 2, 1, 1]
    run.sizes.clear()
    assert dict(batched(PLACES, encode, run, tokens=14, new=2)) == EACH and run.sizes == [2, 1, 2, 2, 1, 1]
    run.sizes.clear()
    monkeypatch.setattr(batches, "TOKENS", 1)
    assert dict(batched(PLACES, encode, run)) == EACH and run.sizes == [1] * 9


def test_few_prompts_are_made_before_they_are_run(monkeypatch):
    monkeypatch.setattr(batches, "_AT_ONCE", 2)
    made = []
    found = batched(PLACES, lambda place: made.append(place) or encode(place), Run(), alike=LENGTHS.__getitem__)
    assert not made
    next(found)
    assert made == [1, 4]  # those of three tokens first
    assert len(dict(found)) == 8 and made == [1, 4, 8, 0, 2, 3, 6, 7, 5]


SHORT = (
    lambda: OutOfMemory("full"),
    lambda: torch.OutOfMemoryError("CUDA"),
    MemoryError,
    lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    lambda: RuntimeError("MPS backend Out of memory"),
)


@pytest.mark.parametrize("error", SHORT)
def test_where_memory_is_short_batches_are_halved_and_stay_small(error):
    run = Run(1, error)
    assert dict(batched(PLACES, encode, run)) == EACH
    assert run.sizes == [3, 1, 1, 1, 1, 1, 1, 1, 1, 1]  # one failed, and the next ones were smaller from the start
    run, alike = Run(2, error), [SimpleNamespace(length=1, place=place) for place in PLACES]
    assert halved(PLACES, lambda some: run(some, [alike[place] for place in some])) == list(EACH.values())
    assert run.sizes == [9, 4, 2, 2, 5, 2, 3, 1, 2]


@pytest.mark.parametrize("error", SHORT)
def test_what_does_not_suffice_for_one_is_told(error):
    with pytest.raises(type(error())):
        dict(batched(PLACES, encode, Run(0, error)))
    with pytest.raises(type(error())):
        halved(PLACES, lambda some: Run(0, error)(some, [encode(0) for _ in some]))


def test_other_errors_are_not_taken_for_it():
    run = Run(1, lambda: RuntimeError("size mismatch"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        dict(batched(PLACES, encode, run))
    assert run.sizes == [3]


def test_nothing_of_what_failed_stays_in_memory(monkeypatch):
    freed = []
    monkeypatch.setattr(batches, "freed", lambda: freed.append(1))
    dict(batched(PLACES, encode, Run(2)))
    assert freed == [1]
