"""The Embedding space room: what a CLIP forgot, trained on one domain after another, and how its space moved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from analysis.embedding_space import cloud, contrast, figure, search, spaces
from analysis.embedding_space.choices import COSTS, GO, PAPER, STYLE, keys_of, loaded, phases_of, trained, uri
from analysis.embedding_space.lost import LOST
from analysis.embedding_space.mapped import MAP, OWN
from analysis.embedding_space.sentence import PREDICTED, outcome, sentence
from analysis.embedding_space.spaces import Key, Spaces
from analysis.form import DRAW, Control, One, Words, pick
from analysis.result import Result
from analysis.section import PICTURE, SET, Asked, Prediction, Room, Section, Shown, Try, View
from analysis.table import Table
from models.errors import InputError

_ROWS = 12  # pairs of a contrastive matrix, at first
_EVERY = "a mix of all domains"


# --- angles


def _angle_controls(raw: Mapping, result) -> Sequence[Control]:
    phases = phases_of(raw)
    return (
        trained(raw, False),
        One("kind", "Show", at=DRAW, offered=[(title, name) for name, title in figure.ANGLES.items()]),
        One("against", "Against phase", offered=phases[:-1] or phases),
        STYLE,
    )


ANGLES = Section(
    name="angles",
    title="Angles",
    question="How far did it turn, and how much is disorder?",
    label="small", paper=PAPER, of=SET, costs=COSTS,
    measure=partial(loaded, names=("against",)), kept=partial(loaded, names=("against",)),
    controls=_angle_controls,
    sentence=lambda found: sentence(found.space, found.asked["against"]),
    views=(
        View("angles", lambda shown: figure.angles(shown.result.space, shown["kind"], shown.result.asked["against"])),
        View("table", lambda shown: figure.numbers(shown.result.space, shown.result.asked["against"]), html=True,
             folded="All numbers, and what each means"),
    ),
    figures=lambda shown: [
        figure.angles(shown.result.space, kind, shown.result.asked["against"]) for kind in figure.ANGLES
    ],
    prediction=Prediction(
        "what turns further by the last phase?", PREDICTED, lambda found: outcome(found.space)
    ),
    tries=(
        Try("How far each turned", values={"kind": "rotation"}),
        Try("What no rotation explains", values={"kind": "residual"}),
        Try("Pictures and names, apart?", values={"kind": "deviation"}),
        Try("The same with Mod-X", values={"trained": "mod-x"}),
    ),
    then="What did it do to names? " + GO.format("matrix", "The contrastive matrix"),
    reading="<p>A violin is the distribution over pairs (or pairs of samples); inside, the quartiles. Means have 95 % "
    "intervals over pairs in the table: they say what other drawings would change, not another training.</p>",
)


# --- the contrastive matrix


def _matrix_controls(raw: Mapping, result) -> Sequence[Control]:
    phases = phases_of(raw)
    return (
        trained(raw, False),
        One("domain", "Pairs of", offered=[_EVERY, *spaces.domains(keys_of(raw)[0])]),
        One("before", "Before", offered=phases),
        One("after", "After", offered=phases, value=len(phases) - 1),
        One("view", "Show", at=DRAW, radio=True, offered=contrast.VIEWS),
        Words("pairs", "Chosen pairs", folded=True, hint="cat; sandwich; anchor", most=4000,
              info=f"Names, separated by semicolons, 2 to {contrast.MOST}. Empty: {_ROWS} of the domain."),
        Words("row", value="", at=DRAW, hidden=True),
        STYLE,
    )


def _contrasted(result: Spaces) -> contrast.Contrast:
    return contrast.contrast(result.space, result.asked["pairs"], result.asked["before"], result.asked["after"])


def _matrix(asked: Asked, progress=None) -> Spaces | None:
    found = loaded(asked, progress, names=("before", "after"))
    if found is None:
        return None
    chosen = _named(found.space, asked["pairs"]) or _first(found.space, asked["domain"])
    found = replace(found, asked={**found.asked, "pairs": chosen})
    _contrasted(found)  # refuses what is no choice
    return found


def _named(space, names: str) -> list[int]:
    """Places among the pairs shown of names that are separated by semicolons. Raises ``InputError`` for another one."""
    called = {name.casefold(): i for i, name in enumerate(cloud.names(space))}
    wanted = [name.strip() for name in names.split(";") if name.strip()]
    if gone := [name for name in wanted if name.casefold() not in called]:
        raise InputError(f"No pair here is called “{gone[0]}”. There are {', '.join(cloud.names(space)[:5])} …")
    return [called[name.casefold()] for name in wanted]


def _first(space, domain: str) -> list[int]:
    """The pairs that are chosen at first: a domain's first, or some from everywhere; never fewer than two."""
    domains = [space.domains[i] for i in space.shown]
    if domain == _EVERY:
        return list(range(0, len(domains), max(1, len(domains) // _ROWS)))[:_ROWS]
    own = [i for i, name in enumerate(domains) if name == domain][:_ROWS]
    return own if len(own) > 1 else list(range(min(_ROWS, len(domains))))


def _row(shown: Shown, found: contrast.Contrast) -> int:
    """The row that was clicked; at first one that went wrong."""
    place = pick(shown["row"], len(found.texts))
    return place if place is not None else found.wrong[0] if found.wrong else 0


def _table(shown: Shown) -> str:
    found, (key,) = _contrasted(shown.result), shown.result.keys
    at, row = shown.result.space.shown, _row(shown, found)
    return contrast.table(found, [uri(key, int(at[i])) for i in found.chosen], shown["view"], row)


def _preferred(shown: Shown) -> str:
    found, (key,) = _contrasted(shown.result), shown.result.keys
    row = _row(shown, found)
    return contrast.row(found, row, uri(key, int(shown.result.space.shown[found.chosen[row]])))


MATRIX = Section(
    name="matrix",
    title="Contrastive matrix",
    question="Whose name is nearer to a picture than its own?",
    about="The cosine of every picture with every name. Training wants the diagonal large; Mod-X also keeps the rest "
    "of the matrix as it was.",
    label="small", paper=PAPER, of=SET, costs=COSTS,
    measure=_matrix, kept=_matrix, controls=_matrix_controls,
    sentence=lambda found: contrast.sentence(_contrasted(found)),
    views=(
        View("row", _preferred, html=True),
        View("matrix", _table, html=True),
        View("heat", lambda shown: contrast.heat(_contrasted(shown.result)), folded="Before, after and change"),
    ),
    tries=(
        Try("A mix of all domains", values={"domain": _EVERY}),
        Try("Who takes the animals' names?", values={"domain": "animals"}),
        Try("The same animals with Mod-X", values={"domain": "animals", "trained": "mod-x"}),
        Try("Symbols, trained last", values={"domain": "symbols"}),
    ),
    then="Try it with words of your own: " + GO.format("search", "Search"),
)


# --- search


@dataclass(frozen=True, kw_only=True)
class Searched(Result):
    """What is nearest to ``query`` in every phase of the space of ``key``; pictures where words were searched for."""

    key: Key
    query: str
    by: str
    found: tuple[search.Found, ...]

    def table(self) -> Table:
        rows = [
            [of.phase, rank, text, cosine]
            for of in self.found for rank, (text, cosine) in enumerate(zip(of.texts, of.cosines, strict=True), 1)
        ]
        return Table(["phase", "rank", "text", "cosine"], rows)


def _search_controls(raw: Mapping, result) -> Sequence[Control]:
    return (
        One("by", "Search by", radio=True, offered=[("words", "words"), ("the picture on the left", "picture")]),
        Words("words", "Words", value="sandwich", hint="a cat", most=500),
        trained(raw, False),
        STYLE,
    )


def _search(asked: Asked, progress) -> Searched:
    """The pictures nearest to words, or the names nearest to the picture on the left, in every phase."""
    (key,) = keys_of(asked.values)
    whole = spaces.whole(key, progress)
    if asked["by"] == "words":
        if not asked["words"].strip():
            raise InputError("There are no words to search by: write some.")
        query = f"“{asked['words'].strip()}”"
    elif asked.picture is None:
        raise InputError("There is no picture on the left: upload one there, or choose an example.")
    else:
        query = "this picture"
    with whole.opened() as encoder:
        if asked["by"] == "words":
            found = search.by_words(encoder, whole.space, whole.phases, asked["words"])
        else:
            found = search.by_picture(encoder, whole.pairs, whole.phases, asked.picture, progress)
    return Searched(provenance=whole.space.provenance, key=key, query=query, by=asked["by"], found=tuple(found))


def _answers(shown: Shown) -> str:
    of = shown.result
    if of.by == "picture":
        return search.answers(of.found)
    return search.answers(of.found, {place: uri(of.key, place) for each in of.found for place in each.places})


SEARCH = Section(
    name="search",
    title="Search",
    question="What does it find for your words or picture?",
    about="Words are searched among all pictures; the picture on the left, among all names.",
    label="small", of=PICTURE, quick=True, run="Search",
    measure=_search, controls=_search_controls,
    sentence=lambda of: search.answers_sentence(of.found, of.query),
    views=(View("answers", _answers, html=True),),
    tries=(
        Try("When does the sandwich leave?", values={"by": "words", "words": "sandwich"}),
        Try("The same with Mod-X", values={"by": "words", "words": "sandwich", "trained": "mod-x"}),
        Try("A word that no training had", values={"by": "words", "words": "something to eat"}),
        Try("By a picture", "fox-and-mushroom", "Which animal is this?", {"by": "picture"}),
    ),
    then="How much was lost on the whole? " + GO.format("lost", "What was lost"),
)


ROOM = Room("embedding_space", "Embedding space", (LOST, MAP, ANGLES, MATRIX, SEARCH, OWN))
