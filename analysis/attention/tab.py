"""The Attention room."""

from contextlib import suppress
from html import escape

import numpy as np

from analysis import form, kept
from analysis.attention import figure, sample, sentence
from analysis.attention.measure import Attention, attend, telling
from analysis.attention.probe import Carried, Change, WhatIf, carry, what_if
from analysis.attention.sample import Across, across
from analysis.attention.where import MODES, Looked, Spot, look
from analysis.form import DRAW, RUN, Number, One, Switch, Words
from analysis.section import SET, Asked, Prediction, Room, Section, Try, View
from models import catalog
from models.errors import CheckpointError, InputError

_MODA = "MODA: MOdular Duplex Attention", "https://arxiv.org/abs/2507.04635"
_TRAINED = catalog.recipe(sample.MODEL)
_PER_TOKEN = "per key token"
_LETTER = "Which of these is in the picture? A. cat B. penguin C. car"
_MOST = 10_000_000  # tokens of a prompt with its answer

_TOKEN = Words("token", at=RUN, hidden=True, shared=True)
"""The token that looks, set by clicks: its place and what it writes or, in the prompt, is: "59:banana". Empty: the one
that tells the most. Another answer with another word there does not follow it.
"""


def _attended(model, asked: Asked) -> Attention:
    given = (model, asked.picture, asked.question, asked.checkpoint)
    place, _, text = asked["token"].partition(":")
    if (position := form.pick(place, _MOST)) is not None:
        with suppress(InputError):  # an answer that is not so long
            found = attend(*given, token=position, known=asked.known)
            if (found.writing or found.token).strip().replace('"', "") == text:
                return found
    return attend(*given, token=telling, known=asked.known)


def _looked(asked: Asked, progress) -> Looked:
    """Where one token looks: on the picture, in the layer that looks at it most, all heads together. Of a section with
    a control ``spot``, in the layer (from 1) and the head (0: all) that it names, as in "3,2"; where there is no such,
    in those that look at the picture most."""
    of, before = (asked.model, asked.checkpoint, asked.path, asked.question, asked["token"]), asked.shown
    spot = asked.values.get("spot")
    with asked.opened() as model:
        # for another cell of the same input nothing but the cell is read anew
        again = spot is not None and before and before.of == of
        found = before.attention if again else _attended(model, asked)
        layer, head = int(found.mass[:, 0].argmax()) + 1, 0
        if spot is not None:
            layer, _, head = spot.partition(",")
            layer, head = form.pick(layer, found.layers + 1), form.pick(head, found.heads + 1)
            if not layer or head is None:
                most = np.unravel_index(int(found.share[:, :, 0].argmax()), found.share.shape[:2])
                layer, head = (int(place) + 1 for place in most)
        where = look(
            model, asked.picture, asked.question, found.position, found.written_ids, asked.checkpoint, layer, head,
            asked.values.get("attention", MODES[0]),
        )
    kind = Looked if spot is None else Spot
    return kind(provenance=found.provenance, of=of, attention=found, where=where)


def _of_attention(draw):
    """A view of where one token looks, by layer."""
    return lambda shown: draw(shown.result.attention)


OVER = Section(
    name="over", title="Over the answer",
    question="Does it look at the picture while it answers?",
    label="as published", paper=_MODA, quick=True, pictured=True, run="Look", measure=_looked,
    sentence=lambda found: sentence.over(found.attention),
    views=(
        View("words", lambda shown: figure.words(shown.result, shown.uri), html=True),
        View("layers", lambda shown: figure.layers(shown.result.attention, shown["scale"] == _PER_TOKEN)),
        View("writing", _of_attention(figure.by_word), folded="Word by word, in every layer"),
        View("disparity", _of_attention(figure.disparity), folded="Within picture and text, or across"),
        View(
            "decay", _of_attention(lambda found: figure.decay(
                found, sentence.few(found.layers, [link.decay for link in found.links]).partition(":")[0]
            )),
            folded="Does it fade from layer to layer?",
        ),
        View("tokens", _of_attention(figure.choices), html=True, folded="Let another token look"),
    ),
    controls=(
        One("scale", "Shown as", radio=True, at=DRAW, offered=("share of attention", ("for each token", _PER_TOKEN))),
        _TOKEN,
    ),
    prediction=Prediction(
        "how does the picture's share go, from the first layer to the last?", sentence.PREDICTED,
        lambda found: sentence.outcome(found.attention),
    ),
    tries=(
        Try("Does it look away when it invents?", "ghost-at-night", "Describe the picture."),
        Try("All true: which words look?", "bee-and-flower", "Describe the picture."),
        Try("A letter that hardly looks", "three-penguins", _LETTER),
        Try("Nothing to look at", "no-picture", "What kind of thing is a bee?"),
    ),
    then='Next: <button type="button" data-go="attention/heads" data-keep>which head looks, and where</button> '
    '<button type="button" data-go="attention/cut" data-keep>cut it off, and see whether it mattered</button>',
    reading="<p><b>Share of attention</b>: of all the attention that a token gives in a layer, how much lands on each "
    "kind of token; shares add up to 100 %. <b>For each token</b>: the same divided by the number of tokens of that "
    "kind that it may look at. The two can tell opposite stories: hundreds of image tokens can hold much of the "
    "attention, each next to nothing.</p><p>The picture is lit for the layer that looks at it most, all heads "
    "together. A word of several tokens counts as their mean.</p><p><b>Within or across</b>: a text token looks at "
    "text (self) and at the picture (cross), an image token the other way round. Disparity is |self − cross| / "
    "max(self, cross): 0 %, both get the same; 100 %, one gets all.</p><p><b>Fading</b>: of all tokens of the prompt "
    "together. If a link decays exponentially, its points lie on a falling line; γ is the factor from one layer to the "
    "next, R² says how straight the points are. Dashed: the fit.</p>",
)


