"""Opening a model's weights: safetensors only, no code from elsewhere, nothing left random.

``from_pretrained`` forgives a lot: weights that are missing stay random, an adapter's folder fetches its base, a
configuration may name code. Here each of these is an error that names the file and the remedy.
"""

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from transformers import AutoModel, AutoModelForImageTextToText, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.processing_utils import ProcessorMixin

from models import devices, hub
from models.errors import ModelError
from models.files import (
    PICKLED,
    folder_at,
    is_file,
    nameless,
    parameters,
    plain,
    read_json,
    shard_names,
    told,
    weight_files,
)
from models.processors import complete, open_processor

_SETTINGS = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
_DEEPER = ("*/*",)  # other formats, original weights: nothing there is read
_PROCESSORS = ("processor_config.json", "preprocessor_config.json")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tokenizer_config.json")


@dataclass(frozen=True)
class Kind:
    """What is to be opened: transformers' class for it, the ``model_type`` it may have, and how messages call it."""

    opener: type
    types: Collection[str]
    told: str


WRITER = Kind(
    AutoModelForImageTextToText,
    frozenset(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES),
    "a model that reads pictures and text to write text",
)
DUAL_ENCODER = Kind(AutoModel, frozenset({"clip", "siglip", "siglip2"}), "a CLIP or SigLIP model")

OPENING = threading.RLock()
"""Held around ``from_pretrained`` of a model, which patches ``tie_weights`` and the default dtype of the process."""


def load(
    source: str | Path,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    quantize: int | None = None,
    what: Kind = WRITER,
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """The model and processor in a local folder or of a Hub id, in evaluation mode, all parameters frozen.

    ``source`` as in ``fetch``; ``device`` and ``dtype`` as in ``devices.pick`` and ``devices.dtype_on``; ``quantize``
    is 4 or 8 bits, or 0 for whole weights (default: what ``CROSSTALK_QUANTIZE`` says). With ``device="auto"`` a model
    that one GPU cannot hold is spread over all.
    Raises ``ModelError`` naming what is missing or wrong, and what to do.
    """
    try:
        where = devices.pick(device)
        kind = devices.dtype_on(where, dtype)
        bits = devices.quantization() if quantize is None else quantize
        settings = {"quantization_config": devices.quantization_config(bits, where, kind)} if bits else {}
        folder = fetch(source, what)
        need = devices.bytes_needed(parameters(weight_files(folder, ModelError), ModelError), kind, bits)
        settings |= devices.placement(where, need, spread=device == "auto")
        processor = _processor(folder)
        model = _model(what, folder, kind, settings, where, need)
        complete(processor, model)
    except ModelError as error:
        named = source if _is_id(source) else Path(source).name or source  # visitors need not know the host's disk
        raise ModelError(f"{named} cannot be opened: {error}") from error
    return model.requires_grad_(False).eval(), processor


def _is_id(source: str | Path) -> bool:
    return isinstance(source, str) and hub.is_id(source)


def fetch(source: str | Path, what: Kind = WRITER) -> Path:
    """The local folder of ``source`` with all that is needed to open it, downloaded where it is a Hub id.

    A text written as owner/name is a Hub id whatever lies in the working directory, for visitors may type one; give a
    folder called so as a ``Path``. The configuration and the list of weights are checked before any weights are
    downloaded. Raises ``ModelError``.
    """
    if not _is_id(source):
        if path := folder_at(source):
            check_config(path, what)
            weight_files(path, ModelError)
            return path
        if is_file(source):
            raise ModelError("it is a file: give the folder that holds config.json and the weights.")
        raise ModelError("it is neither a folder nor a Hub id such as owner/name.")
    folder = hub.download(str(source), _SETTINGS, _DEEPER)
    check_config(folder, what)
    index = folder / "model.safetensors.index.json"
    # checked first, because the Hub's client takes what is listed for patterns
    shards = shard_names(index, ModelError) if index.is_file() else ["model.safetensors"]
    folder = hub.download(str(source), shards, _DEEPER, revision=folder.name)
    if not any((folder / shard).is_file() for shard in shards):
        pickled = [name for name in hub.files_of(str(source)) if name.endswith(PICKLED)]
        if pickled:
            raise ModelError(
                f"it has pickled weights only ({', '.join(pickled[:3])}), which can run code when opened. Look for a "
                "conversion to safetensors, such as its pull request refs/pr/1."
            )
    weight_files(folder, ModelError)
    return folder


def check_config(folder: Path, what: Kind = WRITER) -> None:
    """Raises ``ModelError`` where ``config.json`` is not that of the ``what`` asked for, or would have code fetched
    from elsewhere.
    """
    file = folder / "config.json"
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder.name} is an adapter, not a model: open its base, and list the adapter in a checkpoints.json."
        )
    if not file.is_file():
        raise ModelError(f"{folder.name} has no config.json: give the folder that save_pretrained wrote.")
    config = read_json(file, ModelError)
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise ModelError(f'{told(file)}: field "model_type" is missing or is not a text.')
    if kind not in what.types:
        if config.get("auto_map"):
            raise ModelError(
                f"{told(file)} wants to run code of its own (auto_map), which is never done here: use a conversion to "
                "transformers, often called -hf."
            )
        if kind not in CONFIG_MAPPING_NAMES:
            raise ModelError(
                f'{told(file)}: transformers {transformers.__version__} knows no model_type "{kind}": is it spelled '
                "right, or newer than this version?"
            )
        names = config.get("architectures") or [kind]
        raise ModelError(f"it is {', '.join(map(str, names))}, not {what.told}.")
    if config.get("transformers_weights"):
        raise ModelError(f'{told(file)}: field "transformers_weights" is not followed: call them model.safetensors.')
    if any("/" in str(name) for name in _found(config, ("attn_implementation", "_attn_implementation"))):
        raise ModelError(f"{told(file)} wants an attention kernel fetched from the Hub: remove attn_implementation.")


