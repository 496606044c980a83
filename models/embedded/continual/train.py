"""``python -m models.embedded.continual.train``: the six tasks one after another, by every method.

Writes ``assets/embedded/checkpoints/<method>`` for seed 0, and ``build/train/seed<N>/checkpoints/<method>`` for other
seeds (``--seed``) and for the tasks in reversed order (``--reversed``), which are measured and not shipped. Killed at
any point, it goes on where it was.
"""

import argparse
import copy
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoTokenizer, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from models.embedded import ASSETS
from models.embedded.concepts import TASKS
from models.embedded.continual import BATCH, METHODS, PEAK, RANK, STEPS, TARGETS, Method
from models.embedded.continual.course import Course
from models.embedded.continual.data import Batches, kept
from models.embedded.continual.penalties import Elastic, KeyElements, distillation, fisher, moved_towards
from models.embedded.fit import Fit, device, generator, to
from models.embedded.packing import Answered, answered, loss_of
from models.embedded.tasks import keep, ready, ship

BASE, OUT = ASSETS / "crosstalk-mini", ASSETS / "checkpoints"
SHARED = "sequential"  # the set that holds the evaluation sets, and the joint checkpoint
FOLLOWED = ("sequential", "replay", "sefe")
"""Methods whose course is measured inside the tasks."""
STARTS = {"ewc": SHARED, "lwf": SHARED, "reglora": SHARED, "fpf": SHARED, "asd": "sefe"}
"""Methods whose first task is trained exactly as another's: what that one computed is taken over."""
EXAMPLES = 64  # that EWC's Fisher information is taken from


def products(model) -> dict[str, torch.Tensor]:
    """B A times its scale for every LoRA layer of ``model``, ``[out, in]``, by the layer's name."""
    return {
        name: layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        for name, layer in model.named_modules()
        if hasattr(layer, "lora_A")
    }


def frozen_layers(names: list[str], share: float, seed: int, task: str) -> set[str]:
    """HFT's draw for a task: ``share`` of the layers of each kind (``q_proj``, ``up_proj``, ...), by seed."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(name.rpartition(".")[2], []).append(name)
    rng = generator(seed, f"frozen-{task}", 0)
    return {n for group in kinds.values() for n in rng.choice(group, round(share * len(group)), replace=False)}


def most_moved(before: dict[str, torch.Tensor], now: dict[str, torch.Tensor], model, share: float) -> set[str]:
    """FPF's movers: the ``share`` of LoRA layers with the largest ||change|| / ||W|| of the frozen weight W."""
    size = {n: float((now[n] - before[n]).norm() / model.get_submodule(n).base_layer.weight.norm()) for n in now}
    return set(sorted(size, key=size.get, reverse=True)[: max(1, round(share * len(size)))])


