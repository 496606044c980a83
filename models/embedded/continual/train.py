"""``python -m models.embedded.continual.train``: a course of tasks, one after another, by every method.

Writes ``assets/embedded/checkpoints/<method>`` for seed 0, and ``build/train/seed<N>/checkpoints/<method>`` for other
seeds (``--seeds 1 2``) and for the tasks in reversed order (``--reversed``), which are measured and not shipped
(``analysis.forgetting.methods.runs``). ``--course forms`` teaches the other course. The state of every task is a file
below ``build/train/seed<N>/continual/<method>``: killed at any point, it goes on where it was.
"""

import argparse
import copy
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoTokenizer, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from models.embedded import ASSETS
from models.embedded.concepts import TASKS
from models.embedded.continual import BATCH, HEAD, METHODS, PEAK, RANK, STEPS, TARGETS, Method
from models.embedded.continual.course import COURSES, Course
from models.embedded.continual.data import Batches, effective_share, kept
from models.embedded.continual.penalties import (
    Elastic,
    KeyElements,
    Named,
    consistency,
    degrees_of_freedom,
    distillation,
    fisher,
    low_rank,
    moved_towards,
)
from models.embedded.continual.progress import Progress
from models.embedded.evalsets import BASE_KEPT, FOLDERS, ORIGINAL, UNSEEN
from models.embedded.fit import Fit, device, generator, to
from models.embedded.packing import PREFIX, Answered, answered, loss_of
from models.embedded.tasks import keep, ready, ship
from models.manifest import MANIFEST
from models.mixtures import some_of_each_kind

BASE, OUT = ASSETS / "crosstalk-mini", ASSETS / "checkpoints"
THINGS = COURSES["things"]
SEQUENTIAL = "sequential"  # its set holds the evaluation sets, and the joint reference
FOLLOWED = (SEQUENTIAL, "replay", "sefe")
"""Methods whose accuracy is measured inside the tasks."""
EXAMPLES = 64  # that EWC's Fisher information is taken from
DIFFERENCE_RANK = 32
"""Rank of the differences that full fine-tuning is kept as. Training goes on from what is kept."""


def products(model) -> Named:
    """B A times its scale for every LoRA layer of ``model``, ``[out, in]``, by the layer's name."""
    return {
        name: layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        for name, layer in model.named_modules()
        if hasattr(layer, "lora_A")
    }


def most_moved(moved: dict[str, float], share: float) -> set[str]:
    """FPF's movers (arXiv 2304.04158): the ``share`` of modules with the largest ||change|| / ||weights||."""
    return set(sorted(moved, key=moved.get, reverse=True)[: max(1, round(share * len(moved)))])


def by_kind(names: Iterable[str]) -> dict[str, int]:
    """How many of some modules are of each kind: ``q_proj``, ``up_proj``, ``norm``, the head."""
    kinds = ["norm" if "norm" in name else name.rpartition(".")[2] for name in names]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def _trained_modules(model, method: Method) -> list[str]:
    pattern = f"{TARGETS}|{HEAD}" if method.whole else TARGETS
    return [name for name, module in model.named_modules() if re.fullmatch(pattern, name)]


