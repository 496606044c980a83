"""The attention room on the embedded default: its instruments against plain runs, and the whole panel for one input."""

import statistics
import time

from analysis.attention import figure, sentence
from analysis.attention.measure import MOST_TOKENS, attend
from analysis.attention.where import look
from models.catalog import open_model
from models.embedded.evalsets import PIXELS, examples
from models.instruments import AttentionMass

RUNS = 15


def seconds(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def panel(mllm, picture, question: str) -> None:
    """All that the page shows of one question at once: measured and drawn."""
    found = attend(mllm, picture, question)
    figure.layers(found), figure.disparity(found), figure.decay(found), figure.by_word(found)
    sentence.over(found)
    seen = look(mllm, picture, question, found.position, found.written_ids)
    figure.heads(found, 1, 1), figure.overlay(seen, None), figure.tokens(seen), sentence.where(seen)


def main() -> None:
    mllm = open_model()
    scene, turn = next(examples("captioning", ["bee", "dog", "cat"], ("fluent",), 1, 0, "bench"))
    picture = scene.render(PIXELS)
    encoded = mllm.encode(picture, turn.question)
    last = encoded.length - 1
    rows = [AttentionMass([last])]
    works = {
        "forward": lambda: mllm.forward([encoded]),
        "forward, mass of every query": lambda: mllm.forward([encoded], instruments=[AttentionMass()]).readings,
        "answer": lambda: list(mllm.generate(encoded, max_new_tokens=MOST_TOKENS)),
        "answer, rows of each token": lambda: list(
            mllm.generate(encoded, max_new_tokens=MOST_TOKENS, instruments=rows)
        ),
        "panel": lambda: panel(mllm, picture, turn.question),
    }
    for work in works.values():
        work()
    runs = [{name: seconds(work) for name, work in works.items()} for _ in range(RUNS)]
    took = {name: statistics.median(run[name] for run in runs) for name in works}
    tokens = len(list(mllm.generate(encoded, max_new_tokens=MOST_TOKENS)))
    print(f"{mllm.name} on {mllm.device}, a prompt of {encoded.length} tokens and an answer of {tokens}; ratios:")
    for plain, other in (("forward", "forward, mass of every query"), ("answer", "answer, rows of each token")):
        print(f"{other} / {plain}: {took[other] / took[plain]:.2f} (goal: at most 1.25)")
    print(f"whole panel for one input, warm: {took['panel']:.2f} s (goal: at most 1 s)")


if __name__ == "__main__":
    main()