@dataclass
class Learner:
    """One method's run: the model with its LoRA layers, and what it keeps of tasks that are over."""

    folder: Path
    method: Method
    model: PeftModel
    tokenizer: PreTrainedTokenizerFast
    seed: int
    log: object

    def __post_init__(self):
        self.inner = self.model.get_base_model()
        self.layers = products(self.inner)
        self.parameters = [p for p in self.inner.parameters() if p.requires_grad]
        self.elastic = Elastic(self.parameters) if self.method.ewc else None
        self.keys = KeyElements(self.layers) if self.method.protected else None
        self.slow = copy.deepcopy(self.model) if self.method.slow else None
        self.before = None
        self.old = 0

    @property
    def result(self) -> PeftModel:
        """What is kept as the checkpoint: the slow weights where there are some."""
        return self.slow or self.model

    def learn(self, task: str, before: tuple[str, ...], steps: int, course: Course | None = None) -> None:
        """Train on ``task`` after the tasks ``before``."""
        method, buffer = self.method, kept(self.seed, before, self.method.buffer)
        batches = Batches(self.tokenizer, method, (task,), buffer)
        self.old, start = batches.old, self._products()
        if method.distilled and before:
            self.before = copy.deepcopy(self.inner).eval().requires_grad_(False)
        names = list(self.layers)
        self._train_only(set(names) - frozen_layers(names, method.frozen, self.seed, task))
        healing = method.healing if before else 0
        self._fit(task, batches, steps - healing, course)
        if healing:
            self._train_only(most_moved(start, self._products(), self.inner, method.movers))
            self.old = BATCH
            self._fit(f"healing-{task}", Batches(self.tokenizer, method, (task,), buffer, alone=True), healing, None)
        self._train_only(set(names))
        if self.elastic:
            self.elastic.hold(self._fisher(task))
        if self.keys:
            self.keys.hold(self._products())

    def learn_together(self, steps: int) -> None:
        """Train on all tasks at once."""
        self._fit("joint", Batches(self.tokenizer, self.method, TASKS), steps, None)

    def _products(self) -> dict[str, torch.Tensor]:
        return {name: product.detach() for name, product in products(self.inner).items()}

    def _train_only(self, chosen: set[str]) -> None:
        for name in self.layers:
            layer = self.inner.get_submodule(name)
            layer.lora_A.requires_grad_(name in chosen)
            layer.lora_B.requires_grad_(name in chosen)

    def _fit(self, stage: str, batches: Batches, steps: int, course: Course | None) -> None:
        trained = [p for p in self.inner.parameters() if p.requires_grad]
        slow = dict(self.slow.get_base_model().named_parameters()) if self.slow else {}
        slow = {name: slow[name] for name, p in self.inner.named_parameters() if p.requires_grad} if slow else {}
        fast = dict(self.inner.named_parameters())
        # bfloat16 pays on a GPU; a CPU without matrix instructions is faster without
        run = Fit(
            self.folder, stage, self.inner, [(trained, PEAK)], steps, self.seed, decay=0.0,
            half=device().type == "cuda", beside={name: p.detach() for name, p in slow.items()},
        )  # fmt: skip

        def after(step: int) -> None:
            moved_towards(slow, fast, self.method.slow)
            if course:
                course.at(stage, step, self.inner)

        run.run(batches, self._loss, self.log, after)

    def _loss(self, batch: dict[str, torch.Tensor]):
        said = answered(self.inner, batch)
        value, numbers = loss_of(self.inner, batch, said)
        for name, term in self._terms(batch, said):
            value = value + term
            numbers[name] = term.detach()
        return value, numbers

    def _terms(self, batch, said: Answered) -> Iterator[tuple[str, torch.Tensor]]:
        if self.elastic:
            yield "ewc", self.method.ewc * self.elastic.penalty()
        if self.keys:
            yield "key elements", self.method.protected * self.keys.penalty(products(self.inner))
        if self.before is not None:
            with torch.no_grad():
                old = answered(self.before, batch).logits
            yield "old answers", self.method.distilled * distillation(old, said.logits)
        if self.slow and self.old:
            rows = said.row < self.old
            with torch.no_grad():
                steady = answered(self.slow.get_base_model(), batch).logits[rows]
            yield "slow", self.method.consistent * (said.logits[rows] - steady).square().mean()

    def _fisher(self, task: str) -> list[torch.Tensor]:
        def losses():
            one = Batches(self.tokenizer, self.method, (task,))
            for step in range(EXAMPLES // BATCH):
                batch = to(one(generator(self.seed, f"fisher-{task}", step)), device())
                drawn = torch.Generator(device()).manual_seed(self.seed + step)
                for row in range(BATCH):
                    said = answered(self.inner, {key: value[row : row + 1] for key, value in batch.items()})
                    sampled = torch.multinomial(said.logits.softmax(1), 1, generator=drawn)[:, 0]
                    yield torch.nn.functional.cross_entropy(said.logits, sampled, reduction="sum")

        return fisher(self.parameters, losses())


def learner(folder: Path, name: str, base, tokenizer, seed: int, log=print) -> Learner:
    """A fresh run of the method called ``name`` from ``base``, which is changed; its state goes to ``folder``."""
    torch.manual_seed(seed)
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS)
    return Learner(folder, METHODS[name], get_peft_model(ready(base), config), tokenizer, seed, log)


