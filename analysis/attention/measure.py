"""Where the attention of an answer goes: by layer and kind of token, per key, from token to token, and its decay.

The tokens of prompt and answer are told for people: the words they make up, and which name what is not there.

Attention is read beside the model's own kernels while it answers, so the answer is the one it gives without us.
"""

import re
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import stats

from analysis.result import Provenance, Result, plain
from analysis.statistics import Estimate
from analysis.table import Table
from models.answers import objects_in
from models.embedded.concepts import CONCEPTS
from models.errors import InputError
from models.instruments import AttentionMass
from models.segments import Modality
from models.spelling import Spelling

if TYPE_CHECKING:
    from analysis.bar import Known
    from models.encoding import Encoded
    from models.mllm import MLLM
    from models.readings import ModalityMass

KINDS = tuple(m.name.lower() for m in Modality)
"""What a token is, in the order of every axis of kinds: image, question, instruction (the template), answer."""
NAMES = {form: c.name for c in CONCEPTS.values() for form in (c.name, c.plural)}
"""The word forms of the things that the embedded model was taught, each with the thing's name."""
_NAMED = 256  # image tokens that can be chosen by name
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")  # no space between words
MOST_TOKENS = 64  # of an answer
FEW = 8  # layers: with fewer the interval of a fit is wide
STRAIGHT = 0.8  # R2 from which a curve counts as exponential
_WHOLE = 0.95
_SIDES = {"image": [Modality.IMAGE], "text": [Modality.QUESTION, Modality.INSTRUCTION, Modality.ANSWER]}
_PROMPT = {"image": [Modality.IMAGE], "text": [Modality.QUESTION, Modality.INSTRUCTION]}


@dataclass(frozen=True)
class Token:
    """A token of the prompt or of the answer: its place from 0, what it spells (for an image token the patch that it
    sees), its kind, one of ``KINDS``."""

    position: int
    text: str
    kind: str


@dataclass(frozen=True)
class Decay:
    """The fit log(score_l) = a + l log(gamma), least squares over layers (MODA, arXiv 2507.04635, section 3).

    ``gamma`` is the factor from one layer to the next, below 1 where attention fades (interval: Student's t with
    ``layers`` - 2 degrees of freedom, of the slope); ``r2`` 0 to 1, how much of the variation over layers the line
    explains; ``start`` the fitted score before layer 1. ``layers`` are those with a score above 0, since others have no
    logarithm. Not-a-number where there are fewer than two of them, for the interval and ``r2`` fewer than three.
    """

    gamma: Estimate
    r2: float
    start: float
    layers: int

    @property
    def kind(self) -> str:
        """ "none" (nothing to fit), "open" (two layers: no interval), "flat" (the interval holds 1), "fading" or
        "growing", and either of them with "unsteady " before it where ``r2`` is below 0.8: not exponential."""
        if not self.gamma.known:
            return "none"
        if np.isnan(self.gamma.low):
            return "open"
        if self.gamma.low <= 1 <= self.gamma.high:
            return "flat"
        trend = "fading" if self.gamma.value < 1 else "growing"
        return trend if self.r2 >= STRAIGHT else f"unsteady {trend}"

    def at(self, layers: np.ndarray) -> np.ndarray:
        """The fitted score in ``layers`` (counted from 1)."""
        return self.start * self.gamma.value ** np.asarray(layers, dtype=float)


@dataclass(frozen=True)
class Link:
    """Attention from the ``query`` tokens of the prompt to its ``key`` tokens, each "image" or "text".

    Float64 ``[layers]``, means over heads. ``share``: of a query's attention, how much goes to all those keys together,
    0 to 1. ``visible``: how many of them a query may attend to. ``score``: what one key gets from a query that may
    attend to it, the mean over all such pairs; not-a-number where there are none.
    """

    query: str
    key: str
    share: np.ndarray
    visible: np.ndarray
    score: np.ndarray
    decay: Decay

    @property
    def name(self) -> str:
        return f"{self.query}-to-{self.key}"


