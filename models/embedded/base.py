"""``crosstalk-mini``, the base: a ``LlavaForConditionalGeneration`` of the tower of ``crosstalk-clip`` and the decoder
of ``text-parent``.

Tuned on every question type and answer style about sixty concepts, on plain and busy backgrounds, and on saying so
where there is nothing it knows; of the sixty kept for the tasks it has only read, never seen one.
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from transformers import (
    CLIPModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2ForCausalLM,
)

from models.embedded import phrases as P
from models.embedded import probes
from models.embedded import questions as Q
from models.embedded.augment import MILD, augment, stack
from models.embedded.concepts import learnt_in
from models.embedded.fit import Fit, device, fuse
from models.embedded.honesty import about_nothing, small_talk, unknown_scene
from models.embedded.packing import Branch, Packer, answer_loss
from models.embedded.parent import about_text, reworded, varied
from models.embedded.pictures import LOOKS, TRAINED_STYLES
from models.embedded.scenes import Scene, dressed, random_scene
from models.embedded.text import IMAGE, IMAGE_SIZE

BATCH, LENGTH, STEPS = 32, 160, 3000
PEAK, TOWER_PEAK = 1.2e-3, 6e-4
COUNTS = (1, 1, 2, 2, 3, 4)  # of drawings in a scene: more of the clear cases
SKEW = 0.5  # how often a thing comes with its partner in training scenes
BUSY = 0.7  # share of backgrounds that are busy
UNKNOWN = 1 / 8  # share of pictures with nothing known
TALK = 0.3  # share of pictures beside which there is small talk
DRAWN = (*TRAINED_STYLES, *LOOKS)  # art styles twice as often as the looks made from them


def config(tower: CLIPModel, parent: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> LlavaConfig:
    """The decoder as in ``parent``; the tower without its last layer.

    As in LLaVA, features come from the layer before the last: in contrastive training the last
    layer's patches reach no loss. Here that last layer is dropped instead of computed for nothing.
    """
    vision = tower.config.vision_config.to_dict()
    vision["num_hidden_layers"] -= 1
    return LlavaConfig(
        vision_config=vision, text_config=parent.config, image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-1, vision_feature_select_strategy="default", tie_word_embeddings=True,
    )  # fmt: skip


def build(
    tower: CLIPModel, parent: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int
) -> LlavaForConditionalGeneration:
    """The base before it is tuned: tower from ``crosstalk-clip``, decoder from ``text-parent``, projector random."""
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config(tower, parent, tokenizer))
    missing = model.model.vision_tower.load_state_dict(tower.vision_model.state_dict(), strict=False).missing_keys
    if missing:
        raise ValueError(f"the contrastive tower lacks {', '.join(missing)}")
    model.model.language_model.load_state_dict(parent.model.state_dict())
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
        branches.append(Branch(tuple(reworded(rng, t) for t in dialogue)))
    if draw[5] < 0.3 and (other := Q.name_other(rng, scene, pool)) is not None:
        branches.append(Branch((varied(rng, other),)))
    return [branches[i] for i in rng.permutation(len(branches))]


class Batches:
    """Makes one packed batch: scenes of base concepts, some pictures with nothing known, a question without a picture
    beside each, small talk beside some. Untaught drawings are labelled as background.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self.pack, self.pool = Packer(tokenizer, LENGTH), learnt_in("base")

    def picture(self, rng: np.random.Generator) -> tuple[Scene, list[Branch], bool]:
        """One picture, what is asked beside it, and whether anything on it is known."""
        known = rng.random() >= UNKNOWN
        if known:
            scene = dressed(rng, random_scene(rng, self.pool, DRAWN, SKEW, COUNTS), BUSY)
            branches = about_picture(rng, scene, self.pool)
        else:
            scene = dressed(rng, unknown_scene(rng, looks=DRAWN), BUSY)
            branches = [Branch((varied(rng, turn),)) for turn in about_nothing(rng, self.pool)]
        if rng.random() < TALK:
            branches = [Branch((varied(rng, small_talk(rng)),)), *branches]
        return scene, [about_text(rng), *branches], known

    def __call__(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        with Q.asked_in(P.taught):
            shown = [self.picture(rng) for _ in range(BATCH)]
        pixels = augment(rng, stack([scene.render(IMAGE_SIZE) for scene, *_ in shown]), MILD)
        labels = self.pack.patches([scene if known else Scene(()) for scene, _, known in shown])
        return {"pixel_values": pixels, **labels, **self.pack([branches for _, branches, _ in shown])}


def train(
    folder: Path, tower: CLIPModel, parent: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int, log=print,
    steps: int = STEPS, attention: Callable[[LlavaForConditionalGeneration], tuple[list, probes.Within]] | None = None,
) -> LlavaForConditionalGeneration:  # fmt: skip
    """Instruction tuning of all parameters, the tower at a smaller learning rate; skills are told on the way.

    ``attention`` puts another attention into the fresh model: it gives the groups of parameters that it adds (see
    ``Fit``), and in what the model reads a batch. All else is drawn as without it.
    """
    model = build(tower, parent, tokenizer, seed).to(device())
    model.set_attn_implementation("eager")  # for so short sequences faster to train on a CPU
    model.box_head = torch.nn.Linear(model.config.text_config.hidden_size, 4, device=device())
    vision = list(model.model.vision_tower.parameters())
    known = {id(p) for p in vision}
    rest = [p for p in model.parameters() if id(p) not in known]
    more, within = attention(model) if attention else ([], nullcontext)
    if not attention:
        fuse([*model.model.vision_tower.encoder.layers, *model.model.language_model.layers], steps)

    def loss(batch: dict[str, torch.Tensor]):
        with within(batch):
            return answer_loss(model, batch, model.box_head)

    fit = Fit(folder, "base", model, [(vision, TOWER_PEAK), (rest, PEAK), *more], steps, seed)
    fit.run(Batches(tokenizer), loss, log, probes.Teller(model, tokenizer, seed, log, within))
    del model.box_head
    return model.eval()
