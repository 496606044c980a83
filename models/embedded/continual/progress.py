"""What happens inside a task: accuracy on every task learnt so far, every few steps."""

import json
import os
import time
from collections import defaultdict
from pathlib import Path

import torch
import transformers

from models.answers import box_of, iou
from models.embedded.continual.course import Course
from models.embedded.fit import device, to
from models.embedded.packing import Branch, Packer, answered
from models.embedded.pictures import TRAINED_STYLES
from models.embedded.tasks import LENGTH
from models.embedded.text import IMAGE_SIZE, build_image_processor

ITEMS = 40
AT = (1, 2, 4, 7, 12, 20, 32, 50, 80, 120)
"""Steps of a task after which it is measured, and its end: dense where a switch hurts (the stability gap)."""
DEFINITION = (
    "Share of items whose answer's tokens are each the most likely one given the true ones before, so that the greedy "
    "answer is exactly the true one; of a box, share of those whose most likely tokens make a box with IoU > 0.5. "
    "Drawings in the styles trained on."
)


class Progress:
    """A log of accuracies by step, kept in ``file`` as it grows."""

    def __init__(
        self, file: Path, method: str, seed: int, course: Course, order: tuple[str, ...], steps: int, tokenizer
    ):
        self.file, self.method, self.seed, self.order, self.steps = file, method, seed, order, steps
        self.course = course
        self.points: dict[int, dict] = {}
        if file.exists():
            saved = json.loads(file.read_text(encoding="utf-8"))
            self.points = {point["step"]: point for point in saved["points"]}
        self.seconds = 0.0
        self._pack, self._look = Packer(tokenizer, LENGTH), build_image_processor()
        self._held: dict[str, dict[str, torch.Tensor]] = {}

    def at(self, task: str, step: int, model) -> None:
        """Measure after ``step`` steps of ``task``, where it is time to."""
        if task not in self.order or step not in {*AT, self.steps}:
            return
        began, number = time.monotonic(), self.order.index(task)
        accuracy = {known: self._accuracy(model, known) for known in self.order[: number + 1]}
        self.seconds += time.monotonic() - began
        done = number * self.steps + step
        self.points[done] = {"step": done, "task": task, "accuracy": accuracy}
        self.save()

    def save(self) -> None:
        """Write the log, whole or not at all."""
        found = {
            "method": self.method, "seed": self.seed, "every": list(AT), "steps_per_task": self.steps,
            "order": list(self.order), "items": ITEMS, "definition": DEFINITION,
            "points": [self.points[step] for step in sorted(self.points)], "device": str(device()),
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "seconds": round(self.seconds, 1),
        }  # fmt: skip
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_suffix(".part")
        draft.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
        os.replace(draft, self.file)

    def _batch(self, task: str) -> dict[str, torch.Tensor]:
        if task not in self._held:
            found = list(self.course.examples(task, TRAINED_STYLES, ITEMS, self.seed, f"course-{task}"))
            pixels = self._look([scene.render(IMAGE_SIZE) for scene, _ in found], return_tensors="pt")["pixel_values"]
            packed = self._pack.short([[Branch((turn,))] for _, turn in found])
            self._held[task] = to({"pixel_values": pixels, **packed}, device())
        return self._held[task]

    @torch.no_grad()
    def _accuracy(self, model, task: str) -> float:
        training = model.training
        model.eval()
        said = answered(model, self._batch(task))
        model.train(training)
        rows, most_likely = said.row.tolist(), said.logits.argmax(1).tolist()
        given, truth = defaultdict(list), defaultdict(list)
        for row, token, true in zip(rows, most_likely, said.target.tolist(), strict=True):
            given[row].append(token)
            truth[row].append(true)
        return sum(self._right(given[row], truth[row]) for row in truth) / len(truth)

    def _right(self, given: list[int], truth: list[int]) -> bool:
        texts = self._pack.tokenizer.batch_decode([given, truth], skip_special_tokens=True)
        boxes = [box_of(text) for text in texts]
        return iou(*boxes) > 0.5 if all(boxes) else given == truth
