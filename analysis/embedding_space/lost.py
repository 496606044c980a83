"""The section about what was lost: named pairs before and after, and recall of every training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from analysis.embedding_space import recipes, retrieval, spaces
from analysis.embedding_space import retrieval_figure as recall
from analysis.embedding_space.choices import (
    BESIDE,
    COSTS,
    GO,
    PAPER,
    PLAIN,
    STYLE,
    keys_of,
    loaded,
    phases_of,
    place_of,
    trained,
    uri,
)
from analysis.embedding_space.retrieval import AMONG, DIRECTIONS, KS, recalls, repeated, versus
from analysis.embedding_space.spaces import Key, Spaces
from analysis.form import DRAW, Control, One
from analysis.section import SET, Asked, Prediction, Section, Shown, Try, View
from analysis.table import Table

_CARDS = 12  # pairs shown


@dataclass(frozen=True, kw_only=True)
class Lost(Spaces):
    """Retrieval of one or two trainings: its table is recall, of every direction, k and phase."""

    def table(self) -> Table:
        rows = []
        for whole in self.whole:
            for direction, title in DIRECTIONS.items():
                for among in AMONG:
                    for k in KS:
                        of = recalls(whole.space, direction, k, among)
                        rows += [
                            [whole.title, title, AMONG[among], k, phase, domain, of.matrix[i, j], of.low[i, j],
                             of.high[i, j], of.n[j]]
                            for i, phase in enumerate(of.phases) for j, domain in enumerate(of.domains)
                        ]
        return Table(["method", "direction", "candidates", "k", "after", "domain", "recall", "low", "high", "n"], rows)


_HOW = ("direction", "k", "among")


def _lost(asked: Asked, progress=None) -> Lost | None:
    found = loaded(asked, progress, True, _HOW)
    return found and Lost(provenance=found.provenance, keys=found.keys, asked=found.asked)


def _lost_controls(raw: Mapping, result) -> Sequence[Control]:
    phases = phases_of(raw, True)
    domains = spaces.domains(keys_of(raw, True)[0])
    return (
        trained(raw, True),
        One("domain", "Pairs of", at=DRAW, offered=[("all domains", -1), *((d, j) for j, d in enumerate(domains))]),
        One("after", "After", at=DRAW, offered=phases, value=len(phases) - 1),
        One("direction", "Direction", folded=True, offered=[(title, name) for name, title in DIRECTIONS.items()]),
        One("k", "Found is who is among the first", folded=True, radio=True, offered=KS),
        One("among", "Candidates", folded=True, offered=[(title, name) for name, title in AMONG.items()]),
        STYLE,
    )


def _how(shown: Shown) -> tuple[str, int, str]:
    asked = shown.result.asked
    return asked["direction"], asked["k"], asked["among"]


def _cards(shown: Shown) -> str:
    """Pairs that were lost, the worst of each training in turn, with their ranks in all."""
    (direction, k, among), every, keys = _how(shown), shown.result.whole, shown.result.keys
    names, place = every[0].space.domain_names, int(shown["domain"])
    domain = names[place] if 0 <= place < len(names) else ""
    gone = [retrieval.lost(of.space, direction, k, among, int(shown["after"]), domain) for of in every]
    turns = [int(row[i]) for i in range(_CARDS) for row in gone if i < len(row)]
    worst = list(dict.fromkeys(turns))[:_CARDS]
    phase = every[0].space.phases[place_of(every[0], shown["after"])]
    counts = ", ".join(f"{len(row)} with {of.title}" for row, of in zip(gone, every, strict=True))
    where = f"{domain or 'All domains'}, after {phase}"
    if not worst:
        return f'<div class="card quiet">{escape(where)}: nothing that was found is lost.</div>'
    pairs = [(every[0].space.texts[i], every[0].space.domains[i], uri(keys[0], i)) for i in worst]
    ranks = [[recall.before_and_now(of.space, i, direction, among, int(shown["after"])) for of in every] for i in worst]
    chosen = f"the {len(worst)} worst" + (", in turn" if len(every) > 1 else "")
    return (
        f'<p class="key" aria-live="polite">{escape(where)}: lost are {escape(counts)}; {chosen}. The rank of the '
        f"right answer, just after its own domain was trained → after {escape(phase)}.</p>"
        + recall.cards(pairs, ranks, [of.title for of in every], k)
    )


def _matrices(shown: Shown) -> str:
    """Recall by phase and domain of each training: a cell sets whose pairs are shown."""
    place, parts = (int(shown["after"]), int(shown["domain"])), []
    for of in shown.result.whole:
        found = recalls(of.space, *_how(shown))
        parts.append(f"<h4>{escape(of.title)}</h4>{recall.matrix(found, (place_of(of, place[0]), place[1]))}")
    return "".join(parts)


def _course(shown: Shown):
    of = shown.result.whole[-1]
    return recall.course(recalls(of.space, *_how(shown)), of.title)


def _everyone(shown: Shown) -> dict[str, tuple]:
    """The trainings of every method that was measured on the same drawings, by title; none for a visitor's own."""
    if shown.result.keys[0].own:
        return {}
    every = [spaces.whole(Key(name, shown.result.keys[0].style)) for name in recipes.recipes()]
    return {of.title: of.runs for of in every if of}


