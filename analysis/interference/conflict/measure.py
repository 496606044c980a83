"""Modality conflict: picture and text name different things, and the answer follows one of them.

After "When Modalities Conflict" (arXiv 2511.02243). H is the entropy (nats) of the next-token distribution at the
answer token: H_t from text and question alone, H_v from picture and question alone. Relative uncertainty is
dH_rel = 2 (H_t - H_v) / (H_t + H_v), in [-2, 2], below zero where the model is surer in the text. Among items that it
answers rightly from either alone, P(follow text) is fitted as a logistic function of dH_rel; the balance point is
where that is 1/2. Inside, the logit lens tells after each layer which of the two things is ahead; how often the lead
changes is the number of switches.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.interference.conflict.balance import Bin, Fit, NearAndFar, binned, fit, near_and_far
from analysis.interference.conflict.inside import entropies, first_tokens, margins, relative_uncertainty, switches
from analysis.interference.conflict.triplets import digest, triplets
from analysis.result import Provenance, Result, plain
from analysis.statistics import Estimate, mean
from analysis.table import Table
from models.checkpoints import BASE
from models.embedded.concepts import TASKS
from models.errors import InputError, ModelError, OutOfMemory

if TYPE_CHECKING:
    from analysis.interference.conflict.triplets import Triplet
    from models import fingerprint
    from models.mllm import MLLM

ITEMS, FEWEST, MOST = 300, 9, 1800
"""How many conflicts: usually, and at least and at most on the page."""
THINGS = (BASE, *TASKS)
"""Whose concepts are drawn: the base's, or those that one task taught."""
TOKENS = 12  # of an answer: enough for a sentence that names one thing
_ROOM, _VERSION = "conflict", 1
_AT_ONCE = 64  # items whose pictures are in memory


@dataclass(frozen=True)
class Tier:
    """Items of one difficulty of one side, ``"picture"`` (share covered) or ``"text"`` (its wording).

    ``right`` of ``n`` are answered rightly from that side alone; ``followed`` is the share of the ``counted`` ones
    that follow the text, unknown where none counts.
    """

    side: str
    name: str
    right: Estimate
    followed: Estimate

    @property
    def n(self) -> int:
        return self.right.n

    @property
    def counted(self) -> int:
        return self.followed.n

    def to_json(self) -> dict:
        return {
            "side": self.side, "name": self.name, "n": self.n, "right": self.right.value,
            "right_interval": (self.right.low, self.right.high), "counted": self.counted,
            "followed": self.followed.value, "followed_interval": (self.followed.low, self.followed.high),
        }  # fmt: skip


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
    def following_text(self) -> Estimate:
        """TFR: the share of the counted items that follow the text; unknown where none counts."""
        return mean(self.followed[self.counted])

    @property
    def by_tier(self) -> tuple[Tier, ...]:
        """Each difficulty of the picture, then each of the text, in order of appearance."""
        sides = (("picture", [f"{v:.0%} covered" for v in self.occlusion], self.right_image),
                 ("text", self.tiers, self.right_text))  # fmt: skip
        found = []
        for side, names, right in sides:
            for name in dict.fromkeys(names):
                some = np.array([n == name for n in names])
                follow = self.followed[some & self.counted]
                found.append(Tier(side, name, mean(right[some]), mean(follow)))
        return tuple(found)

    def to_json(self) -> dict:
        tfr = self.following_text
        headline = {
            "n": len(self.seen), "counted": tfr.n, "following_text": tfr.value,
            "following_text_interval": (tfr.low, tfr.high), "by_tier": [tier.to_json() for tier in self.by_tier],
        }  # fmt: skip
        return plain(headline) | super().to_json()

    def table(self) -> Table:
        header = [
            "seen", "told", "text", "occlusion", "answer", "entropy_text", "entropy_image", "relative_uncertainty",
            "right_from_text", "right_from_image", "followed_text", "switches",
        ]  # fmt: skip
        columns = (
            self.seen, self.told, self.tiers, self.occlusion, self.answers, self.entropy_text, self.entropy_image,
            self.relative, self.right_text, self.right_image, self.followed, self.switches,
        )  # fmt: skip
        return Table(header, [list(row) for row in zip(*columns, strict=True)])


def follows(answer: str, seen: str, told: str) -> int:
    """1 where an answer names ``told`` alone, 0 where it names ``seen`` alone, else -1.

    A single letter or figure counts where it is the whole answer: ``"A bee."`` does not choose option A.
    """
    named = [_names(answer, word.strip()) for word in (seen, told)]
    return named.index(True) if sum(named) == 1 else -1


def _names(answer: str, word: str) -> bool:
    if len(word) == 1:
        return answer.strip(" .()").casefold() == word.casefold()
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", answer, re.IGNORECASE) is not None


