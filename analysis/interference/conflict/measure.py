"""Modality conflict: picture and text name different things, and the answer follows one of them.

After "When Modalities Conflict" (arXiv 2511.02243). H is the entropy (nats) of the next-token distribution at the
answer token: H_t from text and question alone, H_v from picture and question alone. Relative uncertainty is
dH_rel = 2 (H_t - H_v) / (H_t + H_v), in [-2, 2], below zero where the model is surer in the text. Among items that it
answers rightly from either alone, P(follow text) is fitted as a logistic function of dH_rel; the balance point is
where that is 1/2. Inside, the logit lens tells after each layer which of the two things is ahead; how often the lead
changes is the number of switches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.interference.conflict.balance import Bin, Fit, NearAndFar, binned, fit, near_and_far
from analysis.result import Provenance, Result, plain
from analysis.statistics import Estimate, mean
from analysis.table import Table
from models import catalog
from models.answers import follows
from models.checkpoints import BASE
from models.embedded import taught
from models.embedded.concepts import TASKS
from models.embedded.conflict_sets import COVERS, OCCLUSIONS, RELIABILITY, WORDINGS, Triplet, digest, triplets
from models.errors import InputError, ModelError, OutOfMemory
from models.margins import entropies, margins, switched

if TYPE_CHECKING:
    from models import fingerprint
    from models.mllm import MLLM

TRAINED = f"{catalog.EMBEDDED} (conflict)"  # as the catalog calls those checkpoints that were trained whom to believe
ITEMS, FEWEST, MOST = 300, 9, 1800
"""How many conflicts: usually, and at least and at most on the page."""
THINGS = (BASE, *TASKS)
"""Whose concepts are drawn: the base's, or those that one task taught."""
TIERS = {"usual": (WORDINGS, OCCLUSIONS), "trained": (tuple(RELIABILITY), tuple(COVERS))}
"""Wordings and covers: the usual ones, or those that the conflict checkpoints were trained with."""
TOKENS = 12  # of an answer: enough for a sentence that names one thing
_ROOM, _VERSION = "conflict", 1
_AT_ONCE = 64  # items whose pictures are in memory


@dataclass(frozen=True)
class Tier:
    """Items of one difficulty of one side, ``"picture"`` (share covered) or ``"text"`` (its wording).

    ``right``: the share that is answered rightly from that side alone; ``followed`` is the share of those that count
    that follow the text, unknown where none counts.
    """

    side: str
    name: str
    right: Estimate
    followed: Estimate

    def to_json(self) -> dict:
        return {
            "side": self.side, "name": self.name, "n": self.right.n, "right": self.right.value,
            "right_interval": (self.right.low, self.right.high), "counted": self.followed.n,
            "followed": self.followed.value, "followed_interval": (self.followed.low, self.followed.high),
        }


