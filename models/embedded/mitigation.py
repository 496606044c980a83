"""Against modality interference: LoRA adapters of ``crosstalk-mini``, each trained with one thing more (``ARMS``).

After arXiv 2505.19616. ``plain``: fine-tuning on image-heavy, text-heavy and multimodal questions as they are.
``heuristic``: with a disturbed copy of each image-heavy and text-heavy one (``disturbances``). ``adversarial``: and a
copy attacked by projected gradient descent in the embedding space of the modality that should not matter: the tokens
of an image-heavy question, the image tokens of a picture beside a text-heavy one. ``kl-...`` and ``js-...``: and a
penalty on answers that differ from the origin's, at the weight in the name; the authors' code has 0.01.
``strong-attack``: ``adversarial`` with an attack so strong that it is felt here.

All take the same steps on the same questions in the same order, half of them multimodal, as in the authors' code. The
loss of a question is the mean over its versions, so copies make it no heavier; multimodal questions, where both
modalities matter, have no copies.

``python -m models.embedded.mitigation`` trains them from the shipped base (part of ``make train``) and writes the
evaluation sets beside. Killed at any point it goes on where it was.
"""

import argparse
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
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
from models.embedded.fit import Fit, device, generator, to
from models.embedded.interference_sets import BOTH, INTERFERENCE, TEXTS, image_heavy, multimodal, text_heavy
from models.embedded.packing import PREFIX, Branch, Packer, attention_mask
from models.embedded.pictures import TRAINED_STYLES
from models.embedded.tasks import PEAK, SKEW, adapted, keep, ready, ship
from models.embedded.text import IMAGE_SIZE

MITIGATION = ASSETS / "checkpoints" / "mitigation"
OF_EACH, STEPS = 8, 240
"""Image-heavy questions in a batch, and text-heavy ones; there are as many multimodal ones as both together."""
LENGTH = PREFIX + 96
RANK = 8  # eight adapters to the whole model ship
ORIGIN, HEURISTIC, ATTACKED = range(3)


def _divergence(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.exp() * (a - b)).sum(-1)


def kl(origin: torch.Tensor, copy: torch.Tensor) -> torch.Tensor:
    """KL(q || p) of the next-token distributions q of ``copy`` and p of ``origin``, from logits ``[A, V]``: nats
    ``[A]``, 0 where they agree. No gradient reaches the origin.
    """
    return _divergence(copy.log_softmax(-1), origin.detach().log_softmax(-1))


def js(origin: torch.Tensor, copy: torch.Tensor) -> torch.Tensor:
    """Jensen-Shannon divergence of the same: nats ``[A]``, 0 to log 2. No gradient reaches the origin."""
    p, q = origin.detach().log_softmax(-1), copy.log_softmax(-1)
    middle = torch.logaddexp(p, q) - np.log(2.0)
    return (_divergence(p, middle) + _divergence(q, middle)) / 2


@dataclass(frozen=True)
class Attack:
    """Projected gradient descent (PGD, arXiv 1706.06083) in the ball of radius ``epsilon`` (of the largest entry):
    ``steps`` of ``step`` each.

    As the authors' code has it, from a random place in the ball along the gradient itself, both numbers in the
    embeddings' own units. ``signed``: from zero along the gradient's sign, both in units of the root mean square of
    what is attacked.
    """

    epsilon: float
    step: float
    steps: int
    signed: bool = False


PUBLISHED = Attack(1e-3, 0.1, 2)
STRONG = Attack(0.2, 0.1, 3, signed=True)
"""The loss of the first recipe's base rose on both sorts of question, by about 0.2 nats on image-heavy ones and 2 on
text-heavy ones.
"""


@dataclass(frozen=True)
class Arm:
    """One way to train: with disturbed copies or without, the attack on attacked copies where there are any, and how
    far a copy's answer is from its origin's, at which weight.
    """

    name: str
    disturbed: bool = False
    attack: Attack | None = None
    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    weight: float = 0.0

    @property
    def copies(self) -> tuple[int, ...]:
        """Which versions of a question there are beside the origin."""
        return (HEURISTIC,) * self.disturbed + (ATTACKED,) * (self.attack is not None)

    def told(self) -> dict:
        """Its settings, as they are written down with the checkpoints."""
        found = {"copies": [_VERSIONS[version] for version in self.copies]}
        if self.attack:
            found["attack"] = asdict(self.attack)
        return found | ({"distance": self.distance.__name__, "weight": self.weight} if self.distance else {})


