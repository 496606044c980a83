"""Links that restore how rooms are set: a kept setting stands in the page's address while it is not the first one."""

import json
import math
from collections.abc import Mapping

import gradio as gr
from gradio.components import Component
from gradio.context import Context

from analysis.page import noted

_KEPT, _AGAIN = "settings", "redrawn"


def keep(*, again: dict | None = None, **settings: Component) -> None:
    """Keep each setting in the address under its name, of the page that is being built.

    ``again`` are the arguments of an event that draws what depends on the settings, where their change does not.
    Raises ``ValueError`` for a name that is taken.
    """
    kept = noted(Context.root_block, _KEPT)
    if again:
        noted(Context.root_block, _AGAIN).append(again)
    for name, component in settings.items():
        if name in dict(kept):
            raise ValueError(f"there are two settings called {name!r}")
        kept.append((name, component))
        first = json.dumps(_written(component.value))
        component.change(
            None, component, js=f"value => crosstalk.setting('{name}', value, {first})", api_visibility="private"
        )


def kept(demo: gr.Blocks) -> list[Component]:
    """What is kept of a page, in the order of ``restored``."""
    return [component for _, component in noted(demo, _KEPT)]


def again(demo: gr.Blocks) -> list[dict]:
    """The events that follow ``restored``."""
    return list(noted(demo, _AGAIN))


def restored(demo: gr.Blocks, query: Mapping[str, str]) -> list:
    """For each of ``kept`` the value that an address asks for; what it does not name, or does not offer, stays."""
    found = [_read(part, query[name]) if name in query else None for name, part in noted(demo, _KEPT)]
    return [gr.skip() if value is None else value for value in found]


def _written(value) -> str:
    """As JavaScript's ``String`` writes it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _read(component: Component, text: str):
    """The value of a component that ``text`` stands for, None where it offers no such value."""
    if isinstance(component, gr.Checkbox):
        return {"true": True, "false": False}.get(text)
    if isinstance(component, gr.Slider):
        return _number(text, component.minimum, component.maximum, component.step)
    if isinstance(component, gr.Textbox):
        return text[: component.max_length]
    offered = {str(value): value for _, value in component.choices}
    if isinstance(component, gr.CheckboxGroup) or getattr(component, "multiselect", False):
        names = list(dict.fromkeys(text.split(","))) if text else []
        most = getattr(component, "max_choices", None) or len(offered)
        return [offered[name] for name in names] if set(names) <= offered.keys() and len(names) <= most else None
    return offered.get(text)


def _number(text: str, low: float, high: float, step: float | None) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    if not (math.isfinite(value) and low <= value <= high):
        return None
    if step:
        value = min(low + round((value - low) / step) * step, high)
    return int(value) if float(value).is_integer() else value