def _methods(shown: Shown):
    found = {title: repeated(runs, *_how(shown)) for title, runs in _everyone(shown).items()}
    return recall.averages(found) if found else None


def _methods_told(shown: Shown) -> str:
    """Every method against the plain one, pair by pair, and training by training where there are several."""
    trained, how = _everyone(shown), _how(shown)
    base = next((title for title, runs in trained.items() if runs[0].method == PLAIN), None)
    if base is None:
        return ""
    against = {title: versus(runs, trained[base], *how) for title, runs in trained.items() if title != base}
    told = [recall.training_by_training(of, title, base) for title, of in against.items() if len(of.each) > 1]
    everyone = {title: repeated(runs, *how) for title, runs in trained.items()}
    return recall.methods(everyone, against, base) + "".join(told)


_KEEPS = ("Mod-X", "plain", "no difference can be told")


def _keeps(result: Lost) -> str | None:
    """Which of plain and Mod-X keeps more of the domains before the last; None where other trainings are shown."""
    every = result.whole
    if [of.space.method for of in every] != [PLAIN, BESIDE]:
        return None
    told = recall.verdict(versus(every[1].runs, every[0].runs, *(result.asked[name] for name in _HOW)))
    return _KEEPS[0] if told.startswith("more") else _KEEPS[1] if told.startswith("fewer") else _KEEPS[2]


LOST = Section(
    name="lost",
    title="What was lost",
    question="Whose names does it no longer find?",
    about="A small CLIP learnt many drawings, then animals, food, travel, objects, symbols: one after another. With "
    "<b>Mod-X</b> it also keeps how pictures and names stood to each other.",
    label="small", paper=PAPER, of=SET, costs=COSTS,
    measure=_lost, kept=_lost, controls=_lost_controls,
    sentence=lambda found: recall.sentence(found.whole, *(found.asked[name] for name in _HOW)),
    views=(
        View("pairs", _cards, html=True),
        View("matrices", _matrices, html=True, folded="All numbers: recall by phase and domain"),
        View("methods", _methods, folded="Methods side by side"),
        View("course", _course, folded="Each domain, phase by phase"),
        View("table", _methods_told, html=True, folded="Methods side by side, in numbers"),
    ),
    prediction=Prediction("after all five, who still finds more of the earlier names?", _KEEPS, _keeps),
    tries=(
        Try("Every domain", values={"domain": -1}),
        Try("The animals, trained first", values={"domain": 1}),
        Try("Food, the most lost", values={"domain": 2}),
        Try("Can rehearsal do it?", values={"trained": "replay"}),
    ),
    then="Distances or names? " + GO.format("map", "See what moved") + " "
    + GO.format("matrix", "See whose name took their place"),
    reading="<p>A rank of 1: of all names of its domain the right one is nearest to the picture. Shown are the worst "
    "of what each training lost, in turn: the cards say how it looks, the sentence how often it happens. Between "
    "trainings from other seeds numbers differ as well: only what all of them show counts as a difference.</p>",
)
