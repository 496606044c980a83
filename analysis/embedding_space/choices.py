"""What the sections of the room share: whose space is shown, by the same controls in each, and pictures of pairs."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

from analysis.charts import data_uri
from analysis.embedding_space import recipes, spaces
from analysis.embedding_space.spaces import Key, Spaces, Whole
from analysis.form import One
from analysis.kept import quiet
from analysis.section import Asked
from models.embedded.pictures import STYLES, UNSEEN_STYLE
from models.errors import InputError

PAPER = ("Mod-X", "https://arxiv.org/abs/2305.07437")
COSTS = "a minute for a style that nobody has measured yet, else a moment"
PLAIN, BESIDE = "plain", "mod-x"
GO = '<button type="button" data-go="embedding_space/{}">{}</button>'
STYLE = One(
    "style", "Drawings in style", folded=True, shared=True, value=UNSEEN_STYLE,
    offered=[(f"{s}{' (never trained on)' if s == UNSEEN_STYLE else ''}", s) for s in reversed(STYLES)],
)
_OWN = re.compile(r"own-[0-9a-f]{16}")


def trained(raw: Mapping, beside: bool) -> One:
    """Whose space: a method of the embedded default, or one that the visitor has measured; the same in all sections."""
    alone = {PLAIN: "Plain alone"} if beside else {}
    offered = [(alone.get(name, of.title), name) for name, of in recipes.recipes().items()]
    if _OWN.fullmatch(str(raw.get("trained"))):
        offered.append(("Yours", raw["trained"]))
    return One("trained", "Beside plain" if beside else "Trained by", shared=True, offered=offered,
               value=BESIDE if beside else PLAIN)


def keys_of(values: Mapping, beside: bool = False) -> tuple[Key, ...]:
    method, style = str(values.get("trained") or (BESIDE if beside else PLAIN)), values.get("style") or UNSEEN_STYLE
    if _OWN.fullmatch(method):
        return (Key(own=method.removeprefix("own-")),)
    return tuple(Key(name, style) for name in ((PLAIN, method) if beside and method != PLAIN else (method,)))


def phases_of(values: Mapping, beside: bool = False) -> list[tuple[str, int]]:
    """The phases of the longest training among those shown, with their places."""
    longest: Sequence[str] = ()
    for key in keys_of(values, beside):
        with suppress(InputError):  # of a space that is gone: told when it is shown
            told = spaces.whole(key, quiet).space.phases if key.own else _labels(key.method)
            longest = max(longest, told, key=len)
    return [(label, i) for i, label in enumerate(longest)]


def _labels(method: str) -> tuple[str, ...]:
    return tuple(phase.label for phase in of.phases) if (of := recipes.recipes().get(method)) else ()


def loaded(asked: Asked, progress=None, beside: bool = False, names: Sequence[str] = ()) -> Spaces | None:
    """The spaces that are asked for, with the controls that their sentence depends on; None where ``progress`` is None
    and they were not measured yet."""
    return spaces.load(keys_of(asked.values, beside), {name: asked[name] for name in names}, progress)


def place_of(whole: Whole, phase: int | None) -> int:
    """``phase`` of the training that has the most; another one's last phase stands beside all later ones, and for
    none."""
    last = len(whole.space.phases) - 1
    return last if phase is None else min(phase, last)


@lru_cache(maxsize=1024)
def uri(key: Key, place: int, side: int = 112) -> str:
    """The picture of the pair at ``place`` among all."""
    return data_uri(spaces.whole(key, quiet).pairs.picture(place), side)
