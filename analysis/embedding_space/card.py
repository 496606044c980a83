"""What the model card says of the space of crosstalk-clip and its training in phases."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.embedding_space import maps, recipes, runs
from analysis.embedding_space.pairs import drawings
from analysis.embedding_space.result import LIKENESS, MEASURES, Space
from analysis.embedding_space.retrieval import DIRECTIONS, KS, Over, Versus, over, repeated, versus
from analysis.embedding_space.retrieval_figure import points
from analysis.embedding_space.runs import Run
from analysis.embedding_space.sentence import sentence
from analysis.statistics import Difference
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
    encoder: "Callable[[recipes.Recipe], AbstractContextManager[DualEncoder]]" = recipes.opened,
    draw: Callable = maps.embedded,
) -> str:
    """Every method whose phases lie in ``root``. Measures, and maps for the page, what is not kept yet.

    Raises ``ModelError`` where there are none.
    """
    recipes.recipe(_PLAIN, root)
    chosen = recipes.recipes(root).values()
    spaces = {recipe.title: recipes.measured(recipe, encoder=encoder) for recipe in chosen}
    for space in spaces.values():
        if space.method in (_PLAIN, _AGAINST):
            draw(space.images, space.words, "umap")
    others = {recipe.title: runs.load(recipe, drawings()) for recipe in chosen}
    return told(spaces, {title: (runs.of_space(space), *others[title]) for title, space in spaces.items()})


def told(spaces: dict[str, Space], trained: dict[str, tuple[Run, ...]]) -> str:
    """The section's Markdown, of any numbers; ``spaces`` and the trainings of each by the titles of their methods."""
    first = next(iter(spaces.values()))
    parts = [
        "## Embedding space: one domain after another",
        f"crosstalk-clip (phase 0, base) is trained further on one domain after another; n = {first.n} pairs: every "
        "drawing in the art style that no training saw, alone on white, with its name. Interpolation is halfway "
        f"between the weights of the base and of each plain phase. {_seeds(trained)} Round brackets are 95 % intervals "
        "over pairs (Wilson for shares, bootstrap for means, paired bootstrap for differences): what other drawings "
        "would change. Square brackets are the smallest and the largest of the seeds: what another training changes; "
        "all trainings start from the same base.",
        "### Retrieval: R@1 image → text among the names of the domain, %",
        _matrix(trained),
        "### Retrieval after the last phase: mean over domains, %",
        _summary(trained),
        "### Angles of each phase against the base, degrees, of the trainings that ship",
        "Rotation: a sample against itself. Change between: of the angle between two samples. Disorder: what the best "
        "rotation (orthogonal Procrustes) leaves; its share is of the squared shift. Deviation: between the rotations "
        "of images and of texts; by chance: between those of two halves of one modality. Pairs: change of the angle "
        "between picture and text. CKA: 1 is the same space turned, moved and scaled. Gap: between the mean image and "
        "the mean text.",
        _angles(spaces),
    ]
    if repeats := {title: of for title, of in trained.items() if len(of) > 1}:
        parts += ["### Angles of the last phase against the base, over seeds, degrees", _angles_over(repeats)]
    titles = {of[0].method: title for title, of in trained.items()}
    if _AGAINST in titles and _PLAIN in titles:
        parts += _against(titles[_AGAINST], titles[_PLAIN], trained)
    parts += [f"{title}: {sentence(space)}" for title, space in spaces.items() if space.method in (_PLAIN, _AGAINST)]
    return "\n\n".join(parts)


def _seeds(trained: dict[str, tuple[Run, ...]]) -> str:
    """How often each method was trained."""
    counts = {title: len(of) for title, of in trained.items()}
    if set(counts.values()) == {1}:
        return "One training seed."
    often = ", ".join(f"{title} {count}" for title, count in counts.items() if count > 1)
    return f"Trained more than once, from other seeds: {often}; every other method once."


def _matrix(trained: dict[str, tuple[Run, ...]]) -> str:
    rows = []
    for title, of in trained.items():
        found = repeated(of)
        one = found.each[0]
        for i, phase in enumerate(one.phases):
            cells = [_cell(found.matrix, (i, j), one.low[i, j], one.high[i, j]) for j in range(len(one.domains))]
            rows.append([title, str(found.seeds), phase, *cells, _share(found.average, i)])
    one = repeated(next(iter(trained.values()))).each[0]
    head = [f"{name} (n = {n})" for name, n in zip(one.domains, one.n, strict=True)]
    return _table(["method", "seeds", "after", *head, "mean"], rows)