def measured(
    model: "MLLM | fingerprint.Unopened",
    checkpoint: str = BASE,
    count: int = ITEMS,
    seed: int = 0,
    things: str = BASE,
    progress: kept.Progress = kept.quiet,
    only_kept: bool = False,
) -> Conflicts | None:
    """``count`` conflicts of the drawn scenes about ``things`` of ``THINGS``, measured once and kept on disk.

    With ``only_kept`` None where they were not measured before, and ``model`` need not be open. Raises ``InputError``
    for a number of items or a seed that is none, or unknown things, else as ``asked`` does; what ``progress`` raises
    stops the work.
    """
    for name, value, low, high in (("number of items", count, FEWEST, MOST), ("seed", seed, 0, 10**6)):
        if isinstance(value, bool) or value != int(value) or not low <= value <= high:
            raise InputError(f"The {name} is {value!r}: it must be a whole number from {low} to {high}.")
    if things not in THINGS:
        raise InputError(f"There are no things {things!r} to draw. There are those of: {', '.join(THINGS)}.")
    items = triplets(int(count), int(seed), things)
    cell = kept.Cell(checkpoint, {"data": digest(items)}, f"conflicts of {checkpoint}", len(items), seed=int(seed))
    ask = lambda cell, places: asked(model, items, checkpoint, places)  # noqa: E731
    (raw,) = kept.gathered(_ROOM, _VERSION, model, [cell], ask, progress, only_kept)
    return raw and told_by(raw)


def asked(
    model: "MLLM",
    items: "Sequence[Triplet]",
    checkpoint: str = BASE,
    places: Sequence[int] | None = None,
    layers: bool = True,
    batch: int = 32,
) -> Iterator[tuple[int, dict]]:
    """Ask the items (at ``places``) three times: from the text alone, from the picture alone, from both; each with its
    place and raw, as ``told_by`` reads them.

    With ``layers`` the logit lens listens in on the third, where it can read this model. Raises ``OutOfMemory`` where
    memory does not suffice for a single prompt.
    """
    places = range(len(items)) if places is None else places
    for start in range(0, len(places), _AT_ONCE):
        block = places[start : start + _AT_ONCE]
        some = [items[i] for i in block]
        pictures = [item.picture() for item in some]
        written = {
            "text": [(None, f"{i.text} {i.question}") for i in some],
            "picture": [(p, i.question) for i, p in zip(some, pictures, strict=True)],
            "both": [(p, f"{i.text} {i.question}") for i, p in zip(some, pictures, strict=True)],
        }
        rows = [
            {"answers": {}, "entropy": {}, "switches": None, "seen": i.seen, "told": i.told, "tiers": i.tier,
             "occlusion": i.occlusion}
            for i in some
        ]  # fmt: skip
        for side, questions in written.items():
            prompts = [model.encode(*one) for one in questions]
            answers = model.answers(prompts, checkpoint, TOKENS, batch)
            entropy = entropies(model, prompts, checkpoint, batch).tolist() if side != "both" else ()
            changes = _switches(model, prompts, some, checkpoint, batch) if side == "both" and layers else ()
            for row, answer in zip(rows, answers, strict=True):
                row["answers"][side] = answer
            for row, value in zip(rows, entropy, strict=False):
                row["entropy"][side] = value
            for row, value in zip(rows, changes, strict=False):
                row["switches"] = value
        yield from zip(block, rows, strict=True)


def _switches(model, prompts, items, checkpoint: str, batch: int) -> list[int | None]:
    """Changes of the lead in each prompt; None where both names begin with the same token, or no lens can read it."""
    firsts = [first_tokens(model, p, item.seen, item.told) for p, item in zip(prompts, items, strict=True)]
    try:
        margin = margins(model, prompts, np.array(firsts), checkpoint, batch)
    except OutOfMemory:
        raise
    except ModelError:  # all else can be told without a lens
        return [None] * len(prompts)
    return [None if np.isnan(row).any() else int(switches(row)) for row in margin]


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
        provenance=Provenance(**raw["provenance"]),
        seen=tuple(raw["seen"]),
        told=tuple(raw["told"]),
        tiers=tuple(raw["tiers"]),
        occlusion=np.array(raw["occlusion"], dtype=float),
        answers=tuple(raw["answers"]["both"]),
        entropy_text=entropy["text"],
        entropy_image=entropy["picture"],
        relative=relative,
        right_text=right_text,
        right_image=right_image,
        followed=side["both"],
        switches=changes,
        fitted=fitted,
        bins=binned(relative[counted], side["both"][counted]),
        oscillation=near_and_far(relative[counted], changes[counted], fitted.balance.value) if located else None,
    )
