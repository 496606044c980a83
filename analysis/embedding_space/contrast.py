"""The contrastive matrix of a few chosen pairs, before and after: rows that went wrong, its section."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np

from analysis.embedding_space import spaces
from analysis.embedding_space.figure import heat, short
from analysis.embedding_space.figure import names as named
from analysis.embedding_space.result import Space
from analysis.embedding_space.spaces import GO, Spaces, keys_of, loaded, phase_of, uri
from analysis.form import DRAW, One, Words, pick
from analysis.section import SET, Asked, Section, Shown, Try, View
from analysis.table import SCROLL
from analysis.wording import number, signed
from models.errors import InputError

MOST = 40  # chosen pairs above which a matrix cannot be read
VIEWS = ("after", "before", "change")
_ROWS = 12  # pairs of a matrix, at first
_EVERY = "a mix of all domains"
_SAME = 1e-6  # of a cosine, below which two are as near


@dataclass(frozen=True)
class Contrast:
    """Cosines M = V T' ``[k, k]`` of k chosen pairs, rows pictures, columns texts, in two phases.

    ``chosen`` are places among the pairs shown. ``right_before`` and ``right_after``: whether a row's largest entry is
    its own text's (or that of a pair with the same text); ties count as wrong. ``wrong``: rows that were right before
    and are not after. ``preferred[i]``: columns now at least as near to picture i as its own text, nearest first.
    ``diagonal`` and ``off_diagonal``: mean change of the cosine of true pairs, and of all others.
    """

    phases: tuple[str, str]
    chosen: tuple[int, ...]
    texts: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray
    right_before: np.ndarray
    right_after: np.ndarray
    wrong: tuple[int, ...]
    preferred: tuple[tuple[int, ...], ...]
    diagonal: float
    off_diagonal: float


def contrast(space: Space, chosen: Sequence[int], before: int = 0, after: int = -1) -> Contrast:
    """The matrices of the pairs at places ``chosen`` of those shown.

    Raises ``InputError`` for fewer than 2 pairs, more than ``MOST``, the same one twice, or one that is not shown.
    """
    places = [int(c) for c in chosen]
    if not 2 <= len(places) <= MOST or len(set(places)) < len(places):
        raise InputError(f"Choose 2 to {MOST} different pairs, not {len(places)}.")
    if not all(0 <= p < len(space.shown) for p in places):
        raise InputError(f"There are {len(space.shown)} pairs to choose from, numbered from 0.")
    texts = tuple(space.texts[space.shown[p]] for p in places)
    old, new = (space.images[phase, places] @ space.words[phase, places].T.astype(float) for phase in (before, after))
    names = np.asarray(texts, dtype=str)
    own = names[:, None] == names[None, :]
    best = [np.where(own, matrix, -np.inf).max(1, keepdims=True) for matrix in (old, new)]  # of the right ones
    nearer = [(matrix >= least - _SAME) & ~own for matrix, least in zip((old, new), best, strict=True)]
    right = [~n.any(1) for n in nearer]
    pairs = zip(new, nearer[1], strict=True)
    true = np.eye(len(places), dtype=bool)
    return Contrast(
        (space.phases[before], space.phases[after]), tuple(places), texts, old, new, *right,
        tuple(np.flatnonzero(right[0] & ~right[1]).tolist()),
        tuple(tuple(j for j in np.argsort(-row, kind="stable").tolist() if n[j]) for row, n in pairs),
        float((new - old)[true].mean()), float((new - old)[~true].mean()),
    )


def table(found: Contrast, uris: Sequence[str], chosen: int | None = None, view: str = "after") -> str:
    """The matrix of one of ``VIEWS`` as a table; pictures are buttons, ``data-pick`` the row, those gone wrong marked.

    ``uris`` are the pictures of the rows.
    """
    values = {"after": found.after, "before": found.before, "change": found.after - found.before}[view]
    low, high = (0.0, float(np.abs(values).max())) if view == "change" else (float(values.min()), float(values.max()))
    shades = (np.abs(values) if view == "change" else values - low) / max(1e-9, high - low)
    head = "".join(
        f'<th scope="col" title="{escape(text)}"><span>{escape(short(text, 16))}</span></th>' for text in found.texts
    )
    rows = []
    for i, text in enumerate(found.texts):
        state = "gone wrong" if i in found.wrong else "right" if found.right_after[i] else "wrong before and after"
        cells = []
        for j, value in enumerate(values[i]):
            marks = (
                ("own", j == i), ("best", view != "change" and value == values[i].max()),
                ("less", view == "change" and value < 0),
            )  # fmt: skip
            cells.append(
                f'<td class="{" ".join(css for css, on in marks if on)}" style="--a:{shades[i, j]:.2f}" '
                f'title="{escape(f"picture {text}, text {found.texts[j]}: {_went(found, i, j)}")}">'
                f"{number(value, 2, sign=view == 'change')}</td>"
            )
        label = escape(f"{text}: {state}. Show what is preferred now.")
        pressed = ' aria-pressed="true"' if i == chosen else ""
        sign = "✗ " if i in found.wrong else ""
        rows.append(
            f'<tr class="{"lost" if sign else ""}"><th scope="row"><button type="button" data-to="row" '
            f'data-set=\'{{"row": "{i}"}}\' '
            f'aria-label="{label}" title="{label}"{pressed}><img src="{uris[i]}" alt="">'
            f"<span>{sign}{escape(short(text))}</span></button></th>{''.join(cells)}</tr>"
        )
    what = {"after": f"after {found.phases[1]}", "before": f"in {found.phases[0]}"}.get(
        view, f"change of cosine from {found.phases[0]} to {found.phases[1]}; orange: less"
    )
    return (
        f'{SCROLL}<table class="contrast"><thead><tr><th>picture</th>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="key">Cosines, {escape(what)}. Rows are pictures, '
        f"columns texts, n = {len(found.texts)} pairs. Outlined: a picture's own text. Bold: the row's largest. ✗: was "
        f"right in {escape(found.phases[0])}, and is not any more. Choose a picture to see what is preferred to its "
        "own text.</p>"
    )


def row(found: Contrast, uris: Sequence[str], i: int) -> str:
    """One picture, its right text, and what is preferred to it now; ``uris`` are the pictures of the rows."""
    if found.right_after[i]:
        verdict = '<span class="right">✓ its own text is the nearest</span>'
    else:
        verdict = '<span class="wrong">✗ others are nearer than its own text</span>'
    others = found.preferred[i][:5]
    listed = "".join(f"<p>{escape(found.texts[j])} <small>{_went(found, i, j)}</small></p>" for j in others)
    more = f"<p><small>preferred now</small></p>{listed}" if others else ""
    return (
        f'<ul class="items"><li><img src="{uris[i]}" alt=""><div><p><small>its text</small> '
        f"<b>{escape(found.texts[i])}</b> <small>{_went(found, i, i)}</small>"
        f"</p><p>{verdict}</p>{more}</div></li></ul>"
    )


def sentence(found: Contrast) -> str:
    """What became of the diagonal, of the rest and of the rows, in plain words."""
    k = len(found.texts)
    before, after = int(found.right_before.sum()), int(found.right_after.sum())
    return (
        f"Of {k} pictures {before} had their own name nearest in {found.phases[0]}, {after} after {found.phases[1]}; "
        f"{len(found.wrong)} went wrong. The cosine of true pairs changes by {signed(found.diagonal, 3)}, that of all "
        f"others by {signed(found.off_diagonal, 3)}."
    )


def _went(found: Contrast, i: int, j: int) -> str:
    """A cosine before and after."""
    return f"{number(found.before[i, j], 2)} → {number(found.after[i, j], 2)}"


def _contrasted(result: Spaces) -> Contrast:
    return contrast(result.space, result.asked["pairs"], result.asked["before"], result.asked["after"])


def _matrix(asked: Asked, progress=None) -> Spaces | None:
    """The space with the places of the chosen pairs among those shown: of names, separated by semicolons, or the first
    ones. Raises ``InputError`` for a name that no pair has."""
    found = loaded(asked, progress, names=("before", "after"))
    if found is None:
        return None
    space, names = found.space, named(found.space)
    called = {name.casefold(): i for i, name in enumerate(names)}
    wanted = [name.strip() for name in asked["pairs"].split(";") if name.strip()]
    if gone := [name for name in wanted if name.casefold() not in called]:
        raise InputError(f"No pair here is called “{gone[0]}”. There are {', '.join(names[:5])} …")
    chosen = [called[name.casefold()] for name in wanted]
    if not chosen:  # a domain's first, or some from everywhere; never fewer than two
        own = [i for i, place in enumerate(space.shown) if space.domains[place] == asked["domain"]]
        step = max(1, len(names) // _ROWS) if asked["domain"] == _EVERY else 1
        chosen = (own if len(own) > 1 else list(range(0, len(names), step)))[:_ROWS]
    found = replace(found, asked={**found.asked, "pairs": chosen})
    _contrasted(found)  # refuses what is no choice
    return found


def _rows(shown: Shown) -> tuple[Contrast, list[str], int]:
    """The matrices, the pictures of their rows, and the row that was clicked; at first one that went wrong."""
    found, (key,) = _contrasted(shown.result), shown.result.keys
    place = pick(shown["row"], len(found.texts))
    row = place if place is not None else found.wrong[0] if found.wrong else 0
    return found, [uri(key, int(shown.result.space.shown[i])) for i in found.chosen], row


MATRIX = Section(
    name="matrix", title="Contrastive matrix",
    question="Whose name is nearer to a picture than its own?",
    about="The cosine of every picture with every name. Training wants the diagonal large; Mod-X also keeps the rest "
    "of the matrix as it was.",
    label="small", paper=spaces.PAPER, of=SET, costs=spaces.COSTS,
    measure=_matrix, kept=_matrix,
    controls=lambda raw, result: (
        spaces.trained(raw, False),
        One("domain", "Pairs of", offered=[_EVERY, *spaces.domains(keys_of(raw)[0])]),
        phase_of(raw, False, "before", "Before", last=False),
        phase_of(raw, False, "after", "After"),
        One("view", "Show", at=DRAW, radio=True, offered=VIEWS),
        Words("pairs", "Chosen pairs", folded=True, hint="cat; sandwich; anchor", most=4000,
              info=f"Names, separated by semicolons, 2 to {MOST}. Empty: {_ROWS} of the domain."),
        Words("row", value="", at=DRAW, hidden=True),
        spaces.STYLE,
    ),
    sentence=lambda found: sentence(_contrasted(found)),
    views=(
        View("row", lambda shown: row(*_rows(shown)), html=True),
        View("matrix", lambda shown: table(*_rows(shown), shown["view"]), html=True),
        View("heat", lambda shown: heat(_contrasted(shown.result)), folded="Before, after and change"),
    ),
    tries=(
        Try("A mix of all domains", values={"domain": _EVERY}),
        Try("Who takes the animals' names?", values={"domain": "animals"}),
        Try("The same animals with Mod-X", values={"domain": "animals", "trained": "mod-x"}),
        Try("Symbols, trained last", values={"domain": "symbols"}),
    ),
    then="Try it with words of your own: " + GO.format("search", "Search"),
)
