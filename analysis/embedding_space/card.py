"""What the model card says of the space of crosstalk-clip and its training in phases."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.embedding_space import maps, shipped
from analysis.embedding_space.result import LIKENESS, MEASURES, Space
from analysis.embedding_space.retrieval import DIRECTIONS, KS, compared, recalls
from analysis.embedding_space.sentence import sentence
from analysis.statistics import Difference
from analysis.wording import signed
from models.embedded.phases import SET

if TYPE_CHECKING:
    from models.dual_encoder import DualEncoder

_ANGLES = (
    "rotation_image", "rotation_text", "between_image", "between_text", "residual_image", "residual_text", "deviation",
    "pair",
)  # fmt: skip
_PLAIN, _AGAINST = "plain", "mod-x"


def section(
    root: Path = SET,
    encoder: "Callable[[shipped.Recipe], AbstractContextManager[DualEncoder]]" = shipped.opened,
    draw: Callable = maps.embedded,
) -> str:
    """Every method whose phases lie in ``root``. Measures, and maps for the page, what is not kept yet.

    Raises ``ModelError`` where there are none.
    """
    shipped.recipe(_PLAIN, root)
    chosen = shipped.recipes(root).values()
    spaces = {recipe.title: shipped.measured(recipe, encoder=encoder) for recipe in chosen}
    for space in spaces.values():
        if space.method in (_PLAIN, _AGAINST):
            draw(space.images, space.words, "umap")
    return told(spaces)


def told(spaces: dict[str, Space]) -> str:
    """The section's Markdown, of any numbers; ``spaces`` by the titles of their methods."""
    first = next(iter(spaces.values()))
    parts = [
        "## Embedding space: one domain after another",
        f"crosstalk-clip (phase 0, base) is trained further on one domain after another; n = {first.n} pairs: every "
        "drawing in the art style that no training saw, alone on white, with its name. Interpolation is halfway "
        "between the weights of the base and of each plain phase. One training seed; brackets are 95 % intervals over "
        "pairs (Wilson for shares, bootstrap for angles, paired bootstrap for differences), not over seeds.",
        "### Retrieval: R@1 image → text among the names of the domain, %",
        _matrix(spaces),
        "### Retrieval after the last phase: mean over domains, %",
        _summary(spaces),
        "### Angles of each phase against the base, degrees",
        "Rotation: a sample against itself. Change between: of the angle between two samples. Disorder: what the best "
        "rotation (orthogonal Procrustes) leaves; its share is of the squared shift. Deviation: between the rotations "
        "of images and of texts; by chance: between those of two halves of one modality. Pairs: change of the angle "
        "between picture and text. CKA: 1 is the same space turned, moved and scaled. Gap: between the mean image and "
        "the mean text.",
        _angles(spaces),
    ]
    by_method = {space.method: (title, space) for title, space in spaces.items()}
    if _AGAINST in by_method and _PLAIN in by_method:
        parts += _against(*by_method[_AGAINST], *by_method[_PLAIN])
    parts += [f"{title}: {sentence(space)}" for title, space in spaces.items() if space.method in (_PLAIN, _AGAINST)]
    return "\n\n".join(parts)


def _matrix(spaces: dict[str, Space]) -> str:
    rows = []
    for title, space in spaces.items():
        found = recalls(space)
        for i, phase in enumerate(found.phases):
            cells = zip(found.matrix[i], found.low[i], found.high[i], strict=True)
            rows.append([title, phase, *(_percent(*cell) for cell in cells), f"{100 * found.average[i]:.1f}"])
    found = recalls(next(iter(spaces.values())))
    head = [f"{name} (n = {n})" for name, n in zip(found.domains, found.n, strict=True)]
    return _table(["method", "after", *head, "mean"], rows)


def _summary(spaces: dict[str, Space]) -> str:
    rows = []
    for title, space in spaces.items():
        for direction, name in DIRECTIONS.items():
            near = [f"{100 * recalls(space, direction, k).average[-1]:.1f}" for k in KS]
            far = [f"{100 * recalls(space, direction, k, 'all').average[-1]:.1f}" for k in KS]
            found = recalls(space, direction)
            back = "–" if np.isnan(found.backward) else signed(100 * found.backward, 1)
            rows.append([title, name, *near, *far, f"{100 * found.forgetting.mean():.1f}", back])
    head = [*(f"R@{k} in the domain" for k in KS), *(f"R@{k} among all" for k in KS)]
    return _table(["method", "direction", *head, "forgetting, points", "backward transfer, points"], rows)


def _angles(spaces: dict[str, Space]) -> str:
    rows = []
    for title, space in spaces.items():
        for t in range(1, len(space.phases)):
            spreads = [space.spreads[name] for name in _ANGLES]
            cells = [_degrees(of.mean[0, t], of.low[0, t], of.high[0, t]) for of in spreads]
            single = [space.likeness[name][0, t] for name in LIKENESS] + [space.numbers["gap"][t]]
            rows.append([title, space.phases[t], *cells, *map(_number, single)])
    head = [MEASURES[name].title for name in (*_ANGLES, *LIKENESS, "gap")]
    return _table(["method", "after", *head], rows)


def _against(title: str, space: Space, plain: str, other: Space) -> list[str]:
    found = [compared(space, other, direction) for direction in DIRECTIONS]
    rows = [
        [DIRECTIONS[c.direction], _points(c.final), _points(c.earlier), _points(c.kept), f"{c.n}; {c.n_earlier}"]
        for c in found
    ]
    head = [
        "R@1 in the domain, points",
        "all domains",
        "domains before the last",
        "and of these since their own phase",
    ]
    return [
        f"### {title} against {plain}, pair by pair, after the last phase",
        _table([*head, "n"], rows),
        " ".join(_verdict(title, plain, DIRECTIONS[c.direction], c.final) for c in found),
    ]


def _verdict(title: str, plain: str, direction: str, of: Difference) -> str:
    if not of.clear:
        return f"{direction}: {title} and {plain} do not differ clearly ({_points(of)} points)."
    return f"{direction}: {title} is {'better' if of.mean > 0 else 'worse'} than {plain} by {_points(of)} points."


def _percent(share: float, low: float, high: float) -> str:
    return f"{100 * share:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def _degrees(mean: float, low: float, high: float) -> str:
    mean, low, high = (f"{round(x, 1) + 0.0:.1f}".replace("-", "−") for x in (mean, low, high))
    return mean if low == "nan" else f"{mean} ({low} to {high})"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


def _points(of: Difference | None) -> str:
    if of is None:
        return "–"
    p = "" if np.isnan(of.p) else f"; p = {of.p:.2g}"
    return f"{signed(100 * of.mean, 1)} ({signed(100 * of.low, 1)} to {signed(100 * of.high, 1)}{p})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
