"""``crosstalk-clip`` trained on one domain after another: plain, Mod-X, with replay; and on all of them at once.

Phase 0 is ``crosstalk-clip`` itself, which has seen every drawing among many others. Each phase then trains on single
drawings of one domain with their names, by a LoRA adapter that goes on from phase to phase; a copy is kept after each.
A drawing's third art style is never trained on: the held-out pairs are drawn in it.

- ``plain``: InfoNCE alone.
- ``mod-x`` (arXiv 2305.07437): InfoNCE + ``ALPHA`` * KL(softmax(M_old / tau) || softmax(M_new / tau)) over the rows of
  the contrastive matrix M = V T' of the batch, and over those of T V': the mean of both directions. Rows whose largest
  entry of M_old is not on the diagonal are replaced by M_new's, so wrong old knowledge is not kept. M_old is of the
  model before the phase; tau is the new model's temperature, as in its InfoNCE.
- ``replay``: InfoNCE where a share of every batch comes from a small buffer of pairs of the phases before.
- ``joint``: InfoNCE on all domains, as many steps as all phases together: the upper bound.

``python -m models.embedded.phases --seed 1 --methods plain mod-x`` trains these two once more from another seed, from
the same ``crosstalk-clip``; the adapters stay in ``build/train/seed1/phases``, where the room measures them.
"""

import argparse
import copy
import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import kl_div, normalize
from transformers import AutoTokenizer, CLIPModel

from models.embedded import ASSETS
from models.embedded.augment import MILD, augment, stack
from models.embedded.backgrounds import random_background
from models.embedded.clip import TOKENS, contrast
from models.embedded.fit import Fit, device, generator
from models.embedded.pictures import TRAINED_STYLES, table
from models.embedded.scenes import ANGLES, Scene, placed
from models.embedded.tasks import keep
from models.embedded.text import IMAGE_SIZE
from models.manifest import MANIFEST, Manifest

DOMAINS = {
    "broad": ("smileys-emotion", "people-body", "activities"),
    "animals": ("animals-nature",),
    "food": ("food-drink",),
    "travel": ("travel-places",),
    "objects": ("objects",),
    "symbols": ("symbols",),
}
"""Which groups of drawings make a domain. The first has no phase of its own: it is what phase 0 alone learnt."""

PHASES = tuple(DOMAINS)[1:]
METHODS = ("plain", "mod-x", "replay", "joint")
BATCH, STEPS, PEAK = 112, 100, 2e-3
ALPHA = 20.0  # weight of Mod-X's term
BUFFER, REPLAYED = 32, 28  # pairs kept of each phase before, and of a batch that are drawn from them
RANK = 8
TARGETS = (
    r".*(vision|text)_model\.encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"
    r"|(visual|text)_projection"
)
SET = ASSETS / "checkpoints-clip"


def names_of(domain: str) -> list[str]:
    """The names of a domain's drawings, sorted."""
    return sorted({row["name"] for row in table() if row["group"] in DOMAINS[domain]})


def _scene(rng: np.random.Generator, name: str) -> Scene:
    """A single drawing somewhere on a random background, in one of the trained styles."""
    style = TRAINED_STYLES[rng.integers(len(TRAINED_STYLES))]
    angle, flip = ANGLES[rng.integers(len(ANGLES))], bool(rng.random() < 0.5)
    item = placed(name, style, rng.uniform(0.3, 0.7, 2), rng.uniform(0.45, 0.98), angle, flip)
    return Scene((item,), random_background(rng))


def buffer(seed: int, before: tuple[str, ...]) -> list[tuple[str, Scene]]:
    """The pairs that replay keeps of each domain in ``before``: the same for the same seed."""
    pairs = []
    for domain in before:
        rng = generator(seed, f"buffer-{domain}", 0)
        pairs += [(name, _scene(rng, name)) for name in rng.choice(names_of(domain), BUFFER, replace=False).tolist()]
    return pairs


