"""One query in every phase: the names nearest to a picture, or the pictures nearest to words; as HTML and in words."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image

from analysis.embedding_space.measure import Phase
from analysis.embedding_space.pairs import Pairs
from analysis.embedding_space.space import unit
from models.errors import InputError

if TYPE_CHECKING:
    from analysis.embedding_space.result import Space
    from models.dual_encoder import DualEncoder

TOP = 5
_LONGEST = 500  # letters of a query that are read
_names: "WeakKeyDictionary[DualEncoder, dict]" = WeakKeyDictionary()
_filling = threading.Lock()


@dataclass(frozen=True)
class Found:
    """What is nearest to a query in one phase, nearest first: places among the pairs, their texts, and the cosines.

    ``among`` is how many candidates there were.
    """

    phase: str
    places: tuple[int, ...]
    texts: tuple[str, ...]
    cosines: tuple[float, ...]
    among: int


def by_picture(
    encoder: "DualEncoder",
    pairs: Pairs,
    phases: Sequence[Phase],
    picture: Image.Image,
    progress: Callable[[float, str], None] = lambda share, what: None,
) -> list[Found]:
    """The ``TOP`` nearest of all different texts in every phase. The texts are embedded once for each encoder."""
    checkpoints = [phase.checkpoint for phase in phases]
    _, first = np.unique(np.asarray(pairs.texts, dtype=str), return_index=True)
    words = _words(encoder, pairs, checkpoints, progress)[:, first]
    query = encoder.images([picture], checkpoints)[:, 0]
    return [_found(p.label, w @ q, first, pairs.texts) for p, w, q in zip(phases, words, query, strict=True)]


def by_words(encoder: "DualEncoder", space: "Space", phases: Sequence[Phase], words: str) -> list[Found]:
    """The ``TOP`` nearest of all pictures, in every phase of ``space``. Raises ``InputError`` for no words."""
    if not words or not words.strip():
        raise InputError("There are no words to search by: write some.")
    query = encoder.texts([words.strip()[:_LONGEST]], [phase.checkpoint for phase in phases])[:, 0]
    places, pictures = space.shown, space.images
    if space.gallery is not None:
        places, pictures = np.arange(space.n), unit(space.gallery)
    return [_found(p.label, v @ q, places, space.texts) for p, v, q in zip(phases, pictures, query, strict=True)]


def _words(encoder: "DualEncoder", pairs: Pairs, checkpoints: list, progress: Callable) -> np.ndarray:
    key = (pairs.data, *map(str, checkpoints))
    with _filling:
        known = _names.setdefault(encoder, {})
        if key not in known:
            known.clear()  # one set of pairs at a time
            known[key] = encoder.texts(pairs.texts, checkpoints, progress)
        return known[key]


def _found(phase: str, near: np.ndarray, places: np.ndarray, texts: Sequence[str]) -> Found:
    best = np.argsort(-near, kind="stable")[:TOP]
    at = tuple(int(places[i]) for i in best)
    return Found(phase, at, tuple(texts[p] for p in at), tuple(float(near[i]) for i in best), len(near))


def answers(found: Sequence[Found], uris: dict[int, str] | None = None) -> str:
    """The nearest to one query in every phase, side by side; ``uris`` are pictures by place, where those are sought."""
    columns = []
    before: tuple[str, ...] = ()
    for of in found:
        rows = "".join(
            f"<li>{_thumb(uris, place)}<span>{escape(text)}</span> <small>{cosine:.2f}</small>"
            f"{' <em>new</em>' if before and text not in before else ''}</li>"
            for place, text, cosine in zip(of.places, of.texts, of.cosines, strict=True)
        )
        columns.append(f"<section><h4>{escape(of.phase)}</h4><ol>{rows}</ol></section>")
        before = of.texts
    key = f"The nearest of {found[0].among} candidates in every phase, with their cosine; new: not there before."
    return f'<div class="by-phase">{"".join(columns)}</div><p class="key">{key}</p>'


def _thumb(uris: dict[int, str] | None, place: int) -> str:
    return f'<img src="{uris[place]}" alt="">' if uris else ""


def answers_sentence(found: Sequence[Found], query: str) -> str:
    """How the answer to one query changes, in plain words."""
    first, last = found[0], found[-1]
    kept = len(set(first.texts) & set(last.texts))
    if len(found) == 1:
        return f"For {query} the nearest is “{first.texts[0]}”."
    top = (
        f"stays “{first.texts[0]}”" if first.texts[0] == last.texts[0]
        else f"goes from “{first.texts[0]}” to “{last.texts[0]}”"
    )
    return f"For {query} the nearest {top}; {kept} of the first {len(first.texts)} are still there after {last.phase}."
