"""One question through six checkpoints in one mixed batch, against one checkpoint after another.

The embedded default with its checkpoints of six tasks, and a LLaVA with the decoder of Qwen2-0.5B, random weights and
six random adapters of rank 16 in the decoder's linear layers. Medians of runs by turns in one process.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file

from analysis.bar import examples
from analysis.forgetting.probe.measure import options_for, probe
from benchmarks.decoding import half_a_billion
from models.catalog import open_model
from models.checkpoints import CheckpointSet
from models.embedded.concepts import TASKS
from models.embedded.evalsets import PIXELS
from models.embedded.evalsets import examples as scenes
from models.encoding import Encoded
from models.flow import Flow
from models.instruments import AttentionMass
from models.mllm import MLLM

EXAMPLE, QUESTION = "fox-and-mushroom", "Which animal is this?"
RANK, TOKENS, RUNS, FEW = 16, 24, 9, 3
LINEAR = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
GOAL = 0.4


def with_adapters(mllm: MLLM, folder: Path) -> MLLM:
    """The model with a checkpoint of random weights for each task, whose files go to ``folder``."""
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=LINEAR)
    with torch.device("meta"):
        adapted = get_peft_model(type(mllm.model)(mllm.model.config), config)
    shapes = {key: value.shape for key, value in get_peft_model_state_dict(adapted).items()}
    for seed, task in enumerate(TASKS):
        generator = torch.Generator().manual_seed(seed)
        weights = {key: 0.02 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}
        config.save_pretrained(folder / task)
        save_file(weights, folder / task / "adapter_model.safetensors")
    entries = [{"name": task, "task": task, "adapter": task} for task in TASKS]
    data = {"base": "random", "method": "random", "order": list(TASKS), "checkpoints": entries}
    (folder / "checkpoints.json").write_text(json.dumps(data))
    return MLLM(mllm.name, mllm.model, mllm.processor, CheckpointSet.open(folder, mllm.model))


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def compare(what: str, together: Callable, one_by_one: Callable, runs: int, goal: str) -> None:
    """Print a row of the table: seconds of both ways by turns, and the median of their ratio."""
    pairs = [(seconds(together), seconds(one_by_one)) for _ in range(runs)]
    batch, alone = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"| {what} | {batch:.3f} | {alone:.3f} | {ratio:.2f} | {goal} |", flush=True)


def head(mllm: MLLM, length: int) -> None:
    model = mllm.model
    print(
        f"\n{mllm.name}, {model.dtype}, {mllm.device}, {torch.get_num_threads()} threads, a prompt of {length} tokens"
    )
    print("| what | mixed batch, s | one by one, s | ratio | goal |\n|---|---|---|---|---|")


def forwards(mllm: MLLM, encoded: Encoded, names: list[str], runs: int) -> None:
    """One forward of the prompt, and one step of decoding after it."""
    rows, ids = [encoded] * len(names), torch.full((len(names), 1), 100)
    flows = {tuple(names): Flow(mllm.model, rows), **{name: Flow(mllm.model, [encoded]) for name in names}}

    def step(*whom: str | tuple[str, ...]) -> None:
        for who in whom:
            with mllm.using(who):
                flows[who].more(ids[: flows[who].rows])

    for who, flow in flows.items():
        with mllm.using(who):
            flow.begin()
    compare(
        "one forward of the prompt",
        lambda: mllm.forward(rows, names),
        lambda: [mllm.forward([encoded], name) for name in names],
        runs, f"at most {GOAL}",
    )  # fmt: skip
    compare("one step of decoding", lambda: step(tuple(names)), lambda: step(*names), runs, f"at most {GOAL}")


def answers(mllm: MLLM, encoded: Encoded, names: list[str], tokens: int, runs: int) -> None:
    """Whole answers of at most ``tokens``."""
    compare(
        f"whole answers, at most {tokens} tokens",
        lambda: mllm.generate_each(encoded, names, tokens),
        lambda: [list(mllm.generate(encoded, name, tokens)) for name in names],
        runs, f"at most {GOAL}",
    )  # fmt: skip


def embedded() -> None:
    mllm, known = open_model(), examples()[EXAMPLE].known
    picture, names = known.picture(), list(mllm.checkpoints.manifest.order)
    encoded = mllm.encode(picture, QUESTION)
    head(mllm, encoded.length)
    forwards(mllm, encoded, names, 2 * RUNS + 1)
    answers(mllm, encoded, names, 64, 2 * RUNS + 1)
    turn = known.turn(QUESTION)
    options, rows = options_for(QUESTION, turn.answer, turn.style, known=known), [AttentionMass("last")]

    def alone() -> None:
        for name in mllm.checkpoint_names:
            list(mllm.generate(encoded, name, instruments=rows))
            mllm.score(encoded, options, name)

    compare(
        f"the page's question: answers, {len(options)} options, attention; {len(mllm.checkpoint_names)} checkpoints",
        lambda: probe(mllm, "sequential", picture, QUESTION, known=known), alone, 2 * RUNS + 1, f"at most {GOAL}",
    )  # fmt: skip
    compare(
        "attention read / not read, mixed batch",
        lambda: mllm.examine_each(encoded, names, instruments=rows),
        lambda: mllm.examine_each(encoded, names), 2 * RUNS + 1, "at most 2",
    )  # fmt: skip


def large(dtype: torch.dtype) -> None:
    bare = half_a_billion()
    bare.model.to(dtype)
    with tempfile.TemporaryDirectory() as folder:
        mllm = with_adapters(bare, Path(folder))
    scene, turn = next(scenes("captioning", ["bee", "dog", "cat"], ("fluent",), 1, 0, "bench"))
    encoded = mllm.encode(scene.render(PIXELS), turn.question)
    head(mllm, encoded.length)
    forwards(mllm, encoded, list(TASKS), RUNS)
    answers(mllm, encoded, list(TASKS), TOKENS, FEW)


if __name__ == "__main__":
    embedded()
    for kind in (torch.bfloat16,) if torch.cuda.is_available() else (torch.float32, torch.bfloat16):
        large(kind)
