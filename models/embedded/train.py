"""``python -m models.embedded.train``: the whole embedded default from seeds, stage by stage.

Killed at any point, it goes on where it was: every stage keeps its state in ``build/train/seed<N>``.
A stage is remade from scratch by deleting its file there.
"""

import argparse
import copy
import time
from functools import partial
from pathlib import Path

import torch

from models.embedded import ASSETS, base, clip, evalsets, mitigation, moda, phases
from models.embedded.continual import train as continual
from models.embedded.pictures import STYLES
from models.embedded.text import build_image_processor, build_processor, build_tokenizer, caption_tokenizer

CLIP, MINI, SEQUENTIAL = ASSETS / "crosstalk-clip", ASSETS / "crosstalk-mini", ASSETS / "checkpoints" / "sequential"


def run(folder: Path, seed: int, log) -> None:
    """All stages; writes ``assets/embedded``."""
    log(f"stages: tokenizer, tower, base, the tasks by every method, mitigation, MODA, phases (state in {folder})")
    tokenizer = build_tokenizer()
    captions = caption_tokenizer(tokenizer)
    tower = clip.train(folder, captions, seed, log)
    for style in STYLES:
        log(f"contrastive R@1 among all names, drawings in {style}: {clip.recall(tower, captions, style):.1%}")
    _save(tower, CLIP, captions, build_image_processor())
    mini = base.train(folder, tower, tokenizer, seed, log)
    _save(mini, MINI, build_processor(tokenizer))
    evalsets.write(SEQUENTIAL, seed)
    continual.run(folder, seed, log=log)
    mitigation.run(folder, seed, log)
    moda.train(folder, log)
    phases.train(folder, tower, captions, seed, log=log)
    phases.write(folder)


def _save(model, out: Path, *parts) -> None:
    """Write ``model`` in half precision and its processor parts; training goes on with the full precision."""
    copy.deepcopy(model).half().cpu().save_pretrained(out)
    for part in parts:
        part.save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    started = time.monotonic()
    torch.backends.cuda.matmul.allow_tf32 = True
    run(Path("build/train") / f"seed{chosen.seed}", chosen.seed, partial(print, flush=True))
    print(f"done in {(time.monotonic() - started) / 60:.0f} min; now: python -m analysis.report")
