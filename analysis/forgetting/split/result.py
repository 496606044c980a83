"""What became of the answers that were right after their own task: kept, lost in form alone, or lost in fact."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.result import Result
from analysis.statistics import Estimate, share, spread
from analysis.table import Table

KEPT, SUPERFICIAL, ESSENTIAL = PARTS = ("kept", "superficial", "essential")


@dataclass(frozen=True)
class Lost:
    """An item that was right after its own task and is wrong now: number ``place`` (from 0) of its task's set.

    ``style`` is the asked form, ``form`` that of the answer ``now``. Where they differ the item was asked again:
    ``options`` (the true one first) were scored, ``top`` is the likeliest, ``probability`` the true one's share among
    them; ``again`` is the answer with the form spelled out, ``back`` whether that is right. Else there are no options
    and the rest says nothing.
    """

    task: str
    place: int
    question: str
    truth: str
    style: str
    then: str
    now: str
    form: str
    verdict: str
    options: tuple[str, ...] = ()
    top: str = ""
    probability: float = float("nan")
    again: str = ""
    back: bool = False


@dataclass(frozen=True)
class Became:
    """What became of one task's answers, or of all tasks' together (``task`` is ``"all"``).

    Of ``n`` items ``right`` were right after their own task's training; ``kept``, ``superficial`` and ``essential`` are
    shares of those and sum to 1. ``gained``: right now, of the items that were wrong then.

    ``other_form``: how many lost answers came in another form than asked, and so were asked again. A guess among k
    options is right once in k: ``luck`` of them would have been called superficial by guesses alone. ``known`` is
    ``superficial`` corrected for that: the mean over all right items of (hit - 1/k) / (1 - 1/k), 0 for those not asked
    again; unbiased where who does not know guesses evenly; 0 where it would be less. Its interval is a bootstrap over
    items.

    ``agreement`` int ``[2, 2]``, of those asked again: rows whether the true option was on top (no, yes), columns
    whether the answer was right with the form spelled out (no, yes).
    """

    task: str
    n: int
    right: int
    kept: Estimate
    superficial: Estimate
    essential: Estimate
    gained: Estimate
    known: Estimate
    other_form: int
    luck: float
    agreement: np.ndarray

    @property
    def lost(self) -> int:
        return self.superficial.count + self.essential.count

    @property
    def parts(self) -> dict[str, Estimate]:
        """By name, in the order of ``PARTS``."""
        return {KEPT: self.kept, SUPERFICIAL: self.superficial, ESSENTIAL: self.essential}


def became(task: str, then: np.ndarray, now: np.ndarray, lost: Sequence[Lost]) -> Became:
    """From whether each item was right ``then`` and is right ``now``, bool ``[items]``, and its ``lost`` ones."""
    right, again = int(then.sum()), [x for x in lost if x.options]
    hits, back = np.array([x.verdict == SUPERFICIAL for x in again], bool), np.array([x.back for x in again], bool)
    chance = np.array([1 / len(x.options) for x in again])
    return Became(
        task=task,
        n=len(then),
        right=right,
        kept=share(int((then & now).sum()), right),
        superficial=share(int(hits.sum()), right),
        essential=share(len(lost) - int(hits.sum()), right),
        gained=share(int((~then & now).sum()), int((~then).sum())),
        known=_corrected((hits - chance) / (1 - chance), right),
        other_form=len(again),
        luck=float(chance.sum()),
        agreement=np.array([[int((h & b).sum()) for b in (~back, back)] for h in (~hits, hits)]),
    )


def _corrected(values: np.ndarray, right: int) -> Estimate:
    if not right:
        return Estimate()
    every = np.concatenate([values, np.zeros(right - len(values))])
    return Estimate(*(max(v, 0.0) for v in (float(every.mean()), *spread(every))), right)


@dataclass(frozen=True, kw_only=True)
class Split(Result):
    """What became, at ``checkpoint``, of what was right after its own task: for each earlier task, and for ``all``.

    SEFE (arXiv 2505.02486, section 3): a lost answer is *superficial* where it is not in the asked form and, asked
    again as a choice among options, the true one is the likeliest; *essential* where it is in the asked form, or the
    true option is not. An option's score is the log-probability of its tokens, summed; of sentences, whose lengths
    differ, the mean over its tokens.
    """

    method: str
    checkpoint: str
    tasks: tuple[Became, ...]
    all: Became
    lost: tuple[Lost, ...]

    def of(self, task: str) -> Became | None:
        return next((b for b in self.tasks if b.task == task), None)

    def table(self) -> Table:
        """A row a lost item."""
        header = [
            "task", "item", "question", "truth", "asked_form", "answer_then", "answer_now", "form_now", "verdict",
            "options", "top_option", "probability_of_truth", "answer_with_form_spelled_out",
            "right_with_form_spelled_out",
        ]  # fmt: skip
        rows = [
            [
                x.task, x.place + 1, x.question, x.truth, x.style, x.then, x.now, x.form, x.verdict,
                " | ".join(x.options), x.top, x.probability, x.again, x.back if x.options else None,
            ]
            for x in self.lost
        ]  # fmt: skip
        return Table(header, rows)
