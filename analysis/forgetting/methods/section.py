"""Methods and order: the section of the room that compares methods of continual learning."""

import contextlib
from collections.abc import Mapping

from analysis.forgetting import sets
from analysis.forgetting.methods import about, figure
from analysis.forgetting.methods.measure import Methods, compared, load
from analysis.forgetting.terms import NAMES
from analysis.form import DRAW, Control, One
from analysis.section import SET, Prediction, Section, Shown, Try, View
from models.errors import CrosstalkError

_ABOUT = (
    "Every method learnt the same tasks from the same base, in as many steps. Green: better than plain training beyond "
    "the interval of the difference; red: worse; grey: no difference can be told."
)
_READING = (
    "<p>Ticks beneath a mark are single seeds, the dotted line is plain training. Numbers here are the mean over "
    "training runs; the matrix shows one of them, so the two differ a little.</p>"
)


def _controls(raw: Mapping, result: Methods | None) -> tuple[Control, ...]:
    turned = [t.method for t in result.orders] if result else []
    shown = One("metric", "Shown", offered=[(h.title, m) for m, h in NAMES.items()], at=DRAW)
    if not turned:
        return (shown,)
    return shown, One("turned", "Method in another order", offered=turned, at=DRAW, folded=True)


def _explained(shown: Shown) -> str:
    own = {}
    for name in sets.offered():
        with contextlib.suppress(CrosstalkError):  # a set of the Hub that was not downloaded yet
            own[name] = sets.manifest(name).method
    table = figure.about_table(about.told(own)).html()
    return f'<div class="card">{table}</div><p class="key">{about.COMMON}</p>'


def _figures(shown: Shown) -> list:
    found = shown.result
    return [figure.dots(found, metric) for metric in NAMES] + [figure.orders(found, t.method) for t in found.orders]


_PREDICTED = ("most of them", "about half", "few or none")


def _outcome(found: Methods) -> str | None:
    """How many of the other methods forget less than plain training beyond their intervals."""
    others = [of for row in found.rows if (of := row.changes["bwt"]) is not None]
    if not others:
        return None
    share = sum(of.clear and of.value > 0 for of in others) / len(others)
    return _PREDICTED[0] if share > 2 / 3 else _PREDICTED[1] if share > 1 / 3 else _PREDICTED[2]


METHODS = Section(
    name="methods",
    title="Methods and order",
    question="Which method forgets less, and what does it cost?",
    about=_ABOUT,
    label="small",
    of=SET,
    quick=True,
    run="Compare",
    measure=lambda asked, progress: compared(progress),
    kept=lambda asked: load(),
    controls=_controls,
    sentence=lambda found: f"{figure.sentence(found)} {figure.orders_said(found)}",
    views=(
        View("metric", lambda shown: figure.dots(shown.result, shown["metric"])),
        View(
            "order",
            lambda shown: figure.orders(shown.result, shown.asked.values.get("turned")),
            folded="The same tasks in another order",
        ),
        View("numbers", lambda shown: figure.numbers(shown.result), html=True, folded="All numbers"),
        View("orders", lambda shown: figure.orders_numbers(shown.result), html=True, folded="Numbers of either order"),
        View("about", _explained, html=True, folded="What each method does, and its settings"),
    ),
    figures=_figures,
    prediction=Prediction("how many of the methods forget less than plain training?", _PREDICTED, _outcome),
    tries=(
        Try("Who forgets least?", values={"metric": "bwt"}),
        Try("And who learns least?", values={"metric": "mft"}),
        Try("Who knows most in the end?", values={"metric": "mfn"}),
        Try("Form or fact?", values={"metric": "superficial_of_lost"}),
    ),
    then=(
        "One question of your own, put to every checkpoint of a method: "
        "<button type='button' data-go='forgetting/probe'>Your question</button>"
    ),
    reading=_READING,
)
