"""Where in a model a weight sits, in plain words, for any architecture: its part, its layer, its kind of module."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.instruments import decoder_of

if TYPE_CHECKING:
    from models.checkpoints import CheckpointSet

DECODER, TOWER, PROJECTOR, EMBEDDINGS, OTHER = "text decoder", "vision tower", "projector", "embeddings", "rest"
_PARTS = (DECODER, TOWER, PROJECTOR, EMBEDDINGS, OTHER)

_NAMES = {
    "q_proj": "query", "k_proj": "key", "v_proj": "value", "o_proj": "output", "out_proj": "output",
    "gate_proj": "gate", "up_proj": "up", "down_proj": "down", "fc1": "up", "fc2": "down",
    "qkv_proj": "query, key, value", "qkv": "query, key, value", "gate_up_proj": "gate, up",
}  # fmt: skip
_ATTENTION, _MLP = ("attn", "attention"), ("mlp", "ffn", "feed_forward", "feedforward", "experts", "moe")
_PROJECTORS = (
    "projector", "connector", "merger", "resampler", "aligner", "qformer", "multi_modal", "modality", "mlp1",
)  # fmt: skip
_EYES = ("vis", "image", "tower", "patch")


@dataclass(frozen=True, order=True)
class Place:
    """One module, or several of one kind in one layer (experts). ``layer`` counts from 0; None outside of layers."""

    part: str
    layer: int | None
    kind: str
    block: str

    @property
    def called(self) -> str:
        """The kind of module in plain words."""
        return _NAMES.get(self.kind, self.kind)

    def __str__(self) -> str:
        block = f" ({self.block})" if self.block else ""
        where = "" if self.layer is None else f"layer {self.layer + 1} of "
        return f"{self.called}{block} of {where}the {self.part}"


def place(module: str, layers: str) -> Place:
    """The place of ``module``, by its name; ``layers`` is the name of the list of the text decoder's layers."""
    if module.startswith(f"{layers}."):
        number, _, inside = module.removeprefix(f"{layers}.").partition(".")
        return Place(DECODER, int(number), *_kind(inside or module))
    part, names = _part(module), module.split(".")
    at = next((i for i, name in enumerate(names) if name.isdecimal()), None) if part in (TOWER, OTHER) else None
    if at is None or at + 1 == len(names):
        return Place(part, None, *_kind(module))
    return Place(part, int(names[at]), *_kind(".".join(names[at + 1 :])))


def layers_of(model) -> str:
    """The name of the list of the text decoder's layers. Raises ``ModelError`` where there is none."""
    decoder = decoder_of(model)
    return f"{next(name for name, module in model.named_modules() if module is decoder)}.layers".lstrip(".")


def places(checkpoints: "CheckpointSet", weights: Sequence[str]) -> dict[Place, tuple[str, ...]]:
    """The places of some weights, the text decoder's first, else in their order, and which weights belong to each."""
    layers = layers_of(checkpoints.model)
    found: dict[Place, tuple[str, ...]] = {}
    for weight in weights:
        at = place(weight.rpartition(".")[0], layers)
        found[at] = (*found.get(at, ()), weight)
    return dict(sorted(found.items(), key=lambda item: _PARTS.index(item[0].part)))


def _kind(inside: str) -> tuple[str, str]:
    """The module's own name, and the block that it belongs to: attention, MLP, or none."""
    *around, own = (name for name in inside.split(".") if not name.isdecimal())
    for block, marks in (("attention", _ATTENTION), ("MLP", _MLP)):
        if any(mark in name.lower() for name in around for mark in marks):
            return own, block
    return own, ""


def _part(module: str) -> str:
    names = module.lower().split(".")
    if any(mark in name for name in names for mark in _PROJECTORS):
        return PROJECTOR
    if any(mark in name for name in names for mark in _EYES):
        return TOWER
    return EMBEDDINGS if any("embed" in name or name in ("wte", "lm_head") for name in names) else OTHER
