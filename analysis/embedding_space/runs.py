"""The embedded default's ways of training one domain after another, and their measured spaces; and the same training
from other seeds: what each run retrieves and how far it turns, kept beside the set that ships.

``python -m analysis.embedding_space.runs`` measures the phases that ``models.embedded.phases`` left in
``build/train/seed<N>``, all but those that ship, and writes ``runs.json`` into the set of their method. What is there
already is not measured again.
"""

import argparse
import base64
import json
import tempfile
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.embedding_space.measure import Phase, measure
from analysis.embedding_space.pairs import Pairs, drawings
from analysis.embedding_space.result import BETWEEN_PHASES, Space
from analysis.kept import Progress, quiet
from analysis.result import Provenance
from models import dual_catalog, fingerprint
from models.checkpoints import BASE, Blend
from models.embedded import ASSETS, SHIPPED_DTYPE, phases
from models.embedded.pictures import UNSEEN_STYLE
from models.errors import InputError, ModelError
from models.manifest import Manifest

if TYPE_CHECKING:
    from models.dual_encoder import DualEncoder

MODEL = ASSETS / "crosstalk-clip"
SHOWN = 24  # pairs of a domain whose embeddings ship
_HALF = 0.5  # how far an interpolated phase is from the base to the plain one
FILE = "runs.json"
STATES = Path("build/train")
BEYOND = 11  # the rank that stands for itself and for all worse ones: recall is counted up to 10
_VERSION = 1  # of what is kept: another number makes kept runs stale


@dataclass(frozen=True)
class Recipe:
    """A way of training: its checkpoint set and the phases that are measured of it."""

    method: str
    title: str
    folder: Path
    phases: tuple[Phase, ...]


_METHODS = {
    "plain": ("Plain", "plain"),  # one domain after another, with the contrastive loss alone
    "mod-x": ("Mod-X", "mod-x"),  # plain, and the contrastive matrix of the phase before is kept (arXiv 2305.07437)
    "replay": ("Replay", "replay"),  # plain, with a few pairs of the earlier domains in every batch
    "interpolation": ("Interpolation", "plain"),  # weights halfway between base and each phase of plain: no training
    "joint": ("Joint", "joint"),  # all domains at once: the upper bound
}
"""Method: title, and the checkpoint set that it is made of."""


def recipes(root: Path = phases.SET) -> dict[str, Recipe]:
    """Every method whose checkpoint set lies in ``root``, by name."""
    found = {}
    for method, (title, folder) in _METHODS.items():
        if (root / folder / "checkpoints.json").exists():
            steps = Phase.of_set(Manifest.load(root / folder))
            if method == "interpolation":
                blends = [p.checkpoint if p.checkpoint == BASE else Blend(BASE, p.checkpoint, _HALF) for p in steps]
                steps = tuple(Phase(p.label, p.trained, blend) for p, blend in zip(steps, blends, strict=True))
            found[method] = Recipe(method, title, root / folder, steps)
    return found


def recipe(method: str, root: Path = phases.SET) -> Recipe:
    """The recipe called ``method``. Raises ``InputError`` for an unknown one, ``ModelError`` where none are here."""
    offered = recipes(root)
    if not offered:
        raise ModelError("The phases of crosstalk-clip are not here: make train makes them.")
    if method not in offered:
        raise InputError(f"There is no method {method!r}. There are: {', '.join(offered)}.")
    return offered[method]


def opened(chosen: Recipe) -> "AbstractContextManager[DualEncoder]":
    """The encoder with the checkpoints of a recipe, not given up for another while in here."""
    return dual_catalog.using(phases=chosen.folder.name)


def kept_space(chosen: Recipe, style: str = UNSEEN_STYLE) -> Space | None:
    """The space of a recipe that ships, or was measured here before: read, without opening a model."""
    model = fingerprint.Unopened(MODEL.name, str(MODEL), SHIPPED_DTYPE, None, Manifest.load(chosen.folder))
    return measure(model, drawings(style), chosen.phases, chosen.method, SHOWN, only_kept=True)


def measured(
    chosen: Recipe, style: str = UNSEEN_STYLE, progress: Progress = quiet,
    encoder: "Callable[[Recipe], AbstractContextManager[DualEncoder]]" = opened
) -> Space:
    """The space of a recipe on the drawings of one style: read where it was measured before, else measured by
    ``encoder``."""
    if found := kept_space(chosen, style):
        return found
    with encoder(chosen) as clip:
        return measure(clip, drawings(style), chosen.phases, chosen.method, SHOWN, progress)


@dataclass(frozen=True, eq=False)
class Run:
    """One training of a method; ``seed`` is None for the one that ships.

    ``method`` to ``domains`` are as in ``Space``, and so are ``ranks``, but for ``BEYOND``. ``angles`` are means over
    pairs of each phase against the first, float64 ``[phases]``, by the names of ``BETWEEN_PHASES``, and ``"floor"``.
    """

    seed: int | None
    method: str
    phases: tuple[str, ...]
    trained: tuple[str, ...]
    texts: tuple[str, ...]
    domains: tuple[str, ...]
    ranks: dict[str, np.ndarray]
    angles: dict[str, np.ndarray]
    provenance: Provenance

    @property
    def domain_names(self) -> tuple[str, ...]:
        """Every domain once, in the order of the pairs."""
        return tuple(dict.fromkeys(self.domains))

    @property
    def label(self) -> str:
        """How the run is called."""
        return "as shipped" if self.seed is None else f"seed {self.seed}"


