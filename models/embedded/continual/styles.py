"""Answer style diversification (SEFE, arXiv 2505.02486): a task's question put into another answer style.

Five styles, as there: yes/no, multiple choice, short answer, brief explanation, detailed explanation. Where the paper
has a language model rewrite the data, questions about scenes are rewritten by rule: what is asked and what is true
stay the same.
"""

import numpy as np

from models.answers import options_in
from models.embedded import phrases as P
from models.embedded import questions as Q
from models.embedded.concepts import CONCEPTS
from models.embedded.scenes import Scene

STYLES = ("yes/no", "multiple choice", "short answer", "brief explanation", "detailed explanation")
_LETTERS = "ABCD"


def rewritten(rng: np.random.Generator, turn: Q.Turn, scene: Scene, pool, style: str) -> Q.Turn:
    """``turn`` about ``scene`` in one of ``STYLES``; as it is where that is its style already, or none fits.

    ``pool`` are the concept names that wrong answers are drawn from.
    """
    if style == "yes/no":
        return _yes_or_no(rng, turn, scene, pool)
    if style == "multiple choice":
        return _multiple_choice(rng, turn, scene, pool)
    if style == "short answer":
        return _short(rng, turn, scene)
    brief = _explained(turn, scene)
    if brief is None:
        return turn
    if style == "detailed explanation" and turn.style != "sentence":
        brief = f"{brief} {Q.caption_text(scene)}"
    return Q.Turn(f"{turn.question} {_pick(rng, P.FORMAT['sentence'])}", brief, "sentence")


def _pick(rng, sequence):
    return sequence[rng.integers(len(sequence))]


def _fact(turn: Q.Turn) -> str:
    """What is true, without the form: of a letter the option's text."""
    return options_in(turn.question).get(turn.answer, turn.answer) if turn.style == "letter" else turn.answer


def _wrong(rng, turn: Q.Turn, scene: Scene, pool) -> list[str]:
    """Three untrue answers of the same kind, or fewer."""
    if turn.style == "numeral":
        return [str(n) for n in rng.permutation(5) if str(n) != turn.answer][:3]
    if turn.style == "letter":
        texts = options_in(turn.question)
        return [text for letter, text in texts.items() if letter != turn.answer]
    if turn.style == "box":
        corners = rng.uniform(0, 0.7, (3, 2))
        return [Q.box_text((*corner, *(corner + rng.uniform(0.2, 0.3, 2)))) for corner in corners]
    if turn.style == "yes/no":
        return ["no" if turn.answer == "yes" else "yes"]
    others = rng.permutation([n for n in pool if n not in scene.counts])[:3].tolist()
    if turn.style == "sentence":
        name = _pick(rng, list(scene.counts))
        return [turn.answer.replace(CONCEPTS[name].a, CONCEPTS[other].a) for other in others[:1]]
    return others


def _yes_or_no(rng, turn, scene, pool) -> Q.Turn:
    wrong = [text for text in _wrong(rng, turn, scene, pool) if text != _fact(turn)]
    if turn.style == "yes/no" or not wrong:
        return turn
    truth = rng.random() < 0.5
    claimed = _fact(turn) if truth else _pick(rng, wrong)
    question = f"{turn.question} Is it this: {claimed.rstrip('.')}? {_pick(rng, P.FORMAT['yes/no'])}"
    return Q.Turn(question, "yes" if truth else "no", "yes/no", ("yes", "no"))


def _multiple_choice(rng, turn, scene, pool) -> Q.Turn:
    wrong = [text for text in _wrong(rng, turn, scene, pool) if text != _fact(turn)]
    if turn.style == "letter" or not wrong:
        return turn
    texts = [str(text) for text in rng.permutation([_fact(turn), *wrong])]
    options = " ".join(f"{letter}. {text.rstrip('.')}" for letter, text in zip(_LETTERS, texts, strict=False))
    letter = _LETTERS[texts.index(_fact(turn))]
    return Q.Turn(f"{turn.question} {options}", letter, "letter", tuple(_LETTERS[: len(texts)]))


def _short(rng, turn, scene: Scene) -> Q.Turn:
    """A word or a few: of a letter its option's text, of a caption what is there most."""
    if turn.style == "letter":
        return Q.Turn(f"{turn.question} {_pick(rng, P.FORMAT['word'])}", _fact(turn), "word")
    if turn.style == "sentence":
        return Q.Turn(
            f"{turn.question} {_pick(rng, P.FORMAT['word'])}", max(scene.counts, key=scene.counts.get), "word"
        )
    return turn


def _explained(turn: Q.Turn, scene: Scene) -> str | None:
    """One sentence that holds the fact; None where the question alone does not tell what was asked about."""
    if turn.style == "word" and turn.answer in CONCEPTS:
        return f"This is {CONCEPTS[turn.answer].a}."
    if turn.style == "letter" and _fact(turn) in CONCEPTS:
        return f"This is {CONCEPTS[_fact(turn)].a}."
    asked = next((c for c in CONCEPTS.values() if _names(turn.question, c)), None)
    if turn.style == "sentence":
        return turn.answer
    if asked is None:
        return None
    if turn.style == "yes/no":
        return f"Yes, there is {asked.a}." if turn.answer == "yes" else f"No, there is no {asked.name}."
    if turn.style == "box":
        item = next((i for i in scene.items if i.name == asked.name), None)
        return f"The {asked.name} is {Q.at(item.zone)}." if item else None
    if turn.style == "numeral":
        number = int(turn.answer)
        amount = f"{Q.NUMBERS[number]} {asked.name if number == 1 else asked.plural}"
        return f"There {'is' if number == 1 else 'are'} {amount}."
    return None


def _names(question: str, concept) -> bool:
    words = f" {question.lower().rstrip('?.!')} ".replace(",", " ").replace(":", " ")
    return f" {concept.name} " in words or f" {concept.plural} " in words