@dataclass(frozen=True, kw_only=True)
class Conflicts(Result):
    """What a model did with conflicts; arrays are ``[items]``.

    ``entropy_text``, ``entropy_image`` in nats, ``relative`` = dH_rel; ``right_text``, ``right_image``: right from
    that side alone; ``followed`` is 1 (text), 0 (picture) or -1 (neither, or both). ``counted`` items are right from
    either side alone and follow one: ``fitted``, ``bins`` and ``oscillation`` are about them. ``switches`` counts
    changes of the lead between layers; not-a-number where both names begin with the same token, or without a lens.
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
    def unseen(self) -> list[str]:
        """What is drawn that a checkpoint of the embedded default was not shown in training, with articles."""
        by = self.provenance
        things = taught.unseen(" ".join(self.seen), by.checkpoint) if catalog.embedded(by.model) else ()
        return [thing.a for thing in things]

    @property
    def following_text(self) -> Estimate:
        """TFR: the share of the counted items that follow the text; unknown where none counts."""
        return mean(self.followed[self.counted])

    @property
    def by_tier(self) -> tuple[Tier, ...]:
        """Each difficulty of the picture, then each of the text, in order of appearance."""
        covered, found = [f"{v:.0%} covered" for v in self.occlusion], []
        for side, names, right in (("picture", covered, self.right_image), ("text", self.tiers, self.right_text)):
            for name in dict.fromkeys(names):
                some = np.array([n == name for n in names])
                found.append(Tier(side, name, mean(right[some]), mean(self.followed[some & self.counted])))
        return tuple(found)

    def to_json(self) -> dict:
        tfr = self.following_text
        headline = {
            "n": len(self.seen), "counted": tfr.n, "following_text": tfr.value,
            "following_text_interval": (tfr.low, tfr.high), "by_tier": [tier.to_json() for tier in self.by_tier],
        }
        return plain(headline) | super().to_json()

    def table(self) -> Table:
        columns = {
            "seen": self.seen, "told": self.told, "text": self.tiers, "occlusion": self.occlusion,
            "answer": self.answers, "entropy_text": self.entropy_text, "entropy_image": self.entropy_image,
            "relative_uncertainty": self.relative, "right_from_text": self.right_text,
            "right_from_image": self.right_image, "followed_text": self.followed, "switches": self.switches,
        }
        return Table([*columns], [list(row) for row in zip(*columns.values(), strict=True)])


def relative_uncertainty(text: np.ndarray, image: np.ndarray) -> np.ndarray:
    """dH_rel = 2 (H_t - H_v) / (H_t + H_v) of entropies; 0 where both are 0."""
    text, image = np.asarray(text, dtype=float), np.asarray(image, dtype=float)
    total = text + image
    return np.divide(2 * (text - image), total, out=np.zeros_like(total), where=total > 0)


def measured(
    model: "MLLM | fingerprint.Unopened", checkpoint: str = BASE, count: int = ITEMS, seed: int = 0,
    things: str = BASE, progress: kept.Progress = kept.quiet, only_kept: bool = False, tiers: str = "usual",
) -> Conflicts | None:
    """``count`` conflicts of the drawn scenes about ``things`` of ``THINGS``, as hard as ``tiers`` of ``TIERS`` say,
    measured once and kept on disk.

    With ``only_kept`` None where they were not measured before, and ``model`` need not be open. Raises ``InputError``
    for a number of items or a seed that is none, or unknown things or tiers, else as ``asked`` does; what ``progress``
    raises stops the work.
    """
    for name, value, low, high in (("number of items", count, FEWEST, MOST), ("seed", seed, 0, 10**6)):
        if isinstance(value, bool) or value != int(value) or not low <= value <= high:
            raise InputError(f"The {name} is {value!r}: it must be a whole number from {low} to {high}.")
    for what, value, known in (("things", things, THINGS), ("tiers", tiers, TIERS)):
        if value not in known:
            raise InputError(f"There are no {what} {value!r} to draw. There are those of: {', '.join(known)}.")
    items = triplets(int(count), int(seed), things, *TIERS[tiers])
    cell = kept.Cell(checkpoint, {"data": digest(items)}, f"conflicts of {checkpoint}", len(items), seed=int(seed))
    ask = lambda cell, places: asked(model, items, checkpoint, places)  # noqa: E731
    (raw,) = kept.gathered(_ROOM, _VERSION, model, [cell], ask, progress, only_kept)
    return raw and told_by(raw)


def asked(
    model: "MLLM", items: Sequence[Triplet], checkpoint: str = BASE, places: Sequence[int] | None = None,
    layers: bool = True, batch: int = 32,
) -> Iterator[tuple[int, dict]]:
    """Ask the items (at ``places``) three times: from the text alone, from the picture alone, from both; each with its
    place and raw, as ``told_by`` reads them.

    With ``layers`` the logit lens listens in on the third, where it can read this model: ``switches`` is None where it
    cannot, or both names begin with the same token. Raises ``OutOfMemory`` where memory does not suffice for a single
    prompt.
    """
    places = range(len(items)) if places is None else places
    for start in range(0, len(places), _AT_ONCE):
        block = places[start : start + _AT_ONCE]
        some = [items[i] for i in block]
        pictures = [item.picture() for item in some]
        answers, entropy, changes = {}, {}, [None] * len(some)
        for side in ("text", "picture", "both"):
            text = ["" if side == "picture" else f"{i.text} " for i in some]
            seen = [None if side == "text" else picture for picture in pictures]
            prompts = [model.encode(p, t + i.question) for p, t, i in zip(seen, text, some, strict=True)]
            answers[side] = model.answers(prompts, checkpoint, TOKENS, batch)
            if side != "both":
                entropy[side] = entropies(model, prompts, checkpoint, batch).tolist()
        if layers:
            firsts = [
                [model.encoder.continuation(prompt, word)[0] for word in (i.seen, i.told)]
                for prompt, i in zip(prompts, some, strict=True)
            ]
            try:
                read = margins(model, prompts, np.array(firsts), checkpoint, batch)
                changes = [None if np.isnan(row).any() else int(switched(row).sum()) for row in read]
            except OutOfMemory:
                raise
            except ModelError:  # all else can be told without a lens
                pass
        for n, (place, item) in enumerate(zip(block, some, strict=True)):
            yield place, {
                "answers": {side: of[n] for side, of in answers.items()},
                "entropy": {side: of[n] for side, of in entropy.items()},
                "switches": changes[n], "seen": item.seen, "told": item.told, "tiers": item.tier,
                "occlusion": item.occlusion,
            }


def told_by(raw: dict) -> Conflicts:
    """The result of what ``asked`` gave of all items, its fields as lists, and ``provenance``."""
    pairs = list(zip(raw["seen"], raw["told"], strict=True))
    side = {
        k: np.array([follows(a, *pair) for a, pair in zip(v, pairs, strict=True)]) for k, v in raw["answers"].items()
    }
    entropy = {k: np.array(v, dtype=float) for k, v in raw["entropy"].items()}
    relative = relative_uncertainty(entropy["text"], entropy["picture"])
    right_text, right_image = side["text"] == 1, side["picture"] == 0
    counted = right_text & right_image & (side["both"] >= 0)
    changes = np.array(raw["switches"], dtype=float)
    fitted = fit(relative[counted], side["both"][counted])
    located = not np.isnan(fitted.balance.low)
    return Conflicts(
        provenance=Provenance(**raw["provenance"]), seen=tuple(raw["seen"]), told=tuple(raw["told"]),
        tiers=tuple(raw["tiers"]), occlusion=np.array(raw["occlusion"], dtype=float),
        answers=tuple(raw["answers"]["both"]), entropy_text=entropy["text"], entropy_image=entropy["picture"],
        relative=relative, right_text=right_text, right_image=right_image, followed=side["both"], switches=changes,
        fitted=fitted, bins=binned(relative[counted], side["both"][counted]),
        oscillation=near_and_far(relative[counted], changes[counted], fitted.balance.value) if located else None,
    )
