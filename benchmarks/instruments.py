"""Attention by modality against a plain forward and against ``output_attentions``.

Random weights of a real shape: Qwen2-0.5B's decoder on a CPU, also LLaVA-1.5-7B's on a GPU. Seconds are
medians of forwards run by turns in one process; memory is the peak of a process of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from models.devices import memory
from models.instruments import AttentionMass, Recorder, install

RUNS = {512: 5, 2048: 3, 4096: 2}  # tokens: repetitions
IMAGE = 0.6  # of a prompt's tokens
SHAPES = {
    "Qwen2-0.5B": (Qwen2ForCausalLM, Qwen2Config(
        hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
        vocab_size=151_936, max_position_embeddings=8192,
    )),
    "LLaVA-1.5-7B": (LlamaForCausalLM, LlamaConfig(
        hidden_size=4096, intermediate_size=11_008, num_hidden_layers=32, num_attention_heads=32, vocab_size=32_064,
        max_position_embeddings=8192,
    )),
}  # fmt: skip
MODES = {
    "plain": (),
    "mass, every query": (AttentionMass(),),
    "mass, the last query": (AttentionMass("last"),),
    "output_attentions": (),
}


def build(shape: str):
    """A decoder of that shape with random weights, on the GPU in bfloat16 or on the CPU in float32."""
    kind, config = SHAPES[shape]
    where, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    with torch.device("meta"):
        model = kind(config).to(dtype)
    model = model.to_empty(device=where).eval()
    torch.manual_seed(0)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.02)
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to(where)
    install(model)
    return model


def forward(model, length: int, mode: str):
    """One forward of ``length`` tokens, most of them image tokens, under ``mode``; waits until it is done."""
    ids = torch.arange(length, device=model.device)[None] % 1000
    segments = (torch.arange(length)[None] >= IMAGE * length).long()
    instruments = MODES[mode]
    recorder = Recorder(model, segments, instruments) if instruments else None
    if not instruments:
        model.set_attn_implementation("sdpa" if mode == "plain" else "eager")
    with torch.inference_mode(), recorder.active() if recorder else nullcontext():
        found = model(ids, logits_to_keep=1, use_cache=False, output_attentions=mode == "output_attentions")
    if recorder:
        recorder.readings()
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    install(model)
    return found


def seconds(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def attentions(shape: str, length: int) -> float:
    """Bytes of all attention matrices of one prompt."""
    config, item = SHAPES[shape][1], 2 if torch.cuda.is_available() else 4
    return config.num_hidden_layers * config.num_attention_heads * length**2 * item


def peak(shape: str, length: int, mode: str) -> tuple[float, float]:
    """Bytes of memory with the model alone, and at the peak of one forward (this process)."""
    model = build(shape)
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        forward(model, length, mode)
        return before, torch.cuda.max_memory_allocated()
    forward(model, 8, mode)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of building
    forward(model, length, mode)
    return before, _resident("VmHWM")


def _resident(field: str) -> float:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * float(lines[field].split()[0])


def peak_elsewhere(*what) -> tuple[float, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.instruments", "--peak", json.dumps(what)]
    return tuple(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def table(shape: str) -> None:
    model = build(shape)
    print(
        f"\n{shape}'s decoder, {model.dtype}, {model.device}, {torch.get_num_threads()} threads; ratios to plain SDPA"
    )
    print("| tokens | mode | seconds | time / plain | peak / plain | MB above the model |\n|---|---|---|---|---|---|")
    rows = []
    for length, times in RUNS.items():
        room = memory(model.device).free / 2.5  # layers hold copies while they compute
        fits = [m for m in MODES if m != "output_attentions" or attentions(shape, length) < room]
        forward(model, length, "plain")
        runs = [{m: seconds(partial(forward, model, length, m)) for m in fits} for _ in range(times)]
        rows += [(length, m, statistics.median(r[m] for r in runs) if m in fits else None) for m in MODES]
    model, plain = None, {}
    for length, mode, took in rows:
        if took is None:
            needed = attentions(shape, length) / 1e9
            print(f"| {length} | {mode} | not run: {needed:.0f} GB of attention matrices | | | |")
            continue
        before, highest = peak_elsewhere(shape, length, mode)
        plain[length] = plain.get(length) or (took, highest)
        ratios = f"{took / plain[length][0]:.2f} | {highest / plain[length][1]:.2f}"
        print(f"| {length} | {mode} | {took:.2f} | {ratios} | {(highest - before) / 1e6:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peak", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.peak:
        print(json.dumps(peak(*chosen.peak)))
        return
    for shape in SHAPES if torch.cuda.is_available() else list(SHAPES)[:1]:
        table(shape)


if __name__ == "__main__":
    main()
