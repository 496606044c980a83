"""Reading a checkpoint from disk, checked before it may change anything.

A LoRA adapter, or all weights of a model; and the fuser of a checkpoint with modular duplex attention.
"""

import copy
import dataclasses
import math
from pathlib import Path, PureWindowsPath

import peft
import torch
from peft import LoraConfig
from peft.tuners.lora.layer import MultiheadAttention
from safetensors import safe_open
from safetensors.torch import load_file

from models import devices, hub
from models.errors import CheckpointError
from models.files import inside, plain, read_json, tensor_shapes, told, weight_files
from models.loading import OPENING, refuse_misfit
from models.manifest import ADAPTER_CONFIG, Checkpoint, Manifest, same_base
from models.moda import FUSER, Moda, Settings, fuser_shape
from models.switchboard import Change, Switchboard

_WEIGHTS, _CONFIG = "adapter_model.safetensors", ADAPTER_CONFIG
_MORE_THAN_LORA = (
    "use_dora", "use_qalora", "use_bdlora", "alora_invocation_tokens", "arrow_config", "velora_config",
    "monteclora_config", "kasa_config", "trainable_token_indices", "target_parameters", "layer_replication",
)  # fmt: skip
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""Initialisations that leave the base as it is; others (PiSSA, OLoRA ...) make adapters to a changed base."""
_PICTURE_A_ROW = ("llava", "gemma3", "paligemma")
"""Families whose vision tower sees one row a picture, so that each row of a batch can have its adapter there too."""
_MERGE = "Merge it into its base (merge_and_unload, save_pretrained) and list that as full weights."


def load_adapters(board: Switchboard, manifest: Manifest, checkpoint: Checkpoint) -> Change:
    """Load a checkpoint's LoRA adapters, and what else was saved with them, into the model.

    Several become one whose change is the sum of theirs. Of whole tensors saved with several, the last one's count:
    each was trained with those before it.
    """
    parts: list[str] = []
    tensors: dict[str, torch.Tensor] = {}
    try:
        for folder in checkpoint.adapters:
            name, saved = _load_adapter(board, manifest, folder)
            parts.append(name)
            tensors |= saved
        name = parts[0] if len(parts) == 1 else _summed(board, checkpoint, parts)
    except BaseException:
        for part in parts:
            board.remove_adapter(part)
        raise
    return Change(name, tensors, not tensors and _in_rows(board, name))


def _summed(board: Switchboard, checkpoint: Checkpoint, parts: list[str]) -> str:
    try:
        return board.sum_adapters(parts)
    except ValueError as error:
        named = ", ".join(map(told, checkpoint.adapters))
        raise CheckpointError(f"{named} cannot be applied together: {plain(error)}.") from error


def _load_adapter(board: Switchboard, manifest: Manifest, folder: Path) -> tuple[str, dict[str, torch.Tensor]]:
    """Load one LoRA adapter into the model: peft's name of it, and the whole tensors that were saved with it.

    An adapter to another base of the same shape is refused where both are Hub ids, as in ``same_base``.
    """
    file, config_file = folder / _WEIGHTS, folder / _CONFIG
    if not folder.is_dir():
        raise CheckpointError(f'{told(folder)} is a file: "adapter" names the folder that peft saved.')
    if not file.is_file():
        raise CheckpointError(
            f"{told(folder)} has no {_WEIGHTS}; other formats are not opened: save it with "
            "save_pretrained(safe_serialization=True)."
        )
    if not config_file.is_file():
        raise CheckpointError(f"{told(folder)} has no {_CONFIG}: copy it from where peft saved it.")
    _stay_inside(manifest.folder, file, config_file)
    settings = read_json(config_file, CheckpointError)
    config = _lora_config(config_file, settings)
    made_for = str(settings.get("base_model_name_or_path") or "another model")
    for model in (manifest.base, board.model.name_or_path):
        same_base(f'{told(config_file)}: field "base_model_name_or_path"', made_for, model)
    made_for = made_for if hub.is_id(made_for) else PureWindowsPath(made_for).name  # splits at / and \ both
    shapes = tensor_shapes(file, CheckpointError)
    ranks = sorted({shape[0] for key, shape in shapes.items() if key.endswith("lora_A.weight") and shape})
    if not config.rank_pattern and ranks and ranks != [config.r]:
        raise CheckpointError(
            f"{told(file)} has rank {', '.join(map(str, ranks))}, but {_CONFIG} says {config.r}: both must come from "
            "the same training."
        )
    weights = load_file(file)
    lora = {key: value for key, value in weights.items() if "lora_" in key}
    _check_numbers(file, weights)
    if not any(value.any() for key, value in lora.items() if "_B" in key):
        raise CheckpointError(
            f"{told(file)} changes nothing: every lora_B is zero or missing, as before training. Save the trained one."
        )
    tensors = _replacements(board, file, {k: v for k, v in weights.items() if k not in lora}, settings)
    try:
        with OPENING:  # an adapter is made of new tensors, in what is the process's default dtype
            name, odd = board.add_adapter(config, lora)
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        if devices.exhausted(error):
            raise
        lines = plain(error).strip().splitlines() or [type(error).__name__]
        why = next((line.strip() for line in lines if "size mismatch" in line), lines[0])
        raise CheckpointError(f"{told(file)} does not fit this model (it was made for {made_for}): {why}") from error
    merged = any(isinstance(layer, MultiheadAttention) for layer in board.holding(name))
    if odd or merged:
        board.remove_adapter(name)
    if odd:
        raise CheckpointError(
            f"{told(file)} was made for another model ({made_for}) or under older names: {len(odd)} weights do not "
            f"match, for example {odd[0]}."
        )
    if merged:
        raise CheckpointError(
            f"{told(file)} adapts MultiheadAttention of torch, which peft rounds at each use. {_MERGE}"
        )
    return name, tensors


def _stay_inside(folder: Path, *files: Path) -> None:
    for file in files:
        if not inside(folder, file):
            raise CheckpointError(f"{told(file)} is a link out of the checkpoint set's folder: put the file there.")


def _lora_config(file: Path, settings: dict) -> LoraConfig:
    """The adapter's settings, without what is loaded another way. Raises ``CheckpointError`` naming the field."""
    kind = settings.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(
            f'{told(file)}: field "peft_type" is {kind!r}: only LORA can be switched and share a batch. {_MERGE}'
        )
    if more := [key for key in _MORE_THAN_LORA if settings.get(key)]:
        raise CheckpointError(f"{told(file)} uses {', '.join(more)}, which is more than plain LoRA. {_MERGE}")
    if settings.get("init_lora_weights", True) not in _PLAIN_STARTS:
        raise CheckpointError(
            f"{told(file)} began with {settings['init_lora_weights']!r}, which changes the base: save it with peft's "
            "path_initial_model_for_weight_conversion."
        )
    for key in ("r", "lora_alpha"):
        value = settings.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise CheckpointError(f'{told(file)}: field "{key}" is missing or is not a positive number.')
    if not isinstance(settings.get("target_modules"), str | list):
        raise CheckpointError(f'{told(file)}: field "target_modules" is missing: it names the layers with LoRA.')
    known = {f.name for f in dataclasses.fields(LoraConfig)}
    if new := [key for key in settings.keys() - known if settings[key]]:
        raise CheckpointError(
            f"{told(file)} has fields unknown to peft {peft.__version__} ({', '.join(sorted(new))}): upgrade peft."
        )
    plain = {
        "init_lora_weights": True, "modules_to_save": None, "bias": "none", "inference_mode": True, "eva_config": None,
    }  # fmt: skip
    try:
        return LoraConfig(**{key: value for key, value in settings.items() if key in known} | plain)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{told(file)} is not a LoRA configuration: {plain(error)}.") from error