def of_space(space: Space, seed: int | None = None) -> Run:
    """What is kept of a measured space."""
    angles = {name: space.spreads[name].mean[0] for name in BETWEEN_PHASES} | {"floor": space.likeness["floor"][0]}
    ranks = {name: np.minimum(of, BEYOND) for name, of in space.ranks.items()}
    return Run(
        seed, space.method, space.phases, space.trained, space.texts, space.domains, ranks, angles, space.provenance
    )


def load(recipe: Recipe, pairs: Pairs) -> tuple[Run, ...]:
    """The kept runs of a method, by seed; none where they are of other pairs or were trained from another model."""
    labels, trained = (tuple(getattr(phase, name) for phase in recipe.phases) for name in ("label", "trained"))
    found = []
    for told in _kept(recipe, pairs)["runs"]:
        raw = {name: zlib.decompress(base64.b64decode(of)) for name, of in told["ranks"].items()}
        ranks = {name: np.frombuffer(of, np.uint8).reshape(len(labels), len(pairs)) for name, of in raw.items()}
        found.append(Run(
            told["seed"], recipe.method, labels, trained, pairs.texts, pairs.domains,
            {name: of.astype(np.int64) for name, of in ranks.items()},
            {name: np.array(of) for name, of in told["angles"].items()}, Provenance(**told["provenance"]),
        ))
    return tuple(found)


def collect(
    states: Path, pairs: Pairs, root: Path = phases.SET, opened: "Callable[[Path], DualEncoder] | None" = None,
    log: Callable[[str], None] = print
) -> None:
    """Measure on ``pairs`` every run whose adapters lie complete in ``states/seed<N>/phases``, and keep it with the
    sets in ``root``. ``opened`` opens the model with a checkpoint set. Killed, it goes on with the run it was at."""
    for recipe in recipes(root).values():
        if recipe.method != recipe.folder.name:
            continue  # made of another method's checkpoints
        every = _kept(recipe, pairs)
        kept = {told["seed"]: told for told in every["runs"]}
        checkpoints = Manifest.load(recipe.folder).checkpoints
        ships = [fingerprint.of_path(*checkpoint.adapters) for checkpoint in checkpoints]
        for state in sorted(states.glob("seed*"), key=lambda folder: int(folder.name[4:])):
            folders = [state / "phases" / checkpoint.name for checkpoint in checkpoints]
            if not all(folder.is_dir() for folder in folders):
                continue
            seed, adapters = int(state.name[4:]), [fingerprint.of_path(folder) for folder in folders]
            if adapters in (ships, *(told["adapters"] for told in kept.values())):
                continue
            log(f"{recipe.title}, seed {seed}: every phase on {len(pairs)} pairs")
            run = of_space(_space(recipe, state, pairs, opened, log), seed)
            kept[seed] = {
                "seed": seed, "adapters": adapters, "provenance": asdict(run.provenance),
                "angles": {name: of.round(4).tolist() for name, of in run.angles.items()},
                "ranks": {
                    name: base64.b64encode(zlib.compress(of.astype(np.uint8).tobytes(), 9)).decode()
                    for name, of in run.ranks.items()
                },
            }  # fmt: skip
            every["runs"] = [kept[seed] for seed in sorted(kept)]
            draft = recipe.folder / f".{FILE}"
            draft.write_text(json.dumps(every, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
            draft.replace(recipe.folder / FILE)


def _space(recipe: Recipe, state: Path, pairs: Pairs, opened: Callable | None, log: Callable) -> Space:
    """The space of a method's phases in a folder of training states."""
    from models.dual_encoder import DualEncoder

    said = [-1]

    def progress(share: float, what: str) -> None:
        if int(10 * share) > said[0]:
            said[0] = int(10 * share)
            log(f"  {share:.0%}: {what}")

    with tempfile.TemporaryDirectory(prefix="crosstalk-runs-") as folder:
        phases.write(state, Path(folder), [recipe.method])
        trained = Path(folder) / recipe.method
        encoder = opened(trained) if opened else DualEncoder.open(MODEL, phases=trained)
        return measure(encoder, pairs, recipe.phases, recipe.method, SHOWN, progress)


def _kept(recipe: Recipe, pairs: Pairs) -> dict:
    """What the file of a method holds, the runs packed; none where they are of other pairs, another model or other
    phases."""
    made_of = {
        "version": _VERSION, "model": fingerprint.of_path(MODEL), "pairs": len(pairs), "data": pairs.data,
        "phases": [phase.label for phase in recipe.phases],
    }  # fmt: skip
    file = recipe.folder / FILE
    if recipe.method == recipe.folder.name and file.exists():
        told = json.loads(file.read_text(encoding="utf-8"))
        if told["made_of"] == made_of:
            return told
    return {"made_of": made_of, "runs": []}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--states", type=Path, default=STATES, help="where seed<N>/phases lie")
    collect(parser.parse_args().states, drawings(), log=partial(print, flush=True))
