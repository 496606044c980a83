"""Every strategy on POPE's questions and CHAIR's captions: what is asked, the embedded items or a researcher's own in
two file formats; raw answers, kept; and the numbers that follow from them."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from analysis import kept
from analysis.decoding import strategies
from analysis.decoding.objects import EMBEDDED, mentions
from analysis.result import Provenance, Result, together
from analysis.statistics import Difference, Estimate, difference, mean, ratio, ratio_difference
from analysis.table import Table
from models import fingerprint
from models.answers import content_words, says_yes
from models.batches import TOKENS, batched
from models.embedded import hallucination_sets
from models.errors import EvalSetError
from models.evaluation import at_equal_recall, auc
from models.generation import Writing, text_of
from models.margins import Margin
from models.own import opened
from models.search import Search

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.mllm import MLLM

BASIS = "greedy"  # what every other strategy is compared with
SAMPLED = ("nucleus", "nucleus-cut", "inter-nucleus")  # each is compared with those before it, too
YES_OR_NO, SENTENCE = 3, 40  # tokens of an answer
CAPTIONS, OWN, _MARGINS = "captions", "own", "margins"
_VERSION = 1
_ROWS = 64  # contexts of a batch
_NAMED = 3  # lines that are left out

Settings = Mapping[str, float | str]


class Item(Protocol):
    """One question with its true answer; ``style`` is its form, of which *yes/no* and *sentence* are measured."""

    question: str
    answer: str
    style: str

    def picture(self) -> Image.Image | None: ...


@dataclass(frozen=True)
class Data:
    """``subsets`` maps the name of each to the places of its items in ``existence``; ``forms`` are the words for
    objects that captions are searched for; ``mark`` changes when any of it does; ``left``: what is not in it, in words;
    ``partners`` are the places of questions about absent things that usually come with what is there.
    """

    existence: Sequence[Item]
    subsets: Mapping[str, tuple[int, ...]]
    captions: Sequence[Item]
    forms: Mapping[str, str]
    mark: str
    left: str = ""
    partners: frozenset[int] = frozenset()


@cache
def embedded(scenes: int = hallucination_sets.EXISTENCE, captions: int = hallucination_sets.CAPTIONS) -> Data:
    """POPE's and CHAIR's items of the embedded world."""
    asked, described = hallucination_sets.existence(scenes), hallucination_sets.captions(captions)
    subsets = {
        subset: tuple(i for i, probe in enumerate(asked) if subset in probe.subsets)
        for subset in hallucination_sets.SUBSETS
    }
    mark = hallucination_sets.fingerprint([*asked, *described])
    partners = frozenset(i for i, probe in enumerate(asked) if probe.usual)
    return Data(asked, subsets, described, EMBEDDED, mark, partners=partners)


@contextmanager
def uploaded(files: str | Path | Sequence[str | Path]) -> Iterator[Data]:
    """The yes/no questions and captions of a visitor's own set (``models.own`` says what it raises); an object is
    whatever a true caption gives an article or a number. Items of other kinds are left out, and told of."""
    with opened(files) as mine:
        asked, described, others = [], [], []
        for item, line in zip(mine.items, mine.lines, strict=True):
            if item.style == "yes/no":
                asked.append(replace(item, answer="yes" if says_yes(item.answer) else "no"))
            elif item.style == "sentence":
                described.append(item)
            else:
                others.append(f"line {line}: {item.style}")
        left = f"left out of {mine.name}: {len(others)} of {len(mine.items)} items, whose form is neither yes/no nor "
        left += f"sentence ({', '.join(others[:_NAMED])}{', …' if len(others) > _NAMED else ''})"
        if not asked and not described:
            raise EvalSetError(f'{mine.name} has no items with the style "yes/no" or "sentence": others are not asked.')
        subsets, forms = {OWN: tuple(range(len(asked)))} if asked else {}, content_words(i.answer for i in described)
        yield Data(asked, subsets, described, forms, fingerprint.of_items(mine.items), left if others else "")


@dataclass(frozen=True)
class Pope:
    """POPE (Li et al. 2023, arXiv 2305.10355, section 4): *yes* is the positive class.

    ``accuracy``, ``precision``, ``recall``, ``yes`` (the share of questions answered *yes*) and ``alarms`` (that of
    questions about absent things) with Wilson's interval, ``f1`` with a bootstrap over questions. ``n`` questions.
    Of ``margins``, unknown without: ``auc``; ``moved``, greedy's false alarms with its threshold moved to this recall;
    ``blind``, the share of *yes* with the picture taken away as a contrast takes it away.
    """

    accuracy: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate
    yes: Estimate
    alarms: Estimate
    n: int
    auc: Estimate = Estimate()
    moved: Estimate = Estimate()
    blind: Estimate = Estimate()


@dataclass(frozen=True)
class Chair:
    """CHAIR (Rohrbach et al. 2018, arXiv 1809.02156, eqs. 1 and 2), over ``n`` captions.

    ``objects`` (CHAIR_i): mentions of objects that are not there / all mentions of objects; ``sentences`` (CHAIR_s):
    captions with at least one / captions; ``recall``: objects there that are mentioned / objects there. Intervals:
    bootstrap over captions, Wilson for ``sentences``.
    """

    objects: Estimate
    sentences: Estimate
    recall: Estimate
    n: int


@dataclass(frozen=True)
class Row:
    """One strategy on one subset: ``scores``, and their ``differences`` to greedy's on the same items, by name; that of
    ``alarms`` is to ``moved``. ``over``: of a rule that samples, accuracy or CHAIR_i minus that of its rivals."""

    subset: str
    strategy: str
    scores: Pope | Chair
    differences: Mapping[str, Difference]
    tokens_per_second: float
    over: Mapping[str, Difference]


@dataclass(frozen=True)
class Company:
    """False alarms of a strategy for absent ``partners`` of what is there and for all ``others``, how far these are
    ``apart`` (bootstrap over questions), and how many ``more`` for partners there are than greedy's, paired."""

    partners: Estimate
    others: Estimate
    apart: Difference
    more: Difference


