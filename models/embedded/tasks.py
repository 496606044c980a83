"""The six tasks of ``crosstalk-mini``: each has ten concepts of its own and one answer style."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

from models.embedded import questions as Q
from models.embedded.concepts import learnt_in
from models.embedded.fit import device
from models.embedded.packing import PREFIX, Branch
from models.embedded.parent import varied
from models.embedded.scenes import Scene, random_scene
from models.manifest import MANIFEST

LENGTH = PREFIX + 96
PEAK = 2e-3
RANK = 16
SKEW = 0.5
TARGETS = (
    r".*language_model.*\.(q|k|v|o|gate|up|down)_proj|.*multi_modal_projector\.linear_[12]"
    r"|.*vision_tower.*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
)
COUNTS = {"naming": (1, 1, 2, 3), "counting": (1, 2, 3, 4, 4)}
"""How many drawings a task's scenes have: fewer where one is named, more where they are counted."""


def scene_for(rng: np.random.Generator, task: str, styles, skew: float, pool=None) -> Scene:
    """A scene of the concepts that ``task`` teaches, or of those in ``pool``."""
    return random_scene(rng, pool or learnt_in(task), styles, skew, COUNTS.get(task, (1, 2, 3, 4)))


def turns_for(rng: np.random.Generator, task: str, scene: Scene) -> list[Branch]:
    """Several questions of one task about one scene; half of the yes/no answers are yes."""
    pool = learnt_in(task)
    if task == "existence":
        turns = [Q.exist(rng, scene, pool, truth) for truth in (True, False, True, False)]
    elif task == "choice":
        turns = [Q.choice(rng, scene, pool), Q.choice(rng, scene, pool)]
        branches = [Branch((varied(rng, t),)) for t in turns]
        return [*branches, Branch((varied(rng, Q.choice_kind(rng, pool)),), sees=False)]
    else:
        turns = [Q.for_task(rng, task, scene, pool) for _ in range(1 if task == "captioning" else 4)]
    return [Branch((varied(rng, t),)) for t in turns if t is not None]


def adapted(base: LlavaForConditionalGeneration, seed: int, targets: str = TARGETS, rank: int = RANK):
    """``base`` with fresh LoRA layers on every linear of tower, projector and decoder, or on ``targets`` alone, as a
    ``PeftModel``.
    """
    torch.manual_seed(seed)
    return get_peft_model(base, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets))


def keep(peft_model, out: Path, base: str = "crosstalk-mini", beside: dict[str, torch.Tensor] | None = None) -> None:
    """Save the adapter of a ``PeftModel`` in half precision, without what is of the machine that trained it; ``beside``
    are tensors of the model itself that were trained too, by its names for them.
    """
    peft_model.save_pretrained(out, save_embedding_layers=False)  # a LoRA on the head would bring all embeddings along
    (out / "README.md").unlink(missing_ok=True)  # peft's empty model card
    weights, more = out / "adapter_model.safetensors", {f"base_model.model.{k}": v for k, v in (beside or {}).items()}
    saved = load_file(weights) | {k: v.detach().cpu() for k, v in more.items()}
    save_file({k: v.half() for k, v in saved.items()}, weights, {"format": "pt"})
    file = out / "adapter_config.json"
    config = json.loads(file.read_text())
    config["base_model_name_or_path"] = base  # not a path of the machine it was trained on
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def ship(draft: Path, out: Path, manifest: dict) -> None:
    """Put what ``manifest`` names in the place of what is in ``out``: the finished adapters, and folders with weights,
    of ``draft``. What only the manifest before it named goes.
    """
    out.mkdir(parents=True, exist_ok=True)
    new, file = _folders(manifest), out / MANIFEST
    for old in {*new, *(_folders(json.loads(file.read_text())) if file.exists() else ())}:
        shutil.rmtree(out / old, ignore_errors=True)
    for folder in new:
        shutil.copytree(draft / folder, out / folder)
    file.write_text(json.dumps(manifest, indent=2) + "\n")


def _folders(manifest: dict) -> list[str]:
    """The folders of a set with the weights of its checkpoints."""
    named = [c["adapter"] if "adapter" in c else Path(c["weights"]).parts[0] for c in manifest["checkpoints"]]
    return list(dict.fromkeys(a for of in named for a in ([of] if isinstance(of, str) else of)))


def ready(model: LlavaForConditionalGeneration) -> LlavaForConditionalGeneration:
    """``model`` on the device it is trained on, with the attention that is fastest for so short sequences."""
    model.set_attn_implementation("eager")
    return model.to(device())