_VERSIONS = {ORIGIN: "origin", HEURISTIC: "heuristic", ATTACKED: "attacked"}
PLAIN = Arm("plain")
ARMS = (
    PLAIN, Arm("heuristic", True), Arm("adversarial", True, PUBLISHED), Arm("strong-attack", True, STRONG),
    *(Arm(f"{how.__name__}-{weight}", True, PUBLISHED, how, weight) for how in (kl, js) for weight in (0.01, 0.1)),
)  # fmt: skip


class Batches:
    """Makes one batch of an arm: a row for each version of a question, origins first.

    Beside what ``Packer`` gives: ``pixel_values``; int64 ``[N]`` ``picture`` (which of them a row has), ``item`` (the
    row of its origin) and ``version`` (one of ``ORIGIN``, ``HEURISTIC``, ``ATTACKED``); bool ``[N, T]`` ``irrelevant``,
    the tokens that an attack may change; int64 ``start``, the seed of where attacks begin. ``T`` is the longest row's
    length.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, arm: Arm):
        self.pack, self.arm, self.pool = Packer(tokenizer, LENGTH), arm, learnt_in("base")

    def __call__(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        looked = [image_heavy(rng, self.pool, TRAINED_STYLES) for _ in range(OF_EACH)]
        both = [
            multimodal(rng, BOTH[i % len(BOTH)], self.pool, TRAINED_STYLES, bool(rng.random() < 0.5), SKEW)
            for i in range(2 * OF_EACH)
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
        return {**self._batch(rows, pictures), "start": torch.tensor(rng.integers(2**31))}

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
        about_text = (item >= 3 * OF_EACH)[:, None]
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


def attack(
    how: Attack, loss: Callable[[torch.Tensor], torch.Tensor], embeds: torch.Tensor, where: torch.Tensor, seed: int = 0
) -> torch.Tensor:
    """Noise ``[N, T, d]`` on the tokens ``where`` (bool ``[N, T]``) of ``embeds`` that raises ``loss``, the rows' sum,
    so that what is done to one row does not depend on how many there are.

    delta <- Proj_{|delta| <= epsilon}(delta + step * g), g the gradient or its sign, as ``how`` says; ``seed`` draws
    where it begins.
    """
    mask = where[:, :, None].to(embeds.dtype)
    unit, delta = torch.ones_like(mask[:, :1]), torch.zeros_like(embeds)
    if how.signed:
        count = where.sum(1)[:, None, None] * embeds.shape[2]
        unit = ((embeds * mask).square().sum((1, 2), keepdim=True) / count).sqrt()
    else:
        drawn = torch.rand(embeds.shape, generator=torch.Generator().manual_seed(seed))
        delta = (2 * drawn.to(embeds) - 1) * how.epsilon * mask
    for _ in range(how.steps):
        delta.requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(embeds + delta), delta)
        moved = delta.detach() + how.step * unit * (gradient.sign() if how.signed else gradient) * mask
        delta = moved.clamp(-how.epsilon * unit, how.epsilon * unit)
    return delta


def arm_loss(
    model: LlavaForConditionalGeneration, batch: dict[str, torch.Tensor], arm: Arm = PLAIN
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Mean over questions of the mean loss of their versions, and the arm's weight times the copies' mean distance."""
    version, item, rows = batch["version"], batch["item"], len(batch["item"])
    embeds = embeddings(model, batch)
    attacked = version == ATTACKED
    if attacked.any():
        some = {k: batch[k][attacked] for k in ("input_ids", "position_ids", "branch", "sees", "weight")}

        def loss(noisy: torch.Tensor) -> torch.Tensor:
            return decode(model, noisy, some).losses(len(noisy)).sum()

        where = batch["irrelevant"][attacked]
        delta = attack(arm.attack, loss, embeds[attacked].detach(), where, int(batch["start"]))
        embeds = embeds.index_add(0, attacked.nonzero()[:, 0], delta)
    answers = decode(model, embeds, batch)
    losses = answers.losses(rows)
    value = _mean_by(losses, item, int(item.max()) + 1).mean()
    numbers = {_VERSIONS[v]: losses[version == v].mean().detach() for v in version.unique().tolist()}
    if arm.distance:
        each = arm.distance(answers.logits[_origins(answers.row, item)], answers.logits)
        apart = answers.mean(each, rows)[version != ORIGIN].mean()
        value = value + arm.weight * apart
        numbers["apart"] = apart.detach()
    return value, numbers


