"""Against modality interference: four LoRA adapters of ``crosstalk-mini``, each with one thing more.

After arXiv 2505.19616. ``plain``: fine-tuning on image-heavy, text-heavy and multimodal questions as they are.
``heuristic``: with a perturbed copy of each image-heavy and text-heavy one (``disturbances``). ``adversarial``: and a
copy attacked by projected gradient descent in the embedding space of the modality that should not matter: the tokens
of an image-heavy question, the image tokens of a picture beside a text-heavy one. ``consistent``: and a penalty on
answers that differ from the origin's.

All four take the same steps on the same questions in the same order. The loss of a question is the mean over its
versions, so copies make it no heavier; multimodal questions, where both modalities matter, have no copies.

``python -m models.embedded.mitigation`` trains them from the shipped base (part of ``make train``) and writes the
evaluation sets beside.
"""

import argparse
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from models.catalog import EMBEDDED
from models.embedded import ASSETS, interference_sets
from models.embedded.augment import MILD, augment, stack
from models.embedded.concepts import learnt_in
from models.embedded.disturbances import junk_picture, with_sentence
from models.embedded.fit import Fit
from models.embedded.interference_sets import BOTH, INTERFERENCE, TEXTS, image_heavy, multimodal, text_heavy
from models.embedded.packing import PREFIX, Branch, Packer, attention_mask
from models.embedded.pictures import TRAINED_STYLES
from models.embedded.tasks import PEAK, SKEW, adapted, keep, ready, ship
from models.embedded.text import IMAGE_SIZE

MITIGATION = ASSETS / "checkpoints" / "mitigation"
OF_EACH, STEPS = 8, 240
"""Questions in a batch of each of the three sorts."""
LENGTH = PREFIX + 96
EPSILON, STEP_SIZE, ATTACK_STEPS = 0.2, 0.1, 3
"""The ball's radius and a step, in units of the attacked embeddings' root mean square: so large that the base's loss
rises on both sorts of question (by about 0.2 nats on image-heavy ones, 2 on text-heavy ones).
"""
CONSISTENCY = 1.0
ORIGIN, HEURISTIC, ATTACKED = range(3)


@dataclass(frozen=True)
class Arm:
    """One way to train: which versions of a question there are, and the weight of ``consistency``."""

    name: str
    copies: tuple[int, ...] = ()
    consistency: float = 0.0


ARMS = (
    Arm("plain"),
    Arm("heuristic", (HEURISTIC,)),
    Arm("adversarial", (HEURISTIC, ATTACKED)),
    Arm("consistent", (HEURISTIC, ATTACKED), CONSISTENCY),
)


class Batches:
    """Makes one batch of an arm: a row for each version of a question, origins first.

    Beside what ``Packer`` gives: ``pixel_values``; int64 ``[N]`` ``picture`` (which of them a row has), ``item`` (the
    row of its origin) and ``version`` (one of ``ORIGIN``, ``HEURISTIC``, ``ATTACKED``); bool ``[N, T]`` ``irrelevant``,
    the tokens that an attack may change. ``T`` is the longest row's length.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, arm: Arm):
        self.pack, self.arm, self.pool = Packer(tokenizer, LENGTH), arm, learnt_in("base")

    def __call__(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        looked = [image_heavy(rng, self.pool, TRAINED_STYLES) for _ in range(OF_EACH)]
        both = [
            multimodal(rng, BOTH[i % len(BOTH)], self.pool, TRAINED_STYLES, bool(rng.random() < 0.5), SKEW)
            for i in range(OF_EACH)
        ]
        kinds = tuple(TEXTS)
        texts = [text_heavy(rng, kinds[i % len(kinds)], self.pool, bool(rng.random() < 0.5)) for i in range(OF_EACH)]
        seen = [*looked, *both]
        pictures = list(augment(rng, stack([scene.render(IMAGE_SIZE) for scene, _ in seen]), MILD))
        # all arms have drawn the same so far; what comes next is an arm's own
        rows = [(Branch((turn,)), i, i, ORIGIN) for i, (_, turn) in enumerate(seen)]
        rows += [(Branch((turn,), sees=False), 0, i, ORIGIN) for i, turn in enumerate(texts, len(seen))]
        if self.arm.copies:
            rows += self._copies(rng, [turn for _, turn in looked], texts, pictures, len(seen))
        return self._batch(rows, pictures)

    def _copies(self, rng, looked, texts, pictures: list[torch.Tensor], first_text: int) -> list[tuple]:
        """Rows of the copies; pictures for questions without one are appended to ``pictures``."""
        rows = []
        for i, turn in enumerate(looked):
            versions = {HEURISTIC: with_sentence(rng, turn, self.pool), ATTACKED: turn}
            rows += [(Branch((versions[v],)), i, i, v) for v in self.arm.copies]
        for i, turn in enumerate(texts, first_text):
            pictures.append(junk_picture(rng, turn, self.pool))
            rows += [(Branch((turn,)), len(pictures) - 1, i, v) for v in self.arm.copies]
        return rows

    def _batch(self, rows: list[tuple], pictures: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        packed = self.pack.short([[branch] for branch, *_ in rows])
        answered = packed["weight"] > 0
        if not answered.any(1).all():
            raise ValueError(f"a question has more than {LENGTH - PREFIX} tokens")
        picture, item, version = (torch.tensor(column) for column in list(zip(*rows, strict=True))[1:])
        order = torch.arange(answered.shape[1])
        # an answer's first token follows <|end|><|assistant|>
        question = (order >= PREFIX) & (order < answered.int().argmax(1, keepdim=True) - 2)
        image = (order > 0) & (order < PREFIX)
        about_text = (item >= 2 * OF_EACH)[:, None]
        return {
            **packed, "pixel_values": torch.stack(pictures), "picture": picture, "item": item, "version": version,
            "irrelevant": torch.where(about_text, image, question),
        }  # fmt: skip


def embeddings(model: LlavaForConditionalGeneration, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the decoder reads: float32 ``[N, T, d]``, each row with its picture's features."""
    words = model.get_input_embeddings()(batch["input_ids"])
    features = torch.stack(list(model.model.get_image_features(batch["pixel_values"]).pooler_output))
    return torch.cat([words[:, :1], features.to(words.dtype)[batch["picture"]], words[:, PREFIX:]], dim=1)


