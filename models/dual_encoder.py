"""A contrastive dual encoder (CLIP, SigLIP) behind one small surface: pictures and texts as unit vectors, by phase."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from torch.nn.functional import normalize

from models import devices
from models.batches import halved
from models.checkpoints import BASE, CheckpointSet
from models.errors import InputError, ModelError
from models.loading import DUAL_ENCODER, load

_BATCH = 64


class DualEncoder:
    """A dual encoder and, where it was trained in phases, the checkpoint after each phase."""

    def __init__(self, name: str, model, processor, phases: CheckpointSet | None = None):
        self.name, self.model, self.processor, self.phases = name, model, processor, phases
        model.eval().requires_grad_(False)

    @classmethod
    def open(
        cls, source: str | Path, name: str | None = None, phases: str | Path | None = None, device="auto", dtype="auto"
    ) -> "DualEncoder":
        """Load a Hub id or a local folder; safetensors only, no remote code; ``phases`` is a checkpoint set's folder.

        Raises ``ModelError`` or ``CheckpointError``.
        """
        model, processor = load(source, device, dtype, quantize=0, what=DUAL_ENCODER)
        return cls(name or Path(source).name, model, processor, CheckpointSet.open(phases, model) if phases else None)

    @property
    def checkpoints(self) -> CheckpointSet | None:
        """The phases, by the name that they have in other models."""
        return self.phases

    @property
    def phase_names(self) -> tuple[str, ...]:
        """``"base"``, before any phase, then the checkpoints in their order."""
        return (BASE, *(self.phases.names if self.phases else ()))

    def provenance(self, phase: str, seed: int | None = None, seconds: float = 0.0) -> dict:
        """What computed a result: the fields of ``Provenance``."""
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        return {
            "model": self.name, "checkpoint": str(phase), "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": str(self.model.device), "seed": seed, "versions": versions, "seconds": round(seconds, 4),
            "bits": devices.bits(self.model.config),
        }  # fmt: skip

    def images(
        self,
        pictures: Sequence[Image.Image],
        phases: Sequence[str] = (BASE,),
        progress: Callable[[float, str], None] = lambda share, what: None,
    ) -> np.ndarray:
        """Unit vectors of pictures in each phase, float32 ``[phases, pictures, d]``. Each picture is prepared once.

        ``progress`` is told between batches; what it raises stops the work. Raises ``InputError`` for no pictures,
        ``ModelError`` where memory is short or an embedding is not a number.
        """
        made = []
        for start in range(0, len(pictures), _BATCH):
            progress(start / len(pictures), "pictures")
            some = [p.convert("RGB") for p in pictures[start : start + _BATCH]]
            inputs = self.processor.image_processor(some, return_tensors="pt")
            made.append(self._embedded(dict(inputs), phases, self.model.get_image_features))
        return self._joined(made, "pictures")

    def texts(
        self,
        texts: Sequence[str],
        phases: Sequence[str] = (BASE,),
        progress: Callable[[float, str], None] = lambda share, what: None,
    ) -> np.ndarray:
        """Unit vectors of texts in each phase, float32 ``[phases, texts, d]``; otherwise as ``images``.

        Texts longer than the model reads are cut.
        """
        made, limit = [], self.model.config.text_config.max_position_embeddings
        # SigLIP was trained on texts padded to its full length
        padding = "max_length" if self.model.config.model_type.startswith("siglip") else True
        for start in range(0, len(texts), _BATCH):
            progress(start / len(texts), "texts")
            some = list(texts[start : start + _BATCH])
            coded = self.processor.tokenizer(
                some, padding=padding, truncation=True, max_length=limit, return_tensors="pt"
            )
            names = [n for n in ("input_ids", "attention_mask") if n in coded]
            made.append(self._embedded({n: coded[n] for n in names}, phases, self.model.get_text_features))
        return self._joined(made, "texts")

    def _embedded(self, inputs: dict, phases: Sequence[str], features: Callable) -> np.ndarray:
        """Unit vectors ``[phases, rows, d]`` of prepared inputs, a row each; where memory is short a few at a time."""
        where, kind = self.model.device, self.model.dtype

        def embed(rows: range) -> np.ndarray:
            some = {name: value[rows.start : rows.stop].to(where) for name, value in inputs.items()}
            moved = {name: value.to(kind) if value.is_floating_point() else value for name, value in some.items()}
            found = []
            for phase in phases:
                with torch.inference_mode(), self._using(phase):
                    pooled = features(**moved).pooler_output
                found.append(normalize(pooled.float(), dim=-1).cpu().numpy())
            return np.stack(found, 1)

        try:
            return np.stack(halved(range(len(next(iter(inputs.values())))), embed), 1)
        except (RuntimeError, MemoryError) as error:
            if not devices.exhausted(error):
                raise
        # out of the handler, whose error holds what was allocated
        raise ModelError(f"Out of memory on {where} with a single one: open a smaller model.")

    def _using(self, phase: str):
        if self.phases:
            return self.phases.use(phase)
        if phase != BASE:
            raise ModelError(f"{self.name} has no phase {phase!r}: it has no checkpoint set.")
        return torch.no_grad()

    def _joined(self, made: list[np.ndarray], what: str) -> np.ndarray:
        if not made:
            raise InputError(f"There are no {what} to embed: give at least one.")
        found = np.concatenate(made, axis=1)
        if not np.isfinite(found).all():
            row = int(np.argwhere(~np.isfinite(found).all(axis=(0, 2)))[0, 0])
            raise ModelError(
                f"{self.name} embeds number {row + 1} of the {what} as not-a-number: its weights are broken."
            )
        return found