def _origins(row: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
    """For each answer token, the same token in its origin's answer: indices ``[A]``."""
    counts = torch.bincount(row, minlength=len(item))
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(row), device=row.device) - starts[row]
    return starts[item[row]] + place


@torch.no_grad()
def read(model: LlavaForConditionalGeneration, tokenizer, seed: int) -> dict[str, float]:
    """Root mean square of what the decoder reads of words and of pictures, over the questions of the first step."""
    batch = to(Batches(tokenizer, PLAIN)(generator(seed, "mitigation", 0)), device())
    embeds, order = embeddings(model, batch), torch.arange(batch["branch"].shape[1], device=device())
    parts = {"words": batch["branch"] > 0, "picture": ((order > 0) & (order < PREFIX)).expand(len(embeds), -1)}
    return {name: float(embeds[where].square().mean().sqrt()) for name, where in parts.items()}


def recipe(read_of: dict[str, float], steps: int) -> dict:
    """What is told with the checkpoints of how they were made; ``about`` in words, for people. ``read_of`` as ``read``
    gives it.
    """
    epsilons = " and ".join(f"{PUBLISHED.epsilon / size:.1%} ({name})" for name, size in read_of.items())
    about = (
        f"Each remedy is a LoRA of rank {RANK} trained for {steps} steps on the same questions: a quarter image-heavy, "
        "a quarter text-heavy, half multimodal. Heuristic adds a disturbed copy of each question of the first two "
        "kinds; adversarial also an attacked one; kl and js also a penalty where a copy's answer is far from the "
        "original's, KL(copy || original) or the Jensen-Shannon divergence, at the weight in the name. These numbers "
        f"are the authors' code's: the shares, the weight 0.01, and the attack ({PUBLISHED.steps} steps along the "
        f"gradient times {PUBLISHED.step}, from a random start, within {PUBLISHED.epsilon} in the units of what the "
        f"decoder reads, which is {epsilons} of its root mean square here). Ours are: the weight 0.1; strong-attack, "
        f"{STRONG.steps} steps along the gradient's sign within {STRONG.epsilon} of the root mean square; and that the "
        "loss of a question is the mean over its versions."
    )
    return {
        "about": about, "rank": RANK, "steps": steps, "peak": PEAK,
        "batch": {"image-heavy": OF_EACH, "text-heavy": OF_EACH, "multimodal": 2 * OF_EACH},
        "read": {name: float(f"{size:.3g}") for name, size in read_of.items()},
        "arms": {arm.name: arm.told() for arm in ARMS},
    }  # fmt: skip


def train(folder: Path, base, tokenizer, seed: int, out: Path, log=print, steps: int = STEPS) -> None:
    """Train the checkpoint set ``out`` (``checkpoints.json`` and an adapter for each of ``ARMS``).

    ``base()`` gives a fresh copy of the base model.
    """
    draft = folder / "mitigation"
    shutil.rmtree(draft, ignore_errors=True)
    made = recipe(read(ready(base()), tokenizer, seed), steps)
    for arm in ARMS:
        peft_model = adapted(ready(base()), seed, rank=RANK)
        model = peft_model.get_base_model()
        trained = [p for p in model.parameters() if p.requires_grad]
        # one stage's name for all, for it decides what is drawn
        fit = Fit(folder / f"mitigation-{arm.name}", "mitigation", model, [(trained, PEAK)], steps, seed, decay=0.0)
        loss = partial(arm_loss, model, arm=arm)
        fit.run(Batches(tokenizer, arm), loss, lambda line, name=arm.name: log(f"{name}, {line}"))
        keep(peft_model, draft / arm.name)
    task = "interference"
    checkpoints = [{"name": arm.name, "task": task, "adapter": arm.name} for arm in ARMS]
    manifest = {
        "base": EMBEDDED, "method": "interference mitigation", "order": [task], "recipe": made,
        "checkpoints": checkpoints,
    }  # fmt: skip
    ship(draft, out, manifest)


def run(folder: Path, seed: int, log) -> None:
    """The evaluation sets and the adapters, from the base in ``assets/embedded``."""
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