@dataclass
class Learner:
    """One method's run. ``model`` is the base with all increments so far merged, and what is kept of tasks that are
    over; ``record`` is what is told of each task beside its weights.
    """

    folder: Path
    method: Method
    model: LlavaForConditionalGeneration
    tokenizer: PreTrainedTokenizerFast
    seed: int
    log: object
    course: Course = THINGS
    record: dict[str, dict] = field(default_factory=dict)

    def __post_init__(self):
        self.model.requires_grad_(False)
        if self.method.whole:  # a LoRA on a tied head would change the embeddings where it is merged
            self.model.lm_head.weight = torch.nn.Parameter(self.model.lm_head.weight.detach().clone(), False)
            for config in (self.model.config, self.model.config.text_config):
                config.tie_word_embeddings = False
        self.names = _trained_modules(self.model, self.method)
        self.norms = [n for n, _ in self._decoder_norms()] if self.method.whole else []
        self.elastic = Elastic() if self.method.ewc else None
        self.keys = KeyElements() if self.method.protected else None
        self.changes: Named = {}  # of the base's matrices, by all tasks so far
        self.peft = self.before = self.slow = None
        self.old = 0

    def learn(
        self, task: str, before: tuple[str, ...], steps: int, out: Path, last: bool = False,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        """Train on ``task`` after the tasks ``before``, keep its increment in ``out`` and merge it."""
        method = self.method
        if self.elastic and before:
            self.elastic.hold(self._fisher(before[-1]), self.changes)
        if method.distilled and before:
            self.before = copy.deepcopy(self.model).eval()
        batches = self._batches((task,), kept(self.course, self.seed, before, method.buffer))
        if method.rewritten:
            self._note("rewritten", task, effective_share(batches, self.seed, task))
        start = self._open(task)
        frozen = some_of_each_kind(self.names, method.frozen, generator(self.seed, f"frozen-{task}", 0))
        self._train_only(set(self.names) - frozen | set(self.norms))
        if self.keys and before:
            shapes = [tuple(start[name].shape) for name in self.names]
            held = self.keys.held / degrees_of_freedom(shapes, RANK)
            self.log(f"{task}: {held:.2f} key elements are held for each degree of freedom of the new LoRA")
            self._note("held elements per degree of freedom", task, held)
        self._fit(task, batches, steps, progress)
        if method.healing and (last or not method.replayed):
            self._heal(task, kept(self.course, self.seed, (*before, task), method.buffer), start)
        self._close(task, start, out / task)

    def learn_together(self, steps: int, out: Path) -> None:
        """Train on all tasks at once, and keep that as one increment."""
        start = self._open("joint")
        self._train_only(set(self.names))
        self._fit("joint", self._batches(self.course.tasks), steps)
        self._close("joint", start, out)

    def _note(self, what: str, task: str, value) -> None:
        self.record.setdefault(what, {})[task] = round(value, 4) if isinstance(value, float) else value

    def _batches(self, tasks, buffer=(), alone: bool = False) -> Batches:
        return Batches(self.tokenizer, self.method, self.course, tasks, self.seed, buffer, alone)

    def _decoder_norms(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        named = self.model.named_parameters()
        return ((n, p) for n, p in named if "language_model" in n and n.endswith("norm.weight"))

    def _open(self, task: str) -> Named:
        """Make ready what a task trains, a fresh LoRA or the matrices themselves; returns all weights as they are."""
        own = {name: self.model.get_submodule(name).weight for name in self.names} | dict(self._decoder_norms())
        start = {name: weight.detach().clone() for name, weight in own.items()}
        self.peft = None if self.method.full else self._adapted(task, RANK, 2 * RANK)
        if self.method.slow:
            self.slow = copy.deepcopy(self.model)
        return start

    def _adapted(self, task: str, rank: int, alpha: int) -> PeftModel:
        """``model``, which is changed, with a fresh LoRA, drawn by seed and task: not by what was done before."""
        torch.manual_seed(int(generator(self.seed, f"lora-{task}", 0).integers(2**31)))
        targets = f"{TARGETS}|{HEAD}" if self.method.whole else TARGETS
        return get_peft_model(self.model, LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets))

    def _train_only(self, chosen: set[str]) -> None:
        for name in self.names:
            module = self.model.get_submodule(name)
            for part in (module.lora_A, module.lora_B) if self.peft else (module.weight,):
                part.requires_grad_(name in chosen)
        for name, norm in self._decoder_norms():
            norm.requires_grad_(name in chosen)

    def _change(self, start: Named) -> Named:
        """What the task in training changed so far, by the name of each module that it trains."""
        norms = {n: p.detach() - start[n] for n, p in self._decoder_norms() if n in self.norms}
        if self.peft:
            return {name: product.detach() for name, product in products(self.model).items()} | norms
        return {name: self.model.get_submodule(name).weight.detach() - start[name] for name in self.names}

    def _heal(self, task: str, buffer, start: Named) -> None:
        change = self._change(start)
        movers = most_moved({n: float(c.norm() / start[n].norm()) for n, c in change.items()}, self.method.movers)
        self._note("movers", task, by_kind(movers))
        self._train_only(movers)
        self._fit(f"healing-{task}", self._batches((task,), buffer, alone=True), self.method.healing)

    @torch.no_grad()
    def _close(self, task: str, start: Named, out: Path) -> None:
        """Keep the task's increment, rounded to half precision as it ships, and merge it: what is trained on is what is
        kept.
        """
        if self.slow:
            moved_towards(_trainable(self.model), dict(self.slow.named_parameters()), 0.0)
            self.slow = None
        if not self.peft:
            self._as_low_rank(task, start)
        for name, parameter in self.peft.named_parameters():
            if "lora_" in name:
                parameter.copy_(parameter.half())
        norms = {name: norm.copy_(norm.half()) for name, norm in self._decoder_norms() if name in self.norms}
        change = self._change(start)
        moved = [float(change[name].norm() / start[name].norm()) for name in self.names]
        self._note("moved", task, sum(moved) / len(moved))
        self.log(f"{task}: matrices moved by {sum(moved) / len(moved):.1%} of their norm, {max(moved):.1%} at most")
        self.changes = {n: self.changes.get(n, 0) + change[n] for n in self.names}
        if self.keys:
            self.keys.hold({name: change[name] for name in self.names})
        keep(self.peft, out, BASE.name, norms)
        self.model = self.peft.merge_and_unload().requires_grad_(False)
        self.peft = self.before = None

    def _as_low_rank(self, task: str, start: Named) -> None:
        """Put the best low-rank approximation of what full fine-tuning changed in its place, as a LoRA."""
        change, kept_energy = self._change(start), []
        for name in self.names:
            self.model.get_submodule(name).weight.copy_(start[name])
        self.peft = self._adapted(task, DIFFERENCE_RANK, DIFFERENCE_RANK)
        for name in self.names:
            layer, (up, down, share) = self.model.get_submodule(name), low_rank(change[name], DIFFERENCE_RANK)
            for part, factor in ((layer.lora_B, up), (layer.lora_A, down)):
                part["default"].weight.zero_()
                part["default"].weight[: len(factor), : factor.shape[1]] = factor
            kept_energy += [share] if change[name].any() else []
        self._note("energy kept", task, sum(kept_energy) / len(kept_energy))

    def _fit(self, stage: str, batches: Batches, steps: int, progress: Progress | None = None) -> None:
        self.old = batches.old
        trained, slow = _trainable(self.model), {}
        if self.slow:
            slow = {name: p for name, p in self.slow.named_parameters() if name in trained}
        # bfloat16 pays on a GPU; a CPU without matrix instructions is faster without
        run = Fit(
            self.folder, stage, self.model, [(trained.values(), self.method.full or PEAK)], steps, self.seed, decay=0.0,
            half=device().type == "cuda", beside={name: p.detach() for name, p in slow.items()},
        )  # fmt: skip

        def after(step: int) -> None:
            moved_towards(slow, trained, min(1 - 1 / step, self.method.slow))  # step 1: slow is fast
            if progress:
                progress.at(stage, step, self.model)

        run.run(batches, self._loss, self.log, after)

    def _loss(self, batch: dict[str, torch.Tensor]):
        said = answered(self.model, batch, layers=self.slow is not None)
        value, numbers = loss_of(self.model, batch, said)
        for name, term in self._terms(batch, said):
            value = value + term
            numbers[name] = term.detach()
        return value, numbers

    def _terms(self, batch, said: Answered) -> Iterator[tuple[str, torch.Tensor]]:
        if self.elastic and self.changes:
            now = {name: self.changes[name] + product for name, product in products(self.model).items()}
            yield "ewc", self.method.ewc * self.elastic.penalty(now)
        if self.keys and self.keys.held:
            yield "key elements", self.method.protected * self.keys.penalty(products(self.model))
        if self.before is not None:
            with torch.no_grad():
                old = answered(self.before, batch).logits
            yield "old answers", self.method.distilled * distillation(old, said.logits)
        if self.slow and self.old:
            replayed = {key: value[-self.old :] for key, value in batch.items()}
            with torch.no_grad():
                steady = answered(self.slow, replayed, layers=True).layers
            real = replayed["branch"] > 0
            real[:, :PREFIX] = True
            working = [states[-self.old :] for states in said.layers]
            yield "slow", self.method.consistent * consistency(working, steady, real)

    def _fisher(self, task: str) -> Named:
        """Of the decoder's matrices, on examples of a task that is over."""
        weights = {name: self.model.get_submodule(name).weight.requires_grad_(True) for name in self.names}

        def losses():
            one = self._batches((task,))
            for step in range(EXAMPLES // BATCH):
                batch = to(one(generator(self.seed, f"fisher-{task}", step)), device())
                drawn = torch.Generator(device()).manual_seed(self.seed + step)
                for row in range(BATCH):  # the new ones: general ones come after them
                    said = answered(self.model, {key: value[row : row + 1] for key, value in batch.items()})
                    sampled = torch.multinomial(said.logits.softmax(1), 1, generator=drawn)[:, 0]
                    yield torch.nn.functional.cross_entropy(said.logits, sampled, reduction="sum")

        found = fisher(list(weights.values()), losses())
        self.model.requires_grad_(False)
        return dict(zip(weights, found, strict=True))


def _trainable(model) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def learner(folder: Path, name: str, base, tokenizer, seed: int, log=print, course: Course = THINGS) -> Learner:
    """A fresh run of the method called ``name`` from ``base``, which is changed; its state goes to ``folder``."""
    return Learner(folder, METHODS[name], ready(base), tokenizer, seed, log, course)


def train(
    folder: Path, name: str, base, tokenizer, seed: int, order=None, log=print, steps: int = STEPS,
    course: Course = THINGS,
) -> dict:  # fmt: skip
    """Train one method on the tasks in ``order``; the increments are in ``folder/adapters``, one for each task.

    Returns what ``manifest`` tells of the run.
    """
    run, out = learner(folder, name, base, tokenizer, seed, log, course), folder / "adapters"
    order = order or course.tasks
    if run.method.together:
        run.learn_together(steps * len(order), out / name)
        return recipe(run.method, steps, run.record)
    _take_over(folder, name, course, order[0])
    progress = None
    if name in FOLLOWED:
        progress = Progress(folder / "course.json", name, seed, course, tuple(order), steps, tokenizer)
    for i, task in enumerate(order):
        run.learn(task, tuple(order[:i]), steps, out, task == order[-1], progress)
    if progress:
        progress.save()
    return recipe(run.method, steps, run.record)


def _take_over(folder: Path, name: str, course: Course, task: str) -> None:
    """The first task's state of a method that trains it exactly alike, where there is one."""
    if (folder / f"{task}.safetensors").exists():
        return
    for other, method in METHODS.items():
        finished = folder.with_name(folder.name.replace(f"{course.prefix}{name}", f"{course.prefix}{other}", 1))
        done = finished / "adapters" / task / "adapter_config.json"
        if other != name and method.first == METHODS[name].first and done.exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(finished / f"{task}.safetensors", folder)
            return


def recipe(method: Method, steps: int, record: dict[str, dict]) -> dict:
    """What is told with the checkpoints of how they were made: the settings that all methods share, those of this one
    that differ from plain training, and the ``record`` of its tasks.
    """
    plain = Method("")
    own = {f.name: getattr(method, f.name) for f in fields(Method) if f.name not in ("about", "paper")}
    settings = {name: value for name, value in own.items() if value != getattr(plain, name)}
    shared = {"rank": RANK, "steps": steps, "batch": BATCH, "peak": PEAK, "general": plain.general}
    return {**shared, "settings": settings, **record}


def manifest(name: str, order, made: dict, course: Course = THINGS, ships: bool = False) -> dict:
    """``checkpoints.json`` of a method: each checkpoint is the increments up to its task. ``made`` is its ``recipe``.

    Sets that ship share their evaluation sets; another has its own, so that it can be opened alone.
    """
    shared = f"../{course.shared}/" if ships and name != SEQUENTIAL else ""
    base = f"../{THINGS.shared}/" if ships and (course.prefix or name != SEQUENTIAL) else ""
    listed = [
        {"name": task, "task": task, "adapter": list(order[: i + 1]), "eval": f"{shared}{task}.jsonl"}
        for i, task in enumerate(order)
    ]
    known = ORIGINAL if course.prefix else BASE_KEPT
    also = {known: {t: f"{base}{FOLDERS[known]}/{t}.jsonl" for t in TASKS}}
    if course.unseen:
        also[UNSEEN] = {t: f"{shared}{FOLDERS[UNSEEN]}/{t}.jsonl" for t in order}
    about = f"{'new forms, ' if course.prefix else ''}{METHODS[name].about}"
    return {
        "base": BASE.name, "method": about, "order": list(order), "recipe": made, "checkpoints": listed, "also": also,
    }  # fmt: skip


def write(folder: Path, name: str, made: dict, order, course: Course = THINGS, out: Path | None = None) -> None:
    """Put the trained increments in ``out`` with a manifest, or where the repository ships them.

    A set that is not shipped has evaluation sets of its own. The joint adapter becomes a reference in the set of plain
    training beside it.
    """
    called, ships = f"{course.prefix}{name}", out is None
    out = out or OUT / called
    if METHODS[name].together:
        _refer(folder / "adapters" / name, out.with_name(out.name.replace(called, course.shared, 1)))
        return
    if not ships:
        _copy_sets(OUT / course.shared, out)
        _copy_sets(OUT / THINGS.shared / FOLDERS[BASE_KEPT], out / FOLDERS[BASE_KEPT])
    ship(folder / "adapters", out, manifest(name, order, made, course, ships))
    if (folder / "course.json").exists():
        shutil.copy(folder / "course.json", out / "course.json")


def _copy_sets(shared: Path, out: Path) -> None:
    for file in (path for path in shared.rglob("*") if path.suffix in (".jsonl", ".webp")):
        (out / file.relative_to(shared)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, out / file.relative_to(shared))


def _refer(adapter: Path, out: Path) -> None:
    """Make the joint adapter a reference in the set in ``out``, where there is one."""
    file = out / MANIFEST
    if not file.exists():
        return
    shutil.rmtree(out / adapter.name, ignore_errors=True)
    shutil.copytree(adapter, out / adapter.name)
    listed = json.loads(file.read_text())
    listed["checkpoints"] = [c for c in listed["checkpoints"] if c["name"] != adapter.name]
    listed["checkpoints"].append({"name": adapter.name, "task": "all tasks at once", "adapter": adapter.name})
    draft = file.with_suffix(".part")
    draft.write_text(json.dumps(listed, indent=2) + "\n")
    os.replace(draft, file)


def run(
    root: Path, seeds=(0,), methods=None, course: str = "things", reverse: bool = False, log=print
) -> None:
    """Train ``methods`` (all of the course) from the shipped base, seed after seed, and write their sets: seed 0 in the
    usual order is what ships. State and sets that do not ship go to ``root/seed<N>``.
    """
    tokenizer, of = AutoTokenizer.from_pretrained(BASE), COURSES[course]
    order = of.tasks[::-1] if reverse else of.tasks
    for seed in seeds:
        for name in methods or of.methods:
            called = f"{of.prefix}{name}{'-reversed' if reverse else ''}"
            base = LlavaForConditionalGeneration.from_pretrained(BASE, dtype=torch.float32)
            folder, tell = root / f"seed{seed}", partial(_tell, log, f"seed {seed}, {called}")
            made = train(folder / "continual" / called, name, base, tokenizer, seed, order, tell, course=of)
            own = None if seed == 0 and not reverse else folder / "checkpoints" / called
            write(folder / "continual" / called, name, made, order, of, own)


def _tell(log, name: str, line: str) -> None:
    log(f"{name}: {line}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), help="some alone")
    parser.add_argument("--course", choices=tuple(COURSES), default="things")
    parser.add_argument("--reversed", action="store_true", help="the tasks in the other order")
    chosen = parser.parse_args()
    log = partial(print, flush=True)
    run(Path("build/train"), chosen.seeds, chosen.methods, chosen.course, chosen.reversed, log)
