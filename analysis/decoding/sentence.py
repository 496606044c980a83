"""The plain sentence under the answers: whether they part, who names what is not there, what the locator did."""

from typing import TYPE_CHECKING

from analysis.wording import listed, plural

if TYPE_CHECKING:
    from analysis.decoding.measure import Decoding, Written


def sentence(found: "Decoding") -> str:
    """What was seen, in plain words, whatever it was."""
    parts = [_apart(found), _true(found), _locator(found)]
    parts += [f"{w.title}: {w.note}" for w in found.strategies if w.note and not w.steps]
    return " ".join(p for p in parts if p)


def _apart(found: "Decoding") -> str:
    written = [w for w in found.strategies if w.steps or not w.note]
    if not written:
        return ""
    if len(written) == 1:
        return f"{written[0].title} answers “{written[0].text}”."
    at = found.first_divergence
    if at is None:
        return f"All {len(written)} strategies write the same: “{written[0].text}”."
    groups: dict[str, list[str]] = {}
    for w in written:
        going = f"“{w.steps[at].token.strip() or '␣'}”" if at < len(w.steps) else "the end"
        groups.setdefault(going, []).append(w.title)
    told = "; ".join(f"{listed(titles)} with {token}" for token, titles in groups.items())
    return f"The answers part at word piece {at + 1}: {told}."


def _true(found: "Decoding") -> str:
    if found.there is None:
        return "What is in the picture is not known here, so no word is marked as wrong."
    wrong = {w.title: sorted({m.name for m in w.invented}) for w in found.strategies if w.steps}
    guilty = [f"{title} ({', '.join(names)})" for title, names in wrong.items() if names]
    clean = [title for title, names in wrong.items() if not names]
    if not guilty:
        return "None of them says that something is there that is not." if len(clean) > 1 else (
            "It says of nothing that it is there when it is not."
        )  # fmt: skip
    said = f"Said to be there although it is not: by {listed(guilty)}"
    return f"{said}; by {listed(clean)}, nothing." if clean else f"{said}."


def _locator(found: "Decoding") -> str:
    inter, greedy = found.of("inter"), found.of("greedy")
    if inter is None or not inter.steps:
        return ""
    if not found.picture:
        return "There is no picture, so picture and question cannot interact, and INTER answers as greedy does."
    fires, changed = inter.fired(found.threshold), inter.changed(found.threshold)
    k = f"k = {found.threshold:g}"
    if not any(fires):
        most = max(m.variance for m in inter.moments)
        return f"INTER's locator never fires: the variance of the interaction stays below {k} (largest: {most:.2g})."
    said = f"INTER's locator fires at {sum(fires)} of {plural(len(fires), 'step')} ({k})"
    if not changed:
        return (
            f"{said}, and changes no word: picture and question together only strengthen what was the likeliest anyway."
        )
    said += f" and changes the choice at {len(changed)} of them"
    return f"{said}{_effect(inter, greedy)}."


def _effect(inter: "Written", greedy: "Written | None") -> str:
    """Whether that helped, where greedy is there to compare with."""
    if greedy is None or not greedy.steps:
        return ""
    before, after = ({m.name for m in w.invented} for w in (greedy, inter))
    gone, new = sorted(before - after), sorted(after - before)
    parts = []
    if gone:
        parts.append(f"which takes back {listed(gone)}")
    if new:
        parts.append(f"which brings in {listed(new)}, not there")
    return ", " + " and ".join(parts) if parts else ""


PREDICTED = ("yes", "no")
"""What ``outcome`` can be."""


def outcome(found: "Decoding") -> str | None:
    """Whether INTER's answer is another than greedy's; None until both are there."""
    inter, greedy = found.of("inter"), found.of("greedy")
    if not found.done or inter is None or greedy is None:
        return None
    return PREDICTED[0] if inter.text != greedy.text else PREDICTED[1]
