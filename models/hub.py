"""The Hugging Face Hub: which ids are ids, and what can go wrong on the way to a file."""

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from models.errors import ModelError

_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_ID = re.compile(rf"(?!.*(?:--|\.\.)){_NAME}/{_NAME}")


def is_id(text: str) -> bool:
    """Whether ``text`` is written as an id: owner/name, nothing else."""
    return _ID.fullmatch(text) is not None


def public() -> bool:
    """Whether strangers use this server: ``CROSSTALK_PUBLIC=1``, or a Space unless ``CROSSTALK_PUBLIC=0``."""
    return os.environ.get("CROSSTALK_PUBLIC", "1" if os.environ.get("SPACE_ID") else "0") == "1"


def offline() -> bool:
    """Whether the Hub must not be asked: ``HF_HUB_OFFLINE=1``."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def cached(repo: str) -> bool:
    """Whether the configuration of ``repo`` was downloaded before."""
    return isinstance(try_to_load_from_cache(repo, "config.json"), str)


def sets_folder(repo: str) -> Path:
    """Where the checkpoint set ``repo`` is kept: real files, because those of the Hub's cache are links."""
    return Path(constants.HF_HOME) / "crosstalk" / repo.replace("/", "--")


def files_of(repo: str) -> list[str]:
    """Names of all files in ``repo``; none where the Hub does not say."""
    try:
        return HfApi().list_repo_files(repo)
    except Exception:  # only to tell more in a message
        return []


@lru_cache
def parameters_of(repo: str) -> float:
    """How many numbers the safetensors of ``repo`` hold; 0 where the Hub does not say."""
    if offline():
        return 0.0
    try:
        found = HfApi().model_info(repo).safetensors
    except Exception:  # whatever is wrong is told when it is opened
        return 0.0
    return float(found.total) if found else 0.0


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
        raise ModelError(f"{repo} could not be downloaded: {error}") from error
    return Path(found)
