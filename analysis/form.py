"""Controls of a section: what they offer, how they look, and how what a visitor chose is read.

All controls of a section are one piece of HTML. The browser keeps what was chosen (``assets/page.js``) and hands it
over as plain JSON; here it is read against what is offered: nothing that is not on offer reaches a measurement.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from html import escape

DRAW, RUN = "draw", "run"
"""What a change of a control does at once: draw the same result anew, or measure anew; ``""`` waits for the button."""


@dataclass(frozen=True)
class Control:
    """``name`` in links, ``label`` for people, first ``value``; ``info`` is a hint below the label.

    ``at``: one of ``DRAW``, ``RUN`` or ``""``. ``folded`` stands under *Further controls*. ``shared``: sections of the
    page with a control of this name keep one choice. ``hidden``: set by clicks on views alone.
    """

    name: str
    label: str = ""
    _: KW_ONLY
    info: str = ""
    at: str = ""
    folded: bool = False
    shared: bool = False
    hidden: bool = False

    def read(self, raw):
        """The value that ``raw`` (JSON) stands for; None where it is none that is on offer."""
        raise NotImplementedError

    def html(self, value) -> str:
        """The control with ``value`` chosen."""
        raise NotImplementedError

    @property
    def first(self):
        """The value that a page starts with."""
        raise NotImplementedError

    def _labelled(self, inner: str, group: bool = False) -> str:
        about = f"<small>{escape(self.info)}</small>" if self.info else ""
        shared = " data-shared" if self.shared else ""
        named = f'class="field" data-name="{escape(self.name)}" data-at="{self.at}"{shared}'
        if group:
            return f"<fieldset {named}><legend>{escape(self.label)}{about}</legend>{inner}</fieldset>"
        return f"<label {named}><span>{escape(self.label)}{about}</span>{inner}</label>"


def _options(offered: Sequence) -> list[tuple[str, object]]:
    return [o if isinstance(o, tuple) else (str(o), o) for o in offered]


@dataclass(frozen=True)
class One(Control):
    """One of ``offered``: values, or (text, value). A menu, or buttons beside each other where ``radio``; with ``play``
    a button before them chooses one after another.
    """

    offered: Sequence = ()
    value: object = None
    _: KW_ONLY
    radio: bool = False
    play: bool = False

    @property
    def first(self):
        values = [v for _, v in _options(self.offered)]
        return self.value if self.value in values else values[0] if values else None

    def read(self, raw):
        return {str(v): v for _, v in _options(self.offered)}.get(str(raw))

    def html(self, value) -> str:
        if self.radio:
            inner = "".join(
                f'<label><input type="radio" name="{escape(self.name)}" value="{escape(str(v))}"'
                f"{' checked' if v == value else ''}><span>{escape(text)}</span></label>"
                for text, v in _options(self.offered)
            )
            play = '<button type="button" data-play aria-label="Play, or stop">▶</button>' if self.play else ""
            return self._labelled(f'<div class="chips">{play}{inner}</div>', group=True)
        inner = "".join(
            f'<option value="{escape(str(v))}"{" selected" if v == value else ""}>{escape(text)}</option>'
            for text, v in _options(self.offered)
        )
        return self._labelled(f'<select name="{escape(self.name)}">{inner}</select>')


@dataclass(frozen=True)
class Several(Control):
    """Any of ``offered``, at most ``most``, as chips; the value is a tuple in the order of ``offered``."""

    offered: Sequence = ()
    value: Sequence = ()
    most: int | None = None

    @property
    def first(self):
        return tuple(v for _, v in _options(self.offered) if v in self.value)

    def read(self, raw):
        wanted = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(wanted, list | tuple):
            return None
        wanted, offered = [str(w) for w in wanted if str(w)], _options(self.offered)
        known = {str(v) for _, v in offered}
        if not set(wanted) <= known or len(set(wanted)) > (self.most or len(known)):
            return None
        return tuple(v for _, v in offered if str(v) in wanted)

    def html(self, value) -> str:
        inner = "".join(
            f'<label><input type="checkbox" name="{escape(self.name)}" value="{escape(str(v))}"'
            f"{' checked' if v in value else ''}><span>{escape(text)}</span></label>"
            for text, v in _options(self.offered)
        )
        most = f' data-most="{self.most}"' if self.most else ""
        return self._labelled(f'<div class="chips"{most}>{inner}</div>', group=True)


@dataclass(frozen=True)
class Number(Control):
    """A number from ``low`` to ``high`` in steps, as a slider; whole where ``step`` is. ``unit`` stands behind it."""

    low: float = 0
    high: float = 1
    value: float = 0
    step: float = 1
    unit: str = ""

    @property
    def first(self):
        return self.value

    def read(self, raw):
        if isinstance(raw, bool):
            return None
        try:
            value = float(raw)
        except (TypeError, ValueError, OverflowError):
            return None
        if not (math.isfinite(value) and self.low <= value <= self.high):
            return None
        value = min(self.low + round((value - self.low) / self.step) * self.step, self.high)
        return int(round(value)) if isinstance(self.step, int) else round(value, 10)

    def html(self, value) -> str:
        unit = f" {escape(self.unit)}" if self.unit else ""
        return self._labelled(
            f'<span class="range"><input type="range" name="{escape(self.name)}" min="{self.low:g}" '
            f'max="{self.high:g}" step="{self.step:g}" value="{value:g}">'
            f'<output data-unit="{unit}">{value:g}{unit}</output></span>'
        )


@dataclass(frozen=True)
class Words(Control):
    """A line of text of at most ``most`` letters; Enter presses the section's button.

    ``passing``: it is said of one picture and question, and emptied as soon as another stands on the left.
    """

    value: str = ""
    hint: str = ""
    most: int = 1000
    passing: bool = False

    @property
    def first(self):
        return self.value

    def read(self, raw):
        return raw[: self.most] if isinstance(raw, str) else None

    def html(self, value) -> str:
        kind, passing = "hidden" if self.hidden else "text", " data-passing" if self.passing else ""
        inner = (
            f'<input type="{kind}" name="{escape(self.name)}" value="{escape(value)}" maxlength="{self.most}"{passing} '
            f'placeholder="{escape(self.hint)}" autocomplete="off">'
        )
        if self.hidden:
            shared = " data-shared" if self.shared else ""
            return f'<span data-name="{escape(self.name)}" data-at="{self.at}"{shared}>{inner}</span>'
        return self._labelled(inner)


@dataclass(frozen=True)
class Switch(Control):
    """On or off."""

    value: bool = False

    @property
    def first(self):
        return self.value

    def read(self, raw):
        return {"true": True, "false": False}.get(str(raw).lower())

    def html(self, value) -> str:
        return self._labelled(
            f'<span class="chips"><input type="checkbox" name="{escape(self.name)}" data-switch'
            f"{' checked' if value else ''}></span>"
        )


def pick(raw, count: int) -> int | None:
    """The place (from 0) that a click names, of ``count``; None for anything else. The one parser of clicked places."""
    text = str(raw)
    place = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else count
    return place if place < count else None


def values(controls: Sequence[Control], raw) -> dict:
    """What was chosen, by name; what is missing or not on offer is the control's first value."""
    raw = raw if isinstance(raw, Mapping) else {}
    found = {}
    for control in controls:
        value = control.read(raw[control.name]) if control.name in raw else None
        found[control.name] = control.first if value is None else value
    return found


def astray(controls: Sequence[Control], raw) -> list[str]:
    """The labels of controls for which ``raw`` holds a value that is not on offer."""
    raw = raw if isinstance(raw, Mapping) else {}
    return [c.label or c.name for c in controls if c.name in raw and c.read(raw[c.name]) is None]


def written(controls: Sequence[Control], values: Mapping | None = None) -> str:
    """The ``values`` (by default the first ones) as the browser compares them, JSON by name."""
    told = {c.name: _text(c.first if values is None else values.get(c.name, c.first)) for c in controls}
    return json.dumps(told, ensure_ascii=False)


def _text(value) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)