HEADS = Section(
    name="heads", title="Layers and heads",
    question="Which head looks at the picture, and where?",
    label="as published", paper=("Quantifying attention flow", "https://arxiv.org/abs/2005.00928"),
    quick=True, pictured=True, run="Look", measure=_looked,
    sentence=lambda found: sentence.where(found.where, getattr(found.attention.written_word, "text", "")),
    views=(
        View("map", html=True, draw=lambda shown: figure.heads(
            shown.result.attention, shown.result.where.layer, shown.result.where.head, shown.result.where.mode
        )),
        View("overlay", lambda shown: figure.overlay(shown.result.where, shown.uri)),
        View(
            "words", lambda shown: figure.tokens(shown.result.where), html=True,
            folded="All tokens, the picture as one of them",
        ),
    ),
    controls=(
        One("attention", "Attention", radio=True, at=RUN, offered=(
            ("as it is", "raw"), ("weighted by what is read", "value_norm"), ("through all layers", "rollout"),
        )),
        Words("spot", at=RUN, hidden=True),
        _TOKEN,
    ),
    tries=(
        Try("One head, one banana", "apples-and-banana", "What is at the bottom left?"),
        Try("Which head finds the house?", "helicopter", "What is at the bottom right?"),
        Try("All on the picture, but beside the bee", "bee-and-flower", "What is at the top left?"),
        Try("It says key, and looks elsewhere", "ghost-at-night", "What tool is it?"),
    ),
    then='Next: <button type="button" data-go="attention/cut" data-keep>is that layer needed? Cut it</button>',
    reading="<p>It opens on the head that looks at the picture most. <b>As it is</b>: the attention itself. "
    "<b>Weighted by what is read</b>: each token by the norm of its value, |a v|, as a share of their sum: a token "
    "with a small value can be looked at much and give little (Kobayashi et al., 2020). <b>Through all layers</b> "
    "(rollout): attention followed from layer to layer, half of each staying with the token itself; it has no single "
    "layer or head.</p><p>Often the first token of a prompt, or a mark of the template, gets most of the attention and "
    "has nothing to say: a sink. The map of a single head is no proof of what an answer rests on.</p>",
)


def _tried(asked: Asked, progress) -> Carried | WhatIf:
    with asked.opened() as model:
        given = (model, asked.picture, asked.question)
        if asked["what"] == "cut":
            return carry(*given, asked.checkpoint, asked.known, asked["width"], asked["who"], progress)
        change = Change(asked["beta"] if asked["pseudo"] else None, asked["image"], asked["text"])
        return what_if(*given, change, asked.checkpoint, asked.known)


_WHAT = One(
    "what", "What is changed", offered=(("cut the picture off, layer by layer", "cut"), ("attend otherwise", "attend")),
    radio=True, at=RUN,
)
_CUT = (
    One(
        "who", "Whose attention is cut", offered=(("the words that answer", "answering"), ("all text", "text")),
        radio=True, at=RUN,
    ),
    Number("width", "Layers cut together", 0, 12, 0, 1, info="0: a sixth of them", folded=True),
)
_BY_ANSWER = {"what": "cut", "who": "answering"}
_ATTEND = (
    Number("image", "Spread over the picture", 0.25, 4, 2, 0.05, info="temperature; 1: as it is"),
    Number("text", "Spread over the text", 0.25, 4, 1, 0.05, info="temperature; 1: as it is"),
    Switch("pseudo", "Pseudo-scores", value=False, folded=True),
    Number("beta", "Strength of pseudo-scores (β)", 0, 2, 0.1, 0.02, folded=True),
)


def _either(cut, attend):
    """What to draw or say of either kind of result, or of one that is shown."""

    def told(of):
        found = getattr(of, "result", of)
        return cut(found) if isinstance(found, Carried) else attend(found)

    return told


