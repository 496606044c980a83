"""What the embedded default can do, measured, in Markdown: the first part of its card, ``assets/embedded/CARD.md``."""

import json
import platform
import re
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoTokenizer, CLIPModel

from models.answers import score
from models.catalog import EMBEDDED, NEXT, entries, open_model
from models.checkpoints import BASE
from models.embedded import ASSETS, TRAINING, base, clip, evalsets
from models.embedded import questions as Q
from models.embedded.concepts import CONCEPTS, PARTNERS, TASKS, learnt_in
from models.embedded.fit import generator
from models.embedded.pictures import STYLES, TRAINED_STYLES, UNSEEN_STYLE, table
from models.embedded.scenes import random_scene
from models.embedded.text import IMAGE_SIZE
from models.embedded.train import CLIP, MINI, SEQUENTIAL
from models.embedded.worlds import WORLDS
from models.errors import CheckpointError
from models.evaluation import interval
from models.files import parameters as count
from models.manifest import Manifest

_STAGE = re.compile(r"^\| ([\w-]+/\S+) \| (\d+) \| ([\d.]+|not recorded) \| ([^|]+) \|$", re.M)
"""A row of the table of training cost."""

ITEMS, SEED = 240, 1  # evaluation scenes of this report, of a seed that no training uses
PIXELS = evalsets.PIXELS
_GOALS = {
    "naming": (0.90, 0.55), "counting": (0.85, None), "existence": (0.85, None), "grounding": (0.70, None),
    "choice": (0.85, None), "captioning": (0.75, None),
}  # fmt: skip
"""Of the base, on drawings seen in training and in the style never seen (for naming alone)."""
_TEXT_SKILLS = {
    "kind of a thing (text only)": Q.kind_of, "is it a kind (text only)": Q.is_a,
    "choice by kind (text only)": Q.choice_kind, "reading a statement (text only)": Q.read,
    "no picture: says so": Q.no_picture,
}  # fmt: skip


def _cell(scores: np.ndarray) -> str:
    low, high = interval(scores)
    return f"{scores.mean():.0%} ({low:.0%} to {high:.0%})"


def measure(mllm, checkpoint: str, drawn) -> np.ndarray:
    """Scores 0..1 of a checkpoint on (scene or None, turn) pairs."""
    drawn = list(drawn)
    prompts = [mllm.encode(scene.render(PIXELS) if scene else None, turn.question) for scene, turn in drawn]
    given = mllm.answers(prompts, checkpoint)
    return np.array([score(a, t.answer, t.style) for a, (_, t) in zip(given, drawn, strict=True)])


def _examples(task: str, stage: str, styles):
    return evalsets.examples(task, learnt_in(stage), styles, ITEMS, SEED, f"report-{stage}-{'-'.join(styles)}")


def _accuracy(mllm) -> tuple[str, list[str]]:
    """The table, and the goals that the base misses on drawings seen in training or on the unseen style."""
    header = [
        "task", "base, base concepts, drawings seen", "base, base concepts, style never seen",
        "after its task, new concepts, drawings seen", "goal",
    ]  # fmt: skip
    rows, missed = [], []
    for task in TASKS:
        base_scores = [measure(mllm, BASE, _examples(task, "base", s)) for s in (TRAINED_STYLES, (UNSEEN_STYLE,))]
        for scores, goal, drawings in zip(base_scores, _GOALS[task], ("seen", "in the unseen style"), strict=True):
            if goal is not None and scores.mean() < goal:
                missed.append(f"{task} on drawings {drawings} ({scores.mean():.0%} of {goal:.0%})")
        cells = [_cell(scores) for scores in base_scores]
        cells.append(_cell(measure(mllm, task, _examples(task, task, TRAINED_STYLES))))
        seen, unseen = _GOALS[task]
        rows.append([task, *cells, f"{seen:.0%} / {unseen:.0%}" if unseen else f"{seen:.0%}"])
    return _table(header, rows), missed