def _found(value, keys: tuple[str, ...]) -> Iterable:
    """Values under ``keys`` anywhere in a JSON value."""
    if isinstance(value, dict):
        yield from (v for k, v in value.items() if k in keys)
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _found(part, keys)


def _processor(folder: Path) -> ProcessorMixin:
    for what, names in (("picture processor", _PROCESSORS), ("tokenizer", _TOKENIZERS)):
        if not any((folder / name).is_file() for name in names):
            raise ModelError(
                f"{folder.name} has no {what} ({' or '.join(names[:2])}): save it there with "
                "processor.save_pretrained, or copy these files from the base model."
            )
    for name in (*_PROCESSORS, "tokenizer.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            read_json(folder / name, ModelError)
    try:
        processor = open_processor(folder, local_files_only=True)
    except ModelError:
        raise
    except Exception as error:  # files of others fail in as many ways as there are processors
        raise ModelError(f"its processor or tokenizer cannot be read: {_first(error, folder)}") from error
    if not getattr(processor, "tokenizer", None) or not getattr(processor, "image_processor", None):
        raise ModelError(f"{type(processor).__name__} does not read both pictures and text.")
    return processor


def _model(
    what: Kind, folder: Path, dtype: torch.dtype, settings: dict, device: torch.device, need: float
) -> PreTrainedModel:
    try:
        with OPENING:
            model, info = what.opener.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True,
                output_loading_info=True, ignore_mismatched_sizes=True, **settings,
            )  # fmt: skip
        refuse_misfit(info, ModelError)
        return model if "device_map" in settings else model.to(device)
    except ModelError:
        raise
    except Exception as error:  # a configuration can be wrong in as many ways as there are models
        if not devices.exhausted(error):
            raise ModelError(f"its configuration and weights cannot be read: {_first(error, folder)}") from error
    # out of the handler, whose error holds what was read so far
    model = None
    raise ModelError(devices.shortage(device, need))


def _first(error: BaseException, folder: Path) -> str:
    lines = plain(error, folder).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def refuse_misfit(info: dict, error: type[Exception]) -> None:
    """Raises ``error`` where transformers' loading information tells of weights missing, unknown or of other shape."""
    problems = []
    if wrong := sorted(info["mismatched_keys"]):
        name, held, wanted = wrong[0]
        problems.append(
            f"{len(wrong)} weights have another shape than config.json says, for example {name}: "
            f"{tuple(held)} instead of {tuple(wanted)}"
        )
    for key, what in (("missing_keys", "missing"), ("unexpected_keys", "unknown to this model")):
        if names := sorted(info[key]):
            problems.append(f"{len(names)} weights are {what}, for example {names[0]}")
    problems += [nameless(str(message)) for message in info["error_msgs"]]
    if problems:
        raise error(f"{'; '.join(problems)}. Weights and config.json must come from the same model.")
