"""One question answered by several strategies in turns, one step each; then every step of an answer read as a game of
two players, picture and question, and where in the picture the game is won.

The value of a coalition for a token is the token's log-probability (nats) with the players that take part; who stays
away is a picture of random pixels, or a hidden question (``strategies.inter``). Log-probabilities differ from logits by
one number for each context, so interactions differ from INTER's by one number for the whole vocabulary: their variance
and their order are the same, and here they can be read as nats.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from analysis.decoding import strategies
from analysis.decoding.objects import Mention, Truth, invented
from analysis.decoding.strategies.inter import dividends, four_contexts, modified, random_picture
from analysis.result import Provenance, Result, plain
from analysis.table import Table
from analysis.wording import ninth
from models.errors import InputError, ModelError
from models.flow import Flow
from models.generation import TOP
from models.search import Search
from models.spelling import Spelling

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.generation import Step
    from models.mllm import MLLM

SIDE_BY_SIDE = 4  # strategies
LENGTH, LONGEST = 48, 256  # tokens of an answer: usual, most
TOGETHER = 8  # tokens of the vocabulary whose interaction is told
BLOCKS = (4, 8)  # a side: of the picture, when regions are covered
_SEARCHED = 64  # tokens among which whole words are looked for
_CHUNK = 32  # tokens of an answer read at once
_ROWS = 32  # covered pictures read at once


@dataclass(frozen=True)
class Moment:
    """One step of an answer in the four contexts, in the order of ``strategies.four_contexts``.

    ``variance`` (nats squared) of the interaction over the vocabulary. ``values``: the chosen token's log-probability
    in each context. ``tops``: in each, the likeliest tokens with their probability. ``interactions``: of all those
    tokens, nats. ``strongest``: the whole words of the vocabulary with the largest interaction, nats. ``greedy`` is
    the token that the prompt's own logits take, ``modified`` the one that INTER takes where its locator fires.
    """

    token: str
    variance: float
    values: tuple[float, float, float, float]
    tops: tuple[tuple[tuple[str, float], ...], ...]
    interactions: dict[str, float]
    strongest: tuple[tuple[str, float], ...]
    greedy: str
    modified: str

    @property
    def dividends(self) -> dict[str, float]:
        """Harsanyi dividends of the chosen token, nats; with ``neither`` they sum to its log-probability."""
        both, question, picture, neither = self.values
        return {
            "neither": neither, "picture": picture - neither, "question": question - neither,
            "together": both - question - picture + neither,
        }

    @property
    def shapley(self) -> dict[str, float]:
        """Each player's Shapley value, nats: its own dividend and half of what both make together."""
        shares = self.dividends
        return {player: shares[player] + shares["together"] / 2 for player in ("picture", "question")}


def read(
    model: "MLLM", encoded: "Encoded", ids: Sequence[int], checkpoint: str, beta: float, image_seed: int
) -> list[Moment]:
    """Each step of the answer ``ids`` as a game: one forward of the four contexts, whoever wrote the answer.

    Raises ``InputError`` where the prompt has no picture, ``ModelError`` where memory is short.
    """
    if not ids:
        return []
    flow = Flow(model.model, four_contexts(encoded, image_seed), edits=model.edits(checkpoint))
    spelling = Spelling(model.tokenizer)
    with model.using(checkpoint):
        found = [_moment(flow.begin(), ids[0], spelling, beta)]
        for first in range(0, len(ids) - 1, _CHUNK):
            chunk = ids[first : min(first + _CHUNK, len(ids) - 1)]
            logits, after = flow.more(torch.tensor(chunk).repeat(4, 1)), ids[first + 1 : first + 1 + len(chunk)]
            found += [_moment(logits[:, i], token, spelling, beta) for i, token in enumerate(after)]
    return found


