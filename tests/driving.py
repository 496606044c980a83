"""Drives a section as the browser does: through the events of the built page."""

import base64
import inspect
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr
import numpy as np
import plotly.graph_objects as go

from analysis import form, section
from analysis.bar import examples
from analysis.section import Asked, Section, Shown

_SKIP = gr.skip()


@dataclass
class Driven:
    """A section of the page ``demo`` at ``place`` ("room/section"), and what a visitor sees of it.

    ``seen`` maps "form", "progress", "told", the names of the open views and "foot" to what they hold (a Plotly figure;
    None where it is hidden; of a fold, whether it is there); ``shown`` is the state.
    """

    demo: gr.Blocks
    place: str
    model: str = "crosstalk-mini"
    checkpoint: str = "base"
    seen: dict = field(default_factory=dict)
    shown: Shown | None = None
    upload: str | None = None  # what is in the section's upload field, if it has one

    def __post_init__(self):
        self.built = next(b for b in section.built(self.demo) if b.place == self.place)
        self.ident = self.place.replace("/", "-")
        self.form = next(c for c in self.demo.blocks.values() if getattr(c, "elem_id", "") == f"{self.ident}-form")

    def open(self, example: str = "", question: str = "", path: str | None = None, **values) -> "Driven":
        """The section comes into view."""
        return self._did("select", example, question, path, {"values": values, "opened": True})

    def press(self, example: str = "", question: str = "", path: str | None = None, **values) -> "Driven":
        """Its button is pressed."""
        return self._did("submit", example, question, path, {"values": values, "pressed": True})

    def start(self, example: str = "", question: str = "", path: str | None = None, **values) -> "Driven":
        """It runs though nobody pressed its button: Ask on the left, a Try, a control that measures anew."""
        return self._did("submit", example, question, path, {"values": values})

    def change(self, name: str, example: str = "", question: str = "", path: str | None = None, **values) -> "Driven":
        """A control is changed; ``values`` are those of all controls that are not at their first value."""
        return self._did("input", example, question, path, {"values": values, "changed": [name]})

    def _did(self, event: str, example: str, question: str, path: str | None, data: dict) -> "Driven":
        known = examples()[example].known if example else None
        if known and not path and (picture := known.picture()):
            path = _kept(picture, example)
        question = question or (known.turns[0].question if known else "")
        called = next(f for f in self.demo.fns.values() if (self.form._id, event) in f.targets)
        names = [self._name(part) for part in called.outputs]
        given = (self.model, self.checkpoint, path, question, {"example": example}, self.shown, data)
        uploaded = [self.upload] if self.built.section.upload else []
        found = called.fn(*given, *uploaded)
        for row in found if inspect.isgenerator(found) else [found]:
            for name, value in zip(names, row, strict=True):
                if value == _SKIP:
                    continue
                if name == "state":
                    self.shown = value
                else:
                    self.seen[name] = _value(value)
        return self

    def _name(self, part) -> str:
        return "state" if isinstance(part, gr.State) else part.elem_id.removeprefix(f"{self.ident}-")


def asked(of: Section, model: str = "crosstalk-mini", checkpoint: str = "base", **given) -> Asked:
    """What ``of.measure`` takes: fields of ``Asked`` as they are called, every other name a value of a control."""
    fields = {"path": None, "question": "", "known": None, "shown": None, "upload": None}
    told = {name: given.pop(name, value) for name, value in fields.items()}
    values = form.values(of.offered(given, told["shown"]), given)
    return Asked(model, checkpoint, values=values, **told)


def _value(value):
    if isinstance(value, gr.Plot):
        return go.Figure(json.loads(value.value["plot"], object_hook=_array)) if value.visible else None
    if isinstance(value, gr.Accordion):
        return value.visible
    return None if isinstance(value, dict) and value.get("visible") is False else value


def _array(found: dict):
    """A dictionary of JSON; where Plotly has written an array so, that as a list."""
    if "bdata" not in found:
        return found
    flat = np.frombuffer(base64.b64decode(found["bdata"]), dtype=found["dtype"])
    return flat.reshape([int(n) for n in str(found.get("shape", len(flat))).split(",")]).tolist()


def _kept(picture, name: str) -> str:
    file = Path(tempfile.mkdtemp()) / f"{name}.png"
    picture.save(file)
    return str(file)
