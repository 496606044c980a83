"""All checkpoints on one input against one after another; switching a checkpoint against loading it."""

import statistics
import time

from peft import PeftModel

from models.catalog import entries, open_model
from models.embedded.evalsets import PIXELS, examples
from models.mllm import MLLM

RUNS = 7


def seconds(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(first, second) -> tuple[float, float]:
    """Median seconds of both, run by turns after a warm-up."""
    first(), second()
    pairs = [(seconds(first), seconds(second)) for _ in range(RUNS)]
    return tuple(statistics.median(column) for column in zip(*pairs, strict=True))


def main() -> None:
    mllm = open_model()
    scene, turn = next(examples("naming", ["bee", "dog", "cat"], ("fluent",), 1, 0, "bench"))
    encoded, names = mllm.encode(scene.render(PIXELS), turn.question), mllm.checkpoint_names

    together, serial = compare(
        lambda: mllm.generate_each(encoded, names, 1),
        lambda: [next(mllm.generate(encoded, name)) for name in names],
    )
    share = together / serial
    print(f"one forward of all {len(names)} checkpoints, mixed batch / one by one: {share:.2f} (goal: 0.40 or less)")

    def switch():
        for name in names:
            with mllm.checkpoints.use(name):
                pass

    bare = MLLM.open(entries()[0].source).model
    adapters = mllm.checkpoints.manifest.checkpoints
    loaded = PeftModel.from_pretrained(bare, adapters[0].adapters[0], "first")

    def load():
        for i, checkpoint in enumerate(adapters):
            loaded.load_adapter(checkpoint.adapters[0], f"again{i}")
            loaded.delete_adapter(f"again{i}")

    switched, loads = compare(switch, load)
    ratio = (loads / len(adapters)) / (switched / len(names))
    print(f"loading an adapter / switching to it: {ratio:.0f} (goal: 20 or more)")


if __name__ == "__main__":
    main()
