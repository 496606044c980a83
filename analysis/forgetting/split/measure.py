"""Which of a task's lost answers are lost in form alone, and which in fact (SEFE, arXiv 2505.02486).

Lost items in another form than asked are asked again: as a choice among options, and with the form spelled out.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from analysis import kept
from analysis.forgetting import sets
from analysis.forgetting.terms import ESSENTIAL, KEPT, RIGHT, SUPERFICIAL
from analysis.result import Provenance, Result, together
from analysis.statistics import Estimate, share, spread
from analysis.table import Table
from models import answers, catalog, fingerprint
from models.answers import STYLES, box_of, iou, options_in, style_of
from models.embedded.phrases import FORMAT
from models.errors import CheckpointError, InputError
from models.evalset import EvalItem
from models.evaluation import Evaluation
from models.mllm import MLLM

ROOM = "forgetting-split"
_VERSION = 1  # of what is measured: another number makes kept entries stale
_DECIMALS = 4  # of a log-probability, nats

DRAWN = 3  # wrong options drawn from other items, where an item has none of its own
_APART = 0.1  # IoU up to which a box is another place
TUNED = {style: wordings[0] for style, wordings in FORMAT.items()}
"""Instructions, by style, in words that the embedded default was tuned on."""
PLAIN = {
    "word": "Answer the question using a single word or phrase.",
    "numeral": "Answer with a number in digits, and nothing else.",
    "yes/no": "Answer with yes or no, and nothing else.",
    "box": "Answer with a box [left,top,right,bottom] in hundredths of the picture, and nothing else.",
    "letter": "Answer with the option's letter from the given choices directly.",
    "sentence": "Answer in one full sentence.",
}
"""The same for any other model; those for words and letters are LLaVA-1.5's (arXiv 2310.03744, table 7)."""

LABELLED = Path(answers.__file__).with_suffix(".jsonl")
"""Answers as people and models give them, each with the style that a reader sees in it: a JSON object a line."""


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
    chance, known = np.array([1 / len(x.options) for x in again]), Estimate()
    if right:
        corrected = np.concatenate([(hits - chance) / (1 - chance), np.zeros(right - len(again))])
        known = Estimate(*(max(v, 0.0) for v in (float(corrected.mean()), *spread(corrected))), right)
    return Became(
        task=task, n=len(then), right=right,
        kept=share(int((then & now).sum()), right),
        superficial=share(int(hits.sum()), right),
        essential=share(len(lost) - int(hits.sum()), right),
        gained=share(int((~then & now).sum()), int((~then).sum())),
        known=known, other_form=len(again), luck=float(chance.sum()),
        agreement=np.array([[int((h & b).sum()) for b in (~back, back)] for h in (~hits, hits)]),
    )


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
        ]
        rows = [
            [x.task, x.place + 1, x.question, x.truth, x.style, x.then, x.now, x.form, x.verdict,
             " | ".join(x.options), x.top, x.probability, x.again, x.back if x.options else None]
            for x in self.lost
        ]
        return Table(header, rows)


def options_of(items: Sequence[EvalItem], place: int) -> tuple[str, ...]:
    """The options of item number ``place`` of its task, the true one first.

    Its own ``choices``; else *yes* and *no*, or the letters that its question lists; else its true answer beside up to
    three of other items: those that are wrong here, drawn with ``place`` as the seed; of sentences those nearest in
    length, of boxes those elsewhere (an IoU of at most 0.1). Raises ``InputError`` where there is no wrong option.
    """
    item = items[place]
    own = item.choices or {"yes/no": ("yes", "no"), "letter": options_in(item.question)}.get(item.style, ())
    wrong = [option for option in dict.fromkeys(own) if item.scored(option) < RIGHT]
    if not wrong:
        found = [a for a in dict.fromkeys(other.answer for other in items) if item.scored(a) < RIGHT]
        found = [found[i] for i in np.random.default_rng(place).permutation(len(found))]
        if true := box_of(item.answer):
            found = [a for a in found if (box := box_of(a)) and iou(true, box) <= _APART]
        if item.style == "sentence":
            found.sort(key=lambda answer: abs(len(answer.split()) - len(item.answer.split())))
        wrong = found[:DRAWN]
    if not wrong:
        raise InputError(
            f'There is nothing to choose from for "{item.question[:60]}" (item {place + 1} of its set): give it the '
            'field "choices".'
        )
    return next((option for option in own if item.scored(option) == 1), item.answer), *wrong


@dataclass(frozen=True)
class Asked:
    """Items of one task to be asked again, each with its options."""

    task: str
    items: tuple[EvalItem, ...]
    options: tuple[tuple[str, ...], ...]


