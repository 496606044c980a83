"""Opens a model's processor for still pictures: tokenizer, chat template and the PIL image processor.

``AutoProcessor`` would do, were it not for two things. Processors that can read videos ask for torchvision even
where there is only a picture; and where torchvision is installed, pictures are resized by it, so that the same
model reads other pixels on another machine.
"""

from pathlib import Path
from types import SimpleNamespace

from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer, PreTrainedModel
from transformers.image_processing_utils import ImageProcessingMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING, processor_class_from_name
from transformers.processing_utils import ProcessorMixin

from models.errors import ModelError
from models.files import plain


def open_processor(source: str | Path, **hub):
    """The processor of a Hub id or a local folder; ``hub`` are ``token``, ``revision``, ``local_files_only`` ...

    Raises ``ModelError`` where a package is missing or the architecture has no processor, ``OSError`` or
    ``ValueError`` (as transformers does) where a file is missing or broken.
    """
    hub["trust_remote_code"] = False
    try:
        return _open(source, _processor_class(source, hub), hub)
    except ImportError as error:
        raise ModelError(
            f"The processor of {Path(source).name} needs a package that is not installed: {plain(error)}."
        ) from error


def _open(source: str | Path, kind: type[ProcessorMixin], hub: dict) -> ProcessorMixin:
    parts = {}
    for part in kind.get_attributes():
        if part == "image_processor":
            parts[part] = AutoImageProcessor.from_pretrained(source, backend="pil", **hub)
        elif part == "tokenizer":
            parts[part] = AutoTokenizer.from_pretrained(source, **hub)
        elif part == "video_processor":
            parts[part] = None
        else:  # speech and others: not read here, but opened as the model's authors do
            return AutoProcessor.from_pretrained(source, **hub)
    settings = {k: v for k, v in kind.get_processor_dict(source, **hub)[0].items() if k not in parts}
    return _for_pictures(kind).from_args_and_dict(list(parts.values()), settings)


def complete(processor: ProcessorMixin, model: PreTrainedModel) -> None:
    """What older LLaVA repositories leave to the model's configuration, for a processor to count a picture's tokens."""
    vision = getattr(model.config, "vision_config", None)
    if getattr(processor, "patch_size", 0) is None and vision is not None:
        processor.patch_size = vision.patch_size
        # a CLIP tower has one token more than patches, a SigLIP tower has not
        processor.num_additional_image_tokens = sum(n.endswith("class_embedding") for n, _ in model.named_parameters())
    if getattr(processor, "vision_feature_select_strategy", "") is None:
        processor.vision_feature_select_strategy = model.config.vision_feature_select_strategy


def _processor_class(source: str | Path, hub: dict) -> type[ProcessorMixin]:
    """The class that the repository names, else the usual one of its architecture."""
    for read in (ProcessorMixin.get_processor_dict, ImageProcessingMixin.get_image_processor_dict):
        try:
            named = read(source, **hub)[0].get("processor_class")
        except OSError:
            continue
        if named and (kind := processor_class_from_name(named)):
            return kind
    config = AutoConfig.from_pretrained(source, **hub)
    if type(config) not in PROCESSOR_MAPPING:
        raise ModelError(
            f"{Path(source).name} is a {config.model_type} model: transformers has no processor for pictures for it."
        )
    return PROCESSOR_MAPPING[type(config)]


def _for_pictures(kind: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """The same class without its video processor."""

    class ForPictures(kind):
        # SmolVLM's chat template asks for these two even where there is no video
        video_processor = SimpleNamespace(num_frames=None, fps=None)

        @classmethod
        def get_attributes(cls):
            return [part for part in kind.get_attributes() if part != "video_processor"]

    ForPictures.__name__ = ForPictures.__qualname__ = kind.__name__
    return ForPictures
