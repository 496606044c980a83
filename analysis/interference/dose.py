"""Dose and response: one perturbation from nothing to full strength, and what a second modality adds meanwhile."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from analysis.interference.measure import Chances, Settings, ask, probability, scored, with_picture, with_sentence
from analysis.interference.perturbations import Unfit, facts, noisy, occluded, statement, statements
from analysis.interference.pgd import attack
from analysis.result import Provenance, Result, plain
from analysis.table import Table
from models.checkpoints import BASE
from models.errors import InputError
from models.segments import Modality

if TYPE_CHECKING:
    from analysis.bar import Known
    from models.mllm import MLLM

STEPS = 8
"""Strengths above zero; also how many sentences full strength is."""


@dataclass(frozen=True)
class Kind:
    """One dose. ``most`` is the amount at strength 1, in ``unit``; of an attack's epsilon the visitor's setting.

    One of the others is set: ``weaken(picture, strength, seed)``, ``say(case, count)``, or the attacked ``modality``.
    """

    name: str
    title: str
    unit: str
    most: float | None = 1.0
    weaken: Callable[[Image.Image, float, int], Image.Image] | None = None
    say: Callable[..., list[str]] | None = None
    modality: Modality | None = None


KINDS = {
    kind.name: kind
    for kind in (
        Kind("noise", "Noise in the picture", "share of noise", weaken=noisy),
        Kind("occlusion", "Covered part of the picture", "share covered", weaken=occluded),
        Kind("facts", "Unrelated facts", "sentences", float(STEPS), say=facts),
        Kind("statements", "Misleading statements", "sentences", float(STEPS), say=statements),
        Kind("pgd-image", "Attack on image tokens", "epsilon", None, modality=Modality.IMAGE),
        Kind("pgd-text", "Attack on question tokens", "epsilon", None, modality=Modality.QUESTION),
    )
}


@dataclass(frozen=True, kw_only=True)
class Dose(Chances, Result):
    """Option log-probabilities by strength; it grows while it is measured, ``done`` says when it is whole.

    ``strength`` ``[s]`` from 0 (the origin) to 1, ``amount`` the same in ``unit``; ``logprob`` float64
    ``[s, options]``, nats. ``target`` is the right option where ``truth_known``, else the origin's likeliest.
    ``helped`` ``[s, options]`` is the same with ``hint`` in front of the question, a sentence that names the target: a
    true one where ``truth_known``. Only for doses that weaken the picture, empty for others.
    """

    kind: str
    title: str
    unit: str
    question: str
    checkpoint: str
    options: tuple[str, ...]
    labels: tuple[str, ...]
    target: int
    truth_known: bool
    strength: np.ndarray
    amount: np.ndarray
    logprob: np.ndarray
    helped: np.ndarray
    hint: str = ""
    done: bool = False

    @property
    def best(self) -> int:
        """Index of the option that is likeliest at strength 0."""
        return int(self.logprob[0].argmax())

    @property
    def flipped(self) -> int | None:
        """Index of the first measured strength at which another option is the likeliest; None where none is."""
        return next((i for i, row in enumerate(self.logprob) if int(row.argmax()) != self.best), None)

    @property
    def flip(self) -> float:
        """The strength at which another option first becomes the likeliest, between two measured ones by a straight
        line through the lead in probability; not-a-number where none does.
        """
        i = self.flipped
        if i is None:
            return float("nan")
        leads = self.probability[i - 1 : i + 1]
        before, after = leads[:, self.best] - np.delete(leads, self.best, axis=1).max(axis=1)
        share = before / (before - after) if before > after else 1.0
        return float(self.strength[i - 1] + share * (self.strength[i] - self.strength[i - 1]))

    @property
    def cue(self) -> np.ndarray:
        """Probability of the target from the weakened picture alone ``[s]``."""
        return self.probability[:, self.target]

    @property
    def gain(self) -> np.ndarray:
        """What the hint adds to ``cue`` ``[s]``, probability; empty without a hint."""
        return probability(self.helped)[:, self.target] - self.cue if self.helped.size else np.zeros(0)

    @property
    def odds_gain(self) -> np.ndarray:
        """What the hint adds in log-odds of the target against the other options ``[s]``, nats: there is no ceiling
        there. Empty without a hint, or with one option.
        """
        if not self.helped.size or len(self.options) < 2:
            return np.zeros(0)
        odds = [
            logprob[:, self.target] - np.logaddexp.reduce(np.delete(logprob, self.target, axis=1), axis=1)
            for logprob in (self.helped, self.logprob)
        ]
        return odds[0] - odds[1]

    def table(self) -> Table:
        header = ["strength", "amount", "unit", "option", "probability", "logprob", "probability_with_hint"]
        helped = probability(self.helped) if self.helped.size else np.full(self.logprob.shape, np.nan)
        rows = [
            [s, amount, self.unit, option, p, q, h]
            for s, amount, *row in zip(self.strength, self.amount, self.probability, self.logprob, helped, strict=True)
            for option, p, q, h in zip(self.options, *row, strict=True)
        ]
        return Table(header, rows)

    def to_json(self) -> dict:
        return plain({
            "kind": self.kind, "unit": self.unit, "question": self.question, "options": self.options,
            "target": self.options[self.target], "truth_known": self.truth_known, "strength": self.strength,
            "amount": self.amount, "probability": self.probability, "flip": self.flip, "hint": self.hint,
            "cue": self.cue, "gain": self.gain, "odds_gain": self.odds_gain, "provenance": self.provenance,
        })


def respond(
    model: "MLLM", picture: Image.Image | None, question: str, kind: str = "noise", checkpoint: str = BASE,
    given: Sequence[str] = (), settings: Settings | None = None, known: "Known | None" = None,
    progress: Callable[[float, str], None] = lambda share, what: None,
) -> Iterator[Dose]:
    """The response to ``STEPS + 1`` strengths of one dose of ``KINDS``; of an attack after each strength.

    Strength 0 is the origin itself: its numbers are the same to the last bit. ``progress`` is told the share done and
    what comes next; what it raises stops the work. Raises ``InputError`` where the dose is unknown or cannot be given
    to this question (noise in a picture where there is none).
    """
    began = time.perf_counter()
    settings = settings or Settings()
    if kind not in KINDS:
        raise InputError(f"There is no dose {kind!r}. There are: {', '.join(KINDS)}.")
    dose = KINDS[kind]
    if picture is None and (dose.weaken or dose.modality is Modality.IMAGE):
        raise InputError(f"{dose.title}: there is no picture. Choose one, or another dose.")
    progress(0.0, "asking")
    strengths = STEPS + 1
    asked = ask(
        model, picture, question, checkpoint, given, settings, known,
        lambda share: progress(share / strengths, "finding options"),
    )
    options, target = asked.options, asked.case.target
    strength, most = np.linspace(0, 1, strengths), settings.attack.epsilon if dose.most is None else dose.most

    def measured(logprob: Sequence[np.ndarray], helped: Sequence[np.ndarray] = (), hint: str = "") -> Dose:
        took = model.provenance(checkpoint, settings.seed, time.perf_counter() - began)
        there = strength[: len(logprob)]
        return Dose(
            provenance=Provenance(**took), kind=kind, title=dose.title, unit=dose.unit, question=question,
            checkpoint=checkpoint, options=options.texts, labels=options.labels, target=target,
            truth_known=options.truth is not None, strength=there, amount=most * there, logprob=np.stack(logprob),
            helped=np.reshape(helped, (-1, len(options.texts))), hint=hint, done=len(logprob) == strengths,
        )

    if dose.modality is not None:
        logprob = [asked.logprob]
        for i, share in enumerate(strength[1:].tolist()):
            told = lambda part, i=i, share=share: progress((1 + i + part) / strengths, f"strength {share:.2f}")  # noqa: E731
            full = settings.attack
            weaker = replace(full, epsilon=full.epsilon * share, step_size=full.step_size * share)
            where = dose.modality, options.texts, target, checkpoint, weaker
            attacked = attack(model, asked.origin, *where, told=told).encoded
            logprob += [*scored(model, asked, [attacked], checkpoint)]
            yield measured(logprob)
        return
    prompts, hint = [], ""
    for share in strength[1:].tolist():
        if dose.weaken:
            prompts.append(with_picture(model, asked, dose.weaken(picture, share, settings.seed)))
            continue
        try:
            sentences = dose.say(asked.case, round(share * STEPS))
        except Unfit as error:
            raise InputError(f"{dose.title}: {error}.") from error
        prompts.append(with_sentence(model, asked, " ".join(sentences)))
    if dose.weaken:
        hint = statement(options.meanings[target], asked.case)
        clear = with_sentence(model, asked, hint)
        prompts += [clear, *(clear.with_image(dose.weaken(picture, s, settings.seed)) for s in strength[1:].tolist())]
    values = scored(
        model, asked, prompts, checkpoint, lambda share: progress((1 + share * STEPS) / strengths, "all strengths")
    )
    yield measured([asked.logprob, *values[:STEPS]], values[STEPS:], hint)