@dataclass(frozen=True)
class Answers:
    """The tokens of all rows' answers, ``A`` in all: ``logits`` float32 ``[A, V]``, ``target`` and ``row`` ``[A]``."""

    logits: torch.Tensor
    target: torch.Tensor
    row: torch.Tensor

    def mean(self, values: torch.Tensor, rows: int) -> torch.Tensor:
        """Mean of ``values`` ``[A]`` over each row's answer: ``[rows]``."""
        return _mean_by(values, self.row, rows)

    def losses(self, rows: int) -> torch.Tensor:
        """Cross-entropy of each row's answer, nats a token: ``[rows]``."""
        return self.mean(cross_entropy(self.logits, self.target, reduction="none"), rows)


def _mean_by(values: torch.Tensor, group: torch.Tensor, groups: int) -> torch.Tensor:
    sums = values.new_zeros(groups).index_add(0, group, values)
    return sums / torch.bincount(group, minlength=groups).clamp(min=1)


def decode(model: LlavaForConditionalGeneration, embeds: torch.Tensor, batch: dict[str, torch.Tensor]) -> Answers:
    """The answers' tokens as the decoder predicts them after ``embeds``."""
    dtype = torch.bfloat16 if torch.is_autocast_enabled(embeds.device.type) else embeds.dtype
    hidden = model.model.language_model(
        inputs_embeds=embeds,
        position_ids=batch["position_ids"],
        attention_mask=attention_mask(batch["branch"], batch["sees"], dtype),
        use_cache=False,
    ).last_hidden_state
    wanted = batch["weight"][:, 1:] > 0
    row = wanted.nonzero()[:, 0]
    return Answers(model.lm_head(hidden[:, :-1][wanted]).to(embeds.dtype), batch["input_ids"][:, 1:][wanted], row)


