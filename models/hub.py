"""The Hugging Face Hub: which ids are ids, and what can go wrong on the way to a file."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from models import settings
from models.errors import ModelError
from models.files import parameters, plain, weight_files

_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_ID = re.compile(rf"(?!.*(?:--|\.\.)){_NAME}/{_NAME}")


def is_id(text: str) -> bool:
    """Whether ``text`` is written as an id: owner/name, nothing else."""
    return _ID.fullmatch(text) is not None


def public() -> bool:
    """Whether strangers use this server: as ``CROSSTALK_PUBLIC`` says, else on a Space."""
    return settings.PUBLIC.now()


def offline() -> bool:
    """Whether the Hub must not be asked: ``HF_HUB_OFFLINE=1``."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def cached(repo: str) -> bool:
    """Whether the configuration of ``repo`` was downloaded before."""
    return snapshot(repo) is not None


def snapshot(repo: str) -> Path | None:
    """The folder of the Hub's cache that ``repo`` was downloaded to; None where it was not."""
    found = try_to_load_from_cache(repo, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def id_of(folder: str | Path) -> str | None:
    """The id of the repository that ``folder`` of the Hub's cache is a copy of, or of an id; None for others."""
    if is_id(str(folder)):
        return str(folder)
    kept = [part for part in Path(folder).parts if part.startswith("models--")]
    found = kept[-1].removeprefix("models--").replace("--", "/") if kept else ""
    return found if is_id(found) else None


def sets_folder(repo: str) -> Path:
    """Where the checkpoint set ``repo`` is kept: real files, because those of the Hub's cache are links."""
    return Path(constants.HF_HOME) / "crosstalk" / repo.replace("/", "--")


def files_of(repo: str) -> list[str]:
    """Names of all files in ``repo``; none where the Hub does not say."""
    try:
        return HfApi().list_repo_files(repo)
    except Exception:  # only to tell more in a message
        return []


_counted: dict[str, float] = {}


def parameters_of(repo: str) -> float:
    """How many numbers the safetensors of ``repo`` hold, here or on the Hub; 0 where neither says: ask again then."""
    if found := _counted.get(repo):
        return found
    total = 0.0
    try:
        if folder := snapshot(repo):
            total = float(parameters(weight_files(folder, ModelError), ModelError))
    except (ModelError, OSError):  # only its settings are here, or a part of its weights
        total = 0.0
    try:
        if not total and not offline() and (told := HfApi().model_info(repo, timeout=5).safetensors):
            total = float(told.total)
    except Exception:  # whatever is wrong is told when it is opened
        return 0.0
    if total:
        _counted[repo] = total
    return total


def download(
    repo: str,
    patterns: Sequence[str],
    ignore: Sequence[str] = (),
    revision: str | None = None,
    folder: Path | None = None,
) -> Path:
    """The folder with those files of ``repo`` that match ``patterns``: ``folder``, or one in the Hub's cache.

    Raises ``ModelError`` saying what is wrong with the id, the licence, the connection or the disk.
    """
    if not is_id(repo):
        raise ModelError(f"{repo!r} is not a Hub id such as owner/name.")
    try:
        found = snapshot_download(
            repo, allow_patterns=list(patterns), ignore_patterns=list(ignore), revision=revision, local_dir=folder
        )
    except GatedRepoError as error:
        raise ModelError(
            f"{repo} is gated: accept its licence at https://huggingface.co/{repo} and set HF_TOKEN to your token."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no {repo} on the Hub, or it is private: check the spelling, or set HF_TOKEN."
        ) from error
    except LocalEntryNotFoundError as error:
        why = "HF_HUB_OFFLINE=1 is set" if offline() else "the Hub cannot be reached"
        raise ModelError(f"{repo} was not downloaded before, and {why}.") from error
    except Exception as error:  # a network has many ways to fail, and none may take the page down
        raise ModelError(f"{repo} could not be downloaded: {plain(error)}.") from error
    return Path(found)