class Batches:
    """Makes one batch of pairs of ``domains``; where there are ``kept`` ones, ``REPLAYED`` of it are of those."""

    def __init__(self, tokenizer, domains, kept: list[tuple[str, Scene]] = ()):
        self.tokenizer, self.kept = tokenizer, list(kept)
        self.names = [name for domain in domains for name in names_of(domain)]

    def __call__(self, rng: np.random.Generator) -> dict:
        old = [self.kept[i] for i in rng.choice(len(self.kept), REPLAYED, replace=False)] if self.kept else []
        fresh = rng.choice(self.names, BATCH - len(old), replace=False).tolist()
        pairs = [*old, *((name, _scene(rng, name)) for name in fresh)]
        pixels = augment(rng, stack([scene.render(IMAGE_SIZE) for _, scene in pairs]), MILD)
        texts = [name for name, _ in pairs]
        coded = self.tokenizer(texts, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
        return {"pixel_values": pixels, **{k: coded[k] for k in ("input_ids", "attention_mask")}}


def features(model: CLIPModel, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Image and text embeddings ``[N, d]`` of a batch, not normalised."""
    image = model.get_image_features(pixel_values=batch["pixel_values"]).pooler_output
    text = model.get_text_features(**{k: batch[k] for k in ("input_ids", "attention_mask")}).pooler_output
    return image, text


def distillation(old: torch.Tensor, new: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Mod-X's term, nats: KL(softmax(scale * M_old) || softmax(scale * M_new)), mean over rows, and of both directions.

    ``old`` and ``new`` are contrastive matrices ``[N, N]`` of cosines, rows images; the other direction has the texts'
    rows, their transposes. A row of ``old`` whose largest entry is not its own partner's (ties count as wrong) is
    replaced by ``new``'s, and so adds nothing. No gradient flows into the old side. 0 where nothing changed.

    ``scale`` is the model's own, one over its temperature. The authors' code takes the mean of both directions too, but
    the softmax of bare cosines (a scale of 1) and the sum over rows. A scale of tens makes the divergence larger about
    as much as the mean over 112 rows makes it smaller: on ``crosstalk-clip`` a direction came to 0.86 to 1.13 times the
    original's, so ``ALPHA`` means what it means there.
    """
    return (_rows_kept(old, new, scale) + _rows_kept(old.T, new.T, scale)) / 2


def _rows_kept(old: torch.Tensor, new: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    right = old.diagonal() > old.masked_fill(torch.eye(len(old), dtype=torch.bool, device=old.device), -2).amax(1)
    target = torch.where(right[:, None], old, new).detach() * scale.detach()
    return kl_div((new * scale).log_softmax(1), target.log_softmax(1), reduction="batchmean", log_target=True)


def _matrix(image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    return (normalize(image.float(), dim=-1) @ normalize(text.float(), dim=-1).T).float()


def _loss(model: CLIPModel, before: CLIPModel | None) -> Callable:
    """InfoNCE of ``model``; with Mod-X's term where there is a model ``before``."""

    def loss(batch):
        image, text = features(model, batch)
        value, right = contrast(image, text, model.logit_scale)
        if before is None:
            return value, {"r@1": right}
        with torch.no_grad():
            old = _matrix(*features(before, batch))
        kept = distillation(old, _matrix(image, text), model.logit_scale.exp())
        return value + ALPHA * kept, {"r@1": right, "kept": kept.detach()}

    return loss


def _adapted(clip: CLIPModel, seed: int):
    """``clip`` with fresh LoRA layers on every linear layer of both towers and both projections."""
    torch.manual_seed(seed)
    model = copy.deepcopy(clip).to(device())
    model.set_attn_implementation("eager")
    return get_peft_model(model, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS))


def _fit(folder: Path, stage: str, peft_model, batches: Batches, loss: Callable, steps: int, seed: int, log) -> None:
    model = peft_model.get_base_model()
    trained = [p for p in model.parameters() if p.requires_grad]
    Fit(folder, stage, model, [(trained, PEAK)], steps, seed, decay=0.0).run(batches, loss, log)


def train(folder: Path, clip: CLIPModel, tokenizer, seed: int, methods=METHODS, log=print, steps: int = STEPS) -> None:
    """Train phases of ``methods`` from ``clip``; adapters are written to ``folder/phases/<method>[-<phase>]``."""
    for method in methods:
        peft_model = _adapted(clip, seed)
        if method == "joint":
            batches = Batches(tokenizer, PHASES)
            total = steps * len(PHASES)
            _fit(folder, "phase-joint", peft_model, batches, _loss(peft_model.get_base_model(), None), total, seed, log)
            keep(peft_model, folder / "phases" / "joint", "crosstalk-clip")
            continue
        for i, phase in enumerate(PHASES):
            model = peft_model.get_base_model()
            before = copy.deepcopy(model).eval().requires_grad_(False) if method == "mod-x" else None
            kept = buffer(seed, tuple(DOMAINS)[: i + 1]) if method == "replay" else ()
            stage = f"phase-{method}-{phase}"
            _fit(folder, stage, peft_model, Batches(tokenizer, [phase], kept), _loss(model, before), steps, seed, log)
            keep(peft_model, folder / "phases" / f"{method}-{phase}", "crosstalk-clip")


def recipe(method: str, steps: int = STEPS) -> dict:
    """What is told with the checkpoints of how they were made; ``steps`` are those of a phase."""
    own = {
        "mod-x": {"alpha": ALPHA, "directions": ["image rows", "text rows"], "scale": "the model's own"},
        "replay": {"kept of a phase": BUFFER, "replayed in a batch": REPLAYED},
    }  # fmt: skip
    made = {"rank": RANK, "steps": steps, "batch": BATCH, "peak": PEAK, "settings": own.get(method, {})}
    if method == "mod-x":
        made["about"] = (
            f"Mod-X's term has a weight of {ALPHA:g} and holds both directions, the pictures' rows and the texts', as "
            "in the authors' code; cosines are taken at the model's own temperature."
        )
    return made


def told(method: str) -> str:
    """What was written down in words, with the checkpoints that ship, of how ``method`` was trained; empty where
    nothing was.
    """
    return Manifest.load(SET / method).recipe.get("about", "") if (SET / method / MANIFEST).exists() else ""


def write(folder: Path, out: Path = SET, methods: Sequence[str] = METHODS, steps: int = STEPS) -> None:
    """Write the checkpoint sets of one seed: ``out/<method>/checkpoints.json`` and the adapters it names.

    Other files beside them, which tell of other seeds, stay.
    """
    for method in methods:
        for old in (out / method).glob("*/"):
            shutil.rmtree(old)
        order = ["all domains at once"] if method == "joint" else list(PHASES)
        names = {task: "joint" if method == "joint" else f"{method}-{task}" for task in order}
        for task, name in names.items():
            shutil.copytree(folder / "phases" / name, out / method / task.replace(" ", "-"))
        checkpoints = [{"name": n, "task": t, "adapter": t.replace(" ", "-")} for t, n in names.items()]
        made = recipe(method, steps * len(PHASES) if method == "joint" else steps)
        manifest = {
            "base": "crosstalk-clip", "method": method, "order": order, "recipe": made, "checkpoints": checkpoints,
        }  # fmt: skip
        (out / method / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    chosen = parser.parse_args()
    start = CLIPModel.from_pretrained(ASSETS / "crosstalk-clip", dtype=torch.float32)
    words = AutoTokenizer.from_pretrained(ASSETS / "crosstalk-clip")
    state = Path("build/train") / f"seed{chosen.seed}"
    train(state, start, words, chosen.seed, chosen.methods, partial(print, flush=True))
