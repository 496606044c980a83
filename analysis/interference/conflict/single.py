"""One conflict: a picture, a text that says something else, and whom the answer follows."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from analysis.interference.conflict import measure as many
from analysis.interference.measure import Chances, Settings, ask
from analysis.interference.perturbations import statement
from analysis.interference.scoring import logprobs
from analysis.result import Provenance, Result, plain
from analysis.table import Table
from models.checkpoints import BASE
from models.embedded.concepts import CONCEPTS
from models.embedded.conflict_sets import TEXTS
from models.errors import InputError, ModelError

if TYPE_CHECKING:
    from analysis.bar import Known
    from models.mllm import MLLM

SIDES = ("text", "picture", "both")
_LONGEST = 200  # characters of an answer


@dataclass(frozen=True, kw_only=True)
class Conflict(Chances, Result):
    """What a model did with one conflict, from ``SIDES``: the text alone, the picture alone, both.

    ``answers`` are greedy; ``entropy`` ``[3]``, nats, is of the next token; ``logprob`` ``[3, 2]``, nats, of ``seen``
    and ``told`` as answers. ``followed`` is 1 where the answer from both names ``told`` alone, 0 ``seen`` alone, else
    -1. ``margin`` ``[layers]``, nats: by the logit lens, the log-probability of the first token of ``told`` minus that
    of ``seen``, from both; above zero the text leads. Where no lens can tell it is empty, and ``unread`` says why.
    """

    question: str
    text: str
    seen: str
    told: str
    truth_known: bool
    answers: tuple[str, str, str]
    entropy: np.ndarray
    logprob: np.ndarray
    followed: int
    margin: np.ndarray
    unread: str = ""

    @property
    def relative(self) -> float:
        """dH_rel = 2 (H_t - H_v) / (H_t + H_v), in [-2, 2]: below zero where the model is surer in the text."""
        return float(many.relative_uncertainty(self.entropy[0], self.entropy[1]))

    @property
    def right(self) -> tuple[bool, bool]:
        """Whether the text alone gives what it says, and the picture alone what it shows."""
        text, picture = (many.follows(answer, self.seen, self.told) for answer in self.answers[:2])
        return text == 1, picture == 0

    @property
    def switched(self) -> np.ndarray:
        """Bool ``[layers]``: the first layers of a new lead."""
        return many.switched(self.margin)

    def table(self) -> Table:
        rows = [["margin", layer, "", "", value] for layer, value in enumerate(self.margin, 1)]
        for side, answer, entropy, chances in zip(SIDES, self.answers, self.entropy, self.probability, strict=True):
            names = zip((self.seen, self.told), chances, strict=True)
            rows += [["entropy", None, side, answer, entropy], *(["probability", None, side, *pair] for pair in names)]
        return Table(["what", "layer", "from", "answer", "value"], rows)

    def to_json(self) -> dict:
        sides = zip(SIDES, self.answers, self.entropy, self.probability, strict=True)
        return plain({
            "question": self.question, "text": self.text, "seen": self.seen, "told": self.told,
            "truth_known": self.truth_known,
            "from": [{"side": s, "answer": a, "entropy": h, "seen": p, "told": q} for s, a, h, (p, q) in sides],
            "followed": {1: "text", 0: "picture", -1: "neither"}[self.followed],
            "relative_uncertainty": self.relative, "margin": self.margin,
            "switches": int(self.switched.sum()) if len(self.margin) else None, "unread": self.unread,
            "provenance": self.provenance,
        })


def conflict(
    model: "MLLM", picture: Image.Image | None, question: str, text: str = "", seen: str = "", told: str = "",
    checkpoint: str = BASE, known: "Known | None" = None,
    progress: Callable[[float, str], None] = lambda share, what: None,
) -> Conflict:
    """Ask ``question`` from a ``text`` alone, from ``picture`` alone, from both.

    ``seen`` is what the picture says, ``told`` what the text says, as answers. Left empty, ``seen`` is the known truth
    or else the model's own answer, ``told`` another option, and ``text`` a sentence that says ``told``.
    ``progress`` is told the share done; what it raises stops the work. Raises ``InputError`` where there is no picture,
    nothing else to say, or both say the same; ``ModelError`` where memory is short.
    """
    began = time.perf_counter()
    if picture is None:
        raise InputError("There is no picture, so nothing can contradict the text. Choose one at the top.")
    text, seen, told = (value.strip() for value in (text, seen, told))
    turn = known.turn(question) if known else None
    truth = None if turn is None else turn.answer
    if not (text and seen and told):
        asked = ask(
            model, picture, question, checkpoint, (seen, told) if seen and told else (), Settings(), known,
            lambda share: progress(0.4 * share, "finding what could be said instead"),
        )
        options, case = asked.options, asked.case
        meaning = dict(zip(options.texts, options.meanings, strict=True))
        seen = seen or options.texts[case.target]
        if not told:
            likeliest = np.argsort(-asked.logprob, kind="stable").tolist()
            ranked = [options.texts[i] for i in (case.wrong, *likeliest) if i is not None]
            told = next((t for t in ranked if meaning.get(t, t).casefold() != meaning.get(seen, seen).casefold()), "")
        if not told:
            raise InputError("The model has no second answer to this that the text could say: type one.")
        truth = None if options.truth is None else options.texts[options.truth]
        if not text:  # in the wording that the embedded default was taught to read
            says = meaning.get(told, told)
            concept = CONCEPTS.get(says)
            text = TEXTS["direct"].format(a=concept.a) if concept else f"Text: {statement(says, case)}"
    if seen.casefold() == told.casefold():
        raise InputError(f"Picture and text both say “{seen}”: let the text say another thing.")
    if (longest := max(len(seen), len(told))) > _LONGEST:
        raise InputError(f"An answer has {longest} characters; at most {_LONGEST} are read: shorten it.")
    asked = question.strip()
    progress(0.4, "asking from either side and from both")
    both = f"{text} {asked}"
    prompts = [model.encode(None, both), model.encode(picture, asked), model.encode(picture, both)]
    entropy = many.entropies(model, prompts, checkpoint, 1)
    logprob = logprobs(model, prompts, (seen, told), checkpoint)
    progress(0.6, "writing three answers")
    answers = tuple(model.answers(prompts, checkpoint, many.TOKENS))
    progress(0.8, "listening in between the layers")
    firsts = [model.encoder.continuation(prompts[2], word)[0] for word in (seen, told)]
    margin, unread = np.zeros(0), ""
    if firsts[0] == firsts[1]:
        unread = (
            f"“{seen}” and “{told}” begin with the same token, so the lens cannot tell them apart there. Choose "
            "answers that begin differently"
        )
    else:
        try:
            (margin,) = many.margins(model, prompts[2:], np.array([firsts]), checkpoint, 1)
        except ModelError as error:  # the rest was measured
            unread = str(error).rstrip(".")
    return Conflict(
        provenance=Provenance(**model.provenance(checkpoint, seconds=time.perf_counter() - began)),
        question=question, text=text, seen=seen, told=told,
        truth_known=truth is not None and seen.casefold() == truth.casefold(), answers=answers, entropy=entropy,
        logprob=logprob, followed=many.follows(answers[2], seen, told), margin=margin, unread=unread,
    )  # fmt: skip