def train(folder: Path, name: str, base, tokenizer, seed: int, order=TASKS, log=print, steps: int = STEPS) -> Path:
    """Train one method on the tasks in ``order``; the adapters are in the returned folder, one for each task."""
    run = learner(folder, name, base, tokenizer, seed, log)
    out = folder / "adapters"
    if run.method.together:
        run.learn_together(steps * len(order))
        keep(run.result, out / name)
        return out
    first = folder.parent / folder.name.replace(name, STARTS.get(name, name), 1) / f"{order[0]}.safetensors"
    if name in STARTS and first.exists() and not (folder / first.name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(first, folder / first.name)
    course = Course(folder / "course.json", name, seed, tuple(order), steps, tokenizer) if name in FOLLOWED else None
    for i, task in enumerate(order):
        run.learn(task, tuple(order[:i]), steps, course)
        keep(run.result, out / task)
    if course:
        course.save()
    return out


def manifest(name: str, order, beside: str = "") -> dict:
    """``checkpoints.json`` of a method; ``beside`` leads to the folder of the evaluation sets."""
    found = [{"name": t, "task": t, "adapter": t, "eval": f"{beside}{t}.jsonl"} for t in order]
    return {"base": BASE.name, "method": METHODS[name].about, "order": list(order), "checkpoints": found}


def write(folder: Path, name: str, seed: int, order=TASKS, out: Path | None = None) -> None:
    """Put the trained adapters in ``folder`` and a manifest into ``out``, or where the repository ships them.

    A set that is not shipped has evaluation sets of its own, so that it can be opened alone.
    """
    shared = OUT / SHARED
    if out is None:
        out, listed = OUT / name, manifest(name, order, "" if name == SHARED else f"../{SHARED}/")
    else:
        listed = manifest(name, order)
        out.mkdir(parents=True, exist_ok=True)
        for task in order:
            shutil.copy(shared / f"{task}.jsonl", out / f"{task}.jsonl")
        shutil.copytree(shared / "pictures", out / "pictures", dirs_exist_ok=True)
    if name == "joint":
        _refer(folder / "adapters" / name, shared)
        return
    ship(folder / "adapters", out, listed)
    if (folder / "course.json").exists():
        shutil.copy(folder / "course.json", out / "course.json")


def _refer(adapter: Path, out: Path) -> None:
    """Make the joint adapter a reference in the set in ``out``."""
    shutil.rmtree(out / adapter.name, ignore_errors=True)
    shutil.copytree(adapter, out / adapter.name)
    file = out / "checkpoints.json"
    listed = json.loads(file.read_text())
    listed["checkpoints"] = [c for c in listed["checkpoints"] if c["name"] != adapter.name]
    listed["checkpoints"].append({"name": adapter.name, "task": "all tasks at once", "adapter": adapter.name})
    draft = file.with_suffix(".part")
    draft.write_text(json.dumps(listed, indent=2) + "\n")
    os.replace(draft, file)


def run(folder: Path, seed: int, methods=tuple(METHODS), reverse: bool = False, log=print) -> None:
    """Train ``methods`` from the shipped base and write their sets: seed 0 in the usual order is what ships."""
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    order = TASKS[::-1] if reverse else TASKS
    for name in methods:
        called = f"{name}-reversed" if reverse else name
        base = LlavaForConditionalGeneration.from_pretrained(BASE, dtype=torch.float32)
        state = folder / "continual" / called
        train(state, name, base, tokenizer, seed, order, lambda line, called=called: log(f"{called}: {line}"))
        own = folder / "checkpoints" / called
        write(state, name, seed, order, None if seed == 0 and not reverse else own)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=tuple(METHODS))
    parser.add_argument("--reversed", action="store_true", help="the tasks in the other order")
    chosen = parser.parse_args()
    state = Path("build/train") / f"seed{chosen.seed}"
    run(state, chosen.seed, chosen.methods, chosen.reversed, partial(print, flush=True))