def again(
    mllm: MLLM | fingerprint.Unopened, checkpoint: str, asked: Sequence[Asked],
    progress: kept.Progress = kept.quiet, only_kept: bool = False,
) -> list[dict] | None:
    """Ask ``checkpoint`` the items of every task; what was asked before is loaded.

    Of each task, for every item: ``logprob`` of each option, nats, summed over its ``tokens``, and of ``answers`` the
    greedy one to the question with the form spelled out; with the fields of ``Provenance`` as ``provenance``. Empty
    where nothing was to be asked.

    ``progress`` is told the share done of what is missing; what it raises stops the work. With ``only_kept`` nothing is
    asked, and None stands for what is not all there. Raises ``CheckpointError`` or ``ModelError`` where the checkpoint
    is not there or memory is short.
    """
    wording, plan = TUNED if catalog.embedded(mllm.name) else PLAIN, []
    for of in (of for of in asked if of.items):
        words = [wording.get(item.style) for item in of.items]
        by = {"data": fingerprint.of_items(of.items), "options": of.options, "wording": words}
        plan.append(kept.Cell(checkpoint, by, f"{checkpoint} on {of.task}", len(of.items), of))

    def measure(cell: kept.Cell, places: Sequence[int]) -> Iterator[tuple[int, dict]]:
        items = cell.of.items

        def spelled_out(i: int):
            """The question with the form it asks for spelled out; of a style without a wording, as it is."""
            told = f"{items[i].question} {wording.get(items[i].style, '')}".strip()
            return mllm.encode(items[i].picture(), told)

        for i, answer in mllm.answers_each(places, spelled_out, checkpoint, alike=lambda i: items[i].question):
            scores = mllm.score(mllm.encode(items[i].picture(), items[i].question), cell.of.options[i], checkpoint)
            yield i, {"logprob": np.round(scores.logprob, _DECIMALS), "tokens": scores.tokens, "answers": answer}

    found = kept.gathered(ROOM, _VERSION, mllm, plan, measure, progress, only_kept)
    if None in found:
        return None
    told = {cell.of.task: value for cell, value in zip(plan, found, strict=True)}
    return [told.get(of.task, {}) for of in asked]


def split(
    evaluation: Evaluation, mllm: MLLM, progress: kept.Progress = kept.quiet, checkpoint: str | None = None,
    only_kept: bool = False,
) -> Split | None:
    """Sort what ``checkpoint`` (default: that of the last task) lost; ``mllm`` has the set that ``evaluation`` is of.

    Only lost answers in another form than asked are asked again. What was asked before is loaded; else ``progress`` is
    told the share done, and may stop the work by raising. With ``only_kept`` nothing is asked, and None stands for what
    is not all there. Tasks that were not measured are left out.
    Raises ``CheckpointError`` for a checkpoint that no task came before, or where no earlier task was measured,
    ``InputError`` naming an item without a wrong option.
    """
    after = [evaluation.trained[task] for task in evaluation.tasks[1:]]
    if not after:
        raise CheckpointError("The set has a single task: nothing came after it that could have cost it anything.")
    name = checkpoint or after[-1]
    if name not in after:
        raise CheckpointError(f"No task came before checkpoint {name!r}. Choose one of: {', '.join(after)}.")
    earlier = evaluation.tasks[: after.index(name) + 1]
    tasks = [t for t in earlier if {evaluation.trained[t], name} <= set(evaluation.given.get(t, ()))]
    if not tasks:
        raise CheckpointError(f"No task before {name} was measured both right after its training and at {name}.")
    rights = [_right(evaluation, task, name) for task in tasks]
    lost, asked = [], []
    for task, (then, now) in zip(tasks, rights, strict=True):
        told = _told(evaluation, task, name, then & ~now)
        items = evaluation.items[task]
        lost.append([replace(x, verdict=ESSENTIAL) if items[x.place].in_form(x.now) else x for x in told])
        places = [x.place for x in lost[-1] if not x.verdict]
        asked.append(Asked(task, tuple(items[i] for i in places), tuple(options_of(items, i) for i in places)))
    found = again(mllm, name, asked, progress, only_kept)
    if found is None:
        return None
    for some, of, value in zip(lost, asked, found, strict=True):
        unsure = [i for i, x in enumerate(some) if not x.verdict]
        told = [value.get(key, ()) for key in ("logprob", "tokens", "answers")]
        for i, item, options, logprob, tokens, answer in zip(unsure, of.items, of.options, *told, strict=True):
            scores = np.array(logprob) / (tokens if item.style == "sentence" else 1)
            odds = np.exp(scores - scores.max())
            best = int(odds[1:].argmax()) + 1
            known = odds[0] > odds[best]  # a tie for the top is no knowledge
            some[i] = replace(
                some[i], verdict=SUPERFICIAL if known else ESSENTIAL, options=options,
                top=options[0 if known else best], probability=float(odds[0] / odds.sum()), again=answer,
                back=bool(item.scored(answer) >= RIGHT),
            )
    everything, (then, now) = tuple(x for some in lost for x in some), map(np.concatenate, zip(*rights, strict=True))
    by = [value["provenance"] for value in found if value]
    by = together(by, checkpoint=name) if by else {**evaluation.provenance, "checkpoint": name, "seconds": 0}
    return Split(
        provenance=Provenance(**by), method=evaluation.method, checkpoint=name,
        tasks=tuple(became(task, *right, some) for task, right, some in zip(tasks, rights, lost, strict=True)),
        all=became("all", then, now, everything), lost=everything,
    )