def _moment(logits: torch.Tensor, token: int, spelling: Spelling, beta: float) -> Moment:
    """``logits`` ``[4, V]`` of the step that chose ``token``."""
    logprobs = logits.double().log_softmax(-1)
    step = modified(logits, 0.0, beta)
    together = dividends(logprobs)[0]
    values, ids = logprobs.topk(min(TOP, logprobs.shape[-1]))
    named = list(dict.fromkeys(ids.flatten().tolist()))
    texts = dict(zip(named, spelling.rivals(named), strict=True))
    strong, strong_ids = together.topk(min(_SEARCHED, len(together)))
    spelt = zip(spelling.rivals(strong_ids.tolist()), strong.tolist(), strict=True)
    whole = [(text, value) for text, value in spelt if _is_word(text)][:TOGETHER]
    greedy, moved = spelling.rivals([int(logits[0].argmax()), int(step.if_fired.argmax())])
    tops = (
        tuple((texts[i], p) for i, p in zip(row, chances, strict=True))
        for row, chances in zip(ids.tolist(), values.exp().tolist(), strict=True)
    )
    return Moment(
        variance=step.variance, values=tuple(logprobs[:, token].tolist()), tops=tuple(tops), strongest=tuple(whole),
        interactions={texts[i]: float(together[i]) for i in named}, greedy=greedy, modified=moved,
        token=spelling.add(token),
    )


def _is_word(text: str) -> bool:
    """Whether a token is a whole word or number, and no piece of one: pieces that go on begin without a space."""
    return text.strip().isalnum() and (text[0].isspace() or text.isdecimal())


@dataclass(frozen=True)
class Regions:
    """What the interaction for ``token`` loses (nats) where one block of the picture becomes random pixels: float64
    ``[side, side]``; ``whole`` is the interaction with nothing covered."""

    token: str
    whole: float
    losses: np.ndarray

    @property
    def strongest(self) -> tuple[str, float]:
        """The block that changes most when it is covered: the ninth of the picture that it is in, and its loss."""
        row, column = np.unravel_index(np.abs(self.losses).argmax(), self.losses.shape)
        place = ninth((column + 0.5) / len(self.losses), (row + 0.5) / len(self.losses))
        return place, float(self.losses[row, column])


def regions(
    model: "MLLM", encoded: "Encoded", picture: Image.Image, answer: Sequence[int], step: int, checkpoint: str,
    image_seed: int, side: int = BLOCKS[0], progress: Callable[[float], None] = lambda share: None
) -> Regions:
    """Which part of the picture carries the interaction for the token at ``step`` (from 0) of an answer.

    Each of ``side`` x ``side`` blocks in turn is filled with the pixels that the masked picture has there, so that with
    all of them filled the picture is the masked one. Raises ``InputError`` for another step or side.
    """
    if side not in BLOCKS or not 0 <= step < len(answer):
        raise InputError(f"There is no step {step + 1} of {len(answer)}, or no map of {side} blocks a side.")
    prefix, token = answer[:step], answer[step]

    def values(contexts: Sequence["Encoded"]) -> np.ndarray:
        logits = model.forward([c.followed(prefix) for c in contexts], checkpoint).logits
        return logits.double().log_softmax(-1)[:, token].cpu().numpy()

    both, question, alone, neither = values(four_contexts(encoded, image_seed))
    random = random_picture(picture.size, image_seed)
    edges = [[round(i * length / side) for i in range(side + 1)] for length in picture.size]
    boxes = [(edges[0][c], edges[1][r], edges[0][c + 1], edges[1][r + 1]) for r in range(side) for c in range(side)]
    left: list[float] = []
    for first in range(0, len(boxes), _ROWS // 2):
        progress(first / len(boxes))
        some = []
        for box in boxes[first : first + _ROWS // 2]:
            covered = picture.convert("RGB")
            covered.paste(random.crop(box), box)
            some.append(encoded.with_image(covered))
        found = values([*some, *(c.without_text() for c in some)])
        left += (found[: len(some)] - question - found[len(some) :] + neither).tolist()
    whole = both - question - alone + neither
    spelling = Spelling(model.tokenizer)
    for before in prefix:
        spelling.add(before)
    return Regions(spelling.rivals([token])[0], float(whole), (whole - np.array(left)).reshape(side, side))


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
    model: "MLLM", picture: Image.Image | None, question: str, wanted: Mapping[str, Mapping[str, float | str]],
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
    model: "MLLM", picture: Image.Image | None, question: str, checkpoint: str = "base", truth: Truth | None = None,
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
