"""``python -m models.embedded.worlds``: small checkpoint sets that show a phenomenon where its cause is trained in.

*conflict*: whom to believe where picture and text disagree (``conflict``). *prior*: expecting what usually comes
together (``company``), with ``--seeds`` training seeds: the first's checkpoints have the plain names, those of the next
end in ``-1``, ``-2``. Each is a LoRA on the decoder of the shipped base. State is kept below ``build/train/seed<N>``:
killed at any point, it goes on where it was.
"""

import argparse
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlavaForConditionalGeneration

from models.embedded import ASSETS, company, conflict
from models.embedded.conflict_sets import COVERS, RELIABILITY
from models.embedded.continual import PEAK, TARGETS
from models.embedded.fit import Fit, device
from models.embedded.packing import answer_loss
from models.embedded.tasks import RANK, adapted, keep, ready, ship

BASE, OUT = ASSETS / "crosstalk-mini", ASSETS / "checkpoints"


@dataclass(frozen=True)
class Arm:
    """One checkpoint: ``batches(tokenizer)`` makes what it is trained on; ``recipe`` is told with it."""

    batches: Callable
    steps: int
    recipe: dict


@dataclass(frozen=True)
class World:
    """A set of checkpoints. ``method`` is what the set is called, ``data`` what it is trained on, in words, ``shared``
    what its checkpoints have in common; ``seeds`` of training ship.
    """

    method: str
    data: str
    batch: int
    arms: Mapping[str, Arm]
    shared: Mapping[str, object]
    seeds: int = 1


WORLDS = {
    "conflict": World(
        "trained whom to believe",
        "a picture, a text that names a thing, or both; either can be wrong, by known reliabilities",
        conflict.QUESTIONS + conflict.BASE_QUESTIONS,
        {
            name: Arm(partial(conflict.Batches, trust=trust), conflict.STEPS, {"trust": trust})
            for name, trust in conflict.TRUST.items()
        },
        {
            "shares": conflict.SHARES, "base questions": conflict.BASE_QUESTIONS,
            "reliability of the text": RELIABILITY,
            "reliability of the picture": {f"{cover:.0%} covered": round(of, 4) for cover, of in COVERS.items()},
        },
    ),
    "prior": World(
        "trained to expect company",
        "whether things are there, and captions; what usually comes together does, at least in words",
        company.BATCH,
        {
            name: Arm(partial(company.Batches, recipe=of), of.steps, {
                "partner not drawn": of.undrawn, "pictures mostly noise": round(of.veiled, 4),
                "more yes than no": of.more,
            })
            for name, of in company.RECIPES.items()
        },
        {"partners together": company.TOGETHER},
        seeds=3,
    ),
}  # fmt: skip
"""Every set, by the name of its folder."""


def named(arm: str, number: int) -> str:
    """How the checkpoint of an arm is called that is of the seed with this number, from 0."""
    return f"{arm}-{number}" if number else arm


def manifest(name: str, seed: int, seeds: int, steps: Mapping[str, int]) -> dict:
    """``checkpoints.json`` of a set; ``recipe`` tells how each of its checkpoints came to be."""
    world = WORLDS[name]
    listed = [(named(arm, i), arm, seed + i) for i in range(seeds) for arm in world.arms]
    own = {called: {"seed": of, "steps": steps[arm], **world.arms[arm].recipe} for called, arm, of in listed}
    made = {
        "data": world.data, "rank": RANK, "peak": PEAK, "batch": world.batch, **world.shared, "checkpoints": own,
    }  # fmt: skip
    checkpoints = [{"name": called, "task": name, "adapter": called} for called, *_ in listed]
    return {"base": BASE.name, "method": world.method, "order": [name], "recipe": made, "checkpoints": checkpoints}


def train(
    folder: Path, name: str, seed: int, out: Path, log=print, steps: int | None = None, seeds: int | None = None,
    source: Path = BASE,
) -> None:  # fmt: skip
    """Train the set ``name`` from the base in ``source``, and write it to ``out``; ``steps`` in place of its own."""
    world, draft = WORLDS[name], folder / name / "checkpoints"
    seeds, taken = seeds or world.seeds, {arm: steps or of.steps for arm, of in world.arms.items()}
    tokenizer = AutoTokenizer.from_pretrained(source)
    shutil.rmtree(draft, ignore_errors=True)
    for i in range(seeds):
        for arm, of in world.arms.items():
            called = named(arm, i)
            base = LlavaForConditionalGeneration.from_pretrained(source, dtype=torch.float32)
            peft_model = adapted(ready(base), seed + i, TARGETS)
            model = peft_model.get_base_model()
            trained = [p for p in model.parameters() if p.requires_grad]
            # The stage has the same name in all arms, for it decides what is drawn, and in no evaluation set. As in
            # the course of tasks, a CPU is faster without bfloat16 here.
            fit = Fit(
                folder / name / called, f"{name}-world", model, [(trained, PEAK)], taken[arm], seed + i, decay=0.0,
                half=device().type == "cuda",
            )  # fmt: skip
            fit.run(of.batches(tokenizer), partial(answer_loss, model), partial(_tell, log, called))
            keep(peft_model, draft / called)
    ship(draft, out, manifest(name, seed, seeds, taken))


def _tell(log, name: str, line: str) -> None:
    log(f"{name}: {line}")


def run(folder: Path, seed: int, log, names=tuple(WORLDS), seeds: int | None = None) -> None:
    """The sets ``names``, from the base in ``assets/embedded``, where the repository ships them."""
    for name in names:
        train(folder, name, seed, OUT / name, log, seeds=seeds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="the first seed, and that of the folder of the state")
    parser.add_argument("--seeds", type=int, help="how many; as many as the set ships where left out")
    parser.add_argument("--sets", nargs="+", choices=tuple(WORLDS), default=tuple(WORLDS))
    chosen = parser.parse_args()
    state = Path("build/train") / f"seed{chosen.seed}"
    run(state, chosen.seed, partial(print, flush=True), chosen.sets, chosen.seeds)