def _skills(mllm) -> str:
    pool, rows = learnt_in("base"), {}
    drawn = []
    for i in range(2 * ITEMS):
        rng = generator(SEED, "report-relation", i)
        scene = random_scene(rng, pool, TRAINED_STYLES, 0.0, (2, 3, 4))
        if (turn := Q.relation(rng, scene, pool)) is not None:
            drawn.append((scene, turn))
    rows["left of, above ... (yes/no)"] = drawn[:ITEMS]
    for name, maker in _TEXT_SKILLS.items():
        rows[name] = [(None, maker(generator(SEED, name, i), pool)) for i in range(ITEMS)]
    found = [[name, _cell(measure(mllm, BASE, items)), str(len(items))] for name, items in rows.items()]
    return _table(["base, other skills", "right", "n"], found)


def _prior(mllm) -> str:
    """False alarms of existence questions: absent partners of what is there, against other absent things."""
    pool, drawn = learnt_in("base"), {"partner": [], "other": []}
    for i in range(ITEMS):
        rng = generator(SEED, "report-prior", i)
        scene = random_scene(rng, [n for n in pool if PARTNERS.get(n) in pool], TRAINED_STYLES, 0.0, (1, 2))
        partners = [PARTNERS[n] for n in scene.counts if PARTNERS[n] not in scene.counts]
        others = [n for n in pool if n not in scene.counts and n not in partners]
        if partners:
            for kind, names in (("partner", partners), ("other", others)):
                name = names[rng.integers(len(names))]
                question = f"Is there {CONCEPTS[name].a} in the picture?"
                drawn[kind].append((scene, Q.Turn(question, "no", "yes/no", ("yes", "no"))))
    alarms = {kind: 1 - measure(mllm, BASE, items) for kind, items in drawn.items()}
    rows = [
        ["the usual partner of something in the picture", _cell(alarms["partner"]), str(len(alarms["partner"]))],
        ["any other thing", _cell(alarms["other"]), str(len(alarms["other"]))],
    ]
    return _table(["the absent thing asked for is", "answers yes", "n"], rows)


def clean(name: str) -> str:
    """What every checkpoint of the set ``name`` of ``worlds.WORLDS`` still answers of what the base was taught, all six
    tasks together, and the change, paired; nothing while it does not ship.
    """
    called = f"{EMBEDDED} ({name})"
    if called not in {entry.name for entry in entries()}:
        return ""
    mllm = open_model(called)
    drawn = [pair for task in TASKS for pair in _examples(task, "base", TRAINED_STYLES)]
    scores = {of: measure(mllm, of, drawn) for of in mllm.checkpoint_names}
    rows = []
    for of, own in scores.items():
        less = own - scores[BASE]
        low, high = interval(less) if less.any() else (0.0, 0.0)
        change = f"{100 * less.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        rows.append([of, _cell(own), "" if of == BASE else change])
    return _table([f"checkpoint ({WORLDS[name].method})", f"right, n = {len(drawn)}", "change, points"], rows)


