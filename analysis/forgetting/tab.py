"""The Forgetting room: the accuracy matrix, and the sections that take it apart."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from analysis import form
from analysis.forgetting import figure, measure, sets, terms
from analysis.forgetting.gap import figure as gap_figure
from analysis.forgetting.gap import measure as gaps
from analysis.forgetting.methods import figure as methods_figure
from analysis.forgetting.methods import measure as methods
from analysis.forgetting.parts import figure as parts_figure
from analysis.forgetting.parts import measure as parts
from analysis.forgetting.path import figure as path_figure
from analysis.forgetting.path import measure as paths
from analysis.forgetting.probe import figure as probe_figure
from analysis.forgetting.probe.measure import Probe, probe
from analysis.forgetting.split import figure as split_figure
from analysis.forgetting.split import measure as splits
from analysis.form import DRAW, RUN, Control, Number, One, Several, Words
from analysis.section import SET, Asked, Prediction, Room, Section, Shown, Try, View
from models import catalog, mixtures
from models.checkpoints import BASE, Merge
from models.errors import InputError

# --- the accuracy matrix

_LOST = measure.LISTED[2]


def _matrix_controls(raw: Mapping, result: measure.Forgetting | None) -> tuple[Control, ...]:
    manifest, rows, tasks, last = sets.named(raw), [], [], 0
    if manifest:
        own = [c.name for c in sets.trained(manifest).values()]
        names = ["base", *(c.name for c in manifest.checkpoints)]
        rows = [(f"after {name}" if name in own else name, i) for i, name in enumerate(names)]
        tasks = [(task, j) for j, task in enumerate(manifest.order)]
        last = names.index(own[-1])
    return (
        sets.control(),
        One("show", "Answers shown", offered=measure.LISTED, value=_LOST, at=DRAW),
        One("row", "Checkpoint", offered=rows, value=last, at=DRAW, folded=True),
        One("column", "Task", offered=tasks, value=0, at=DRAW, folded=True),
        Words("cards", value=str(figure.CARDS), at=DRAW, hidden=True),
    )


def _matrix(shown: Shown) -> str:
    """The matrix with the answers behind the chosen cell beside it, and the summary numbers."""
    found = shown.result
    row, column = shown["row"], shown["column"]
    if row is None or column is None:
        return figure.matrix(found) + figure.numbers(found)
    checkpoint, task = found.checkpoints[row], found.tasks[column]
    answers, where = sets.answers(shown["set"]), f"{found.label(row)}, {task}: {shown['show']}"
    listed = measure.cell(answers, checkpoint, task, shown["show"])
    if not listed and shown["show"] != measure.LISTED[0]:
        listed = measure.cell(answers, checkpoint, task)
        where = f"{found.label(row)}, {task}: none {shown['show']}; all"
    first = listed[: form.pick(shown["cards"], len(listed) + 1) or figure.CARDS]
    # whose answers: those right after the task's own training, and those of the chosen row
    own, labels, now = found.own[column], ("answer", "answer"), found.label(row)
    if row != own:
        now = f"{'now' if row > own else 'before'}: {now}" if row == 0 or row in found.own else now
        labels = f"then: {found.label(own)}", now
    cards = figure.items(first, [item.picture() for item in first], where, labels, len(listed))
    table = figure.matrix(found, (row, column)) + figure.numbers(found)
    return figure.beside(table, cards, "forgetting-matrix-items")


_FIRST = {"set": "sequential", "row": 6, "column": 0, "show": _LOST, "cards": str(figure.CARDS)}

MATRIX = Section(
    name="matrix", title="Matrix", question="What did each task teach, and what did it cost the others?",
    about="Six tasks were taught one after another. Each row is the model after one of them, asked about all.",
    label="small", paper=("SEFE", "https://arxiv.org/abs/2505.02486"), of=SET, long=True,
    costs="minutes, for a set of your own", measure=lambda asked, progress: measure.measured(asked["set"], progress),
    kept=lambda asked: measure.load(asked["set"]), controls=_matrix_controls, sentence=figure.sentence,
    views=(
        View("matrix", _matrix, html=True),
        View("course", lambda shown: figure.course(shown.result), folded="The course of training"),
        View("tasks", lambda shown: figure.by_task(shown.result), html=True, folded="Forgetting by task"),
    ),
    figures=lambda shown: [figure.heat_map(shown.result), figure.course(shown.result)],
    prediction=Prediction(
        "how much of the first task will be left after the last one?", figure.PREDICTED, figure.outcome
    ),
    tries=(
        Try("The first task, at the end", values=_FIRST),
        Try("Gone after one further task?", values={**_FIRST, "row": 2}),
        Try("The same with replay of old examples", values={**_FIRST, "set": "replay"}),
        Try("Before it was taught", values={**_FIRST, "row": 5, "column": 5, "show": measure.LISTED[0]}),
    ),
    then=(
        "A wrong form may hide the right fact: <button type='button' data-go='forgetting/split'>Lost or only the form?"
        "</button>"
    ),
    reading=(
        "<p>Go down a column: dark from its outlined cell on means learnt and kept, fading means forgotten. The last "
        "row of the sequence is what one long course of training leaves. Rows below the line are references, no step "
        "of it. An answer in another form than asked counts as wrong; whether the fact is still there, the next "
        "section tells.</p>"
    ),
)

# --- lost, or only the form

_ALL = "all"
_THIRDS = ("less than a third", "between one and two thirds", "more than two thirds")


def _split_controls(raw: Mapping, result: splits.Split | None) -> tuple[Control, ...]:
    manifest, after, tasks = sets.named(raw), [], []
    if manifest:
        after = [c.name for c in sets.trained(manifest).values()][1:]
        at = after.index(raw["after"]) if raw.get("after") in after else len(after) - 1
        tasks = list(manifest.order[: at + 1])
    return (
        sets.control(),
        One("after", "Lost at checkpoint", offered=after, value=after[-1] if after else None),
        One("task", "Task", offered=[("all tasks", _ALL), *tasks], at=DRAW, folded=True),
        One("part", "Answers that are", offered=terms.PARTS, value=terms.SUPERFICIAL, at=DRAW, folded=True),
        Words("cards", value=str(figure.CARDS), at=DRAW, hidden=True),
    )


def _items(shown: Shown) -> str:
    """The counts with the answers behind the chosen one beside them."""
    found, task, part = shown.result, shown["task"], shown["part"]
    answers = sets.answers(shown["set"])
    tasks = [b.task for b in found.tasks] if task == _ALL else [task]
    listed = [x for x in found.lost if x.task in tasks and x.verdict == part]
    if part == terms.KEPT:
        listed = [x for t in tasks for x in splits.kept_items(answers, t, found.checkpoint)]
    first = listed[: form.pick(shown["cards"], len(listed) + 1) or figure.CARDS]
    pictures = [answers.items[x.task][x.place].picture() for x in first]
    where = f"{'all tasks' if task == _ALL else task}, {part} at {found.checkpoint}"
    cards = split_figure.items(first, pictures, where, len(listed))
    return figure.beside(split_figure.table(found, (task, part)), cards, "forgetting-split-items")


def _split_outcome(found: splits.Split) -> str | None:
    """How much of what was lost is lost in form alone; None where nothing was lost."""
    if not found.all.lost:
        return None
    share = found.all.superficial.count / found.all.lost
    return _THIRDS[(share > 1 / 3) + (share > 2 / 3)]


_NAMES = {
    "set": "sequential", "after": "captioning", "task": "naming", "part": terms.SUPERFICIAL, "cards": str(figure.CARDS)
}

SPLIT = Section(
    name="split", title="Lost or only the form", question="Is the knowledge gone, or only the form?",
    about=(
        "<b>Superficial</b>: another form than asked, and as a choice the true option is still the likeliest. "
        "<b>Essential</b>: the form is as asked, or not even the choice brings the truth back."
    ),
    label="as published", paper=("SEFE", "https://arxiv.org/abs/2505.02486"), of=SET, long=True,
    run="Ask the lost answers again", costs="minutes, for a set of your own",
    measure=lambda asked, progress: splits.measured(asked["set"], progress, asked["after"]),
    kept=lambda asked: splits.load(asked["set"], asked["after"]), controls=_split_controls,
    sentence=split_figure.sentence,
    views=(
        View("answers", _items, html=True),
        View("flow", lambda shown: split_figure.flow(shown.result), folded="From right then to now, as a flow"),
        View("numbers", lambda s: split_figure.numbers(s.result), html=True, folded="All numbers, with intervals"),
        View(
            "reading", lambda shown: split_figure.reading(splits.read(splits.labelled())), html=True,
            folded="How well forms are told apart",
        ),
    ),
    figures=lambda shown: [split_figure.bars(shown.result), split_figure.flow(shown.result)],
    prediction=Prediction("how much of what was lost is lost in form alone?", _THIRDS, _split_outcome),
    tries=(
        Try("Names that became sentences", values=_NAMES),
        Try("Boxes that became sentences", values={**_NAMES, "task": "grounding"}),
        Try("Yes or no: only facts were lost", values={**_NAMES, "task": "existence", "part": "essential"}),
        Try(
            "With replay hardly any form is lost", values={**_NAMES, "set": "replay", "task": _ALL, "part": "essential"}
        ),
    ),
    then="Which method keeps more? <button type='button' data-go='forgetting/methods'>Methods and order</button>",
    reading=(
        "<p>Lost answers in another form than asked are asked again twice: as a choice among options (log-probability "
        "of each option's tokens, summed; of sentences, whose lengths differ, the mean), and with the form spelled out "
        "(“Answer with one word.”), a second test that does not need options.</p>"
    ),
)

# --- methods and order

def _explained(shown: Shown) -> str:
    own = methods.manifests()
    table = methods_figure.about_table(methods.told(own)).html()
    return f'<div class="card">{table}</div><p class="key">{methods.common(own)}</p>'


_HOW_MANY = ("most of them", "about half", "few or none")


def _methods_outcome(found: methods.Methods) -> str | None:
    """How many of the other methods can be told to forget less than plain training."""
    others = [of for row in found.rows if (of := row.changes["bwt"]) is not None]
    if not others:
        return None
    share = sum(of.clear and of.value > 0 for of in others) / len(others)
    return _HOW_MANY[0] if share > 2 / 3 else _HOW_MANY[1] if share > 1 / 3 else _HOW_MANY[2]


def _methods_said(found: methods.Methods, metric: str = "bwt") -> str:
    return f"{methods_figure.sentence(found, metric)} {methods_figure.orders_said(found)}"


METHODS = Section(
    name="methods", title="Methods and order", question="Which method forgets less, and what does it cost?",
    about=(
        "Every method learnt the same tasks from the same base. Green: better than plain training, beyond the interval "
        "of the difference and every seed of plain; red: worse; blue: another, and neither; grey: no difference can be "
        "told."
    ),
    label="small", of=SET, quick=True, run="Compare",
    measure=lambda asked, progress: methods.compared(progress), kept=lambda asked: methods.load(),
    controls=lambda raw, result: (
        One("metric", "Shown", at=DRAW, offered=[
            (of.title, m) for m, of in terms.NAMES.items() if m in (result.shown if result else methods.METRICS)
        ]),
        *(
            [One("turned", "Method in another order", offered=[t.method for t in result.orders], at=DRAW, folded=True)]
            if result and result.orders else ()
        ),
    ),
    sentence=_methods_said, shown_sentence=lambda shown: _methods_said(shown.result, shown["metric"]),
    views=(
        View("metric", lambda shown: methods_figure.dots(shown.result, shown["metric"])),
        View(
            "order", lambda shown: methods_figure.orders(shown.result, shown.asked.values.get("turned")),
            folded="The same tasks in another order",
        ),
        View("numbers", lambda shown: methods_figure.numbers(shown.result), html=True, folded="All numbers"),
        View("orders", lambda s: methods_figure.orders_numbers(s.result), html=True, folded="Numbers of either order"),
        View("about", _explained, html=True, folded="What each method does, and its settings"),
    ),
    figures=lambda shown: [
        *(methods_figure.dots(shown.result, metric) for metric in shown.result.shown),
        *(methods_figure.orders(shown.result, turned.method) for turned in shown.result.orders),
    ],
    prediction=Prediction("how many of the methods forget less than plain training?", _HOW_MANY, _methods_outcome),
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
    reading=(
        "<p>Ticks beneath a mark are single seeds, the dotted line is plain training. Numbers here are the mean over "
        "training runs; the matrix shows one of them, so the two differ a little.</p>"
    ),
)

# --- one question through every checkpoint

_ENDS = (terms.KEPT, terms.NEVER, terms.SUPERFICIAL, terms.ESSENTIAL)


def _probed(asked: Asked, progress) -> Probe:
    given = [option for option in asked["options"].split(",") if option.strip()]
    with catalog.using(sets.entry(asked["set"]).name) as mllm:
        return probe(mllm, asked["set"], asked.picture, asked.question, asked["truth"], given, asked.known)


PROBE = Section(
    name="probe", title="Your question", question="When does one answer get lost, and is the truth still there?",
    about="Your picture and question, put to every checkpoint. One question shows how it happens, not how often.",
    label="small", paper=("SEFE", "https://arxiv.org/abs/2505.02486"), quick=True, run="Ask every checkpoint",
    measure=_probed,
    controls=lambda raw, result: (
        sets.control(at=RUN),
        Words(
            "truth", "The true answer", hint="fox", passing=True, folded=True,
            info="As the model would write it. Empty: as it is known of a suggested question.",
        ),
        Words(
            "options", "Options", hint="fox, wolf, dog", passing=True, folded=True,
            info="Separated by commas. Empty: the question's, or near ones where the truth is known.",
        ),
    ),
    sentence=probe_figure.sentence,
    views=(
        View("checkpoints", lambda shown: probe_figure.strip(shown.result), html=True),
        View("course", lambda shown: probe_figure.course(shown.result)),
        View("attention", lambda shown: probe_figure.attention(shown.result), folded="Where it looks while it answers"),
    ),
    prediction=Prediction(
        "what becomes of the answer by the end of training?", _ENDS,
        lambda found: found.verdict if found.verdict in _ENDS else None,
    ),
    tries=(
        Try("Who takes the fox away?", "fox-and-mushroom", "Which animal is this?", {"set": "sequential"}),
        Try("The same with replay", "fox-and-mushroom", "Which animal is this?", {"set": "replay"}),
        Try("A box that ends as a caption", "fox-and-mushroom", "Where is the fox?", {"set": "sequential"}),
        Try("Not the form, the fact", "bee-without-flower", "Is there a bee?", {"set": "sequential"}),
    ),
    then="Which part of the model lost it? <button type='button' data-go='forgetting/parts'>Which part</button>",
    reading=(
        "<p>The curve is the probability that the answer begins with the true one (circles: the answer is right, "
        "crosses: wrong), and how likely it is where the model has to choose among options. Lost in form alone "
        "(superficial): the answer has another form than asked, and the true option is still the likeliest.</p>"
    ),
)

# --- which part forgets

_OWN = "own"
_SINCE = (("the checkpoint before it", parts.SINCE[0]), ("the base", parts.SINCE[1]))
_BACK = ("nothing clearly", "less than half", "half or more")


def _parts_controls(raw: Mapping, result: parts.Parts | None) -> tuple[Control, ...]:
    manifest, tasks, names = sets.named(raw), [], []
    if manifest:
        tasks, names = list(manifest.order), [BASE, *(c.name for c in manifest.checkpoints)]
    last = sets.trained(manifest)[tasks[-1]].name if tasks else None
    start, groups = [("right after the old task", _OWN), *names], [(t, g) for g, t in parts.GROUPS.items()]
    kinds = result.keys.kinds if result and result.keys else (parts.ALL,)
    return (
        sets.control(),
        One("task", "Old task", offered=tasks),
        Several("groups", "Put back, one at a time", offered=groups, value=parts.DEFAULT),
        One("before", "Put back from", offered=start, value=_OWN, folded=True),
        One("after", "Into", offered=names, value=last, folded=True),
        One("since", "A task's change is since", offered=_SINCE, value=parts.SINCE[0], folded=True),
        Number("n", "Items of a task", low=20, high=240, value=parts.ITEMS, step=20, folded=True),
        Number("seed", "Seed of the items", high=20, folded=True),
        One("kind", "Key elements of", offered=list(kinds), value=parts.ALL, at=DRAW, folded=True),
    )


def _choice(asked: Asked) -> parts.Choice:
    own = sets.trained(sets.manifest(asked["set"]))[asked["task"]].name
    before = own if asked["before"] == _OWN else asked["before"]
    others = map(asked.__getitem__, ("after", "since", "n", "seed", "groups"))
    return parts.Choice(asked["set"], asked["task"], before, *others)


def _drawn(part: str, draw: Callable) -> Callable:
    """A view of one of the measurements, where it was made."""
    return lambda shown: None if (found := getattr(shown.result, part)) is None else draw(found)


def _parts_outcome(found: parts.Parts) -> str | None:
    """How much the best part brings back, of those that clearly bring something."""
    back = found.patching
    if back is None or not back.whole.change.low > 0:
        return None
    return _BACK[0 if back.best is None else 1 + (back.returned[back.best].change.value >= back.whole.change.value / 2)]


PARTS = Section(
    name="parts", title="Which part", question="Which part of the model, put back, brings the old task back?",
    about="Advanced: four measurements of where one task was lost between two checkpoints.",
    label="small", paper=("SEFE", "https://arxiv.org/abs/2505.02486"), of=SET, long=True,
    costs="minutes, for what was not measured before",
    measure=lambda asked, progress: parts.measured(_choice(asked), progress), controls=_parts_controls,
    kept=lambda asked: found if parts_figure.sentence(found := parts.load(_choice(asked))) else None,
    sentence=parts_figure.sentence,
    views=(
        View("returned", _drawn("patching", parts_figure.patching)),
        View("moved", _drawn("moved", parts_figure.movement), folded="How far each module moved"),
        View(
            "overlap", lambda shown: _drawn("keys", lambda keys: parts_figure.overlap(keys, shown["kind"]))(shown),
            folded="Key elements that two tasks share",
        ),
        View("drift", _drawn("drift", parts_figure.drift), folded="Drift of hidden states on the old task"),
    ),
    figures=lambda shown: [
        *(view.draw(shown) for view in PARTS.views if view.name != "overlap"),
        *(parts_figure.overlap(shown.result.keys, kind) for kind in getattr(shown.result.keys, "kinds", ())),
    ],
    prediction=Prediction("how much will the best single part bring back of what was lost?", _BACK, _parts_outcome),
    tries=(
        Try("Everything, one part at a time", values={"groups": parts.DEFAULT, "set": "sequential"}),
        Try("One layer is not enough", values={"groups": ("layers",), "set": "sequential"}),
        Try("Attention or MLP?", values={"groups": ("blocks",), "set": "sequential"}),
        Try("Do later tasks change the same elements with replay?", values={"set": "replay"}),
    ),
    then="And weights in between? <button type='button' data-go='forgetting/path'>Between checkpoints</button>",
    reading=(
        "<p><b>Put back</b>: one part of the older checkpoint goes into the newer one. What returns of the old task "
        "was lost in that part; what the last task loses is the price. Each interval (95 %, paired by item) is of one "
        "part: of many that are tried, some look good by chance.</p><p><b>Moved</b>: the size of the change, |dW|, "
        "beside the size of the weights, |W| (the root of the sum of all squared elements).</p><p><b>Key elements</b> "
        "are the 2 % of each matrix that a task changed most, as in RegLoRA (SEFE). Where two tasks share more of them "
        "than chance gives, the later one changes what the earlier one had changed. Large changes cluster in rows of a "
        "matrix, so some sharing is to be expected.</p><p><b>Drift</b>: how alike the states on the old task's "
        "questions stay, at the last token before the answer (linear CKA: 1 where they are the same up to rotation and "
        "size).</p>"
    ),
)

# --- between checkpoints: weights on the line between two, and several merged

_ITEMS = Number("n", "Items of a task", low=20, high=240, value=paths.ITEMS, step=20, at=RUN, folded=True)
_SHOWN = 8  # of a visitor's merges together
_BEE = "bee-without-flower"
_COSTS = "minutes, if it was not measured before"
_ANSWERS = (
    View("answers", lambda s: s.result.here and path_figure.answers(s.result.here), html=True),
    View(
        "options", lambda s: s.result.here and path_figure.options(s.result.here), folded="Probability of each option"
    ),
)


def _grown(asked: Asked, progress, known, weights: list, here: int, work) -> Iterator[paths.Standing]:
    """What is ``known`` at once, then the answers, and what ``work`` measures where the button asks for it."""
    if known is not None:
        yield paths.Standing.of(asked["set"], known)
    with catalog.using(sets.entry(asked["set"]).name) as mllm:
        answers = paths.ask(mllm, asked.picture, asked.question, weights, here, asked.known)
    yield paths.Standing.of(asked["set"], known, answers)
    if asked.pressed and work:
        yield paths.Standing.of(asked["set"], sets.measured(asked["set"], work, progress), answers)


def _line_controls(raw: Mapping, result: paths.Standing | None) -> tuple[Control, ...]:
    manifest, names, tasks, first, last = sets.named(raw), [], [], None, None
    if manifest:
        names, tasks = [BASE, *(c.name for c in manifest.checkpoints)], list(manifest.order)
        first, last = paths.first_and_last(manifest)
    trained = [("the one trained last there", "last"), *tasks]
    return (
        sets.control(at=RUN),
        One("from", "From", offered=names, value=first, at=RUN),
        One("to", "To", offered=names, value=last, at=RUN),
        Number("alpha", "Where on the line (alpha)", value=0.5, step=0.01, at=RUN),
        One("old", "Old task", offered=trained, at=RUN, folded=True),
        One("new", "New task", offered=trained, at=RUN, folded=True),
        _ITEMS,
    )


def _line(asked: Asked, progress) -> Iterator[paths.Standing]:
    manifest, a, b, alpha = sets.manifest(asked["set"]), asked["from"], asked["to"], asked["alpha"]
    if a == b:
        raise InputError("Choose two different checkpoints: there is no line from one to itself.")
    chosen = zip((asked["old"], asked["new"]), paths.tasks_of(manifest, a, b), strict=True)
    tasks = tuple(last if task == "last" else task for task, last in chosen)
    work = partial(paths.measure, a=a, b=b, tasks=tasks, count=asked["n"])
    known = sets.load(asked["set"], work)
    weights = [(a, a), (f"alpha {alpha:g}", paths.at(a, b, alpha)), (b, b)]
    return _grown(asked, progress, known, weights, 1, None if known else work)


_LINE = {"set": "sequential", "from": "naming", "to": "captioning"}

PATH = Section(
    name="path", title="Between checkpoints", question="What do weights between two checkpoints know?",
    about="Advanced: the slider loads the weights of a point of the line and asks them your question.",
    label="as published", paper=("Linear mode connectivity", "https://arxiv.org/abs/1912.05671"), quick=True, long=True,
    costs=_COSTS, measure=_line, controls=_line_controls,
    sentence=lambda s: path_figure.standing_said(s, path_figure.path_said, "The line between these checkpoints"),
    views=(
        View("path", lambda s: s.result.measured and path_figure.path(s.result.measured, s["alpha"])),
        *_ANSWERS,
        View("loss", lambda s: s.result.measured and path_figure.loss(s.result.measured), folded="Loss, and barriers"),
    ),
    prediction=Prediction(
        "will a point between be clearly better than both ends?", ("yes", "no"),
        lambda found: found.measured and ("yes" if found.measured.best.gain.clear else "no"),
    ),
    tries=(
        Try("Neither end knows it, the middle does", _BEE, "What is at the bottom right?", {**_LINE, "alpha": 0.7}),
        Try("How far does the fox reach?", "fox-and-mushroom", "Which animal is this?", {**_LINE, "alpha": 0.6}),
        Try("Where its answer becomes a caption", "fox-and-mushroom", "Which animal is this?", {**_LINE, "alpha": 0.8}),
        Try("A fifth of the way to a number", "three-penguins", "How many cats are there?", {**_LINE, "alpha": 0.2}),
    ),
    then="More than two at once? <button type='button' data-go='forgetting/merge'>Merge</button>",
    reading=(
        "<p>Two checkpoints are two points in the space of weights; on the line between them the weights are (1 − "
        "alpha) · first + alpha · second. Where the loss stays low all along it, both lie in one valley, and a point "
        "between may keep the old task and know the new one; where it rises above the straight line between its ends "
        "there is a barrier, a hill between two valleys. Loss: how surprised the model is by the true answer, −log of "
        "its probability, in nats.</p>"
    ),
)


def _merge_controls(raw: Mapping, result: paths.Standing | None) -> tuple[Control, ...]:
    manifest, weights = sets.named(raw), []  # where a set cannot be read, it is told when it is measured
    if manifest and raw.get("weights") == _OWN:
        own = sets.trained(manifest).values()
        kind = {"low": mixtures.LEAST, "high": mixtures.MOST, "step": 0.01, "at": RUN, "value": round(1 / len(own), 2)}
        weights = [Number(f"weight{i}", c.name, **kind) for i, c in enumerate(own)]
    return (
        sets.control(at=RUN),
        One("weights", "Weights", offered=[*paths.PRESETS, ("my own", _OWN)], at=RUN, radio=True),
        *weights, _ITEMS,
    )


def _merges(asked: Asked, progress) -> Iterator[paths.Standing]:
    """Merges join those that are shown: the presets, or what else was measured."""
    manifest = sets.manifest(asked["set"])
    names = tuple(c.name for c in sets.trained(manifest).values())
    if asked["weights"] == _OWN:
        mine = paths.of_weights(names, [asked[f"weight{i}"] for i in range(len(names))])
    else:
        mine = paths.preset(names, asked["weights"])
    shown = asked.shown.measured if asked.shown and asked.shown.method == asked["set"] else None
    before = [Merge(row.weights) for row in shown.rows if row.merged] if shown else []
    before = before or [paths.preset(names, paths.AVERAGE), paths.preset(names, paths.SUM)]
    several = [list(dict.fromkeys([*before, mine]))[-_SHOWN:], before, before[:1]]
    work = [partial(paths.measure_merges, merges=merges, count=asked["n"]) for merges in several]
    known = next(filter(None, (sets.load(asked["set"], w) for w in work)), None)
    beside = [names[-1], *(c.name for c in manifest.checkpoints if c.name not in names)]
    weights = [("this merge", mine), *((name, name) for name in beside)]
    there = known and any(Merge(row.weights) == mine for row in known.rows)
    return _grown(asked, progress, known, weights, 0, None if there else work[0])


_WEIGHS, _ADDS = ({"set": "sequential", "weights": name} for name in (paths.AVERAGE, paths.SUM))
_HALVES = {**_WEIGHS, "weights": _OWN, "weight0": 0.5, **{f"weight{i}": 0 for i in range(1, 5)}, "weight5": 0.5}

MERGE = Section(
    name="merge", title="Merge", question="Is a merge of all checkpoints better than the last one?",
    about="Advanced: the changes that each training made are added, each times its weight, and asked your question.",
    label="as published", paper=("Task arithmetic", "https://arxiv.org/abs/2212.04089"), quick=True, long=True,
    costs=_COSTS, measure=_merges, controls=_merge_controls,
    sentence=lambda s: path_figure.standing_said(s, path_figure.merged_said, "A merge of this set"),
    views=(
        View("merges", lambda s: s.result.measured and path_figure.merged(s.result.measured)),
        *_ANSWERS,
        View(
            "tasks", lambda s: path_figure.merges(s.result.measured).html() if s.result.measured else "", html=True,
            folded="Task by task",
        ),
    ),
    prediction=Prediction(
        "how does the best merge compare with the last checkpoint?", path_figure.WAYS,
        lambda found: found.measured and path_figure.best_of(found.measured),
    ),
    tries=(
        Try("Known to the average alone", _BEE, "What is at the bottom right?", _WEIGHS),
        Try("A fox that the average loses", "fox-and-mushroom", "Which animal is this?", _WEIGHS),
        Try("Half the first, half the last", "fox-and-mushroom", "Which animal is this?", _HALVES),
        Try("The sum goes too far", "three-penguins", "How many penguins are there?", _ADDS),
    ),
    then="What happens while a task is taught? <button type='button' data-go='forgetting/gap'>Inside a task</button>",
    reading=(
        "<p>What a training taught is the change that it made of the base's weights; here the changes are added, each "
        "times its weight: base + sum of weight · (checkpoint − base). In a sequence, a later checkpoint holds the "
        "changes of the earlier ones already, so that the sum counts those several times.</p>"
    ),
)


# --- inside a task

_FALLS = ("after none", "after at most half", "after most")


def _gap_controls(raw: Mapping, result: gaps.Inside | None) -> tuple[Control, ...]:
    manifest, known = sets.named(raw), list(gaps.courses()[0])
    tasks = [gaps.ALL, *(manifest.order if manifest else ())]
    counted = [("steps of training (course)", gaps.STEPS), ("tasks (accuracy matrix)", gaps.TASKS)]
    return (
        Several("courses", "Courses of", offered=known, value=known[:3], at=RUN),
        One("lines", "Show", offered=gap_figure.VIEWS, value=gap_figure.MEAN, at=DRAW, radio=True),
        replace(sets.control(at=RUN), label="Forgetting curve of the set", folded=True),
        One("unit", "Forgetting curve, time in", offered=counted, value=gaps.STEPS, at=RUN, folded=True),
        One("task", "Forgetting curve of the task", offered=tasks, at=RUN, folded=True),
    )


def _gap_outcome(found: gaps.Inside) -> str | None:
    """After how many switches of the first course the old tasks clearly fall; None where there is none."""
    dips = found.gaps.gaps[0].dips
    clear = sum(d.clear for d in dips)
    return _FALLS[(clear > 0) + (clear > len(dips) / 2)] if dips else None


_PLAIN = {"courses": ("sequential",), "lines": gap_figure.MEAN}

GAP = Section(
    name="gap", title="Inside a task", question="What do old tasks do while a new one is taught?",
    about="Accuracy was logged every few steps of one training, on few items: the matrix asks more of them.",
    label="as published", paper=("Continual evaluation", "https://arxiv.org/abs/2205.13452"), of=SET, quick=True,
    run="Show",
    measure=lambda asked, progress: gaps.inside(asked["courses"], asked["set"], asked["unit"], asked["task"]),
    controls=_gap_controls, sentence=gap_figure.sentence,
    views=(
        View("course", lambda shown: gap_figure.course(shown.result.gaps, shown["lines"])),
        View("curve", lambda s: s.result.curve and gap_figure.curve(s.result.curve), folded="Forgetting curve"),
        View("numbers", lambda shown: gap_figure.numbers(shown.result.gaps), html=True, folded="All numbers"),
    ),
    figures=lambda shown: [
        *(gap_figure.course(shown.result.gaps, lines) for lines in gap_figure.VIEWS),
        *([gap_figure.curve(shown.result.curve)] if shown.result.curve else []),
    ],
    prediction=Prediction("after how many switches will the old tasks fall clearly?", _FALLS, _gap_outcome),
    tries=(
        Try("Plain training beside replay", values={**_PLAIN, "courses": ("sequential", "replay")}),
        Try("Which task falls, and when?", values={**_PLAIN, "lines": gap_figure.EACH}),
        Try("Falls that come back", values={"courses": ("replay",), "lines": gap_figure.EACH}),
        Try("Is there a forgetting curve?", values={**_PLAIN, "unit": gaps.TASKS, "task": gaps.ALL}),
    ),
    then="One number a method: <button type='button' data-go='forgetting/methods'>Methods and order</button>",
    reading=(
        "<p>An evaluation at the end of each task hides what happens on the way: right after a switch, old tasks may "
        "fall and rise again (the stability gap). Dotted lines are switches; a triangle marks the lowest point of a "
        "clear dip, filled where it clearly comes back.</p><p>How does forgetting go on? A power law slows down for "
        "ever, an exponential soon reaches its end. Both have three parameters; the lower AICc (Akaike's criterion) "
        "fits better, and below a difference of 2 it cannot be told. Points of one run depend on each other, so the "
        "test makes somewhat too much of them.</p>"
    ),
)


ROOM = Room("forgetting", "Forgetting", (MATRIX, SPLIT, METHODS, PROBE, PARTS, PATH, MERGE, GAP))