def _summary(trained: dict[str, tuple[Run, ...]]) -> str:
    rows = []
    for title, of in trained.items():
        for direction, name in DIRECTIONS.items():
            near = [_share(repeated(of, direction, k).average, -1) for k in KS]
            far = [_share(repeated(of, direction, k, "all").average, -1) for k in KS]
            found = repeated(of, direction)
            lost = f"{100 * found.forgetting.mean.mean():.1f}"
            back = "–" if np.isnan(found.backward.mean) else points(found.backward.mean)
            rows.append([title, str(found.seeds), name, *near, *far, lost, back])
    head = [*(f"R@{k} in the domain" for k in KS), *(f"R@{k} among all" for k in KS)]
    return _table(["method", "seeds", "direction", *head, "forgetting, points", "backward transfer, points"], rows)


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


def _angles_over(repeats: dict[str, tuple[Run, ...]]) -> str:
    rows = []
    for title, of in repeats.items():
        each = [over([run.angles[name][-1] for run in of]) for name in (*_ANGLES, "floor")]
        rows.append([title, str(len(of)), *(f"{_minus(a.mean)} [{_minus(a.least)} to {_minus(a.most)}]" for a in each)])
    return _table(["method", "seeds", *(MEASURES[name].title for name in (*_ANGLES, "floor"))], rows)


def _against(title: str, plain: str, trained: dict[str, tuple[Run, ...]]) -> list[str]:
    found = {direction: versus(trained[title], trained[plain], direction) for direction in DIRECTIONS}
    rows = []
    for direction, of in found.items():
        for label, one in {**of.each, f"mean of {len(of.each)} seeds": of.pooled}.items():
            if one is not of.pooled or len(of.each) > 1:
                cells = [_points(difference) for difference in (one.final, one.earlier, one.kept)]
                rows.append([DIRECTIONS[direction], label, *cells, f"{one.n}; {one.n_earlier}"])
        if len(of.each) > 1:
            spans = [of.between(which) for which in ("final", "earlier", "kept")]
            cells = ["–" if np.isnan(low) else f"{points(low)} to {points(high)}" for low, high in spans]
            rows.append([DIRECTIONS[direction], "over seeds (t)", *cells, f"{len(of.each)} seeds"])
    head = [
        "R@1 in the domain, points",
        "training",
        "all domains",
        "domains before the last",
        "and of these since their own phase",
    ]
    return [
        f"### {title} against {plain}, pair by pair, after the last phase",
        _table([*head, "n"], rows),
        "Rows of a training, and of their mean, have intervals over pairs. The interval over seeds is Student's t, of "
        "very few of them: it is wide, and it is the only one that another training is covered by.",
        " ".join(_verdict(title, plain, DIRECTIONS[direction], of) for direction, of in found.items()),
    ]


def _verdict(title: str, plain: str, direction: str, of: Versus) -> str:
    """What the pairs say, and whether all seeds say so."""
    pooled, each = of.pooled.final, [one.final.value for one in of.each.values()]
    over_pairs = f"{_points(pooled)} points over pairs"
    if not pooled.clear:
        return f"{direction}: {title} and {plain} do not differ clearly ({over_pairs})."
    told = f"{direction}: {title} is {'better' if pooled.value > 0 else 'worse'} than {plain} by {over_pairs}"
    if len(each) == 1:
        return f"{told}; one seed, so nothing is known of other trainings."
    same = sum((value > 0) == (pooled.value > 0) for value in each)
    return f"{told}; so it is in {same} of {len(each)} seeds ({', '.join(map(points, each))})."


def _cell(of: Over, place: tuple[int, int], low: float, high: float) -> str:
    """A share in per cent: its interval over pairs of one training, the smallest and largest of several. Before any
    phase (place 0) all trainings are the same model."""
    if of.n == 1 or place[0] == 0:
        return f"{100 * of.mean[place]:.0f} ({100 * low:.0f} to {100 * high:.0f})"
    return f"{100 * of.mean[place]:.0f} [{100 * of.least[place]:.0f} to {100 * of.most[place]:.0f}]"


def _share(of: Over, place: int) -> str:
    mean = f"{100 * of.mean[place]:.1f}"
    return mean if of.n == 1 or place == 0 else f"{mean} [{100 * of.least[place]:.1f} to {100 * of.most[place]:.1f}]"


def _degrees(mean: float, low: float, high: float) -> str:
    return _minus(mean) if np.isnan(low) else f"{_minus(mean)} ({_minus(low)} to {_minus(high)})"


def _minus(degrees: float) -> str:
    return f"{round(float(degrees), 1) + 0.0:.1f}".replace("-", "−")


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


def _points(of: Difference | None) -> str:
    if of is None:
        return "–"
    p = "" if np.isnan(of.p) else f"; p = {of.p:.2g}"
    return f"{points(of.value)} ({points(of.low)} to {points(of.high)}{p})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