def _retrieval() -> str:
    model, tokenizer = CLIPModel.from_pretrained(CLIP, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(CLIP)
    names = len({row["name"] for row in table()})
    rows = []
    for style in STYLES:
        count = sum(row["style"] == style for row in table())
        right = round(clip.recall(model, tokenizer, style) * count)
        seen = "never seen" if style == UNSEEN_STYLE else "seen"
        rows.append([f"{style} ({seen})", _cell((np.arange(count) < right).astype(float)), str(count)])
    return _table([f"image to text, among {names} names", "R@1", "n"], rows)


def following() -> list[str]:
    """What the next base was measured to do when its training was over; nothing where none ships."""
    files = [ASSETS / "next" / part.name / TRAINING for part in (MINI, CLIP)]
    if not all(file.is_file() for file in files):
        return []
    base_told, tower_told = (json.loads(file.read_text()) for file in files)
    drawn = {f"R@1 among all names, {style}": sum(row["style"] == style for row in table()) for style in STYLES}
    found = [(cell, of["right"], of["n"]) for cell, of in base_told["measured"].items()]
    found += [(cell, right, drawn[cell]) for cell, right in tower_told["measured"].items()]
    rows = [[cell, _cell((np.arange(n) < round(right * n)).astype(float)), str(n)] for cell, right, n in found]
    about = (
        f"In the box as {NEXT}, without checkpoints yet: {base_told['steps']:,} steps, one seed. Right to the letter: "
        "every token of the true answer is the likeliest after those before it. Scenes of a seed that no training "
        "used, in styles seen where it does not say otherwise, of one or two drawings where they are named or counted; "
        f"photo: crops that no training had, nor marble, nor {UNSEEN_STYLE}, the style never seen. The row of false "
        "“nothing” is how often known things got that answer, the last ones are of its tower."
    )
    return ["## The next base", about, _table(["what is asked", "share", "n"], rows)]


def _cost(folder: Path, before: str) -> str:
    """Steps and minutes of every finished stage whose state is kept below ``folder``, in the order they ended.

    Stages that were trained on another machine keep the rows that the card ``before`` this one has.
    """
    kept = {row[0]: list(row) for row in _STAGE.findall(before)}
    rows = []
    for file in sorted(folder.rglob("*.safetensors"), key=lambda f: f.stat().st_mtime):
        with safe_open(file, "pt") as saved:
            told = saved.metadata() or {}
        done = {k: json.loads(v) for k, v in told.items()} if "step" in told else {}  # else it is an adapter
        if not done or done["step"] < done.get("steps", 0):
            continue
        minutes = f"{done['seconds'] / 60:.1f}" if "seconds" in done else "not recorded"
        stage = str(file.relative_to(folder).with_suffix(""))
        rows.append([stage, str(done["step"]), minutes, done.get("device", "not recorded")])
    rows = [row for name, row in kept.items() if name not in {row[0] for row in rows}] + rows
    if not rows:
        return "No training state is on the machine that wrote this card."
    return "Wall-clock time, beside other work on the machine: an upper bound.\n\n" + _table(
        ["stage", "steps", "minutes", "device"], rows
    )


def _speed(mllm) -> str:
    scene, turn = next(_examples("captioning", "base", TRAINED_STYLES))
    image, seconds = scene.render(448), []
    for _ in range(12):
        began = time.perf_counter()
        answer = mllm.answers([mllm.encode(image, turn.question)])[0]
        seconds.append(time.perf_counter() - began)
    return (
        f'A warm question answered with a sentence ("{answer}"): median {statistics.median(seconds[2:]):.2f} s '
        f"of {len(seconds) - 2}, {torch.get_num_threads()} threads, {platform.machine()}."
    )


def card(before: str = "") -> str:
    """The card's first part as Markdown, where ``before`` is the card as it was; some minutes on two cores."""
    mllm = open_model()
    parameters = {
        "crosstalk-clip": sum(p.numel() for p in CLIPModel.from_pretrained(CLIP).parameters()),
        "crosstalk-mini": sum(p.numel() for n, p in mllm.model.named_parameters() if "lora_" not in n),
        "one adapter": count([SEQUENTIAL / "joint" / "adapter_model.safetensors"], CheckpointError),
    }
    accuracy, missed = _accuracy(mllm)
    rank = Manifest.load(SEQUENTIAL).recipe["rank"]  # of what ships, whatever the next recipe is
    made = {k: mllm.provenance(BASE)[k] for k in ("device", "dtype", "versions")}
    names = len({row["name"] for row in table()})
    parts = [
        "# crosstalk-clip and crosstalk-mini: what they are and what they can do",
        "Written by `python -m analysis.report` from measurements. Brackets are 95 % intervals: Wilson for "
        "shares, bootstrap for the F1 of captions. Trained once, where it does not say more seeds: intervals cover the "
        "items, not the training.",
        "## What they are",
        f"- **crosstalk-clip**: `CLIPModel`, {parameters['crosstalk-clip']:,} parameters, trained contrastively, whole "
        f"images and patches, each patch also on the box of what it shows, on drawings of {names} names in the art "
        f"styles {' and '.join(TRAINED_STYLES)} and on scenes of them; {UNSEEN_STYLE} is never trained on.\n"
        f"- **crosstalk-mini**: `LlavaForConditionalGeneration`, {parameters['crosstalk-mini']:,} parameters: that "
        "tower without its last layer, a projector, a Qwen2 decoder. Tuned on questions about "
        f"{len(learnt_in('base'))} concepts, co-occurrence skewed (a thing comes with its partner with probability "
        f"{base.SKEW}), and, as a help in all its training, on naming at each image token what that patch shows (a "
        "logit lens on image tokens sees this) and, in the base's, on telling its box.\n"
        f"- **Checkpoints**: LoRA of rank {rank} on the text decoder ({parameters['one adapter']:,} "
        f"parameters), {len(TASKS)} tasks in order ({', '.join(TASKS)}), each with {len(learnt_in('naming'))} concepts "
        "of its own, by several methods of continual training; and one adapter trained on all of them jointly.\n"
        f"- **Limits**: drawings, at most four, on plain backgrounds, read at {IMAGE_SIZE} x {IMAGE_SIZE} pixels; "
        "short English questions. It has never seen a photograph and knows nothing else.",
        "## Use, data and licence",
        "- **Meant for** seeing, in class or on a laptop, how a multimodal LLM reads, is misled and forgets, and for "
        "trying a method before a large model is trained with it.\n"
        "- **Not meant for** telling what is in anybody's pictures, or for conclusions about large models: what is "
        "seen here is a question to ask there.\n"
        f"- **Data**: drawings of {' and '.join(TRAINED_STYLES)} emoji, with names and keywords from Emojibase; "
        "scenes, questions and answers are composed from them by seed. No photographs, no text from the web, no "
        "personal data. Evaluation sets are scenes never trained on.\n"
        "- **Biases**: what its drawings and names take for granted, and the skew of co-occurrence, which is there on "
        "purpose.\n"
        "- **Licence**: code and weights Apache-2.0. The drawings keep their own licences, and LICENCES.md, which "
        "tells them, goes with whatever is passed on.",
        f"## Accuracy (n = {ITEMS} a cell, balanced co-occurrence, scenes never trained on)",
        accuracy,
        f"**Short of its goal**: {', '.join(missed) or 'nothing'}. A goal with one number is for drawings seen in "
        "training. In the style never seen the model does worse at everything; the contrastive tower under it, which "
        "retrieves poorly there (below), may be why, and was not isolated.",
        "Exact match in the asked style; grounding: a box with IoU > 0.5; captioning: F1 of the things named. "
        f"Art style never seen: {UNSEEN_STYLE}. After its task: of plain training, one task after another. Computed "
        f"with {json.dumps(made)}.",
        "## Other skills, drawings seen in training",
        _skills(mllm),
        "## Language prior: false alarms after skewed training",
        _prior(mllm),
        *_worlds(),
        "## Contrastive retrieval (drawing on white, own name among all)",
        _retrieval(),
        *following(),
        "## Speed",
        _speed(mllm),
        "## Training cost",
        _cost(Path("build/train/seed0"), before),
    ]
    return "\n\n".join(parts) + "\n"


def _worlds() -> list[str]:
    tables = [*filter(None, map(clean, WORLDS))]
    about = "Base concepts, drawings seen in training, the six tasks above together; differences are paired."
    return ["## What small worlds cost of it", about, *tables] if tables else []


def _table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows))
