"""Every strategy on POPE's questions and CHAIR's captions: raw answers, kept; and the numbers that follow from them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.decoding import strategies
from analysis.decoding.dataset.items import Data, Item
from analysis.decoding.dataset.scores import (
    Chair,
    Pope,
    chair,
    counts,
    f1_parts,
    paired,
    pope,
    ratio_difference,
    says_yes,
)
from analysis.decoding.objects import mentions
from analysis.result import Provenance, Result, plain
from analysis.statistics import Difference
from analysis.table import Table
from models import fingerprint
from models.flow import OutOfMemory
from models.generation import Writing, text_of
from models.search import Search

if TYPE_CHECKING:
    from models.generation import Step
    from models.mllm import MLLM

BASIS = "greedy"  # what every other strategy is compared with
YES_OR_NO, SENTENCE = 3, 40  # tokens of an answer
CAPTIONS = "captions"
_VERSION = 1
_ROWS, _TOKENS = 64, 16_384  # of a batch: contexts, and prompts with their answers
_AT_ONCE = 64  # items whose pictures are in memory

Settings = Mapping[str, float | str]
Told = Callable[[float, str], None]


@dataclass(frozen=True)
class Answers:
    """Raw answers of one strategy to items in their order; ``tokens`` of each; ``seconds`` for all of them, from the
    strategy's contexts to the last token."""

    texts: tuple[str, ...]
    tokens: tuple[int, ...]
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        return sum(self.tokens) / self.seconds if self.seconds else float("nan")


@dataclass(frozen=True)
class Row:
    """One strategy on one subset: ``scores``, and their ``differences`` to greedy's on the same items, by name."""

    subset: str
    strategy: str
    scores: Pope | Chair
    differences: Mapping[str, Difference]
    tokens_per_second: float


@dataclass(frozen=True, kw_only=True)
class Hallucination(Result):
    """Every strategy on every subset of a set. ``titles`` and ``parameters`` are of each strategy by its name."""

    checkpoint: str
    titles: Mapping[str, str]
    parameters: Mapping[str, Settings]
    rows: tuple[Row, ...]

    @property
    def subsets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.subset for row in self.rows))

    def of(self, subset: str) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.subset == subset)

    def table(self) -> Table:
        rows = []
        for row in self.rows:
            for name, estimate in vars(row.scores).items():
                if name == "n":
                    continue
                change = row.differences.get(name)
                against = [change.value, change.low, change.high, change.p] if change else [float("nan")] * 4
                told = [row.subset, row.strategy, name, estimate.value, estimate.low, estimate.high, row.scores.n]
                rows.append([*told, *against, row.tokens_per_second])
        header = ["subset", "strategy", "score", "value", "low", "high", "n", "minus_greedy", "minus_low"]
        return Table([*header, "minus_high", "p", "tokens_per_second"], rows)

    def to_json(self) -> dict:
        return plain(self)


def measure(
    model: "MLLM",
    data: Data,
    wanted: Mapping[str, Settings],
    checkpoint: str = "base",
    progress: Told = lambda share, what: None,
) -> Hallucination:
    """All strategies of ``wanted`` (parameters by name) and greedy on all items; kept answers are not asked for again.

    ``progress(share, what)`` is called between batches; an exception that it raises stops the work. Raises
    ``InputError`` for an unknown strategy, ``ModelError`` where one cannot be computed or memory is short.
    """
    began = time.perf_counter()
    wanted = {BASIS: {}, **wanted}
    for name, parameters in wanted.items():
        strategies.make(name, parameters)  # what cannot be is said before the work begins
    kinds = {"questions": (data.existence, YES_OR_NO), CAPTIONS: (data.captions, SENTENCE)}
    given: dict[str, dict[str, Answers]] = {kind: {} for kind, (items, _) in kinds.items() if items}
    total, done = len(wanted) * len(given), 0
    for name, parameters in wanted.items():
        for kind in given:

            def told(share: float, done=done, what=f"{strategies.ALL[name].title}, {kind}") -> None:
                progress((done + share) / total, what)

            items, limit = kinds[kind]
            given[kind][name] = _kept(model, items, name, parameters, checkpoint, limit, data.mark, told)
            done += 1
    provenance = Provenance(**model.provenance(checkpoint, seconds=time.perf_counter() - began))
    rows = [*_existence(data, given.get("questions", {})), *_captions(data, given.get(CAPTIONS, {}))]
    titles = {name: strategies.ALL[name].title for name in wanted}
    chosen = {name: {**strategies.ALL[name].defaults, **parameters} for name, parameters in wanted.items()}
    return Hallucination(
        provenance=provenance, checkpoint=checkpoint, titles=titles, parameters=chosen, rows=tuple(rows)
    )


