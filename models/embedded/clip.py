"""``crosstalk-clip``, phase 0: a ``CLIPModel`` trained contrastively on drawings and on captioned scenes.

It sees every drawing in the two training styles; the third style is never trained on. First on plain backgrounds, then
on busy ones too and in the rendered looks: the easy pictures first, which is where names are learnt fastest.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy, normalize
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from models.embedded import questions as Q
from models.embedded.augment import MILD, augment, stack
from models.embedded.backgrounds import random_background
from models.embedded.concepts import CONCEPTS
from models.embedded.fit import Fit, device, fuse
from models.embedded.patches import BACKGROUND, box_loss, patch_boxes, patch_labels, patch_loss
from models.embedded.pictures import LOOKS, STYLES, TRAINED_STYLES, alone, table
from models.embedded.scenes import ANGLES, Scene, dressed, placed, random_scene
from models.embedded.text import IMAGE_SIZE, PATCH_SIZE, VOCABULARY, build_image_processor

BATCH, STEPS, PEAK = 160, 1100, 1.5e-3
BROAD_STEPS, BROAD_PEAK = 1600, 1.2e-3
EVERYDAY, ANYTHING = 32, 64  # images of a batch that are scenes of everyday concepts, and of any drawings
EVERY = 200  # steps of the second part between two measurements of retrieval
BROAD_EVERYDAY, BROAD_ANYTHING = 24, 40  # the same in the second part: more single drawings, so more names
BUSY = 0.6  # share of busy backgrounds, when they are there
DRAWN = (*TRAINED_STYLES, *LOOKS)  # art styles twice as often as the looks made from them
NAME = 0.85  # share of single drawings that are called by their everyday name
TOKENS = 32
BOXES_WEIGHT = 4.0


def config(tokenizer: PreTrainedTokenizerFast) -> CLIPConfig:
    """Vision 5 x 192 on 64 patches, text 3 x 160, 128-dimensional joint space."""
    shared = {"hidden_act": "gelu", "projection_dim": 128}
    vision = shared | {
        "hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 5, "num_attention_heads": 3,
        "image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE,
    }  # fmt: skip
    text = shared | {
        "hidden_size": 160, "intermediate_size": 640, "num_hidden_layers": 3, "num_attention_heads": 5,
        "vocab_size": VOCABULARY, "max_position_embeddings": 48, "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=128)


def _called(rng, row: dict) -> str:
    if rng.random() < NAME or not row["synonyms"]:
        return row["name"]
    return row["synonyms"][rng.integers(len(row["synonyms"]))]


class Batches:
    """Makes one batch: single drawings with their names, scenes with their captions, and for every patch
    the name of the drawing it shows and that drawing's box. ``broad``: on busy backgrounds too, and in all looks.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, broad: bool = False):
        self.tokenizer, self.broad = tokenizer, broad
        self.styles = DRAWN if broad else TRAINED_STYLES
        self.everyday, self.anything = (BROAD_EVERYDAY, BROAD_ANYTHING) if broad else (EVERYDAY, ANYTHING)
        self.single = BATCH - self.everyday - self.anything
        self.rows = {row["name"]: row for row in table()}
        self.names = sorted(self.rows)

    def scenes(self, rng: np.random.Generator) -> tuple[list[Scene], list[str]]:
        """Images and their texts, of which no two name the same single drawing."""
        scenes, texts = [], []
        for name in rng.choice(self.names, self.single, replace=False).tolist():
            style = self.styles[rng.integers(len(self.styles))]
            angle, flip = ANGLES[rng.integers(len(ANGLES))], bool(rng.random() < 0.5)
            item = placed(name, style, rng.uniform(0.3, 0.7, 2), rng.uniform(0.45, 0.98), angle, flip)
            scenes.append(Scene((item,), random_background(rng)))
            texts.append(_called(rng, self.rows[name]))
        for _ in range(self.everyday):
            scenes.append(random_scene(rng, list(CONCEPTS), self.styles, skew=0.0, counts=(2, 3, 4)))
            texts.append(Q.caption_text(scenes[-1]))
        for _ in range(self.anything):
            scenes.append(random_scene(rng, self.names, self.styles, skew=0.0, counts=(2, 3, 4)))
            texts.append(", ".join(scenes[-1].counts))
        if self.broad:
            scenes = [dressed(rng, scene, BUSY) for scene in scenes]
        return scenes, texts

    def __call__(self, rng: np.random.Generator) -> dict:
        scenes, texts = self.scenes(rng)
        pixels = augment(rng, stack([s.render(IMAGE_SIZE) for s in scenes]), MILD)
        names = [BACKGROUND, *sorted({item.name for scene in scenes for item in scene.items})]
        index = {name: i for i, name in enumerate(names)}
        captions, called = self.encode(texts), self.encode(names)
        labels = torch.from_numpy(np.stack([patch_labels(scene, index) for scene in scenes]))
        boxes = torch.from_numpy(np.stack([patch_boxes(scene) for scene in scenes]))
        batch = {"pixel_values": pixels, "captions": captions, "names": called, "patches": labels, "boxes": boxes}
        if self.broad:
            batch["own"] = torch.tensor([index[scene.items[0].name] for scene in scenes[: self.single]])
        return batch

    def encode(self, texts) -> dict[str, torch.Tensor]:
        coded = self.tokenizer(texts, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
        return {k: coded[k] for k in ("input_ids", "attention_mask")}


def contrast(image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Symmetric InfoNCE of pairs, and how often an image's own text is its nearest."""
    logits = (normalize(image, dim=-1) @ normalize(text, dim=-1).T).float() * scale.exp()
    target = torch.arange(len(logits), device=logits.device)
    value = (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
    return value, (logits.argmax(1) == target).float().mean()


def train(
    folder: Path, tokenizer: PreTrainedTokenizerFast, seed: int, log=print, steps: int = STEPS,
    broad_steps: int = BROAD_STEPS,
) -> CLIPModel:  # fmt: skip
    """Phase 0 from random weights; ``tokenizer`` is the caption tokenizer.

    Whole images against texts, and patches against the names of what they show (as in RegionCLIP, arXiv
    2112.09106) with the box of it: those patches, of the layer before the last, are what the MLLM reads. ``steps`` on
    plain backgrounds, then ``broad_steps`` on all.
    """
    torch.manual_seed(seed)
    model = CLIPModel(config(tokenizer)).to(device())
    model.box_head = torch.nn.Linear(model.config.vision_config.hidden_size, 4, device=device())
    model.set_attn_implementation("eager")  # for so short sequences three times as fast to train on a CPU

    fuse(model.vision_model.encoder.layers, steps + broad_steps)

    def loss(batch):
        vision = model.vision_model(pixel_values=batch["pixel_values"], output_hidden_states=True)
        whole, text = model.visual_projection(vision.pooler_output), model.get_text_features(**batch["captions"])
        value, right = contrast(whole, text.pooler_output, model.logit_scale)
        states = model.vision_model.post_layernorm(vision.hidden_states[-2][:, 1:])
        names = model.get_text_features(**batch["names"]).pooler_output
        nearest = normalize(names, dim=-1).T * model.logit_scale.exp()
        logits = (normalize(model.visual_projection(states), dim=-1) @ nearest).float()
        dense, named = patch_loss(logits, batch["patches"], 0)
        box = box_loss(model.box_head, states, batch["boxes"])
        numbers = {"r@1": right, "patches named": named, "box": box.detach()}
        if "own" in batch:  # single drawings tell their names from those of all drawings in the batch
            logits = (normalize(whole[: len(batch["own"])], dim=-1) @ nearest).float()
            value = value + cross_entropy(logits, batch["own"])
            numbers["own name"] = (logits.argmax(1) == batch["own"]).float().mean()
        return value + dense + BOXES_WEIGHT * box, numbers

    def tell(step):
        if step % EVERY == 0:
            model.eval()
            found = {style: recall(model, tokenizer, style) for style in STYLES}
            model.train()
            log(f"after {step}, R@1: " + ", ".join(f"{style} {share:.1%}" for style, share in found.items()))

    fit = Fit(folder, "clip", model, [(model.parameters(), PEAK)], steps, seed)
    fit.run(Batches(tokenizer), loss, log)
    fit = Fit(folder, "clip-broad", model, [(model.parameters(), BROAD_PEAK)], broad_steps, seed)
    fit.run(Batches(tokenizer, broad=True), loss, log, tell)
    del model.box_head
    return model.eval()


@torch.inference_mode()
def recall(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, style: str, limit: int | None = None) -> float:
    """Image-to-text R@1: how often a drawing of ``style`` on white is nearest to its own name among all."""
    rows = [i for i, row in enumerate(table()) if row["style"] == style][:limit]
    names = [table()[i]["name"] for i in rows]
    pixels = build_image_processor()([alone(i) for i in rows], return_tensors="pt")["pixel_values"]
    coded = tokenizer(names, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
    where = model.device
    image = torch.cat([model.get_image_features(pixel_values=p.to(where)).pooler_output for p in pixels.split(256)])
    text = model.get_text_features(**coded.to(where)).pooler_output
    image, text = (normalize(v, dim=-1) for v in (image, text))
    return float(((image @ text.T).argmax(1).cpu() == torch.arange(len(rows))).float().mean())
