"""The spaces that the room shows, each found again by a small key: methods of the embedded default, visitors' own; and
what all sections share: whose space is shown, by the same controls in each, and pictures of pairs."""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from analysis import kept
from analysis.charts import data_uri
from analysis.embedding_space import runs
from analysis.embedding_space.maps import Cloud
from analysis.embedding_space.measure import Phase, measure
from analysis.embedding_space.pairs import Pairs, drawings, opened
from analysis.embedding_space.result import Space
from analysis.embedding_space.runs import SHOWN
from analysis.form import One
from analysis.kept import Progress, quiet
from analysis.result import Provenance, Result, plain
from analysis.section import Asked
from analysis.table import Table
from models import dual_catalog
from models.checkpoints import BASE
from models.embedded.pictures import STYLES, UNSEEN_STYLE
from models.errors import InputError

if TYPE_CHECKING:
    from analysis.embedding_space.runs import Run
    from models.dual_encoder import DualEncoder

PAPER = ("Mod-X", "https://arxiv.org/abs/2305.07437")
COSTS = "a minute for a style that nobody has measured yet, else a moment"
PLAIN, BESIDE = "plain", "mod-x"
GO = '<button type="button" data-go="embedding_space/{}">{}</button>'
STYLE = One(
    "style", "Drawings in style", folded=True, shared=True, value=UNSEEN_STYLE,
    offered=[(f"{s}{' (never trained on)' if s == UNSEEN_STYLE else ''}", s) for s in reversed(STYLES)],
)
_LINKED = re.compile(r"own-[0-9a-f]{16}")
_MOST, _MOST_OWN = 10, 3  # spaces in memory: those of visitors' thousands of pairs take hundreds of MB
_OWN = "embedding_space-own"  # in ``kept``: what a visitor measured, by the name that her links have for it


@dataclass(frozen=True, eq=False)
class Whole:
    """A space with what it was measured on, how its encoder is opened, its title, and, of a method of the embedded
    default, this training and those of other seeds that were measured on the same pairs."""

    title: str
    space: Space
    pairs: Pairs
    phases: tuple[Phase, ...]
    opened: "Callable[[], AbstractContextManager[DualEncoder]]"
    runs: "tuple[Run, ...]" = ()


@dataclass(frozen=True)
class Key:
    """Which space: a method of the embedded default on drawings of a style, or ``own``, a visitor's."""

    method: str = ""
    style: str = UNSEEN_STYLE
    own: str = ""


@dataclass(frozen=True, kw_only=True)
class Spaces(Result):
    """One space, or two beside each other. The page keeps their keys, not thousands of embeddings; ``asked`` are the
    controls that its sentence depends on, ``clouds`` what is drawn of each space."""

    keys: tuple[Key, ...]
    asked: Mapping = field(default_factory=dict)
    clouds: tuple[tuple[Cloud, ...], ...] = ()

    @property
    def whole(self) -> tuple[Whole, ...]:
        """Raises ``InputError`` where one of a visitor's is no longer there."""
        return tuple(whole(key, quiet) for key in self.keys)

    @property
    def space(self) -> Space:
        """The first of them."""
        return self.whole[0].space

    def table(self) -> Table:
        every = [(of.title, of.space.table()) for of in self.whole]
        return Table(["method", *every[0][1].columns], [[title, *row] for title, table in every for row in table.rows])

    def to_json(self) -> dict:
        return {"asked": plain(dict(self.asked)), "spaces": {of.title: of.space.to_json() for of in self.whole}}


_memory: "OrderedDict[Key, Whole]" = OrderedDict()
_lock = threading.Lock()


def whole(key: Key, progress: Progress | None = None) -> Whole | None:
    """The space that ``key`` stands for; measured, telling ``progress``, where nobody has yet, or None without it.

    Raises ``InputError`` for a visitor's that is no longer there, and what ``runs.recipe`` raises.
    """
    with _lock:
        if key in _memory:
            _memory.move_to_end(key)
            return _memory[key]
    if key.own:
        told = kept.load(_OWN, {"own": key.own})
        if told is None or (told["file"] and not Path(told["file"]).is_file()):
            raise InputError("This space was given up for newer ones. Measure it again.")
        return _remembered(key, _own(told["model"], told["phases"], told["file"], progress or quiet))
    chosen = runs.recipe(key.method)
    space = runs.measured(chosen, key.style, progress) if progress else runs.kept_space(chosen, key.style)
    if space is None:
        return None
    pairs = drawings(key.style)
    trained = runs.of_space(space), *runs.load(chosen, pairs)
    return _remembered(key, Whole(chosen.title, space, pairs, chosen.phases, partial(runs.opened, chosen), trained))


def domains(key: Key) -> tuple[str, ...]:
    """The domains of a space, without measuring it; none of one that is gone."""
    if not key.own:
        return tuple(dict.fromkeys(drawings(key.style).domains)) if runs.recipes() else ()
    with suppress(InputError):
        return whole(key, quiet).space.domain_names
    return ()


