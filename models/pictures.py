"""One picture in many rows of a batch is looked at once: contexts and checkpoints mostly ask about the same."""

import inspect
from collections.abc import Sequence

import torch

from models.encoding import Encoded


def of_prompt(encoded: Encoded) -> dict[str, torch.Tensor]:
    """The inputs that are a prompt's picture: all that are not one value a token; empty where it has none."""
    return {k: v for k, v in encoded.inputs.items() if v.shape != (1, encoded.length)}


def _alike(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[k] is b[k] or torch.equal(a[k], b[k]) for k in a)


def _laid_out_alike(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two pictures differ in their pixels alone, so that they have features of the same size."""
    if a.keys() != b.keys() or any(a[k].shape != b[k].shape for k in a):
        return False
    return all(a[k].is_floating_point() or torch.equal(a[k], b[k]) for k in a)


def _distinct(pictures: Sequence[dict[str, torch.Tensor]]) -> tuple[list[dict[str, torch.Tensor]], list[int]]:
    """The pictures without repetition, and which of them each is."""
    found: list[dict[str, torch.Tensor]] = []
    which, candidates = [], {}
    for picture in pictures:
        mark = tuple((k, v.shape, v.double().sum().item()) for k, v in picture.items())
        at = next((i for i in candidates.get(mark, ()) if _alike(found[i], picture)), None)
        if at is None:
            at = len(found)
            found.append(picture)
            candidates.setdefault(mark, []).append(at)
        which.append(at)
    return found, which


def _parts(features, count: int) -> list:
    """Features of ``count`` pictures of one size, each picture's: of a tensor ``[tiles, tokens, d]`` or a sequence."""
    size = len(features) // count
    return [features[i * size : (i + 1) * size] for i in range(count)]


def _joined(parts: Sequence):
    return torch.cat(list(parts)) if torch.is_tensor(parts[0]) else [x for part in parts for x in part]


@torch.no_grad()
def looked_at_once(model, batch: Sequence[Encoded]) -> dict:
    """Forward arguments with the features of all rows' pictures, for which each picture was looked at once.

    Empty where all rows show different pictures, or the model takes no features.
    """
    shown = [p for p in map(of_prompt, batch) if p]
    distinct, which = _distinct(shown)
    if len(distinct) == len(shown) or "mm_encoder_outputs" not in inspect.signature(model.forward).parameters:
        return {}
    at_once = all(_laid_out_alike(distinct[0], other) for other in distinct[1:])
    groups = [distinct] if at_once else [[picture] for picture in distinct]
    looks = [(_look(model, group), len(group)) for group in groups]

    def for_rows(features: Sequence):
        """Features of each look, as the rows need them."""
        each = [part for f, (_, count) in zip(features, looks, strict=True) for part in _parts(f, count)]
        return _joined([each[i] for i in which])

    seen = looks[0][0]
    if getattr(seen, "deepstack_features", None) is not None:  # Qwen3-VL: more features for the first layers
        layers = zip(*(look.deepstack_features for look, _ in looks), strict=True)
        seen.deepstack_features = [for_rows(layer) for layer in layers]
    seen.pooler_output = for_rows([look.pooler_output for look, _ in looks])
    return {"mm_encoder_outputs": {"image": seen}}


def _look(model, pictures: Sequence[dict[str, torch.Tensor]]):
    """Features of pictures that are laid out alike, in one forward of the vision tower."""
    inputs = {k: torch.cat([p[k] for p in pictures]) for k in pictures[0]}
    inputs = {k: v.to(model.device, model.dtype if v.is_floating_point() else v.dtype) for k, v in inputs.items()}
    return model.base_model.get_image_features(**inputs, return_dict=True)
