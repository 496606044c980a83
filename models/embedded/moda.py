"""``python -m models.embedded.moda``: the base of ``crosstalk-mini`` once more, with MODA's attention from the start.

Both arms start from the same tower and ``text-parent`` and see the same batches in the same order from the first
picture on, with one seed. ``moda`` attends as ``models.moda`` says and trains its fuser beside everything else, a step
in about 1.6 times as long. Its control attends plainly, and so is the base itself: the same training, done before.
``--steps`` makes a shorter one; then a control of its own is trained as long, for the base is no fair one.

What is kept is ``assets/embedded/checkpoints/moda``: all weights of ``moda`` with its fuser, and of ``control`` where
it is not the base: that two whole trainings differ by a low rank is nothing to count on. Other seeds take a base each.
"""

import argparse
import json
import shutil
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    CLIPModel,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2ForCausalLM,
)

from models.editing import editing
from models.embedded import ASSETS, TRAINING, base, probes
from models.embedded.fit import device
from models.embedded.tasks import ship
from models.instruments import install
from models.manifest import BASE
from models.moda import Moda, Settings
from models.segments import Modality

SHIPPED, OUT = ASSETS / "crosstalk-mini", ASSETS / "checkpoints" / "moda"
CONTROL, MODA = "control", "moda"
FUSER_PEAK = 1e-3
TASK = "instruction tuning"


def kinds(batch: dict[str, torch.Tensor], image_token: int) -> torch.Tensor:
    """Modality of each token of packed rows, int64 ``[N, length]``: picture, or question for all that is text."""
    return torch.where(batch["input_ids"] == image_token, int(Modality.IMAGE), int(Modality.QUESTION))


def duplex(model: LlavaForConditionalGeneration) -> tuple[list, probes.Within]:
    """Put MODA's attention, not trained yet, into ``model``, as ``base.train`` takes it: its fuser, which does not
    decay towards nothing, and the attention in which a batch is read.
    """
    install(model)
    # as a part of the model, so that its state is kept with the model's
    model.moda = Moda.start(model.get_decoder().config, Settings()).to(device())

    def within(batch: dict[str, torch.Tensor]) -> AbstractContextManager:
        return editing(model, kinds(batch, model.config.image_token_index), (model.moda,))

    return [(model.moda.parameters(), FUSER_PEAK, 0.0)], within


def train(
    folder: Path, tower: CLIPModel, text: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int, log=print,
    steps: int | None = None, shipped: Path = SHIPPED, out: Path = OUT,
) -> None:  # fmt: skip
    """Train ``moda``, and ``control`` where ``steps`` are not those of the base; write the checkpoint set ``out``.

    State is in ``folder/moda``, where they go on when they were killed. Raises ``ValueError`` where the base in
    ``shipped`` is to be the control and is none (``refuse_another``).
    """
    steps = steps or base.STEPS
    if steps == base.STEPS:
        refuse_another(shipped, seed)
    arms = (MODA,) if steps == base.STEPS else (CONTROL, MODA)
    draft, listed = folder / "moda" / "checkpoints", []
    shutil.rmtree(draft, ignore_errors=True)
    for arm in arms:
        attention = duplex if arm == MODA else None
        tell = partial(_tell, log, arm)
        model = base.train(folder / "moda" / arm, tower, text, tokenizer, seed, tell, steps, attention)
        entry = {"name": arm, "task": TASK, "weights": f"{arm}/model.safetensors"}
        listed.append(entry | ({"attention": f"{arm}/moda.safetensors"} if arm == MODA else {}))
        _keep(model, draft / arm)
    control = CONTROL if CONTROL in arms else BASE
    ship(draft, out, {
        "base": "crosstalk-mini", "method": "modular duplex attention (MODA) against control", "order": [TASK],
        "recipe": recipe(control, steps, model.config.text_config.num_hidden_layers), "checkpoints": listed,
    })  # fmt: skip


def recipe(control: str, steps: int, layers: int) -> dict:
    """What is told with the checkpoints of how they were made; ``about`` and ``how`` in words, for people."""
    whose = "the base itself" if control == BASE else f"a control of its own (the base had {base.STEPS:,} steps)"
    return {
        "about": f"Here: in all {layers} layers from the first picture on, {steps:,} steps, one seed, so what another "
        "training would change is not known.",
        "how": "The whole model was trained twice from the same start, on the same pictures and questions in the same "
        f"order, {steps:,} steps with one seed: with plain attention, which is {whose}, and with MODA's.",
        "control": control, "layers": layers, "steps": steps, "seeds": 1, "batch": base.BATCH, "peak": base.PEAK,
        "fuser peak": FUSER_PEAK,
    }  # fmt: skip


def refuse_another(shipped: Path, seed: int) -> None:
    """Raises ``ValueError`` where the base in ``shipped`` was not trained with this seed for the usual steps: then it
    saw other batches, or fewer, and is no control.
    """
    file = shipped / TRAINING
    told = json.loads(file.read_text()) if file.exists() else {}
    if (told.get("seed"), told.get("steps")) != (seed, base.STEPS):
        raise ValueError(
            f"{file} does not tell of a base with the seed {seed} and {base.STEPS} steps, so it is no control of "
            "MODA's. Train the base first (python -m models.embedded.train), or give other --steps: then a control is "
            "trained beside."
        )


def _keep(model: LlavaForConditionalGeneration, out: Path) -> None:
    """All weights in half precision, and the fuser, where there is one, beside them."""
    own = getattr(model, "moda", None)
    if own is not None:
        del model.moda
    model.half().cpu().save_pretrained(out)
    for file in out.glob("*.json"):  # what the base's say, too
        file.unlink()
    if own is not None:
        own.save(out / "moda.safetensors")


def _tell(log, name: str, line: str) -> None:
    log(f"{name}: {line}")


def run(folder: Path, seed: int, log=print, steps: int | None = None) -> None:
    """``train`` from the tower and ``text-parent`` that the base was built from, as they ship."""
    tower = CLIPModel.from_pretrained(ASSETS / "crosstalk-clip", dtype=torch.float32)
    text = Qwen2ForCausalLM.from_pretrained(ASSETS / "text-parent", dtype=torch.float32)
    train(folder, tower, text, AutoTokenizer.from_pretrained(SHIPPED), seed, log, steps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="the seed that the base was trained with")
    parser.add_argument("--steps", type=int, help=f"other than the base's {base.STEPS}; then for both arms")
    chosen = parser.parse_args()
    log = partial(print, flush=True)
    run(Path("build/train") / f"seed{chosen.seed}", chosen.seed, log, chosen.steps)