def _remembered(key: Key, found: Whole) -> Whole:
    with _lock:
        _memory[key] = found
        for of, most in ((True, _MOST_OWN), (False, _MOST)):
            for old in [k for k in _memory if bool(k.own) == of][:-most]:
                del _memory[old]
    return found


def own_key(model: str, phases: str, file: str | None, progress: Progress = quiet) -> Key:
    """Measure what a visitor asks for: the key finds it again as long as her ``file`` is there.

    ``model`` as in ``dual_catalog.using``, of which ``phases`` is the checkpoint set: for the embedded default one of
    its methods. ``file`` holds her pairs, or is None for the embedded drawings.
    """
    key = Key(own=token_hex(8))
    _remembered(key, _own(model, phases, file, progress))
    # another process, as where a GPU is lent for each call, reads again what this one has measured
    kept.save(_OWN, {"own": key.own}, {"model": model, "phases": phases, "file": file})
    return key


def _own(model: str, phases: str, file: str | None, progress: Progress) -> Whole:
    pairs, shown = (opened(file), None) if file else (drawings(), SHOWN)
    if model.strip() in ("", dual_catalog.EMBEDDED):
        chosen = runs.recipe(phases.strip() or next(iter(runs.recipes()), ""))
        how, steps, method = partial(runs.opened, chosen), chosen.phases, chosen.method
    else:
        how, steps, method = partial(dual_catalog.using, model, phases), None, phases.strip()
    with how() as encoder:
        steps = steps or (Phase.of_set(encoder.phases.manifest) if encoder.phases else (Phase(BASE, "", BASE),))
        space = measure(encoder, pairs, steps, method, shown, progress)
    return Whole(" · ".join(filter(None, (space.provenance.model, method, pairs.name))), space, pairs, steps, how)


def trained(raw: Mapping, beside: bool) -> One:
    """Whose space: a method of the embedded default, or one that the visitor has measured; the same in all sections."""
    alone = {PLAIN: "Plain alone"} if beside else {}
    offered = [(alone.get(name, of.title), name) for name, of in runs.recipes().items()]
    if _LINKED.fullmatch(str(raw.get("trained"))):
        offered.append(("Yours", raw["trained"]))
    return One("trained", "Beside plain" if beside else "Trained by", shared=True, offered=offered,
               value=BESIDE if beside else PLAIN)


def keys_of(values: Mapping, beside: bool = False) -> tuple[Key, ...]:
    method, style = str(values.get("trained") or (BESIDE if beside else PLAIN)), values.get("style") or UNSEEN_STYLE
    if _LINKED.fullmatch(method):
        return (Key(own=method.removeprefix("own-")),)
    return tuple(Key(name, style) for name in ((PLAIN, method) if beside and method != PLAIN else (method,)))


def phase_of(values: Mapping, beside: bool, name: str, label: str, last: bool = True, **settings) -> One:
    """A choice of a phase of the longest training among those shown, at first its ``last``; by their places."""
    longest: Sequence[str] = ()
    for key in keys_of(values, beside):
        with suppress(InputError):  # of a space that is gone: told when it is shown
            found = runs.recipes().get(key.method)
            told = whole(key, quiet).space.phases if key.own else [p.label for p in found.phases] if found else ()
            longest = max(longest, told, key=len)
    offered = [(phase, i) for i, phase in enumerate(longest)]
    return One(name, label, offered=offered, value=len(offered) - 1 if last else None, **settings)


def loaded(
    asked: Asked, progress: Progress | None = None, beside: bool = False, names: Sequence[str] = (), kind: type = Spaces
) -> Spaces | None:
    """The spaces that are asked for, with the controls ``names`` that their sentence depends on, as a ``kind``;
    measured, telling ``progress``, where nobody has yet, or None without it."""
    keys, found = keys_of(asked.values, beside), []
    for i, key in enumerate(keys):
        part = progress and (lambda done, what, i=i: progress((i + done) / len(keys), what))
        found.append(whole(key, part))
    if None in found:
        return None
    by = [of.space.provenance for of in found]
    return kind(
        provenance=noted(by[0], (each.note for each in by)), keys=keys, asked={name: asked[name] for name in names}
    )


def noted(by: Provenance, notes: Iterable[str]) -> Provenance:
    """``by`` with what must be told with any part of what is shown, each once."""
    return replace(by, note=", ".join(dict.fromkeys(filter(None, notes))))


def place_of(whole: Whole, phase: int | None) -> int:
    """``phase`` of the training that has the most; another one's last phase stands beside all later ones, and for
    none."""
    last = len(whole.space.phases) - 1
    return last if phase is None else min(phase, last)


@lru_cache(maxsize=1024)
def uri(key: Key, place: int, side: int = 112) -> str:
    """The picture of the pair at ``place`` among all."""
    return data_uri(whole(key, quiet).pairs.picture(place), side)
