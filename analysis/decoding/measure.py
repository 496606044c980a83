"""One question answered by several strategies in turns, one step each; then every step read as a game."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.decoding import strategies
from analysis.decoding.game import BLOCKS, Moment, Regions, read, regions
from analysis.decoding.objects import Mention, Truth, invented
from analysis.result import Provenance, Result, plain
from analysis.table import Table
from models.errors import InputError, ModelError
from models.search import Search

if TYPE_CHECKING:
    from PIL import Image

    from models.generation import Step
    from models.mllm import MLLM

SIDE_BY_SIDE = 4  # strategies
LENGTH, LONGEST = 48, 256  # tokens of an answer: usual, most


@dataclass(frozen=True)
class Written:
    """An answer of one strategy: its ``steps``, each as a game (``moments``; none without a picture), and what it says
    is there and is not (``invented``; places are characters of the joined tokens). ``seconds`` are its own steps' time;
    ``note`` is what it has to say about itself."""

    name: str
    title: str
    parameters: Mapping[str, float | str]
    steps: tuple["Step", ...] = ()
    moments: tuple[Moment, ...] = ()
    invented: tuple[Mention, ...] = ()
    seconds: float = 0.0
    ended: bool = False
    note: str = ""

    @property
    def written(self) -> str:
        """All tokens, joined."""
        return "".join(s.token for s in self.steps)

    @property
    def text(self) -> str:
        return self.written.strip()

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(s.token_id for s in self.steps)

    @property
    def tokens_per_second(self) -> float:
        """Not-a-number before the first token."""
        return len(self.steps) / self.seconds if self.steps and self.seconds else float("nan")

    def fired(self, threshold: float) -> list[bool]:
        """At which steps INTER's locator fires: where the interaction's variance reaches ``threshold``."""
        return [m.variance >= threshold for m in self.moments]

    def changed(self, threshold: float) -> list[int]:
        """The steps at which INTER with ``threshold`` would take another token than greedy, after this very prefix."""
        fires = self.fired(threshold)
        return [i for i, m in enumerate(self.moments) if fires[i] and m.modified != m.greedy]

    def telling(self, threshold: float) -> int:
        """The step to look at first: where INTER changes the choice, else where something is invented, else where the
        interaction varies most."""
        first = [*self.changed(threshold), *(i for i in range(len(self.steps)) if self.touched(i))]
        most = max(range(len(self.moments)), key=lambda i: self.moments[i].variance, default=0)
        return first[0] if first else most

    def touched(self, step: int) -> tuple[str, ...]:
        """The invented objects that the token at ``step`` is a part of the name of."""
        start = len("".join(s.token for s in self.steps[:step]))
        end = start + len(self.steps[step].token)
        return tuple(m.name for m in self.invented if m.start < end and start < m.end)


@dataclass(frozen=True, kw_only=True)
class Decoding(Result):
    """The answers of several strategies to one question; it grows while they are written, ``done`` says when whole.

    ``first_divergence`` is the first step (from 0) at which not all take the same token; None where all are alike.
    ``threshold`` is INTER's k, by which the locator's readings are taken along all answers; INTER alone acts on them.
    ``there`` are the objects known to be in the picture, None where nothing is known. ``picture`` says whether there
    is one.
    """

    question: str
    checkpoint: str
    picture: bool
    threshold: float
    there: tuple[str, ...] | None = None
    strategies: tuple[Written, ...] = ()
    first_divergence: int | None = None
    done: bool = False

    def of(self, name: str) -> Written | None:
        return next((w for w in self.strategies if w.name == name), None)

    def cut(self, threshold: float) -> "Decoding":
        """The same readings under another threshold of the locator."""
        return replace(self, threshold=threshold)

    def table(self) -> Table:
        header = ["strategy", "step", "token", "logprob", "interaction_variance", "fired", "greedy", "not_there"]
        rows = []
        for w in self.strategies:
            fires = w.fired(self.threshold)
            for i, step in enumerate(w.steps):
                moment = w.moments[i] if w.moments else None
                told = [moment.variance, fires[i], moment.greedy] if moment else [float("nan"), False, ""]
                rows.append([w.name, i + 1, step.token, step.logprob, *told, ", ".join(w.touched(i))])
        return Table(header, rows)

    def to_json(self) -> dict:
        told = []
        for w in self.strategies:
            fires, moments = (given or [None] * len(w.steps) for given in (w.fired(self.threshold), w.moments))
            steps = [
                {"token": s.token, "logprob": s.logprob, "fired": bool(fired), **_step(moment)}
                for s, fired, moment in zip(w.steps, fires, moments, strict=True)
            ]
            told.append({
                "name": w.name, "title": w.title, "parameters": w.parameters, "text": w.text, "note": w.note,
                "tokens_per_second": w.tokens_per_second, "hallucinated": sorted({m.name for m in w.invented}),
                "steps": steps,
            })
        return plain({
            "question": self.question, "threshold": self.threshold, "strategies": told,
            "first_divergence": self.first_divergence, "objects": self.there, "provenance": self.provenance,
        })


def _step(moment: Moment | None) -> dict:
    if moment is None:
        return {"interaction_variance": None}
    return {
        "interaction_variance": moment.variance, "greedy": moment.greedy, "modified": moment.modified,
        "dividends": moment.dividends, "shapley": moment.shapley,
    }


def divergence(answers: Sequence[Sequence[int]], read: int | None = None) -> int | None:
    """The first step (from 0) at which answers, as token ids, are not all the same; one that has ended differs from
    one that goes on. Of answers still being written the first ``read`` steps are compared."""
    longest = max((len(a) for a in answers), default=0) if read is None else read
    for i in range(longest):
        if len({a[i] if i < len(a) else None for a in answers}) > 1:
            return i
    return None


def decode(
    model: "MLLM", picture: "Image.Image | None", question: str, wanted: Mapping[str, Mapping[str, float | str]],
    checkpoint: str = "base", length: int = LENGTH, truth: Truth | None = None,
    locator: Mapping[str, float | str] | None = None
) -> Iterator[Decoding]:
    """The answers after each round of steps, then whole. ``wanted`` are the parameters of each strategy by its name.

    ``locator``: INTER's parameters by which all steps are read where INTER itself is not among them.
    Raises ``InputError`` for an unknown strategy or parameter, more than four strategies, or a length that is not 1 to
    256 tokens; ``ModelError`` where none of them can be computed.
    """
    began = time.perf_counter()
    if not 1 <= len(wanted) <= SIDE_BY_SIDE:
        raise InputError(f"{len(wanted)} strategies were chosen: choose 1 to {SIDE_BY_SIDE}.")
    if isinstance(length, bool) or not isinstance(length, int) or not 1 <= length <= LONGEST:
        raise InputError(f"The longest answer is {length!r} tokens: it must be a whole number from 1 to {LONGEST}.")
    made = {name: strategies.make(name, parameters) for name, parameters in wanted.items()}
    inter = strategies.make("inter", wanted.get("inter", locator))
    encoded = model.encode(picture, question)
    found = Decoding(
        provenance=Provenance(**model.provenance(checkpoint)),
        question=question, checkpoint=checkpoint, picture=picture is not None, threshold=inter.threshold,
        there=tuple(sorted(truth.there)) if truth else None,
        strategies=tuple(Written(n, strategies.ALL[n].title, dict(p)) for n, p in wanted.items()),
    )
    runs = {name: model.generate(encoded, checkpoint, length, strategy) for name, strategy in made.items()}
    later = {name for name, strategy in made.items() if isinstance(strategy, Search)}  # whose steps all come at once
    while waiting := [w.name for w in found.strategies if not w.ended]:
        turn = set(waiting) - later or set(waiting)
        written = tuple(_stepped(w, runs[w.name]) if w.name in turn else w for w in found.strategies)
        failed = [w.note for w in written if not w.steps and w.note and w.ended]
        if len(failed) == len(written):
            raise ModelError(" ".join(dict.fromkeys(failed)))
        # strategies that have not begun, or cannot, are left out
        begun = [w for w in written if w.steps or (w.ended and not w.note)]
        going = min((len(w.steps) for w in begun if not w.ended), default=None)
        found = replace(found, strategies=written, first_divergence=divergence([w.ids for w in begun], going))
        yield found
    games: dict[tuple[int, ...], tuple[Moment, ...]] = {}
    for w in found.strategies:
        if picture is not None and w.ids not in games:
            games[w.ids] = tuple(read(model, encoded, w.ids, checkpoint, inter.beta, inter.image_seed))
    wrong = {w.name: tuple(invented(w.written, question, truth)) if truth else () for w in found.strategies}
    whole = tuple(replace(w, moments=games.get(w.ids, ()), invented=wrong[w.name]) for w in found.strategies)
    by = Provenance(**model.provenance(checkpoint, seconds=time.perf_counter() - began))
    yield replace(found, strategies=whole, provenance=by, done=True)


@dataclass(frozen=True, kw_only=True)
class Played(Result):
    """One ``step`` (from 0) of INTER's answer as a game: its ``moment``, and where in the picture it is won
    (``regions``); both None without a picture."""

    question: str
    written: Written
    step: int
    moment: Moment | None = None
    regions: Regions | None = None

    def table(self) -> Table:
        rows = [[name, value] for name, value in self.moment.dividends.items()] if self.moment else []
        return Table(["part", "nats"], rows)

    def to_json(self) -> dict:
        told = {"question": self.question, "text": self.written.text, "step": self.step, "regions": self.regions}
        return plain(told | {"game": self.moment and _step(self.moment), "provenance": self.provenance})


def play(
    model: "MLLM", picture: "Image.Image | None", question: str, checkpoint: str = "base", truth: Truth | None = None,
    step: int | None = None, side: int = BLOCKS[0], progress: Callable[[float], None] = lambda share: None
) -> Played:
    """The game of one step of INTER's answer; None: of the step that tells most. Raises as ``decode`` and ``regions``;
    a step that the answer does not have is its first to look at."""
    began = time.perf_counter()
    inter = strategies.make("inter")
    *_, found = decode(model, picture, question, {"inter": {}}, checkpoint, truth=truth)
    written = found.strategies[0]
    if step is None or step >= len(written.steps):
        step = written.telling(found.threshold)
    moment, where = None, None
    if written.moments:
        moment, encoded = written.moments[step], model.encode(picture, question)
        seed = int(inter.image_seed)
        where = regions(model, encoded, picture, list(written.ids), step, checkpoint, seed, side, progress)
    by = Provenance(**model.provenance(checkpoint, seconds=time.perf_counter() - began))
    return Played(provenance=by, question=question, written=written, step=step, moment=moment, regions=where)


def _stepped(written: Written, run: Iterator["Step"]) -> Written:
    """The answer with one more step, or ended; a strategy that this model does not allow says why."""
    began = time.perf_counter()
    try:
        step = next(run, None)
    except ModelError as error:
        return replace(written, ended=True, note=str(error))
    seconds = written.seconds + time.perf_counter() - began
    if step is None:
        return replace(written, ended=True, seconds=seconds)
    note = str(step.details.get("note", "")) or written.note
    return replace(written, steps=(*written.steps, step), seconds=seconds, note=note)