def _check_numbers(file: Path, weights: dict[str, torch.Tensor]) -> None:
    for key, value in weights.items():
        if not value.is_floating_point():
            raise CheckpointError(f"{told(file)}: {key} is {value.dtype}, not a floating-point weight.")
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{told(file)}: {key} has numbers that are not finite: its training went wrong.")


def _replacements(board: Switchboard, file: Path, saved: dict, settings: dict) -> dict[str, torch.Tensor]:
    """Whole tensors saved with an adapter (``modules_to_save``, biases, embeddings), under the base's names."""
    tensors = {}
    for key, value in saved.items():
        name = key.removeprefix("base_model.model.")
        for infix in (".base_layer", ".original_module", ".modules_to_save"):
            name = name.replace(infix, "")
        if name not in board.base:
            raise CheckpointError(f"{told(file)}: {key} is no weight of this model: it was made for another one.")
        wanted = board.base[name]
        if value.shape != wanted.shape:
            raise CheckpointError(
                f"{told(file)}: {key} has shape {tuple(value.shape)}, the model's has {tuple(wanted.shape)}: it was "
                "made for another model, or for one with more tokens."
            )
        tensors[name] = value.to(wanted.device, wanted.dtype)
    modules = set(settings.get("modules_to_save") or ())
    lacking = [name for name in board.base if modules & set(name.split(".")) and name not in tensors]
    if lacking:
        raise CheckpointError(f"{told(file)} lacks {lacking[0]}, though {_CONFIG} lists it in modules_to_save.")
    return tensors


