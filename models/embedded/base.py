"""``crosstalk-mini``, the base: a ``LlavaForConditionalGeneration`` on the tower of ``crosstalk-clip``.

Tuned on every question type and answer style about sixty concepts; of the sixty kept for the tasks it
has only read (questions without a picture), never seen one.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPModel, LlavaConfig, LlavaForConditionalGeneration, PreTrainedTokenizerFast, Qwen2Config

from models.embedded import questions as Q
from models.embedded.augment import MILD, augment, stack
from models.embedded.concepts import CONCEPTS, learnt_in
from models.embedded.fit import Fit, device
from models.embedded.packing import Branch, Packer, answer_loss
from models.embedded.pictures import TRAINED_STYLES
from models.embedded.scenes import Scene, random_scene
from models.embedded.text import IMAGE, IMAGE_SIZE, VOCABULARY

BATCH, LENGTH, STEPS = 48, 192, 3000
PEAK, TOWER_PEAK = 1.5e-3, 6e-4
COUNTS = (1, 1, 2, 2, 3, 4)  # of drawings in a scene: more of the clear cases
SKEW = 0.5  # how often a thing comes with its partner in training scenes
TEXT_ONLY = (Q.kind_of, Q.is_a, Q.choice_kind, Q.goes_with, Q.read, Q.greeting, Q.no_picture)
_TEXT_ONLY_ODDS = np.array([2, 2, 2, 1, 2, 0.7, 1.3]) / 11


def config(tower: CLIPModel, tokenizer: PreTrainedTokenizerFast) -> LlavaConfig:
    """Decoder 4 x 256 with 4 heads on 2 key-value heads; the tower without its last layer.

    As in LLaVA, features come from the layer before the last: in contrastive training the last
    layer's patches reach no loss. Here that last layer is dropped instead of computed for nothing.
    """
    vision = tower.config.vision_config.to_dict()
    vision["num_hidden_layers"] -= 1
    text = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=640, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True, rope_theta=10_000.0,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-1, vision_feature_select_strategy="default", tie_word_embeddings=True,
    )  # fmt: skip


def build(tower: CLIPModel, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlavaForConditionalGeneration:
    """The untrained base: random decoder and projector (seeded), tower from ``crosstalk-clip``."""
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config(tower, tokenizer))
    missing = model.model.vision_tower.load_state_dict(tower.vision_model.state_dict(), strict=False).missing_keys
    if missing:
        raise ValueError(f"the contrastive tower lacks {', '.join(missing)}")
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def about_picture(rng: np.random.Generator, scene: Scene, pool) -> list[Branch]:
    """A mixed bag of questions about one scene, in random order."""
    turns: list[Q.Turn | None] = []
    turns += [Q.exist(rng, scene, pool, True), Q.exist(rng, scene, pool, False)]
    naming = [Q.name_zone, Q.name_kind]
    turns += [Q.name(rng, scene, pool), naming[rng.integers(2)](rng, scene, pool), Q.count(rng, scene, pool)]
    turns += [Q.ground(rng, scene, pool), Q.ground(rng, scene, pool), Q.choice(rng, scene, pool)]
    draw = rng.random(7)
    if draw[0] < 0.5:
        turns.append(Q.relation(rng, scene, pool))
    if draw[1] < 0.5:
        turns.append(Q.count_all(rng, scene, pool))
    elif draw[1] < 0.7:
        turns.append(Q.count_kind(rng, scene, pool))
    if draw[2] < 0.7:
        turns.append(Q.caption(rng, scene, pool))
    if draw[3] < 0.2:
        turns.append(Q.ground_absent(rng, scene, pool))
    turns = [t for t in turns if t is not None]
    if draw[4] < 0.5:
        plain = [t for t in turns if t.style in ("word", "numeral", "yes/no", "box") and "kind" not in t.question]
        turns.append(Q.in_sentence(rng, plain[rng.integers(len(plain))], scene, pool))
    branches = []
    for turn in turns:
        dialogue = [Q.with_format(rng, turn) if rng.random() < 0.12 else turn]
        if rng.random() < 0.35 and (follow := Q.follow_up(rng, turn, scene)) is not None:
            dialogue.append(follow)
        branches.append(Branch(tuple(varied(rng, t) for t in dialogue)))
    return [branches[i] for i in rng.permutation(len(branches))]


def varied(rng: np.random.Generator, turn: Q.Turn) -> Q.Turn:
    return Q.Turn(Q.vary(rng, turn.question), turn.answer, turn.style, turn.choices)


def about_text(rng: np.random.Generator) -> Branch:
    """One question without a picture, about any of the 120 concepts."""
    maker = TEXT_ONLY[rng.choice(len(TEXT_ONLY), p=_TEXT_ONLY_ODDS)]
    return Branch((varied(rng, maker(rng, list(CONCEPTS))),), sees=False)


class Batches:
    """Makes one packed batch: scenes of base concepts, a question without a picture beside each."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self.pack, self.pool = Packer(tokenizer, LENGTH), learnt_in("base")

    def __call__(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        scenes = [random_scene(rng, self.pool, TRAINED_STYLES, SKEW, COUNTS) for _ in range(BATCH)]
        rows = [[about_text(rng), *about_picture(rng, s, self.pool)] for s in scenes]
        pixels = augment(rng, stack([s.render(IMAGE_SIZE) for s in scenes]), MILD)
        return {"pixel_values": pixels, **self.pack.patches(scenes), **self.pack(rows)}


def train(
    folder: Path, tower: CLIPModel, tokenizer: PreTrainedTokenizerFast, seed: int, log=print, steps: int = STEPS
) -> LlavaForConditionalGeneration:
    """Instruction tuning of all parameters, the tower at a smaller learning rate.

    The decoder is compiled where there is a C++ compiler: a sixth faster.
    """
    model = build(tower, tokenizer, seed).to(device())
    model.set_attn_implementation("eager")  # for so short sequences faster to train on a CPU
    model.box_head = torch.nn.Linear(model.config.text_config.hidden_size, 4, device=device())
    if shutil.which("g++"):
        model.model.language_model.compile(dynamic=False)
    vision = list(model.model.vision_tower.parameters())
    known = {id(p) for p in vision}
    rest = [p for p in model.parameters() if id(p) not in known]
    fit = Fit(folder, "base", model, [(vision, TOWER_PEAK), (rest, PEAK)], steps, seed)
    fit.run(Batches(tokenizer), lambda batch: answer_loss(model, batch, model.box_head), log)
    del model.box_head
    return model.eval()
