"""Many visitors at once against one after another: answers, latency, throughput; memory over thousands of calls.

``python -m benchmarks.visitors [visitors] [calls of each] [calls for memory]``
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gradio_client import Client, handle_file
from PIL import Image

ROOT = Path(__file__).parents[1]
UNSTEADY = {"seconds", "tokens_per_second"}
"""Fields of an answer that tell of time."""


def mixed(photo: str) -> list[tuple[str, dict]]:
    """Calls of every kind that answers within a second or so, on different checkpoints: endpoint and parameters."""
    picture, question = handle_file(photo), "What is this?"
    return [
        ("models", {}),
        ("ask", {"image": picture, "question": question, "checkpoint": "naming"}),
        ("ask", {"image": picture, "question": "How many bees are there?", "checkpoint": "counting"}),
        ("ask", {"question": "Is a bee an animal?", "checkpoint": "captioning"}),
        ("attention", {"image": picture, "question": question, "checkpoint": "existence"}),
        ("interference", {"image": picture, "question": question, "choices": ["bee", "cat"],
                          "perturbations": ["misleading", "black"], "checkpoint": "base"}),
        ("decode", {"image": picture, "question": question, "strategies": ["greedy", "inter"], "length": 4,
                    "checkpoint": "choice"}),
        ("attribute", {"image": picture, "question": question, "method": "ablation", "checkpoint": "naming"}),
        ("forgetting_probe", {"image": picture, "question": question, "method": "sefe", "truth": "bee"}),
        ("forgetting", {"method": "replay"}),
        ("embedding_space", {"method": "mod-x"}),
    ]  # fmt: skip


def steady(answer):
    """An answer without what tells of time, numbers to six digits: batches of other sizes round otherwise."""
    if isinstance(answer, dict):
        return {key: steady(value) for key, value in answer.items() if key not in UNSTEADY}
    if isinstance(answer, list):
        return [steady(value) for value in answer]
    return float(f"{answer:.6g}") if isinstance(answer, float) else answer


def visit(address: str, calls: list[tuple[str, dict]], order: list[int]) -> list[tuple[int, object, float]]:
    """One visitor's calls in ``order``: which, its answer, and seconds."""
    client, found = Client(address, verbose=False, httpx_kwargs={"timeout": 300}), []
    for which in order:
        name, given = calls[which]
        began = time.perf_counter()
        answer = client.predict(**given, api_name=f"/{name}")
        found.append((which, steady(answer), time.perf_counter() - began))
    return found


def crowd(address: str, calls: list[tuple[str, dict]], visitors: int, each: int) -> list[list]:
    """What every visitor got; each begins elsewhere in the list, so that all kinds of calls meet."""
    orders = [[(3 * visitor + step) % len(calls) for step in range(each)] for visitor in range(visitors)]
    with ThreadPoolExecutor(visitors) as pool:
        return list(pool.map(lambda order: visit(address, calls, order), orders))


def memory(pid: int) -> float:
    """MB that a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def main(visitors: int = 50, each: int = 20, many: int = 2000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photo = f"{folder}/photo.png"
        Image.new("RGB", (256, 256), "teal").save(photo)
        calls = mixed(photo)
        server = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=os.environ | {"CI": "1", "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            address = next(line.split()[-1] for line in server.stdout if "http://" in line)
            alone = visit(address, calls, [*range(len(calls))] * 2)[len(calls) :]
            right = {which: answer for which, answer, _ in alone}
            began = time.perf_counter()
            got = [one for found in crowd(address, calls, visitors, each) for one in found]
            took = time.perf_counter() - began
            other = sum(answer != right[which] for which, answer, _ in got)
            print(f"{visitors} visitors x {each} calls: {len(got)} answers, {other} other than alone")
            spent = {which: seconds for which, _, seconds in alone}
            serial = sum(spent[which] for which, *_ in got)
            print(f"all together / one call after another: {took / serial:.2f} ({took:.0f} s, {serial:.0f} s)\n")
            _table(calls, got, spent)
            _flat(address, server.pid, many)
        finally:
            server.terminate()
            server.wait(20)


def _table(calls, got, spent) -> None:
    waited, alone = defaultdict(list), defaultdict(list)
    for which, _, seconds in got:
        waited[calls[which][0]].append(seconds)
        alone[calls[which][0]].append(spent[which])
    print("| endpoint | calls | alone, s | p50, s | p95, s | most, s |\n|---|---|---|---|---|---|")
    for name, seconds in waited.items():
        p95 = statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
        told = [statistics.median(alone[name]), statistics.median(seconds), p95, max(seconds)]
        print(f"| {name} | {len(seconds)} | " + " | ".join(f"{s:.2f}" for s in told) + " |")


def _flat(address: str, pid: int, many: int) -> None:
    client, early = Client(address, verbose=False, httpx_kwargs={"timeout": 300}), 0.0
    for i in range(many):
        client.predict(question=f"Is a bee an animal? {i}", api_name="/ask")
        if i + 1 == many // 10:
            early = memory(pid)
    print(f"\nmemory after {many} calls / after {many // 10}: {memory(pid) / early:.3f} ({early:.0f} MB before)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