def _existence(data: Data, given: Mapping[str, Answers]) -> list[Row]:
    rows = []
    for subset, places in data.subsets.items():
        truth = np.array([data.existence[i].answer.startswith("yes") for i in places])
        said = {name: np.array([says_yes(found.texts[i]) for i in places]) for name, found in given.items()}
        for name, own in said.items():
            other = said[BASIS]
            changes = {} if name == BASIS else {
                "accuracy": paired(own == truth, other == truth),
                "f1": ratio_difference(f1_parts(own, truth), f1_parts(other, truth)),
                "yes": paired(own, other),
            }  # fmt: skip
            rows.append(Row(subset, name, pope(own, truth), changes, given[name].tokens_per_second))
    return rows


def _captions(data: Data, given: Mapping[str, Answers]) -> list[Row]:
    there = [{m.name for m in mentions(item.answer, data.forms)} for item in data.captions]
    found = {
        name: counts([[m.name for m in mentions(text, data.forms)] for text in answered.texts], there)
        for name, answered in given.items()
    }
    rows = []
    for name, own in found.items():
        other = found[BASIS]
        changes = {} if name == BASIS else {
            "objects": ratio_difference((own.invented, own.mentions), (other.invented, other.mentions)),
            "sentences": paired(own.invented > 0, other.invented > 0),
            "recall": ratio_difference((own.found, own.there), (other.found, other.there)),
        }  # fmt: skip
        rows.append(Row(CAPTIONS, name, chair(own), changes, given[name].tokens_per_second))
    return rows


def _kept(model, items, name, parameters, checkpoint, limit, mark, told) -> Answers:
    made_of = {
        "version": _VERSION, "model": fingerprint.of(model, checkpoint), "data": mark, "strategy": name,
        "parameters": {**strategies.ALL[name].defaults, **parameters}, "limit": limit, "n": len(items),
    }  # fmt: skip
    if found := kept.load("decoding", made_of):
        return Answers(tuple(found["texts"]), tuple(found["tokens"]), found["seconds"])
    found = answers(model, items, name, parameters, checkpoint, limit, told)
    kept.save("decoding", made_of, {**asdict(found), "provenance": model.provenance(checkpoint, seconds=found.seconds)})
    return found


def answers(
    model: "MLLM",
    items: Sequence[Item],
    name: str,
    parameters: Settings,
    checkpoint: str,
    limit: int,
    told: Callable[[float], None] = lambda share: None,
) -> Answers:
    """What a strategy answers to each item. All contexts of many items of one prompt length are one batch; a search
    writes one answer after the other.

    A strategy with a seed draws for item i (from 0) with ``seed`` + i: with one seed all items would be drawn alike.
    """
    texts, tokens, seconds, done = [""] * len(items), [0] * len(items), 0.0, 0
    order = sorted(range(len(items)), key=lambda i: len(items[i].question))  # of one prompt length, mostly
    for first in range(0, len(order), _AT_ONCE):
        waiting = order[first : first + _AT_ONCE]
        prompts = {i: model.encode(items[i].picture(), items[i].question) for i in waiting}
        waiting.sort(key=lambda i: prompts[i].length)
        while waiting:
            told(done / len(items))
            began = time.perf_counter()
            written = _written(model, waiting, prompts, name, parameters, checkpoint, limit)
            seconds += time.perf_counter() - began
            for i, steps in written.items():
                texts[i], tokens[i] = text_of(steps), len(steps)
            waiting, done = waiting[len(written) :], done + len(written)
    return Answers(tuple(texts), tuple(tokens), seconds)


def _written(model, waiting, prompts, name, parameters, checkpoint, limit) -> dict[int, list["Step"]]:
    """The steps of the first answers of those ``waiting``, as many as go into one batch, by the item's place."""

    def made(place: int):
        seed = {"seed": seed + place} if (seed := given.get("seed")) is not None else {}
        return strategies.make(name, {**parameters, **seed})

    given = {**strategies.ALL[name].defaults, **parameters}
    head = prompts[waiting[0]]
    strategy = made(waiting[0])
    if isinstance(strategy, Search):
        return {waiting[0]: list(model.generate(head, checkpoint, limit, strategy))}
    first = Writing(strategy, strategy.contexts(head))
    rows = max(min(_ROWS, _TOKENS // (head.length + limit)) // len(first.contexts), 1)
    same = [i for i in waiting[:rows] if prompts[i].length == head.length]
    while True:
        writings = [first, *(Writing(s := made(i), s.contexts(prompts[i])) for i in same[1:])]
        edits, using = model.edits(checkpoint), lambda: model.using(checkpoint)
        try:
            steps = list(model.generator.steps(writings, limit, using, top=0, edits=edits))
        except OutOfMemory:
            if len(same) == 1:
                raise
            same = same[: len(same) // 2]
            first = Writing(strategy, strategy.contexts(head))
            continue
        return {i: [row[at] for row in steps if row[at] is not None] for at, i in enumerate(same)}