@dataclass(frozen=True, kw_only=True)
class Hallucination(Result):
    """Every strategy on every subset of a set. ``titles``, ``parameters``, ``company``: of each strategy by name."""

    checkpoint: str
    titles: Mapping[str, str]
    parameters: Mapping[str, Settings]
    rows: tuple[Row, ...]
    company: Mapping[str, Company] = field(default_factory=dict)

    @property
    def subsets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.subset for row in self.rows))

    def of(self, subset: str) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.subset == subset)

    def table(self) -> Table:
        rows = []
        for row in self.rows:
            for name, of in vars(row.scores).items():
                if name != "n":
                    change = row.differences.get(name, Difference())
                    against = [change.value, change.low, change.high, change.p, row.tokens_per_second]
                    rows.append([row.subset, row.strategy, name, of.value, of.low, of.high, row.scores.n, *against])
        header = ["subset", "strategy", "score", "value", "low", "high", "n", "minus_greedy", "minus_low"]
        return Table([*header, "minus_high", "p", "tokens_per_second"], rows)


def measure(
    model: "MLLM", data: Data, wanted: Mapping[str, Settings], checkpoint: str = "base",
    progress: kept.Progress = kept.quiet, only_kept: bool = False
) -> Hallucination | None:
    """All strategies of ``wanted`` (parameters by name) and greedy on all items; kept answers are not asked for again.

    ``progress(share, what)`` is called between batches; an exception that it raises stops the work. With ``only_kept``
    nothing is asked, and None stands for what is not all there. Raises ``InputError`` for an unknown strategy,
    ``ModelError`` where one cannot be computed or memory is short.
    """
    wanted = {BASIS: {}, **wanted}
    for name, parameters in wanted.items():
        strategies.make(name, parameters)  # what cannot be is said before the work begins
    chosen = {name: {**strategies.ALL[name].defaults, **parameters} for name, parameters in wanted.items()}
    asked = data.existence
    kinds = {"questions": (asked, YES_OR_NO), CAPTIONS: (data.captions, SENTENCE), _MARGINS: (asked, 0)}
    plan = [
        kept.Cell(
            checkpoint, {"data": data.mark, "strategy": name, "parameters": given, "limit": limit},
            f"{strategies.ALL[name].title}, {kind}", len(items), (kind, (items, name, given, checkpoint, limit)),
        )
        for name, parameters in chosen.items() for kind, (items, limit) in kinds.items()
        for given in [{p: v for p, v in parameters.items() if limit or p != "beta"}]  # margins are of no cut
        if items and (limit or hasattr(strategies.make(name), "scores"))
    ]

    ask = lambda cell, places: answers(model, *cell.of[1], places)  # noqa: E731
    found = kept.gathered("decoding", _VERSION, model, plan, ask, progress, only_kept)
    if None in found:
        return None
    given: dict[str, dict[str, dict]] = {}  # what is kept, by kind and strategy
    for cell, value in zip(plan, found, strict=True):
        speed = sum(value.get("tokens", [])) / (float(np.sum(value.get("seconds", 0))) or np.nan)  # tokens a second
        given.setdefault(cell.of[0], {})[cell.of[1][1]] = {**value, "speed": speed}
    said, described, read = (given.get(kind, {}) for kind in ("questions", CAPTIONS, _MARGINS))
    rows = [*_existence(data, said, read), *_captions(data, described)]
    by = together([value["provenance"] for value in found], model.name, checkpoint)
    by["note"] = ", ".join(filter(None, (by["note"], data.left)))
    titles = {name: strategies.ALL[name].title for name in wanted}
    return Hallucination(
        provenance=Provenance(**by), checkpoint=checkpoint, titles=titles, parameters=chosen, rows=tuple(rows),
        company=_company(data, said)
    )


