"""Which dual encoders can be opened: the embedded one with its sets of training phases, presets, the researcher's own.

The rules are ``catalog``'s: Hub ids, folders below one of ``CROSSTALK_FOLDERS``, in public mode only what is listed;
and what is opened shares its memory budget.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from models import catalog, hub
from models.errors import CheckpointError, ModelError
from models.files import parameters, weight_files
from models.manifest import MANIFEST

if TYPE_CHECKING:
    from models.dual_encoder import DualEncoder

PRESETS = ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "google/siglip-base-patch16-224")
"""Hub ids that open in public mode too: a CLIP and a SigLIP."""

EMBEDDED = "crosstalk-clip"
_ASSETS = Path(__file__).resolve().parents[1] / "assets" / "embedded"


def listed() -> tuple[str, ...]:
    """What is offered by name, the embedded default first."""
    return (EMBEDDED, *PRESETS)


def sets() -> tuple[str, ...]:
    """The embedded default's sets of training phases, by their folders' names."""
    return tuple(sorted(file.parent.name for file in (_ASSETS / "checkpoints-clip").glob(f"*/{MANIFEST}")))


@contextmanager
def using(name: str = "", phases: str = "") -> Iterator["DualEncoder"]:
    """The dual encoder called ``name`` (default: the embedded one), not given up for another while in here.

    ``name`` may also be the Hub id of a CLIP or SigLIP model, or a folder below one of ``CROSSTALK_FOLDERS``; so may
    ``phases``, its checkpoint set, empty for none: of the embedded default it is one of ``sets()``. Opened where it is
    not open. Raises ``ModelError`` or ``CheckpointError`` with the reason.
    """
    from models import devices
    from models.dual_encoder import DualEncoder

    name, phases = name.strip() or EMBEDDED, phases.strip()
    source, chosen = _model(name), _set(name, phases) if phases else None
    takes = devices.bytes_needed(_counted(source, name), devices.dtype_on(devices.pick()))
    key = f"{source} as a dual encoder, {chosen}"
    with catalog.shelf().using(key, name, takes, lambda: DualEncoder.open(source, name, chosen)) as opened:
        yield opened


def _model(name: str) -> str | Path:
    """Where a model is: a Hub id as a text, or a folder."""
    if name == EMBEDDED:
        return _ASSETS / EMBEDDED
    if name in PRESETS:
        return name
    if hub.public():
        raise ModelError(f"This public server opens listed models only, not {name!r}: {', '.join(listed())}.")
    if found := _own(name):
        return found
    raise ModelError(
        f"There is no dual encoder {name!r}. There are: {', '.join(listed())}. Or give the Hub id (owner/name) of a "
        "CLIP or SigLIP model, or a folder below one of CROSSTALK_FOLDERS."
    )


def _set(name: str, phases: str) -> str | Path:
    """Where a checkpoint set is: a folder, or a Hub id as a text."""
    if name == EMBEDDED and phases in sets():
        return _ASSETS / "checkpoints-clip" / phases
    if hub.public():
        raise CheckpointError("This public server opens no checkpoint sets of others.")
    if found := _own(phases):
        return found
    raise CheckpointError(
        f"There is no checkpoint set {phases!r}. {EMBEDDED} has: {', '.join(sets()) or 'none yet'}. Or give a Hub id, "
        f"or a folder with a {MANIFEST} below one of CROSSTALK_FOLDERS."
    )


def _own(name: str) -> str | Path | None:
    return catalog.allowed_folder(name) or (name if hub.is_id(name) else None)


def _counted(source: str | Path, name: str) -> float:
    """How many numbers the weights hold, 0 where nobody knows before the download."""
    if isinstance(source, str):
        return hub.parameters_of(source)
    try:
        return float(parameters(weight_files(source, ModelError), ModelError))
    except OSError as error:
        raise ModelError(f"{name}: its weights cannot be read ({error.strerror}).") from error