def _in_rows(board: Switchboard, name: str) -> bool:
    """Whether all layers of an adapter see one row for each row of the batch."""
    if board.model.config.model_type in _PICTURE_A_ROW:
        return True
    heads = (board.model.get_decoder(), board.model.get_output_embeddings())
    decoder = {module for part in heads if part is not None for module in part.modules()}
    return all(layer in decoder for layer in board.holding(name))


def load_full(board: Switchboard, manifest: Manifest, checkpoint: Checkpoint) -> Change:
    """All weights of a checkpoint, of which those are kept that differ from the base."""
    if getattr(board.model, "is_quantized", False):
        raise CheckpointError(f"{told(checkpoint.weights)}: full weights need a base that is not quantised.")
    if any(tensor.is_meta for tensor in board.base.values()):
        raise CheckpointError(f"{told(checkpoint.weights)}: full weights need a base that fits its GPUs whole.")
    files = weight_files(checkpoint.weights, CheckpointError)
    _stay_inside(manifest.folder, *files)
    saved: dict[str, torch.Tensor] = {}
    for file in files:
        tensor_shapes(file, CheckpointError)
        weights = load_file(file)
        _check_numbers(file, {key: value for key, value in weights.items() if "position_ids" not in key})
        saved |= weights
    try:
        with OPENING:
            other, info = type(board.model).from_pretrained(
                None, config=copy.deepcopy(board.model.config), state_dict=saved, dtype=board.model.dtype,
                output_loading_info=True, ignore_mismatched_sizes=True,
            )  # fmt: skip
        refuse_misfit(info, CheckpointError)
    except (CheckpointError, ValueError, RuntimeError, KeyError, TypeError) as error:
        if devices.exhausted(error):
            raise
        raise CheckpointError(f"{told(checkpoint.weights)} does not fit this model: {plain(error)}.") from error
    tensors, seen = {}, set()
    for key, value in other.state_dict(keep_vars=True).items():
        mine = board.base[key]
        if id(mine) in seen and id(value) not in seen:
            raise CheckpointError(f"{told(checkpoint.weights)} unties {key}, which here is another layer's too.")
        if id(mine) not in seen and mine.is_floating_point():
            whole = value.detach().to(mine.device, mine.dtype)
            if not torch.equal(whole, mine.detach()):
                tensors[key] = whole.clone()  # not a view of the file, which may be replaced
        seen |= {id(mine), id(value)}
    if not tensors:
        raise CheckpointError(f"{told(checkpoint.weights)} is the base itself: not a single weight differs.")
    return Change(None, tensors, batchable=False)


def load_attention(board: Switchboard, manifest: Manifest, checkpoint: Checkpoint) -> Moda:
    """The modular duplex attention that a checkpoint was trained with, on the model's device and in its dtype."""
    file = checkpoint.attention
    if not file.is_file():
        raise CheckpointError(f'{told(file)} is a folder: "attention" names the safetensors file of a fuser.')
    _stay_inside(manifest.folder, file)
    wanted = {FUSER: fuser_shape(board.model.get_decoder().config)}
    found = tensor_shapes(file, CheckpointError)
    if found != wanted:
        raise CheckpointError(
            f"{told(file)} holds {_listed(found)}; the fuser of this model's attention is {_listed(wanted)}: it was "
            "made for another model."
        )
    weights = load_file(file)
    _check_numbers(file, weights)
    with safe_open(file, "pt") as saved:
        settings = saved.metadata() or {}
    try:
        moda = Moda(weights[FUSER].to(board.model.device, board.model.dtype), Settings.parsed(settings))
    except ValueError as error:
        raise CheckpointError(f"{told(file)}: {error}.") from error
    return moda.requires_grad_(False)


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{key} {list(shape)}" for key, shape in sorted(shapes.items())[:4]) or "nothing"


def size(checkpoint: Checkpoint) -> int:
    """Bytes of a checkpoint's safetensors, which is about what it takes beside its base."""
    files = [f for place in checkpoint.places for f in ([place] if place.is_file() else place.glob("*.safetensors"))]
    return sum(file.stat().st_size for file in {file.resolve() for file in files})
