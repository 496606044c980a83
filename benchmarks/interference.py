"""The Interference room's warm single input: six perturbations against one forward of the same batch; an attribution.

The embedded default, an example of the page. Seconds are medians of runs by turns in one process.
"""

import statistics
import time

import torch

from analysis.attribution.measure import attribute
from analysis.bar import examples
from analysis.interference.measure import Settings, ask, interfere, with_picture, with_sentence
from analysis.interference.perturbations import ALL, DEFAULT
from analysis.interference.scoring import padded
from models.catalog import open_model

EXAMPLE, QUESTION = "bee-without-flower", "Is there a flower?"
RUNS = 9


def seconds(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def batch(mllm, known) -> list:
    """The question as asked and disturbed, padded to one length."""
    asked = ask(mllm, known.picture(), QUESTION, "base", (), Settings(), known)
    made = [ALL[name].make(asked.case) for name in DEFAULT]
    prompts = [(with_sentence if isinstance(m, str) else with_picture)(mllm, asked, m) for m in made]
    prompts.append(asked.origin)
    longest = max(p.length for p in prompts)
    return [padded(p, longest, mllm.tokenizer.pad_token_id or 0) for p in prompts]


def main() -> None:
    mllm = open_model()
    known = examples()[EXAMPLE].known
    picture, prompts = known.picture(), batch(mllm, known)
    found = []

    def disturb() -> None:
        *_, measured = interfere(mllm, picture, QUESTION, known=known)
        assert len(measured.effects) == len(DEFAULT)

    works = {
        "one forward of the batch": lambda: mllm.forward(prompts),
        f"{len(DEFAULT)} perturbations": disturb,
        "one attribution (integrated gradients)": lambda: found.append(attribute(mllm, picture, QUESTION)),
    }
    for work in works.values():
        work()
    runs = [{name: seconds(work) for name, work in works.items()} for _ in range(RUNS)]
    medians = {name: statistics.median(run[name] for run in runs) for name in works}
    forward = medians["one forward of the batch"]
    print(f"\n{mllm.name} on {mllm.device}, {torch.get_num_threads()} threads, “{QUESTION}” ({EXAMPLE})")
    print("| what | seconds | / one forward |\n|---|---|---|")
    for name, took in medians.items():
        print(f"| {name} | {took:.3f} | {took / forward:.2f} |")
    last = found[-1]
    print(
        f"goals: {len(DEFAULT)} perturbations at most 2.5 forwards; an attribution at most 1 s. Its convergence delta "
        f"is {last.convergence_delta:+.3f} of {last.value - last.baseline:.2f} nats after {last.effort} gradients."
    )


if __name__ == "__main__":
    main()
