"""What differs between families of multimodal LLMs, in one table keyed by ``config.model_type``.

Three things differ: where tokens stand (``positions``), which part of the picture each image token sees
(``grids``), and what a prompt looks like where there is no chat template (``Plain``). A family that is not in
the table is read as most are: positions from 0, a square run of image tokens is the whole picture.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import torch
from transformers.image_processing_utils import select_best_resolution
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from models.errors import ModelError
from models.segments import WHOLE, Box, Grid, square_grid


@dataclass(frozen=True)
class Sight:
    """One picture as a model reads it: ``size`` (width, height) of the original, ``runs`` of its image tokens."""

    model: torch.nn.Module
    processor: object
    inputs: dict[str, torch.Tensor]
    runs: Sequence[tuple[int, int]]
    size: tuple[int, int]

    @property
    def config(self):
        return self.model.config


_SPATIAL = ("input_ids", "mm_token_type_ids", "image_grid_thw", "attention_mask")  # what positions in space come from

# --- positions: what the model itself would count for an untouched prompt


def counted(model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Positions 0, 1, 2 ... of one prompt, int64 ``[1, T]``."""
    return torch.arange(inputs["input_ids"].shape[1])[None]


def counted_from_one(model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Positions 1, 2, 3 ... (PaliGemma), int64 ``[1, T]``."""
    return counted(model, inputs) + 1


def spatial(model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Positions in time, row and column (M-RoPE of Qwen2-VL, arXiv 2409.12191), int64 ``[3, 1, T]``."""
    if "image_grid_thw" not in inputs:
        return counted(model, inputs).expand(3, 1, -1)
    return model.base_model.get_rope_index(**{name: inputs[name] for name in _SPATIAL})[0]


# --- grids: which part of the original picture each image token sees


def cropped(processor, size: tuple[int, int]) -> Box:
    """The part of a picture (width, height) that is left after the image processor's centre crop."""
    pictures = processor.image_processor
    if not getattr(pictures, "do_center_crop", False):
        return WHOLE
    target, crop = dict(pictures.size), dict(pictures.crop_size)
    width, height = size
    if getattr(pictures, "do_resize", True):
        scale = target.get("shortest_edge", 0) / min(size)
        width, height = target.get("width", width * scale), target.get("height", height * scale)
    across, down = crop["width"] / width, crop["height"] / height
    return ((1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2)


def one_square(sight: Sight) -> tuple[Grid, ...]:
    """A run is the whole picture where its number is square; equal runs, one token apart, are the rows of one grid.

    A class token in front of the patches (``vision_feature_select_strategy="full"``) sees no cell.
    """
    starts, lengths = [start for start, _ in sight.runs], {length for _, length in sight.runs}
    gaps = {b - a for a, b in zip(starts, starts[1:], strict=False)}
    if len(lengths) == 1 and gaps == {max(lengths) + 1}:
        return (Grid(starts[0], len(starts), max(lengths), stride=max(lengths) + 1),)
    box, grids = cropped(sight.processor, sight.size), []
    extra = int(getattr(sight.config, "vision_feature_select_strategy", "") == "full")
    for start, length in sight.runs:
        grids += square_grid(start, length, box) or square_grid(start + extra, length - extra, box)
    return tuple(grids)


def any_resolution(sight: Sight) -> tuple[Grid, ...]:
    """LLaVA-NeXT and LLaVA-OneVision: the whole picture stretched to a square, then all tiles as one large grid.

    The tiles hold the picture with padding on two sides, cut away again by whole cells; a newline token ends each
    row. OneVision shrinks a grid of more cells than ``anyres_max_N`` tiles have. Follows ``pack_image_features``
    of both models in transformers.
    """
    ((start, length),), vision = sight.runs, sight.config.vision_config
    side, (width, height) = vision.image_size // vision.patch_size, sight.size
    canvas_height, canvas_width = select_best_resolution((height, width), sight.config.image_grid_pinpoints)
    rows, columns = side * (canvas_height // vision.image_size), side * (canvas_width // vision.image_size)
    if width / height > columns / rows:
        shown_width, shown_height = canvas_width, min(ceil(height * canvas_width / width), canvas_height)
        cut_rows, cut_columns = (rows - int(round(height * (columns / width), 7))) // 2, 0
    else:
        shown_width, shown_height = min(ceil(width * canvas_height / height), canvas_width), canvas_height
        cut_rows, cut_columns = 0, (columns - int(round(width * (rows / height), 7))) // 2
    left = (cut_columns * canvas_width / columns - (canvas_width - shown_width) // 2) / shown_width
    top = (cut_rows * canvas_height / rows - (canvas_height - shown_height) // 2) / shown_height
    right = left + (columns - 2 * cut_columns) * canvas_width / columns / shown_width
    bottom = top + (rows - 2 * cut_rows) * canvas_height / rows / shown_height
    rows, columns = rows - 2 * cut_rows, columns - 2 * cut_columns
    if most := re.fullmatch(r"anyres_max_(\d+)", getattr(sight.config, "vision_aspect_ratio", "")):
        ratio = sqrt(rows * columns / (int(most[1]) * side**2))
        if ratio > 1.1:
            rows, columns = int(rows // ratio), int(columns // ratio)
    if length != side * side + rows * (columns + 1):
        return ()
    large = Grid(start + side * side, rows, columns, (left, top, right, bottom), columns + 1)
    return (Grid(start, side, side), large)


def merged_patches(sight: Sight) -> tuple[Grid, ...]:
    """Qwen-VL: the picture stretched to a whole number of merged patches, whose number the processor tells."""
    merge, sizes = sight.config.vision_config.spatial_merge_size, sight.inputs["image_grid_thw"].tolist()
    grids = [
        Grid(run[0], rows // merge, columns // merge) for run, (_, rows, columns) in zip(sight.runs, sizes, strict=True)
    ]
    fits = [grid.rows * grid.columns for grid in grids] == [length for _, length in sight.runs]
    return tuple(grids) if fits else ()


def labelled_tiles(sight: Sight) -> tuple[Grid, ...]:
    """Idefics3 and SmolVLM: tiles that the prompt labels ``<row_1_col_2>``, then the whole picture."""
    ids, places, end = sight.inputs["input_ids"][0], [], 0
    for start, length in sight.runs:
        label = re.findall(r"<row_(\d+)_col_(\d+)>", sight.processor.tokenizer.decode(ids[end:start]))
        places.append(tuple(map(int, label[-1])) if label else None)
        end = start + length
    rows = max((p[0] for p in places if p), default=1)
    columns = max((p[1] for p in places if p), default=1)
    grids = []
    for (start, length), place in zip(sight.runs, places, strict=True):
        grids += square_grid(start, length, tile(place[0] - 1, place[1] - 1, rows, columns) if place else WHOLE)
    return tuple(grids)


def tile(row: int, column: int, rows: int, columns: int) -> Box:
    """One of ``rows`` x ``columns`` equal parts of a picture."""
    return (column / columns, row / rows, (column + 1) / columns, (row + 1) / rows)


def tiles_and_thumbnail(sight: Sight) -> tuple[Grid, ...]:
    """InternVL: one run holds the tiles of the stretched picture row by row, then, if several, the whole picture."""
    ((start, length),), parts = sight.runs, sight.inputs["pixel_values"].shape[0]
    pictures, (width, height), each = sight.processor.image_processor, sight.size, length // parts
    boxes = [WHOLE]
    if parts > 1:
        target = dict(pictures.size)
        columns, rows = get_optimal_tiled_canvas(
            (height, width), (target["height"], target["width"]), pictures.min_patches, pictures.max_patches
        )
        boxes = [tile(r, c, rows, columns) for r in range(rows) for c in range(columns)] + boxes
    if len(boxes) != parts:
        return ()
    return tuple(grid for i, box in enumerate(boxes) for grid in square_grid(start + i * each, each, box))


def whole_and_crops(sight: Sight) -> tuple[Grid, ...]:
    """Gemma 3: the whole picture, then, with pan and scan, crops of equal length along its longer side."""
    (width, height), crops = sight.size, len(sight.runs) - 1
    boxes, long = [WHOLE], max(width, height)
    for i in range(crops):
        share = ceil(long / crops) / long
        first, last = i * share, min((i + 1) * share, 1.0)
        boxes.append((first, 0.0, last, 1.0) if width >= height else (0.0, first, 1.0, last))
    found = zip(sight.runs, boxes, strict=True)
    return tuple(grid for (start, length), box in found for grid in square_grid(start, length, box))


# --- prompts without a chat template


@dataclass(frozen=True)
class Plain:
    """A prompt where there is no chat template: the picture, then turns, each on a line of its own."""

    after_picture: str = "\n"

    def prompt(self, turns: Sequence[str], picture: str) -> str:
        """Questions and answers in turn; ``picture`` is the image placeholder, or empty."""
        return (picture + self.after_picture if picture else "") + "\n".join(turns) + "\n"

    def written(self, prompt: str, tokenizer, picture: str) -> str:
        """What the processor makes of a prompt before it expands the image placeholder."""
        return prompt


@dataclass(frozen=True)
class PaliGemmaPlain(Plain):
    """The prefix that PaliGemma was trained on (arXiv 2407.07726): image, start token, text, newline."""

    after_picture: str = ""

    def prompt(self, turns: Sequence[str], picture: str) -> str:
        return picture + "\n".join(turns)

    def written(self, prompt: str, tokenizer, picture: str) -> str:
        text = prompt.removeprefix(picture)
        return prompt[: len(prompt) - len(text)] + tokenizer.bos_token + text + "\n"


# --- the table


@dataclass(frozen=True)
class Family:
    """One family.

    ``positions(model, inputs)`` are those that the model would count itself, ``grids(sight)`` the patch grids of
    a picture; ``unread`` names what the processor returns for training only; ``prefix_types`` tells that the
    model wants ``token_type_ids`` (all 0: it reads the prompt in both directions) even without a picture.
    """

    positions: Callable[..., torch.Tensor] = counted
    grids: Callable[[Sight], tuple[Grid, ...]] = one_square
    plain: Plain = Plain()
    unread: tuple[str, ...] = ()
    prefix_types: bool = False


USUAL = Family()
IN_SPACE = Family(positions=spatial, grids=merged_patches)
FAMILIES = {
    "llava": USUAL,
    "llava_next": Family(grids=any_resolution),
    "llava_onevision": Family(grids=any_resolution),
    "qwen2_5_vl": IN_SPACE,
    "qwen3_vl": IN_SPACE,
    "smolvlm": Family(grids=labelled_tiles),
    "idefics3": Family(grids=labelled_tiles),
    "internvl": Family(grids=tiles_and_thumbnail),
    "gemma3": Family(grids=whole_and_crops),
    "paligemma": Family(positions=counted_from_one, plain=PaliGemmaPlain(), unread=("labels",), prefix_types=True),
}


def family_of(model) -> Family:
    """The adapter of a model: from the table, else the usual one, or Qwen-VL's where positions are spatial too.

    Raises ``ModelError`` for an architecture whose picture is not tokens in the decoder's own sequence, or whose
    positions cannot be told beforehand.
    """
    config = model.config
    if config.model_type in FAMILIES:
        return FAMILIES[config.model_type]
    name = f"A {config.model_type} model"
    if getattr(config, "is_encoder_decoder", False) or getattr(
        config.get_text_config(), "cross_attention_layers", None
    ):
        raise ModelError(
            f"{name} reads its picture through cross-attention, not as tokens beside the text: what is measured here "
            "would not be true of it. Choose a model that does, for example LLaVA, Qwen-VL or SmolVLM."
        )
    count = getattr(model.base_model, "get_rope_index", None)
    if count is None:
        return USUAL
    if set(_SPATIAL) <= set(inspect.signature(count).parameters):
        return IN_SPACE
    raise ModelError(
        f"{name} counts positions in its own way (get_rope_index takes other inputs than {', '.join(_SPATIAL)}): it "
        "needs an entry of its own in models/families.py."
    )
