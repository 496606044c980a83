"""Modality conflict: picture and text name different things, and the answer follows one of them.

After "When Modalities Conflict" (arXiv 2511.02243). H is the entropy (nats) of the next-token distribution at the
answer token: H_t from text and question alone, H_v from picture and question alone. Relative uncertainty is
dH_rel = 2 (H_t - H_v) / (H_t + H_v), in [-2, 2], below zero where the model is surer in the text. Among items that it
answers rightly from either alone, P(follow text) is fitted as a logistic function of dH_rel; the balance point is
where that is 1/2. Inside, the logit lens tells after each layer which of the two things is ahead; how often the lead
changes is the number of switches.
"""

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.interference.conflict.balance import Bin, Fit, NearAndFar, binned, fit, near_and_far
from analysis.result import Provenance, Result
from models.errors import InputError
from models.instruments import LogitLens

if TYPE_CHECKING:
    from analysis.interference.conflict.triplets import Triplet
    from models.encoding import Encoded
    from models.mllm import MLLM

_TOKENS = 12  # of an answer: enough for a sentence that names one thing
_LENS_NUMBERS = 2e7  # log-probabilities that one forward may keep


@dataclass(frozen=True, kw_only=True)
class Conflicts(Result):
    """What a model did with conflicts; arrays are ``[items]``.

    ``entropy_text``, ``entropy_image`` in nats, ``relative`` = dH_rel; ``right_text``, ``right_image``: right from
    that side alone; ``followed`` is 1 (text), 0 (picture) or -1 (neither, or both). ``counted`` items are right from
    either side alone and follow one: ``fitted``, ``bins`` and ``oscillation`` are about them. ``switches`` counts
    changes of the lead between layers; not-a-number where both names begin with the same token, or no lens was asked.
    """

    seen: tuple[str, ...]
    told: tuple[str, ...]
    tiers: tuple[str, ...]
    occlusion: np.ndarray
    answers: tuple[str, ...]
    entropy_text: np.ndarray
    entropy_image: np.ndarray
    relative: np.ndarray
    right_text: np.ndarray
    right_image: np.ndarray
    followed: np.ndarray
    switches: np.ndarray
    fitted: Fit
    bins: tuple[Bin, ...]
    oscillation: NearAndFar | None

    @property
    def counted(self) -> np.ndarray:
        return self.right_text & self.right_image & (self.followed >= 0)

    @property
    def following_text(self) -> float:
        """TFR: the share of the counted items that follow the text; not-a-number where none counts."""
        return float(self.followed[self.counted].mean()) if self.counted.any() else float("nan")

    def table(self) -> tuple[list[str], list[list]]:
        header = [
            "seen", "told", "text", "occlusion", "answer", "entropy_text", "entropy_image", "relative_uncertainty",
            "right_from_text", "right_from_image", "followed_text", "switches",
        ]  # fmt: skip
        columns = (
            self.seen, self.told, self.tiers, self.occlusion, self.answers, self.entropy_text, self.entropy_image,
            self.relative, self.right_text, self.right_image, self.followed, self.switches,
        )  # fmt: skip
        return header, [list(row) for row in zip(*columns, strict=True)]


def relative_uncertainty(text: np.ndarray, image: np.ndarray) -> np.ndarray:
    """dH_rel = 2 (H_t - H_v) / (H_t + H_v) of entropies; 0 where both are 0."""
    text, image = np.asarray(text, dtype=float), np.asarray(image, dtype=float)
    total = text + image
    return np.divide(2 * (text - image), total, out=np.zeros_like(total), where=total > 0)


def switches(margin: np.ndarray) -> np.ndarray:
    """How often the lead changes along the last axis of ``margin`` ``[..., layers]``; a tie keeps the lead."""
    ahead = np.sign(np.asarray(margin, dtype=float))
    for layer in range(1, ahead.shape[-1]):
        tied = ahead[..., layer] == 0
        ahead[..., layer] = np.where(tied, ahead[..., layer - 1], ahead[..., layer])
    return (ahead[..., 1:] * ahead[..., :-1] < 0).sum(-1)