def attack(loss: Callable[[torch.Tensor], torch.Tensor], embeds: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Noise ``[N, T, d]`` on the tokens ``where`` (bool ``[N, T]``) of ``embeds`` that raises ``loss``, the rows' sum.

    delta <- Proj_{|delta| <= epsilon}(delta + step * sign(grad loss)), ``ATTACK_STEPS`` times from 0 (PGD, arXiv
    1706.06083). Epsilon is ``EPSILON``, and the step ``STEP_SIZE``, times the root mean square of the row's embeddings
    at these tokens.
    """
    mask = where[:, :, None].to(embeds.dtype)
    count = where.sum(1)[:, None, None] * embeds.shape[2]
    scale = ((embeds * mask).square().sum((1, 2), keepdim=True) / count).sqrt()
    delta = torch.zeros_like(embeds)
    for _ in range(ATTACK_STEPS):
        delta.requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(embeds + delta), delta)
        moved = delta.detach() + STEP_SIZE * scale * gradient.sign() * mask
        delta = moved.clamp(-EPSILON * scale, EPSILON * scale)
    return delta


def consistency(origin: torch.Tensor, copy: torch.Tensor) -> torch.Tensor:
    """KL(p || q) + JS(p, q) of the next-token distributions p of ``origin`` and q of ``copy``, from logits
    ``[A, V]``: nats ``[A]``, 0 where they agree.

    The origin is the teacher in both terms: no gradient reaches it.
    """
    p, q = origin.detach().log_softmax(-1), copy.log_softmax(-1)
    middle = torch.logaddexp(p, q) - np.log(2.0)

    def kl(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a.exp() * (a - b)).sum(-1)

    return kl(p, q) + (kl(p, middle) + kl(q, middle)) / 2


def arm_loss(
    model: LlavaForConditionalGeneration, batch: dict[str, torch.Tensor], weight: float = 0.0
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Mean over questions of the mean loss of their versions, and ``weight`` times the copies' mean ``consistency``."""
    version, item, rows = batch["version"], batch["item"], len(batch["item"])
    embeds = embeddings(model, batch)
    attacked = version == ATTACKED
    if attacked.any():
        some = {k: batch[k][attacked] for k in ("input_ids", "position_ids", "branch", "sees", "weight")}

        def loss(noisy: torch.Tensor) -> torch.Tensor:
            return decode(model, noisy, some).losses(len(noisy)).sum()

        delta = attack(loss, embeds[attacked].detach(), batch["irrelevant"][attacked])
        embeds = embeds.index_add(0, attacked.nonzero()[:, 0], delta)
    answers = decode(model, embeds, batch)
    losses = answers.losses(rows)
    value = _mean_by(losses, item, int(item.max()) + 1).mean()
    names = {ORIGIN: "origin", HEURISTIC: "heuristic", ATTACKED: "attacked"}
    numbers = {names[v]: losses[version == v].mean().detach() for v in version.unique().tolist()}
    if weight:
        apart = answers.mean(consistency(answers.logits[_origins(answers.row, item)], answers.logits), rows)
        numbers["consistency"] = apart[version != ORIGIN].mean()
        value = value + weight * numbers["consistency"]
        numbers["consistency"] = numbers["consistency"].detach()
    return value, numbers


def _origins(row: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
    """For each answer token, the same token in its origin's answer: indices ``[A]``."""
    counts = torch.bincount(row, minlength=len(item))
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(row), device=row.device) - starts[row]
    return starts[item[row]] + place


def train(folder: Path, base, tokenizer, seed: int, out: Path, log=print, steps: int = STEPS) -> None:
    """Train the checkpoint set ``out`` (``checkpoints.json`` and an adapter for each of ``ARMS``).

    ``base()`` gives a fresh copy of the base model.
    """
    draft = folder / "mitigation"
    shutil.rmtree(draft, ignore_errors=True)
    for arm in ARMS:
        peft_model = adapted(ready(base()), seed)
        model = peft_model.get_base_model()
        trained = [p for p in model.parameters() if p.requires_grad]
        # one stage's name for all, for it decides what is drawn
        fit = Fit(folder / f"mitigation-{arm.name}", "mitigation", model, [(trained, PEAK)], steps, seed, decay=0.0)
        loss = partial(arm_loss, model, weight=arm.consistency)
        fit.run(Batches(tokenizer, arm), loss, lambda line, name=arm.name: log(f"{name}, {line}"))
        keep(peft_model, draft / arm.name)
    task = "interference"
    checkpoints = [{"name": arm.name, "task": task, "adapter": arm.name} for arm in ARMS]
    manifest = {
        "base": EMBEDDED, "method": "interference mitigation", "order": [task], "checkpoints": checkpoints,
    }  # fmt: skip
    ship(draft, out, manifest)


def run(folder: Path, seed: int, log) -> None:
    """The evaluation sets and the four adapters, from the base in ``assets/embedded``."""
    interference_sets.write(INTERFERENCE, seed)
    source = ASSETS / EMBEDDED
    tokenizer = AutoTokenizer.from_pretrained(source)
    train(folder, lambda: _base(source), tokenizer, seed, MITIGATION, log)


def _base(source: Path) -> LlavaForConditionalGeneration:
    return LlavaForConditionalGeneration.from_pretrained(source, dtype=torch.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    run(Path("build/train") / f"seed{chosen.seed}", chosen.seed, partial(print, flush=True))
