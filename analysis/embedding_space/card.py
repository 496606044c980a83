"""What the model card says of the space of crosstalk-clip and its training in phases."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.embedding_space import maps, runs
from analysis.embedding_space.pairs import drawings
from analysis.embedding_space.result import BETWEEN_PHASES, LIKENESS, MEASURES, Space, sentence
from analysis.embedding_space.retrieval import DIRECTIONS, KS, Over, Versus, over, repeated, versus
from analysis.embedding_space.runs import Run
from analysis.statistics import Difference, Estimate
from analysis.table import Head, Table
from analysis.wording import UNKNOWN, between, estimate, number, signed
from models.embedded.phases import SET

if TYPE_CHECKING:
    from models.dual_encoder import DualEncoder

_ANGLES = tuple(name for name, measure in BETWEEN_PHASES.items() if measure.unit)
_PLAIN, _AGAINST = "plain", "mod-x"


def section(
    root: Path = SET,
    encoder: "Callable[[runs.Recipe], AbstractContextManager[DualEncoder]]" = runs.opened,
    draw: Callable = maps.embedded,
) -> str:
    """Every method whose phases lie in ``root``. Measures, and maps for the page, what is not kept yet.

    Raises ``ModelError`` where there are none.
    """
    runs.recipe(_PLAIN, root)
    chosen = runs.recipes(root).values()
    spaces = {recipe.title: runs.measured(recipe, encoder=encoder) for recipe in chosen}
    for space in spaces.values():
        if space.method in (_PLAIN, _AGAINST):
            draw(space.images, space.words, "umap")
    others = {recipe.title: runs.load(recipe, drawings()) for recipe in chosen}
    return told(spaces, {title: (runs.of_space(space), *others[title]) for title, space in spaces.items()})


def told(spaces: dict[str, Space], trained: dict[str, tuple[Run, ...]]) -> str:
    """The section's Markdown, of any numbers; ``spaces`` and the trainings of each by the titles of their methods."""
    first = next(iter(spaces.values()))
    counts = [f"{title} {len(of)}" for title, of in trained.items() if len(of) > 1]
    seeds = "One training seed."
    if counts:
        seeds = f"Trained more than once, from other seeds: {', '.join(counts)}; every other method once."
    repeats = {title: of for title, of in trained.items() if len(of) > 1}
    parts = [
        "## Embedding space: one domain after another",
        f"crosstalk-clip (phase 0, base) is trained further on one domain after another; n = {first.n} pairs: every "
        "drawing in the art style that no training saw, alone on white, with its name. Interpolation is halfway "
        f"between the weights of the base and of each plain phase. {seeds} Round brackets are 95 % intervals "
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
    if repeats:
        names, rows = (*_ANGLES, "floor"), []
        for title, of in repeats.items():
            each = [over([run.angles[name][-1] for run in of]) for name in names]
            spans = [[number(end, 1) for end in (a.mean, a.least, a.most)] for a in each]
            rows.append([title, len(of), *(f"{mean} [{least} to {most}]" for mean, least, most in spans)])
        table = Table(["method", "seeds", *(MEASURES[name].title for name in names)], rows).markdown()
        parts += ["### Angles of the last phase against the base, over seeds, degrees", table]
    titles = {of[0].method: title for title, of in trained.items()}
    if _AGAINST in titles and _PLAIN in titles:
        parts += _against(titles[_AGAINST], titles[_PLAIN], trained)
    parts += [f"{title}: {sentence(space)}" for title, space in spaces.items() if space.method in (_PLAIN, _AGAINST)]
    return "\n\n".join(parts)


def _matrix(trained: dict[str, tuple[Run, ...]]) -> str:
    rows = []
    for title, of in trained.items():
        found = repeated(of)
        one = found.each[0]
        for i, phase in enumerate(one.phases):
            # before any phase (0) all trainings are the same model; of one the interval is over pairs
            cells = [one.at(i, j) for j in range(len(one.domains))]
            if found.seeds > 1 and i > 0:
                sides = (found.matrix.mean, found.matrix.least, found.matrix.most)
                sides = [[number(100 * share) for share in side[i]] for side in sides]
                cells = [f"{mean} [{least} to {most}]" for mean, least, most in zip(*sides, strict=True)]
            rows.append([title, found.seeds, phase, *cells, _share(found.average, i)])
    one = repeated(next(iter(trained.values()))).each[0]
    heads = [Head(f"{name} (n = {n})", shares=True) for name, n in zip(one.domains, one.n, strict=True)]
    return Table(["method", "seeds", "after", *heads, "mean"], rows).markdown()


def _summary(trained: dict[str, tuple[Run, ...]]) -> str:
    rows = []
    for title, of in trained.items():
        for direction, name in DIRECTIONS.items():
            near = [_share(repeated(of, direction, k).average, -1) for k in KS]
            far = [_share(repeated(of, direction, k, "all").average, -1) for k in KS]
            found = repeated(of, direction)
            lost, back = float(found.forgetting.mean.mean()), float(found.backward.mean)
            rows.append([title, found.seeds, name, *near, *far, lost, back])
    heads = [*(f"R@{k} in the domain" for k in KS), *(f"R@{k} among all" for k in KS)]
    lost = Head("forgetting", unit="points", digits=1)
    back = Head("backward transfer", unit="points", digits=1, sign=True)
    return Table(["method", "seeds", "direction", *heads, lost, back], rows).markdown()


def _angles(spaces: dict[str, Space]) -> str:
    single, rows = (*LIKENESS, "gap"), []
    for title, space in spaces.items():
        for t in range(1, len(space.phases)):
            likeness = [float(space.likeness[name][0, t]) for name in LIKENESS]
            angles = [space.spreads[name].at(0, t) for name in _ANGLES]
            rows.append([title, space.phases[t], *angles, *likeness, float(space.numbers["gap"][t])])
    heads = [Head(MEASURES[name].title, digits=2 if name in single else 1) for name in (*_ANGLES, *single)]
    return Table(["method", "after", *heads], rows).markdown()


def _against(title: str, plain: str, trained: dict[str, tuple[Run, ...]]) -> list[str]:
    found = {direction: versus(trained[title], trained[plain], direction) for direction in DIRECTIONS}
    which, rows = ("final", "earlier", "kept"), []
    for direction, of in found.items():
        for label, one in {**of.each, f"mean of {len(of.each)} seeds": of.pooled}.items():
            if one is not of.pooled or len(of.each) > 1:
                cells = [_points(getattr(one, name)) for name in which]
                rows.append([DIRECTIONS[direction], label, *cells, f"{one.n}; {one.n_earlier}"])
        if len(of.each) > 1:
            spans = [Estimate(np.nan, *of.between(name)) for name in which]
            cells = [UNKNOWN if np.isnan(span.low) else between(span, 1, sign=True) for span in spans]
            rows.append([DIRECTIONS[direction], "over seeds (t)", *cells, f"{len(of.each)} seeds"])
    heads = [
        "R@1 in the domain, points", "training", "all domains", "domains before the last",
        "and of these since their own phase", "n",
    ]  # fmt: skip
    return [
        f"### {title} against {plain}, pair by pair, after the last phase",
        Table(heads, rows).markdown(),
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
    return f"{told}; so it is in {same} of {len(each)} seeds ({', '.join(signed(100 * value, 1) for value in each)})."


def _share(of: Over, place: int) -> str:
    mean, least, most = (number(100 * side[place], 1) for side in (of.mean, of.least, of.most))
    return mean if of.n == 1 or place == 0 else f"{mean} [{least} to {most}]"


def _points(of: Difference | None) -> str:
    return estimate(of, 1, sign=True, p=True) if of else UNKNOWN