def _rivals(name: str, given: Collection[str]) -> list[str]:
    return [n for n in SAMPLED[: SAMPLED.index(name)] if n in given] if name in SAMPLED else []


def _existence(data: Data, given: Mapping[str, dict], read: Mapping[str, dict]) -> list[Row]:
    rows, nothing = [], {name: [None] * len(data.existence) for name in ("margin", "blind")}
    for subset, places in data.subsets.items():
        at, truth = list(places), np.array([data.existence[i].answer.startswith("yes") for i in places])
        said = {name: np.array([says_yes(found["texts"][i]) for i in places]) for name, found in given.items()}
        basis, greedy = said[BASIS], np.array(read[BASIS]["margin"], dtype=float)[at]
        for name, own in said.items():
            ranked = read.get(name, nothing)
            margin, blind = (np.array(ranked[key], dtype=float)[at] for key in ("margin", "blind"))
            margin *= np.nan if name in SAMPLED else 1  # what is drawn ranks nothing
            moved, more = at_equal_recall(own, greedy, truth)
            changes = {} if name == BASIS else {
                "accuracy": difference(own == truth, basis == truth),
                "f1": ratio_difference(f1_parts(own, truth), f1_parts(basis, truth)),
                "yes": difference(own, basis),
                "alarms": Difference(*more), "auc": Difference(*auc(margin, truth, greedy)),
            }
            area, moved = (Estimate(*of) for of in (auc(margin, truth), moved if changes else ()))
            scores = replace(pope(own, truth), auc=area, moved=moved, blind=mean(blind[~np.isnan(blind)] > 0))
            over = {n: difference(own == truth, said[n] == truth) for n in _rivals(name, said)}
            rows.append(Row(subset, name, scores, changes, given[name]["speed"], over))
    return rows


def _company(data: Data, given: Mapping[str, dict]) -> dict[str, Company]:
    usual = np.isin(np.arange(len(data.existence)), list(data.partners))
    other = np.array([not item.answer.startswith("yes") for item in data.existence], dtype=bool) & ~usual
    said = {name: np.array([says_yes(text) for text in of["texts"]]) for name, of in given.items() if usual.any()}
    apart = {name: ratio_difference((own & usual, usual), (own & other, other)) for name, own in said.items()}
    more = {name: difference(own[usual], said[BASIS][usual]) for name, own in said.items()}
    return {n: Company(mean(own[usual]), mean(own[other]), apart[n], more[n]) for n, own in said.items()}


def _captions(data: Data, given: Mapping[str, dict]) -> list[Row]:
    there = [{m.name for m in mentions(item.answer, data.forms)} for item in data.captions]
    found = {
        name: counts([[m.name for m in mentions(text, data.forms)] for text in answered["texts"]], there)
        for name, answered in given.items()
    }
    rows, less = [], lambda a, b: ratio_difference((a.invented, a.mentions), (b.invented, b.mentions))
    for name, own in found.items():
        other = found[BASIS]
        over = {n: less(own, found[n]) for n in _rivals(name, found)}
        changes = {} if name == BASIS else {
            "objects": less(own, other),
            "sentences": difference(own.invented > 0, other.invented > 0),
            "recall": ratio_difference((own.found, own.there), (other.found, other.there)),
        }
        rows.append(Row(CAPTIONS, name, chair(own), changes, given[name]["speed"], over))
    return rows


