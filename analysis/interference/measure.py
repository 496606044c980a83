"""One question, disturbed in several ways: what happens to the probability of each option."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from analysis.interference.options import Options, options_for, proposed
from analysis.interference.perturbations import ALL, DEFAULT, Case, Perturbation, Side, picked, should_change
from analysis.interference.pgd import Attack, attack
from analysis.interference.scoring import logprobs
from analysis.result import Provenance, Result, plain
from analysis.table import Table
from models.checkpoints import BASE
from models.errors import InputError, ModelError, OutOfMemory

if TYPE_CHECKING:
    from analysis.bar import Known
    from models.encoding import Encoded
    from models.mllm import MLLM

_THUMBNAIL = 96  # pixels kept of a perturbed picture
_AT_ONCE = 8  # prompts scored before progress is told again


@dataclass(frozen=True)
class Settings:
    """What a visitor may set: a ``sentence`` and a ``picture`` of her own, the share of the picture that is covered,
    the strength of attacks, and the seed of noise, covered cells, facts and scenes.

    Raises ``InputError`` where ``occluded`` is no share, or ``seed`` no whole number from 0.
    """

    sentence: str = ""
    picture: Image.Image | None = None
    occluded: float = 0.5
    attack: Attack = field(default_factory=Attack)
    seed: int = 0

    def __post_init__(self):
        if not 0 <= self.occluded <= 1:
            raise InputError(f"The covered share is {self.occluded!r}: it must be from 0 to 1.")
        if self.seed != int(self.seed) or self.seed < 0:
            raise InputError(f"The seed is {self.seed!r}: it must be a whole number from 0.")
        object.__setattr__(self, "seed", int(self.seed))


class Chances:
    """What follows from ``logprob``, float64 ``[..., options]``, nats."""

    logprob: np.ndarray

    @property
    def probability(self) -> np.ndarray:
        """Softmax over the options ``[..., options]``."""
        return probability(self.logprob)

    @property
    def best(self) -> int:
        """Index of the likeliest of ``[options]``."""
        return int(self.logprob.argmax())


@dataclass(frozen=True)
class Effect(Chances):
    """What one perturbation did. ``text`` is the sentence that was put in front, ``picture`` a thumbnail of what
    the model saw instead, stretched to the origin's shape (None where the picture stayed).

    ``logprob`` float64 ``[options]``, nats; ``flipped`` where another option than the origin's is likeliest;
    ``js`` is the Jensen-Shannon divergence between the option distributions, bits (0 to 1); ``delta_logprob`` the
    change of the target's log-probability, nats. ``loss`` ``[steps + 1]``, nats, is that of an attack. ``should`` is
    whether a right answer would change (``perturbations.should_change``).
    """

    name: str
    title: str
    side: Side
    logprob: np.ndarray
    flipped: bool
    js: float
    delta_logprob: float
    text: str = ""
    picture: Image.Image | None = None
    loss: np.ndarray | None = None
    should: bool | None = False


@dataclass(frozen=True, kw_only=True)
class Interference(Chances, Result):
    """The option probabilities of a question as it was asked, and under each perturbation.

    ``logprob`` float64 ``[options]``, nats, is the origin's. ``target`` is the option that changes are told of: the
    right one where ``truth_known``, else the origin's likeliest. ``proposed`` where the options are the model's own
    answers. ``left_out``: (title, reason) of what could not be done. ``waiting``: titles of attacks still to come.
    """

    question: str
    checkpoint: str
    options: tuple[str, ...]
    labels: tuple[str, ...]
    proposed: bool
    target: int
    truth_known: bool
    logprob: np.ndarray
    effects: tuple[Effect, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    waiting: tuple[str, ...] = ()

    @property
    def idle(self) -> list[Effect]:
        """What should not change the answer: a flip by one of these is interference."""
        return [e for e in self.effects if e.should is False]

    def table(self) -> Table:
        header = ["condition", "side", "option", "probability", "logprob", "flipped", "js_bits", "delta_logprob_nats",
                  "should_change"]
        told = [(["origin", ""], self, [""] * 4)]
        told += [([e.name, e.side], e, [e.flipped, e.js, e.delta_logprob, e.should]) for e in self.effects]
        return Table(header, [[*a, *option.values(), *b] for a, of, b in told for option in self._options(of)])

    def _options(self, of: Chances) -> list[dict]:
        cells = zip(self.options, of.probability, of.logprob, strict=True)
        return [{"text": text, "probability": p, "logprob": q} for text, p, q in cells]

    def to_json(self) -> dict:
        return plain({
            "question": self.question, "target": self.options[self.target], "truth_known": self.truth_known,
            "proposed": self.proposed, "origin": {"options": self._options(self)},
            "perturbations": [
                {"name": e.name, "side": e.side, "text": e.text, "options": self._options(e), "flipped": e.flipped,
                 "should_change": e.should, "js": e.js, "delta_logprob": e.delta_logprob, "loss": e.loss}
                for e in self.effects
            ],
            "left_out": [{"title": title, "reason": reason} for title, reason in self.left_out],
            "waiting": self.waiting, "provenance": self.provenance,
        })


@dataclass(frozen=True)
class Asked:
    """A question as it was asked: its prompt, its options with their log-probability (nats), what may be done to it."""

    origin: "Encoded"
    options: Options
    logprob: np.ndarray
    case: Case


def interfere(
    model: "MLLM", picture: Image.Image | None, question: str, checkpoint: str = BASE, given: Sequence[str] = (),
    names: Sequence[str] = DEFAULT, settings: Settings | None = None, known: "Known | None" = None,
    progress: Callable[[float, str], None] = lambda share, what: None,
) -> Iterator[Interference]:
    """The effect of the perturbations ``names`` (of ``perturbations.ALL``): first all but the attacks, in as few
    forwards as their lengths allow, then again after each attack.

    Options as in ``options_for``. Sentences go in front of the question. A picture goes in the place of the one
    that was there, at its size; where there was none it is added. What cannot be done, or read by the model, is left
    out with its reason. ``progress`` is told the share done and what comes next; what it raises stops the work.
    Raises ``InputError`` for an empty question or an unknown name, ``CheckpointError`` or ``ModelError`` for an
    unknown checkpoint.
    """
    began = time.perf_counter()
    settings = settings or Settings()
    chosen = picked(names, ALL, "perturbation", "perturbation")
    attacks = [p for p in chosen if p.modality is not None]

    def told(done: float, what: str) -> None:
        progress(done / (1 + len(chosen)), what.lower())

    told(0, "asking")
    asked = ask(
        model, picture, question, checkpoint, given, settings, known, lambda share: told(share, "finding options")
    )
    made, effects, left_out = [], [], []

    def so_far(waiting: Sequence[Perturbation]) -> Interference:
        took = model.provenance(checkpoint, settings.seed, time.perf_counter() - began)
        options = asked.options
        return Interference(
            provenance=Provenance(**took), question=question, checkpoint=checkpoint, options=options.texts,
            labels=options.labels, proposed=options.source == "proposed", target=asked.case.target,
            truth_known=options.truth is not None, logprob=asked.logprob, effects=tuple(effects),
            left_out=tuple(left_out), waiting=tuple(p.title for p in waiting),
        )

    for perturbation in chosen:
        if perturbation.modality is not None:
            continue
        told(1, perturbation.title)
        try:
            what = perturbation.make(asked.case)
            if isinstance(what, str):
                prompt, shown = with_sentence(model, asked, what), {"text": what}
            else:
                thumbnail = what.convert("RGB").resize(asked.origin.size or what.size)  # as the model sees it
                thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
                prompt, shown = with_picture(model, asked, what), {"picture": thumbnail}
            made.append((perturbation, prompt, shown))
        except (InputError, ModelError) as error:  # the others can still be done
            left_out.append((perturbation.title, str(error).rstrip(".")))
    prompts, failed = [prompt for _, prompt, _ in made], {}
    read = scored(
        model, asked, prompts, checkpoint, lambda share: told(1 + share * len(made), "comparing options"), failed
    )
    left_out += [(made[i][0].title, reason) for i, reason in sorted(failed.items())]
    effects += [
        _effect(perturbation, asked, values, **shown)
        for i, ((perturbation, _, shown), values) in enumerate(zip(made, read, strict=True))
        if i not in failed
    ]
    yield so_far(attacks)
    for n, perturbation in enumerate(attacks):
        before = 1 + len(chosen) - len(attacks) + n
        step = lambda share, before=before, title=perturbation.title: told(before + share, title)  # noqa: E731
        step(0)
        if not bool((asked.origin.segments == perturbation.modality).any()):
            left_out.append((perturbation.title, "there is no picture to attack"))
        else:
            where = perturbation.modality, asked.options.texts, asked.case.target, checkpoint, settings.attack
            try:
                attacked = attack(model, asked.origin, *where, told=step)
                (values,) = scored(model, asked, [attacked.encoded], checkpoint)
                effects.append(_effect(perturbation, asked, values, loss=attacked.loss))
            except (InputError, ModelError) as error:  # the others can still be done
                left_out.append((perturbation.title, str(error).rstrip(".")))
        yield so_far(attacks[n + 1 :])


def _effect(perturbation: Perturbation, asked: Asked, logprob: np.ndarray, **shown) -> Effect:
    target, origin = asked.case.target, asked.logprob
    return Effect(
        perturbation.name, perturbation.title, perturbation.side, logprob,
        flipped=int(logprob.argmax()) != asked.case.best, js=jensen_shannon(probability(origin), probability(logprob)),
        delta_logprob=float(logprob[target] - origin[target]), should=should_change(perturbation, asked.case), **shown,
    )


def ask(
    model: "MLLM", picture: Image.Image | None, question: str, checkpoint: str, given: Sequence[str],
    settings: Settings, known: "Known | None", told: Callable[[float], None] = lambda share: None,
) -> Asked:
    """The undisturbed question. Its wrong option is the likeliest that does not mean the right one ("bees" for a bee)
    nor is, if there is a choice, what the model says anyway. ``told`` the share done while options are proposed; what
    it raises stops that.
    """
    origin = model.encode(picture, question)
    turn = known.turn(question) if known else None
    options = options_for(question, given, turn, lambda: proposed(model, origin, checkpoint, told=told))
    (logprob,) = logprobs(model, [origin], options.texts, checkpoint)
    best = int(logprob.argmax())
    target = best if options.truth is None else options.truth
    meanings = [meaning.casefold() for meaning in options.meanings]
    ranked = [int(i) for i in np.argsort(-logprob, kind="stable") if meanings[i] != meanings[target]]
    wrong = next((i for i in ranked if i != best), ranked[0] if ranked else None)
    case = Case(
        picture, question, options, best, target, wrong, settings.sentence, settings.picture, settings.occluded,
        settings.seed, frozenset(known.contents or ()) if known else frozenset(),
    )
    return Asked(origin, options, logprob, case)


def with_sentence(model: "MLLM", asked: Asked, sentence: str) -> "Encoded":
    """The question with a sentence in front of it."""
    return model.encode(asked.case.picture, f"{sentence} {asked.case.question.strip()}")


def with_picture(model: "MLLM", asked: Asked, picture: Image.Image) -> "Encoded":
    """The question about another picture; the very same prompt where it is the same picture."""
    if picture is asked.case.picture:
        return asked.origin
    return asked.origin.with_image(picture) if asked.case.picture else model.encode(picture, asked.case.question)


def scored(
    model: "MLLM", asked: Asked, prompts: Sequence["Encoded"], checkpoint: str,
    told: Callable[[float], None] = lambda share: None, failed: dict[int, str] | None = None,
) -> np.ndarray:
    """Log-probability of each option after each prompt ``[prompts, options]``, nats; the origin itself keeps its own
    numbers to the last bit.

    Read a few prompts of similar length at a time. ``told`` the share done before each few; what it raises stops it.
    With ``failed``, a prompt for which memory does not suffice is noted there, index to reason, and its row is
    not-a-number; without, ``OutOfMemory`` is raised.
    """
    fresh = sorted((i for i, p in enumerate(prompts) if p is not asked.origin), key=lambda i: prompts[i].length)
    values = np.tile(asked.logprob, (len(prompts), 1))
    for start in range(0, len(fresh), _AT_ONCE):
        told(start / len(fresh))
        some = fresh[start : start + _AT_ONCE]
        try:
            values[some] = logprobs(model, [prompts[i] for i in some], asked.options.texts, checkpoint)
            continue
        except OutOfMemory:
            if failed is None:
                raise
        for i in some:  # each alone, to tell those that cannot be read
            try:
                values[i] = logprobs(model, [prompts[i]], asked.options.texts, checkpoint)[0]
            except OutOfMemory as error:
                values[i], failed[i] = np.nan, str(error).rstrip(".")
    return values


def probability(logprob: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    shifted = np.exp(logprob - logprob.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence of two distributions, bits: 0 where they are the same, 1 where they share nothing."""
    middle = (p + q) / 2
    to_middle = [float((x[x > 0] * np.log2(x[x > 0] / middle[x > 0])).sum()) for x in (p, q)]
    return max(sum(to_middle) / 2, 0.0)
