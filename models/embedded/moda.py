"""``python -m models.embedded.moda``: ``crosstalk-mini`` tuned with plain attention and with MODA, all else alike.

Both arms start from the shipped base with the same LoRA layers and see the same batches of all six tasks in the same
order, once for each seed. The arm ``moda`` attends as ``models.moda`` says and trains its fuser beside the LoRA
layers; ``control`` attends plainly. What is kept is ``assets/embedded/checkpoints/moda``: ``control`` and ``moda`` are
of seed 0, ``control-1`` and ``moda-1`` of seed 1, and so on. Two seeds are what a CPU has time for; ``--seeds 3`` adds
a third.
"""

import argparse
import shutil
from functools import partial
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlavaForConditionalGeneration

from models.editing import editing
from models.embedded import ASSETS
from models.embedded.concepts import TASKS
from models.embedded.fit import Fit, device
from models.embedded.packing import answer_loss
from models.embedded.tasks import PEAK, Batches, adapted, keep, ship
from models.instruments import install
from models.moda import Moda, Settings
from models.segments import Modality

BASE, OUT = ASSETS / "crosstalk-mini", ASSETS / "checkpoints" / "moda"
ARMS, SEEDS, STEPS = ("control", "moda"), 2, 240
FUSER_PEAK = 1e-3
TASK = "six tasks at once"


def kinds(batch: dict[str, torch.Tensor], image_token: int) -> torch.Tensor:
    """Modality of each token of packed rows, int64 ``[N, length]``: picture, or question for all that is text."""
    return torch.where(batch["input_ids"] == image_token, int(Modality.IMAGE), int(Modality.QUESTION))


def named(arm: str, seed: int) -> str:
    """How the checkpoint of an arm and a seed is called."""
    return arm if seed == 0 else f"{arm}-{seed}"


def loss(model, batch: dict[str, torch.Tensor], edits):
    """The answers' loss (``packing.answer_loss``) under ``edits`` of the decoder's attention."""
    with editing(model, kinds(batch, model.config.image_token_index), edits):
        return answer_loss(model, batch)


def fit(folder: Path, arm: str, base, tokenizer, seed: int, log, steps: int, out: Path) -> None:
    """Train one arm from ``base``, which is changed, and write its adapter (and fuser) to ``out``."""
    peft_model = adapted(base.to(device()), seed)
    model = peft_model.get_base_model()
    install(model)
    groups = [([p for p in model.parameters() if p.requires_grad], PEAK)]
    moda = Moda.start(model.get_decoder().config, Settings()).to(device()) if arm == "moda" else None
    if moda:
        model.moda = moda  # so that its state is kept with the model's
        groups.append((moda.parameters(), FUSER_PEAK))
    # the stage has the same name in both arms: it makes the batches
    run = Fit(folder / named(arm, seed), "six-tasks", model, groups, steps, seed, decay=0.0)
    edits = (moda,) if moda else ()
    run.run(Batches(tokenizer, TASKS), lambda batch: loss(model, batch, edits), log)
    keep(peft_model, out)
    if moda:
        moda.save(out / "moda.safetensors")


def _tell(log, name: str, text: str) -> None:
    log(f"{name}: {text}")


def train(
    folder: Path, log=print, seeds: int = SEEDS, steps: int = STEPS, source: Path = BASE, out: Path = OUT
) -> None:
    """Both arms for each of the first ``seeds`` seeds from the base in ``source``; writes the checkpoint set ``out``.

    Killed at any point it goes on where it was, with its state in ``folder``.
    """
    tokenizer = AutoTokenizer.from_pretrained(source)
    draft, checkpoints = folder / "moda" / "checkpoints", []
    shutil.rmtree(draft, ignore_errors=True)
    for seed in range(seeds):
        for arm in ARMS:
            name = named(arm, seed)
            base = LlavaForConditionalGeneration.from_pretrained(source, dtype=torch.float32)
            fit(folder / "moda", arm, base, tokenizer, seed, partial(_tell, log, name), steps, draft / name)
            entry = {"name": name, "task": TASK, "adapter": name}
            checkpoints.append(entry | ({"attention": f"{name}/moda.safetensors"} if arm == "moda" else {}))
    manifest = {
        "base": "crosstalk-mini", "method": "modular duplex attention (MODA) against control",
        "order": [TASK], "checkpoints": checkpoints,
    }  # fmt: skip
    ship(draft, out, manifest)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base-seed", type=int, default=0, help="the seed that the base was trained with")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many seeds of each arm")
    chosen = parser.parse_args()
    train(Path("build/train") / f"seed{chosen.base_seed}", partial(print, flush=True), chosen.seeds)