def follows(answer: str, seen: str, told: str) -> int:
    """1 where an answer names ``told`` alone, 0 where it names ``seen`` alone, else -1."""
    named = [bool(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", answer, re.IGNORECASE)) for word in (seen, told)]
    return named.index(True) if sum(named) == 1 else -1


def measure(
    model: "MLLM",
    items: "Sequence[Triplet]",
    checkpoint: str = "base",
    layers: bool = True,
    batch: int = 32,
    seed: int | None = None,
    progress: Callable[[float, str], None] = lambda share, what: None,
) -> Conflicts:
    """Ask every item three times: from its text alone, from its picture alone, from both.

    With ``layers`` the logit lens listens in on the third. ``seed`` is the items', for the record. ``progress`` is
    told between the three; what it raises stops the work. Raises ``InputError`` where there are no items,
    ``ModelError`` where memory is short or a logit lens cannot read this model.
    """
    if not items:
        raise InputError("There are no conflicts to measure: give at least one.")
    began, pictures = time.perf_counter(), [item.picture() for item in items]
    prompts = {
        "text": [model.encode(None, f"{item.text} {item.question}") for item in items],
        "picture": [model.encode(p, item.question) for item, p in zip(items, pictures, strict=True)],
        "both": [model.encode(p, f"{item.text} {item.question}") for item, p in zip(items, pictures, strict=True)],
    }
    entropy, answers, margin = {}, {}, None
    for i, (side, asked) in enumerate(prompts.items()):
        progress(i / len(prompts), f"from {side}" if side != "both" else "from both")
        answers[side] = model.answers(asked, checkpoint, _TOKENS, batch)
        if side != "both":
            entropy[side] = _entropies(model, asked, checkpoint, batch)
        elif layers:
            firsts = [_first_tokens(model, p, item) for p, item in zip(asked, items, strict=True)]
            margin = _margins(model, asked, np.array(firsts), checkpoint, batch)
    progress(1.0, "done")
    pairs = [(item.seen, item.told) for item in items]
    side = {k: np.array([follows(a, *p) for a, p in zip(v, pairs, strict=True)]) for k, v in answers.items()}
    relative = relative_uncertainty(entropy["text"], entropy["picture"])
    right_text, right_image = side["text"] == 1, side["picture"] == 0
    counted = right_text & right_image & (side["both"] >= 0)
    changes = np.full(len(items), np.nan)
    if margin is not None:
        told_apart = ~np.isnan(margin).any(1)
        changes[told_apart] = switches(margin[told_apart])
    fitted = fit(relative[counted], side["both"][counted])
    located = not np.isnan(fitted.low)
    return Conflicts(
        provenance=Provenance(**model.provenance(checkpoint, seed, time.perf_counter() - began)),
        seen=tuple(item.seen for item in items),
        told=tuple(item.told for item in items),
        tiers=tuple(item.tier for item in items),
        occlusion=np.array([item.occlusion for item in items]),
        answers=tuple(answers["both"]),
        entropy_text=entropy["text"],
        entropy_image=entropy["picture"],
        relative=relative,
        right_text=right_text,
        right_image=right_image,
        followed=side["both"],
        switches=changes,
        fitted=fitted,
        bins=binned(relative[counted], side["both"][counted]),
        oscillation=near_and_far(relative[counted], changes[counted], fitted.balance) if located else None,
    )


@dataclass(frozen=True, kw_only=True)
class Oscillation(Result):
    """Which of two things is ahead after each layer, for one input.

    ``margin`` ``[layers]``: log-probability of the first token of ``told`` minus that of ``seen``, nats; above zero
    the text leads. ``switches``: how often the lead changes.
    """

    seen: str
    told: str
    margin: np.ndarray
    switches: int

    @property
    def leaders(self) -> tuple[str, ...]:
        """The thing ahead after each layer."""
        return tuple(self.told if m > 0 else self.seen for m in self.margin)

    def table(self) -> tuple[list[str], list[list]]:
        rows = zip(self.leaders, self.margin, strict=True)
        return ["layer", "ahead", "margin"], [[i, *row] for i, row in enumerate(rows)]


def oscillation(model: "MLLM", prompt: "Encoded", seen: str, told: str, checkpoint: str = "base") -> Oscillation:
    """The lead between two answers to ``prompt`` after each layer, by the logit lens.

    Raises ``InputError`` where both begin with the same token, ``ModelError`` where a lens cannot read this model.
    """
    began = time.perf_counter()
    firsts = [model.encoder.continuation(prompt, word)[0] for word in (seen, told)]
    if firsts[0] == firsts[1]:
        raise InputError(
            f"“{seen}” and “{told}” begin with the same token, so the lens at the answer's first token cannot tell "
            "them apart. Choose answers that begin differently."
        )
    margin = _margins(model, [prompt], np.array([firsts]), checkpoint, 1)[0]
    by = Provenance(**model.provenance(checkpoint, seconds=time.perf_counter() - began))
    return Oscillation(provenance=by, seen=seen, told=told, margin=margin, switches=int(switches(margin)))


def _first_tokens(model: "MLLM", prompt: "Encoded", item: "Triplet") -> list[int]:
    return [model.encoder.continuation(prompt, word)[0] for word in (item.seen, item.told)]


def _batches(prompts: Sequence["Encoded"], rows: int) -> Iterator[np.ndarray]:
    """Indices of prompts of one length, at most ``rows`` at once."""
    lengths = np.array([p.length for p in prompts])
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        yield from (same[i : i + rows] for i in range(0, len(same), rows))


def _entropies(model: "MLLM", prompts: Sequence["Encoded"], checkpoint: str, batch: int) -> np.ndarray:
    """Entropy of the next-token distribution after each prompt, nats, ``[prompts]``."""
    found = np.zeros(len(prompts))
    for index in _batches(prompts, batch):
        logprobs = model.forward([prompts[i] for i in index], checkpoint).logits.log_softmax(-1)
        found[index] = -(logprobs.exp() * logprobs).sum(-1).double().cpu().numpy()
    return found.clip(min=0.0)


def _margins(model, prompts: Sequence["Encoded"], firsts: np.ndarray, checkpoint: str, batch: int) -> np.ndarray:
    """Log-probability of token ``firsts[:, 1]`` minus that of ``firsts[:, 0]`` after each layer, nats, ``[prompts,
    layers]``; not-a-number where both are the same token."""
    config = model.model.config.get_text_config()
    each = config.num_hidden_layers * config.vocab_size
    found = np.full((len(prompts), config.num_hidden_layers), np.nan)
    for index in _batches(prompts, max(min(batch, int(_LENS_NUMBERS // each)), 1)):
        asked = [prompts[i] for i in index]
        lens = model.forward(asked, checkpoint, [LogitLens(k=sys.maxsize)]).readings.lens
        for row, i in enumerate(index):
            if firsts[i, 0] != firsts[i, 1]:
                seen, told = (_of_token(lens, row, token) for token in firsts[i])
                found[i] = told - seen
    return found


def _of_token(lens, row: int, token: int) -> np.ndarray:
    """Log-probability of one token after each layer, ``[layers]``, from a lens of the whole vocabulary."""
    ids, logprobs = lens.ids[:, row, 0], lens.logprobs[:, row, 0]
    return logprobs[np.arange(len(ids)), (ids == token).argmax(1)].astype(float)
