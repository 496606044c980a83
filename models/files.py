"""Reading what somebody else wrote to disk: JSON, safetensors headers, and paths that must not lead out."""

import json
import re
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".distcp")
_MAX_JSON = 100_000_000  # bytes; the tokenizer of a large vocabulary takes 35 MB


def told(path: Path) -> str:
    """How a file is named in a message: with its folder, without the host's disk above it."""
    return f"{path.parent.name}/{path.name}"


_PLACE = re.compile(r"(?<![\w/:.])~?/(?:[^\s'\"/:]+/)*(?=[^\s'\"/:])")


def nameless(text: str, folder: Path | None = None) -> str:
    """``text`` with every absolute path in it, and what lies above ``folder``, cut to its last name."""
    if folder is not None and folder.is_absolute():
        text = text.replace(f"{folder.parent}/", "")  # it may have spaces, at which the pattern ends
    return _PLACE.sub("", text)


def plain(cause: BaseException, folder: Path | None = None) -> str:
    """What an error of a library says, fit for visitors: no file of the host is named by its place."""
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return nameless(text, folder).rstrip(".")


def folder_at(text: str | Path) -> Path | None:
    """The folder that ``text`` leads to, ``~`` expanded; None for all else, however odd the text is."""
    try:
        path = Path(text).expanduser()
        return path if path.is_dir() else None
    except (OSError, ValueError, RuntimeError):  # too long, a zero in it, no such user
        return None


def is_file(text: str | Path) -> bool:
    """Whether ``text`` leads to a file, ``~`` expanded; False for all else, however odd the text is."""
    try:
        return Path(text).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def parsed(line: str):
    """What a line of JSON holds.

    Raises ``ValueError`` for what is none, what is nested too deeply, and texts that are no valid Unicode (half of a
    pair of surrogates, which JSON can spell).
    """
    try:
        found = json.loads(line)
        json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("half of a pair of surrogates is no valid Unicode") from None
    return found


def lines_of(file: Path, error: type[Exception]) -> list[str]:
    """The lines of a text in UTF-8, with or without a mark of that; a line ends where a file says so, not at what ends
    one within a text (U+2028). Raises ``error`` where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"{told(file)} cannot be read as text: {plain(cause)}.") from cause


def read_json(file: Path, error: type[Exception]) -> dict:
    """The object in ``file``. Raises ``error`` where it cannot be read or holds anything else."""
    try:
        if file.stat().st_size > _MAX_JSON:
            raise error(f"{told(file)} is larger than {_MAX_JSON // 1_000_000} MB.")
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as cause:
        raise error(f"{told(file)} is not readable JSON: {plain(cause)}.") from cause
    if not isinstance(data, dict):
        raise error(f"{told(file)} is not a JSON object with fields.")
    return data


def tensor_shapes(file: Path, error: type[Exception]) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a safetensors file, from its header alone.

    Raises ``error`` for a file that is missing, cut off or of another format.
    """
    try:
        with safe_open(file, "np") as saved:
            return {name: tuple(saved.get_slice(name).get_shape()) for name in saved.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as cause:
        raise error(
            f"{told(file)} is not a whole safetensors file ({plain(cause)}): copy or download it again."
        ) from cause


def parameters(files: list[Path], error: type[Exception]) -> int:
    """How many numbers the safetensors ``files`` hold together."""
    return sum(prod(shape) for file in files for shape in tensor_shapes(file, error).values())


def weight_files(path: Path, error: type[Exception]) -> list[Path]:
    """The safetensors files of a model: ``path`` itself, or those of a folder, listed by its index where it has one.

    Raises ``error`` where they are missing, or where there are only pickled ones, which can run code when opened.
    """
    if path.is_file():
        return [path]
    pickled = sorted(f.name for f in path.iterdir() if f.suffix in PICKLED or f.name == ".metadata")
    if ".metadata" in pickled:
        raise error(f"{path.name} is a distributed checkpoint with a pickled .metadata: save it with save_pretrained.")
    single, index = path / "model.safetensors", path / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        if pickled:
            raise error(
                f"{path.name} has pickled weights only ({', '.join(pickled[:3])}), which can run code when opened: "
                "convert them with save_pretrained(safe_serialization=True)."
            )
        raise error(f"{path.name} has no weights: neither model.safetensors nor {index.name}.")
    names = shard_names(index, error)
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        raise error(f"{told(index)} names {', '.join(missing)}, not in the folder: {len(missing)} of {len(names)}.")
    return [path / name for name in names]


def shard_names(index: Path, error: type[Exception]) -> list[str]:
    """The files that an index lists, each a plain name beside it and no pattern. Raises ``error`` for all else."""
    listed = read_json(index, error).get("weight_map")
    if not isinstance(listed, dict) or not listed or not all(isinstance(n, str) for n in listed.values()):
        raise error(f'{told(index)}: field "weight_map" is missing or does not name a file for each weight.')
    names = sorted(set(listed.values()))
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors") or set(name) & set("*?[]\\\0"):
            raise error(f"{told(index)} names {nameless(name)!r}, which is not a safetensors file beside it.")
    return names


def inside(folder: Path, path: Path) -> bool:
    """Whether ``path`` lies in ``folder`` when every link on the way is followed; not where that leads nowhere."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a name too long, a loop of links
        return False