@dataclass(frozen=True)
class Word:
    """A word of an answer, from its ``first`` to its ``last`` token (places in the answer, from 0).

    ``image``: the share of the attention on the picture while it is written, 0 to 1, mean over layers, heads and its
    tokens. ``invented``: it names a thing that is not in the picture; ``right``: one that is; both False where the
    truth is not known.
    """

    text: str
    first: int
    last: int
    image: float
    invented: bool
    right: bool


@dataclass(frozen=True, kw_only=True)
class Attention(Result):
    """Where the token at ``position`` looks, and every token of the answer.

    ``share`` float64 ``[layers, heads, kinds]``: its attention by the kind of key, 0 to 1; adds up to 1 over kinds
    unless an intervention drains some. ``contribution``: the same with each key weighted by the norm of its value,
    |a_ij v_j|, as a share of their sum (Kobayashi et al. 2020). ``keys`` ``[layers, kinds]``: how many keys of each
    kind it may attend to.
    ``writing``: what is said with what this token reads: the token that comes after it, empty within the prompt.
    ``written_share`` ``[layers, tokens, kinds]``, mean over heads: where the model looks when it writes each of
    ``written``. ``invented`` tells which of them belong to a thing that is not in the picture; empty where the truth is
    not known. ``links`` are means over all tokens of the prompt. ``layer_types`` is empty where all layers are of one
    type.
    """

    question: str
    checkpoint: str
    picture: bool
    position: int
    token: str
    kind: str
    writing: str
    tokens: tuple[Token, ...]
    share: np.ndarray
    contribution: np.ndarray
    keys: np.ndarray
    written: tuple[str, ...]
    written_ids: tuple[int, ...]
    logprob: np.ndarray
    written_share: np.ndarray
    invented: tuple[bool, ...]
    links: tuple[Link, ...]
    layer_types: tuple[str, ...]

    @property
    def answer(self) -> str:
        return "".join(self.written).strip()

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of the answer."""
        image, found = self.written_share[:, :, Modality.IMAGE].mean(0), []
        for place in pieces(self.written):
            part = slice(place.start, place.stop)
            text, wrong = "".join(self.written[part]).strip(), any(self.invented[part])
            right = bool(self.invented) and not wrong and text.lower() in NAMES
            found.append(Word(text, place.start, place.stop - 1, float(image[part].mean()), wrong, right))
        return tuple(found)

    @property
    def written_word(self) -> Word | None:
        """The word of the answer that the token at ``position`` writes; None for another token of the prompt."""
        at = self.position - max(t.position for t in self.tokens if t.kind != "answer")
        return next((w for w in self.words if w.first <= at <= w.last), None)

    @property
    def layers(self) -> int:
        return len(self.share)

    @property
    def heads(self) -> int:
        return self.share.shape[1]

    @property
    def mass(self) -> np.ndarray:
        """Share of the attention on each kind, mean over heads: ``[layers, kinds]``."""
        return self.share.mean(1)

    @property
    def per_key(self) -> np.ndarray:
        """``mass`` divided by the number of keys: ``[layers, kinds]``; not-a-number where there are none."""
        return _ratio(self.mass, self.keys)

    @property
    def sides(self) -> tuple[str, str]:
        """The modality of the token, and the other one: "image" and "text", or the reverse."""
        return ("image", "text") if self.kind == "image" else ("text", "image")

    def toward(self, side: str, per_key: bool = False) -> np.ndarray:
        """Attention to all "image" or all "text" keys, as share or per key: ``[layers]``."""
        share = self.mass[:, _SIDES[side]].sum(1)
        return _ratio(share, self.keys[:, _SIDES[side]].sum(1)) if per_key else share

    def disparity(self, per_key: bool = False) -> np.ndarray:
        """|self - cross| / max(self, cross) of the token, 0 to 1: ``[layers]``; not-a-number without keys of both."""
        own, other = (self.toward(side, per_key) for side in self.sides)
        there = (self.keys[:, _SIDES["image"]].sum(1) > 0) & (self.keys[:, _SIDES["text"]].sum(1) > 0)
        return np.where(there, disparity(own, other), np.nan)

    def link(self, name: str) -> Link:
        """The link called ``name``, such as "text-to-image"."""
        return next(link for link in self.links if link.name == name)

    def table(self) -> Table:
        rows = [
            [layer + 1, head + 1, KINDS[k], share, self.contribution[layer, head, k], self.keys[layer, k]]
            for (layer, head, k), share in np.ndenumerate(self.share)
        ]
        return Table(["layer", "head", "kind", "share", "value_norm_share", "keys"], rows)

    def to_json(self) -> dict:
        fits = {}
        for of in self.links:
            gamma, r2 = of.decay.gamma, of.decay.r2
            told = {"gamma": gamma.value, "interval": [gamma.low, gamma.high], "r2": r2, "reads_as": of.decay.kind}
            fits[of.name] = {**told, "score": of.score, "share": of.share, "visible": of.visible}
        main = {name: fits["text-to-image"][name] for name in ("gamma", "interval", "r2", "reads_as")}
        by_kind = {
            name: [dict(zip(KINDS, row, strict=True)) for row in getattr(self, name)]
            for name in ("mass", "per_key", "keys")
        }
        return plain({
            "question": self.question, "answer": self.answer,
            "token": {"position": self.position, "text": self.token, "kind": self.kind, "writing": self.writing},
            **by_kind,
            "disparity": {
                name: {"layers": 100 * values, "mean": 100 * mean(values)}
                for name, values in (("mass", self.disparity()), ("per_key", self.disparity(per_key=True)))
            },
            "decay": {**main, "links": fits},
            "heads": self.share[:, :, Modality.IMAGE],
            "heads_value_norm": self.contribution[:, :, Modality.IMAGE],
            "by_token": [
                {
                    "token": token, "logprob": self.logprob[i],
                    "image": self.written_share[:, i, Modality.IMAGE].mean(),
                    "layers": self.written_share[:, i, Modality.IMAGE],
                    "invented": self.invented[i] if self.invented else None,
                }
                for i, token in enumerate(self.written)
            ],
            "tokens": self.tokens, "layer_types": self.layer_types, "provenance": self.provenance,
        })


def _ratio(share: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """``share`` / ``keys``; not-a-number where there are no keys."""
    return np.divide(share, keys, out=np.full(np.shape(share), np.nan), where=keys > 0)


def mean(values: np.ndarray) -> float:
    """The mean of what is known; not-a-number, without a warning, where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def disparity(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """|own - other| / max(own, other), 0 to 1: 0 where both get the same, 1 where one gets nothing; not-a-number where
    neither gets anything, or where one is not known."""
    return _ratio(np.abs(own - other), np.maximum(own, other))


def fit(scores: np.ndarray) -> Decay:
    """The decay of ``scores`` ``[layers]``, attention per key from the first layer to the last."""
    scores = np.asarray(scores, dtype=float)
    layers = np.arange(1, len(scores) + 1)
    some = np.nan_to_num(scores) > 0
    count, nothing = int(some.sum()), float("nan")
    if count < 2:
        return Decay(Estimate(), nothing, nothing, count)
    x, y = layers[some], np.log(scores[some])
    line = stats.linregress(x, y)
    gamma, start = float(np.exp(line.slope)), float(np.exp(line.intercept))
    if count < 3:
        return Decay(Estimate(gamma, n=count), nothing, start, count)
    # scipy's own error is 1 - r2, which cancels where the fit is good and is not there where all scores are equal
    missed = float(((y - line.intercept - line.slope * x) ** 2).sum())
    error = np.sqrt(missed / (count - 2) / ((x - x.mean()) ** 2).sum())
    reach = stats.t.ppf((1 + _WHOLE) / 2, count - 2) * error
    low, high = (float(np.exp(line.slope + side * reach)) for side in (-1, 1))
    spread = float(((y - y.mean()) ** 2).sum())
    r2 = 1 - missed / spread if spread else 1.0
    return Decay(Estimate(gamma, low, high, count), r2, start, count)


def links(mass: "ModalityMass", row: int = 0) -> tuple[Link, ...]:
    """Self- and cross-modal attention of a prompt, row ``row`` of the batch, with their decay over layers.

    Text is question and template together, without the answer. A mean over queries weighs each query alike, so kinds
    that are put together count by their number of tokens.
    """
    count = np.asarray(mass.queries[row], dtype=float)
    share = np.nan_to_num(mass.share[:, row].astype(float).mean(1)) * count[:, None]  # [layers, query, key], summed
    visible = np.nan_to_num(mass.keys[:, row].astype(float)) * count[:, None]
    found = []
    for query, key in (("text", "image"), ("image", "image"), ("image", "text"), ("text", "text")):
        asking, asked = _PROMPT[query], _PROMPT[key]
        total = count[asking].sum()
        given, seen = (x[:, asking][:, :, asked].sum((1, 2)) for x in (share, visible))
        each = np.full(len(given), total)
        score = _ratio(given, seen)
        found.append(Link(query, key, _ratio(given, each), _ratio(seen, each), score, fit(score)))
    return tuple(found)


def prompt_tokens(encoded: "Encoded", tokenizer) -> tuple[Token, ...]:
    """The tokens of a prompt, what each spells. Of a picture with many tokens, none; of others the patch they see."""
    kinds, ids = encoded.segments.tolist(), encoded.inputs["input_ids"][0].tolist()
    few = kinds.count(Modality.IMAGE) <= _NAMED
    patch = {
        cell: f"{f'tile {i + 1}, ' if len(encoded.grids) > 1 else ''}row {row + 1}, column {column + 1}"
        for i, grid in enumerate(encoded.grids)
        for cell, row, column in grid.cells()
    }
    spelling, found = Spelling(tokenizer), []
    for position, (kind, token) in enumerate(zip(kinds, ids, strict=True)):
        if kind != Modality.IMAGE:
            found.append(Token(position, spelling.add(token), KINDS[kind]))
            continue
        spelling = Spelling(tokenizer)
        if few:
            found.append(Token(position, patch.get(position, "no patch of its own"), KINDS[kind]))
    return tuple(found)


def invented(written: Sequence[str], contents) -> tuple[bool, ...]:
    """Which tokens of an answer belong to the name of a thing that is not in ``contents``, the things in the picture.

    "No bee" names no bee.
    """
    text = "".join(written)
    wrong = set(objects_in(text, NAMES)) - set(contents)
    spans = [
        m.span()
        for m in re.finditer(r"[^\W\d_]+", text)
        if NAMES.get(m[0].lower()) in wrong and not re.search(r"\bno\s+$", text[: m.start()], re.IGNORECASE)
    ]
    marks, start = [], 0
    for token in written:
        end = start + len(token)
        marks.append(any(start < last and first < end for first, last in spans))
        start = end
    return tuple(marks)


def pieces(tokens: Sequence[str]) -> list[range]:
    """Which tokens make up each word of a text: its pieces, and bytes that are no character yet, belong together;
    a sign stands alone. Every token belongs to one word."""
    found: list[range] = []
    start, last = 0, ""  # of the word that begins, and the letter before it
    for i, token in enumerate(tokens):
        if not token:
            continue  # a part of a character adds nothing: it goes with the token that completes it
        both = [last, token[0]]  # of one word: letters or digits, of a writing that has spaces between words
        if found and all(c.isalnum() and not unicodedata.name(c, "").startswith(_UNSPACED) for c in both):
            found[-1] = range(found[-1].start, i + 1)
        else:
            found.append(range(start, i + 1))
        start, last = i + 1, token[-1]
    if found and start < len(tokens):
        found[-1] = range(found[-1].start, len(tokens))
    return found


def telling(written: Sequence[str], marked: Sequence[bool]) -> int:
    """Which token of an answer to look at first: that of the first thing that is not there (``marked``), else of the
    first thing that is named, else the first."""
    if True in marked:
        return list(marked).index(True)
    words = (w for w in pieces(written) if "".join(written[w.start : w.stop]).strip().lower() in NAMES)
    return next((w.start for w in words), 0)


def attend(
    model: "MLLM", picture: Image.Image | None, question: str, checkpoint: str = "base",
    token: int | Callable[[Sequence[str], Sequence[bool]], int] | None = None, known: "Known | None" = None,
    interventions: Sequence = ()
) -> Attention:
    """Answer ``question`` and tell where the attention goes.

    ``token``: the place, from 0, of the token of prompt or answer to look at (default: the prompt's last, which writes
    the first token of the answer); or what chooses, from the answer's tokens and which of them are invented, the one to
    look at while it is written, by its place in the answer. ``interventions`` change attention while it is measured.
    Raises ``InputError`` for a token that is not there or no question, ``CheckpointError`` for an unknown checkpoint,
    ``ModelError`` where the attention of the model cannot be read.
    """
    began = time.perf_counter()
    encoded = model.encode(picture, question)
    last = encoded.length - 1
    position = last if token is None or callable(token) else token
    queries = sorted({position, last}) if 0 <= position <= last else [last]
    instruments = [AttentionMass(queries)]
    run = model.generate(encoded, checkpoint, MOST_TOKENS, instruments=instruments, interventions=interventions)
    steps = list(run)
    rows = run.readings().rows
    places = rows.positions[0]
    written, contents = tuple(s.token for s in steps), known.contents if known else None
    marked = () if contents is None else invented(written, contents)
    if callable(token) and written:
        position = last + token(written, marked)
    if position not in places:
        raise InputError(
            f"There is no token {position}: the prompt has tokens 0 to {last}, and the answer was read up to token "
            f"{places.max()}."
        )
    share = rows.share[:, 0].astype(float)  # [layers, heads, queries, kinds]
    at = int(np.flatnonzero(places == position)[0])
    writing = [int(np.flatnonzero(places == last + i)[0]) for i in range(len(steps))]
    # once more without a cache, up to the token: what costs more than it may beside the answer
    upto = encoded.followed([s.token_id for s in steps[: max(position - last, 0)]])
    instruments = [AttentionMass(), AttentionMass([position], value_norm=True)]
    again = model.forward([upto], checkpoint, instruments, interventions=interventions).readings
    answered = (Token(place, text, "answer") for place, text in enumerate(written, last + 1))
    tokens = (*prompt_tokens(encoded, model.tokenizer), *answered)
    kind = "answer" if position > last else KINDS[int(encoded.segments[position])]
    text = next((t.text for t in tokens if t.position == position), "a patch of the picture")
    types = tuple(getattr(model.model.config.get_text_config(decoder=True), "layer_types", None) or ())
    return Attention(
        provenance=Provenance(**model.provenance(checkpoint, seconds=time.perf_counter() - began)),
        question=question, checkpoint=str(checkpoint), picture=picture is not None,
        position=position, token=text, kind=kind, tokens=tokens,
        writing=written[position - last] if 0 <= position - last < len(written) else "",
        share=share[:, :, at],
        contribution=again.contributions.share[:, 0, :, 0].astype(float),
        keys=rows.keys[:, 0, at].astype(float),
        written=written, written_ids=tuple(s.token_id for s in steps),
        logprob=np.array([s.logprob for s in steps], dtype=float),
        written_share=share[:, :, writing].mean(1),
        invented=marked, links=links(again.mass), layer_types=types if len(set(types)) > 1 else (),
    )  # fmt: skip
