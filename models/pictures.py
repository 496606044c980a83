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


def _times(features, rows: int):
    """Features of one picture for ``rows`` rows: a tensor ``[tiles, tokens, d]``, or a sequence of tensors."""
    return features.repeat(rows, *[1] * (features.ndim - 1)) if torch.is_tensor(features) else [*features] * rows


@torch.no_grad()
def looked_at_once(model, batch: Sequence[Encoded]) -> dict:
    """Forward arguments with the features of the one picture that several rows share, for all of them.

    Empty where rows show different pictures, fewer than two show any, or the model takes no features.
    """
    pictures = [p for p in map(of_prompt, batch) if p]
    if len(pictures) < 2 or not all(_alike(pictures[0], p) for p in pictures[1:]):
        return {}
    if "mm_encoder_outputs" not in inspect.signature(model.forward).parameters:
        return {}
    inputs = {k: v.to(model.device, model.dtype if v.is_floating_point() else v.dtype) for k, v in pictures[0].items()}
    seen = model.base_model.get_image_features(**inputs, return_dict=True)
    seen.pooler_output = _times(seen.pooler_output, len(pictures))
    if getattr(seen, "deepstack_features", None) is not None:  # Qwen3-VL: more features for the first layers
        seen.deepstack_features = [_times(layer, len(pictures)) for layer in seen.deepstack_features]
    return {"mm_encoder_outputs": {"image": seen}}