def answers(
    model: "MLLM", items: Sequence[Item], name: str, parameters: Settings, checkpoint: str, limit: int,
    places: Sequence[int] | None = None
) -> Iterator[tuple[int, dict]]:
    """What a strategy answers to each item (at ``places``): its place, and text, tokens and seconds. With a ``limit``
    of 0 log p(yes) - log p(no) at its first token, ``margin`` and ``blind`` as ``Margin`` has them.

    All contexts of many items of one prompt length are one batch; a search writes one answer after the other. A
    strategy with a seed draws for item i (from 0) with ``seed`` + i: with one seed all items would be drawn alike.
    """
    given = {**strategies.ALL[name].defaults, **parameters}
    places = range(len(items)) if places is None else places

    def made(place: int):
        seed = {"seed": seed + place} if (seed := given.get("seed")) is not None else {}
        strategy = strategies.make(name, {**parameters, **seed})
        return strategy if limit else Margin(strategy, model.tokenizer)

    def write(places: list[int], prompts: "list[Encoded]") -> list[dict]:
        began = time.perf_counter()
        if search:
            written = [list(model.generate(prompts[0], checkpoint, limit, made(places[0])))]
        else:
            writings = [Writing(s := made(i), s.contexts(prompt)) for i, prompt in zip(places, prompts, strict=True)]
            edits, using = model.edits(checkpoint), lambda: model.using(checkpoint)
            steps = list(model.generator.steps(writings, limit or 1, using, top=0, edits=edits))
            written = [[row[at] for row in steps if row[at] is not None] for at in range(len(places))]
        if not limit:
            return [steps[0].details for steps in written]
        each = (time.perf_counter() - began) / len(places)
        return [{"texts": text_of(steps), "tokens": len(steps), "seconds": each} for steps in written]

    encode = lambda i: model.encode(items[i].picture(), items[i].question)  # noqa: E731
    search = isinstance(made(0), Search)
    contexts = len(made(0).contexts(encode(places[0]))) if places and not search else 1
    limits = {"rows": 1 if search else max(_ROWS // contexts, 1), "tokens": TOKENS // contexts, "new": limit}
    return batched(places, encode, write, alike=lambda i: len(items[i].question), **limits)


def pope(said: Sequence[bool], truth: Sequence[bool]) -> Pope:
    """POPE's numbers of the answers ``said`` (yes is True) to questions whose true answers are ``truth``."""
    said, truth = np.asarray(said, dtype=bool), np.asarray(truth, dtype=bool)
    f1 = ratio(*f1_parts(said, truth))
    right = mean(said == truth)
    return Pope(right, mean(truth[said]), mean(said[truth]), f1, mean(said), mean(said[~truth]), len(truth))


def f1_parts(said: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F1 as a ratio of sums over questions: 2 TP / (2 TP + FP + FN)."""
    hits, misses = said & truth, said != truth
    return 2.0 * hits, 2.0 * hits + misses


@dataclass(frozen=True)
class Counts:
    """Of each caption: mentions of objects, those of objects not there, objects there, and those that are mentioned;
    float64 ``[captions]``."""

    mentions: np.ndarray
    invented: np.ndarray
    there: np.ndarray
    found: np.ndarray


def counts(mentioned: Sequence[Sequence[str]], there: Sequence[Collection[str]]) -> Counts:
    """``mentioned`` are the objects that each caption names, as often as it names them."""
    pairs = list(zip(mentioned, map(set, there), strict=True))
    return Counts(
        np.array([len(said) for said, _ in pairs], dtype=float),
        np.array([sum(name not in true for name in said) for said, true in pairs], dtype=float),
        np.array([len(true) for _, true in pairs], dtype=float),
        np.array([len(true & set(said)) for said, true in pairs], dtype=float),
    )


def chair(of: Counts) -> Chair:
    """CHAIR's numbers."""
    return Chair(ratio(of.invented, of.mentions), mean(of.invented > 0), ratio(of.found, of.there), len(of.mentions))
