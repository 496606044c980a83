"""``python -m models.embedded.train``: the whole embedded default from seeds, stage by stage.

Killed at any point, it goes on where it was: every stage keeps its state in ``build/train/seed<N>``.
A stage is remade from scratch by deleting its file there.

``--base FOLDER`` stops after the base: FOLDER gets tower, ``text-parent`` and base, the log what the base can do;
``--from FOLDER`` ships them and goes on from there. MODA comes last and takes longest, a base's training and more;
``--moda-steps`` makes it shorter, and its checkpoints say so.
"""

import argparse
import copy
import json
import shutil
import time
from functools import partial
from pathlib import Path

import torch
from transformers import AutoTokenizer, CLIPModel

from models.embedded import ASSETS, TRAINING, base, clip, evalsets, mitigation, moda, parent, phases, probes, worlds
from models.embedded.continual import SEEDS
from models.embedded.continual import train as continual
from models.embedded.continual.course import COURSES
from models.embedded.pictures import STYLES
from models.embedded.text import build_image_processor, build_processor, build_tokenizer, caption_tokenizer

CLIP, PARENT, MINI = ASSETS / "crosstalk-clip", ASSETS / "text-parent", ASSETS / "crosstalk-mini"
SEQUENTIAL = ASSETS / "checkpoints" / "sequential"
MEASURED = 300  # questions a cell of what the base can do


def train_base(folder: Path, seed: int, out: Path, log) -> None:
    """Tower, ``text-parent`` and base, written below ``out``; the base starts from the others as written."""
    tokenizer = build_tokenizer()
    captions = caption_tokenizer(tokenizer)
    tower = clip.train(folder, captions, seed, log).half().float()
    found = {f"R@1 among all names, {style}": clip.recall(tower, captions, style) for style in STYLES}
    steps = clip.STEPS + clip.BROAD_STEPS
    _save(tower, out / CLIP.name, captions, build_image_processor(), seed=seed, steps=steps, measured=found)
    text = parent.train(folder, tokenizer, seed, log).half().float()
    _save(text, out / PARENT.name, tokenizer, seed=seed, steps=parent.STEPS)
    mini = base.train(folder, tower, text, tokenizer, seed, log).half().float()
    asked = probes.cells(MEASURED, seed + 1)
    found = {cell: {"right": r, "n": n} for cell, (r, n) in probes.measure(mini, tokenizer, asked).items()}
    _save(mini, out / MINI.name, build_processor(tokenizer), seed=seed, steps=base.STEPS, measured=found)
    log(f"measured: {json.dumps(found)}")


def take(trained: Path) -> None:
    """Ship the tower, ``text-parent`` and base that ``train_base`` wrote below ``trained``; all three or, with a
    ``ValueError``, none.
    """
    parts = (CLIP, PARENT, MINI)
    if missing := [part.name for part in parts if not (trained / part.name / TRAINING).is_file()]:
        raise ValueError(f"{trained} lacks {', '.join(missing)}: --base writes them, each with {TRAINING} last.")
    for part in parts:
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(trained / part.name, part)


def run(folder: Path, seed: int, log, moda_steps: int | None = None) -> None:
    """All that is trained on the base that ships. ``moda_steps`` other than the base's are for MODA and a control."""
    log("stages: the tasks by every method, worlds, mitigation, phases, MODA")
    evalsets.write_base(SEQUENTIAL, seed)
    for name, course in COURSES.items():
        evalsets.write(continual.OUT / course.shared, seed, course)
        continual.run(folder.parent, range(seed, seed + SEEDS), course=name, log=log)
    worlds.run(folder, seed, log)
    mitigation.run(folder, seed, log)
    tower = CLIPModel.from_pretrained(CLIP, dtype=torch.float32)
    phases.train(folder, tower, AutoTokenizer.from_pretrained(CLIP), seed, log=log)
    phases.write(folder)
    moda.run(folder, seed, log, moda_steps)


def _save(model, out: Path, *parts, **training) -> None:
    """Write ``model`` in half precision, its processor parts, and what it was trained with and can do."""
    copy.deepcopy(model).half().cpu().save_pretrained(out)
    for part in parts:
        part.save_pretrained(out)
    (out / TRAINING).write_text(json.dumps(training, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--base", type=Path, metavar="FOLDER", help="stop after the base; FOLDER gets what is trained")
    either.add_argument("--from", dest="taken", type=Path, metavar="FOLDER", help="ship such a base, and go on from it")
    about = f"of MODA, and of a control of its own where they are not {base.STEPS}"
    parser.add_argument("--moda-steps", type=int, metavar="STEPS", help=about)
    chosen = parser.parse_args()
    started = time.monotonic()
    torch.backends.cuda.matmul.allow_tf32 = True
    state, log = Path("build/train") / f"seed{chosen.seed}", partial(print, flush=True)
    log(f"state in {state}")
    if chosen.taken:
        take(chosen.taken)
    else:
        train_base(state, chosen.seed, chosen.base or ASSETS, log)
    if not chosen.base:
        run(state, chosen.seed, log, chosen.moda_steps)
    print(f"done in {(time.monotonic() - started) / 60:.0f} min; now: python -m analysis.report")