CUT = Section(
    name="cut", title="Cut and what-if",
    question="Did it need to look?",
    about="Cut the attention to the picture, layer by layer, and see what the answer loses; or spread it otherwise.",
    label="as published", paper=("Attention knockout", "https://arxiv.org/abs/2304.14767"),
    quick=True, run="Try it", measure=_tried,
    sentence=_either(sentence.carried, sentence.what_if),
    views=(
        View("answers", _either(lambda found: "", figure.answers), html=True),
        View("chart", _either(figure.carried, figure.what_if)),
        View("more", _either(figure.scaled, figure.what_if_links), folded="More or less of it, in all layers"),
    ),
    controls=lambda raw, result: (_WHAT, *(_ATTEND if _WHAT.read(raw.get("what")) == "attend" else _CUT)),
    tries=(
        Try("One layer carries it", "apples-and-banana", "What is at the bottom left?", _BY_ANSWER),
        Try("The question looked, not the answer", "bee-and-flower", "Is there a bee?", {"what": "cut", "who": "text"}),
        Try("A letter without a look", "three-penguins", _LETTER, _BY_ANSWER),
        Try("Look everywhere alike, and the bee is gone", "bee-without-flower", "Is there a bee?", {"what": "attend"}),
    ),
    then='Next: <button type="button" data-go="attention/checkpoints" data-keep>does forgetting change where it looks?'
    "</button>",
    reading="<p><b>Cut</b>: in a window of layers those tokens see the text alone. Where the answer's probability "
    "falls, those layers carry the picture. What the question's tokens took in earlier can still reach the answer "
    "through them; cut it for all text, and that way is closed too.</p><p><b>Spread</b>, a temperature: above 1 "
    "attention is spread more evenly over tokens of that kind, below 1 it is sharpened. <b>Pseudo-scores</b> (MODA, "
    "StableMask): what a token may not see yet holds a score of −(n β), n tokens after the prompt's beginning, and no "
    "value. It takes attention away and gives nothing back, so a token need not spend all of it on the little that it "
    "sees. No training: the model meets it unprepared.</p>",
)


def _compared(progress: kept.Progress = kept.quiet, only_kept: bool = False) -> sample.Trained | None:
    if not sample.available():
        how = "train it with and without MODA. Run: python -m models.embedded.moda"
        raise CheckpointError(f"{sample.MODEL} is not here: {how}")
    with catalog.using(sample.MODEL) as model:
        return sample.trained(model, sample.sample(), progress, only_kept)


MODA = Section(
    name="moda", title="MODA against plain",
    question="Does another attention, trained in, look and answer better?",
    about=f"MODA balances attention within and across picture and text. {escape(_TRAINED.get('about', ''))}",
    label="small", paper=_MODA, of=SET, long=True, run="Compare", costs="minutes, where it was not measured before",
    measure=lambda asked, progress: _compared(progress), kept=lambda asked: _compared(only_kept=True),
    sentence=sample.sentence,
    views=(
        View("accuracy", lambda shown: figure.trained_accuracy(shown.result)),
        View("attention", lambda shown: figure.trained_attention(shown.result), folded="Where both look, by layer"),
        View("table", lambda shown: figure.trained_table(shown.result), html=True, folded="All numbers"),
    ),
    reading=f"<p>{escape(_TRAINED.get('how', ''))} Questions are of the evaluation sets, the same for both, in a style "
    "that neither saw. Bars reach from the lowest to the highest seed; the interval of a difference is over items.</p>",
)


def _everyone(asked: Asked, progress) -> Across:
    with asked.opened() as model:
        return across(model, asked.picture, asked.question)


CHECKPOINTS = Section(
    name="checkpoints", title="Checkpoints",
    question="Does forgetting change where it looks?",
    about="The same picture and question, at the moment when each checkpoint begins its answer.",
    quick=True, run="Ask every checkpoint", measure=_everyone, sentence=sentence.across,
    views=(
        View("chart", lambda shown: figure.across(shown.result)),
        View("layers", lambda shown: figure.across_layers(shown.result), folded="Layer by layer"),
    ),
    tries=(
        Try("The answer changes; the look too?", "bee-without-flower", "What is at the bottom right?"),
        Try("Who knew the fox?", "fox-and-mushroom", "Which animal is this?"),
        Try("A letter", "tiger-unseen-style", "Which of these is in the picture? A. dog B. tiger C. camel D. cow"),
    ),
    then='Next: <button type="button" data-go="forgetting/matrix">what each checkpoint has forgotten</button>',
    reading="<p>Base is before any task. Quoted is the first piece of what each would answer. Forgetting "
    "with the same look means that what is seen is read otherwise; a changed look, that other things are seen.</p>",
)

ROOM = Room("attention", "Attention", (OVER, HEADS, CUT, MODA, CHECKPOINTS))