def _right(evaluation: Evaluation, task: str, checkpoint: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether each item of a task was right after it and is right at ``checkpoint``, bool ``[items]``."""
    scores = evaluation.scores[task]
    return scores[evaluation.trained[task]] >= RIGHT, scores[checkpoint] >= RIGHT


def kept_items(evaluation: Evaluation, task: str, checkpoint: str) -> list[Lost]:
    """The items of a task that were right after it and are right at ``checkpoint``, told as lost ones are."""
    then, now = _right(evaluation, task, checkpoint)
    return [replace(x, verdict=KEPT) for x in _told(evaluation, task, checkpoint, then & now)]


def _told(evaluation: Evaluation, task: str, checkpoint: str, some: np.ndarray) -> list[Lost]:
    """What is known of ``some`` items (bool ``[items]``) from their answers alone; no verdict yet."""
    items, (then, now) = evaluation.items[task], map(evaluation.given[task].get, (evaluation.trained[task], checkpoint))
    return [
        Lost(task, i, items[i].question, items[i].answer, items[i].style, then[i], now[i], style_of(now[i]), "")
        for i in np.flatnonzero(some).tolist()
    ]


@sets.remembered
def load(name: str, checkpoint: str | None = None) -> Split | None:
    """The split of the set ``name`` at ``checkpoint`` (default: the last task's), where nothing has to be asked for it;
    None where it has, or has but cannot be.

    Raises ``CheckpointError`` as ``sets.answers`` and ``split`` do.
    """
    with suppress(InputError):  # an item without options: told to who wants it asked
        return sets.load(name, partial(split, sets.answers(name), checkpoint=checkpoint))


def measured(name: str, progress: kept.Progress = kept.quiet, checkpoint: str | None = None) -> Split:
    """The same, and what is missing is asked of the model, which is opened for it."""
    work = partial(split, sets.answers(name), checkpoint=checkpoint)
    return load(name, checkpoint) or sets.measured(name, work, progress)


@dataclass(frozen=True)
class Read:
    """One style: ``precision``, of the answers read as it those that are; ``recall``, of those that are it those read
    as it. Wilson's 95 % intervals."""

    style: str
    precision: Estimate
    recall: Estimate


@dataclass(frozen=True)
class Reading:
    """``n`` labelled answers; ``misread`` are (answer, its style, the style read)."""

    n: int
    styles: tuple[Read, ...]
    misread: tuple[tuple[str, str, str], ...]


@lru_cache(maxsize=1)
def labelled() -> tuple[tuple[str, str], ...]:
    """The labelled answers, each with its style."""
    lines = LABELLED.read_text(encoding="utf-8").split("\n")  # an answer may hold other ends of lines
    return tuple((row["answer"], row["style"]) for row in map(json.loads, filter(None, lines)))


def read(rows: Sequence[tuple[str, str]], parser: Callable[[str], str] = style_of) -> Reading:
    """Precision and recall of ``parser`` on (answer, style) ``rows``, by style."""
    pairs = [(style, parser(answer)) for answer, style in rows]
    styles = []
    for style in STYLES:
        true, seen = (sum(pair[side] == style for pair in pairs) for side in (0, 1))
        hits = pairs.count((style, style))
        styles.append(Read(style, share(hits, seen), share(hits, true)))
    wrong = [(a, *pair) for (a, _), pair in zip(rows, pairs, strict=True) if pair[0] != pair[1]]
    return Reading(len(rows), tuple(styles), tuple(wrong))
