"""What one question through time says, in plain words."""

from typing import TYPE_CHECKING

import numpy as np

from analysis.forgetting.probe.measure import ESSENTIAL, KEPT, NEVER, OPEN, SUPERFICIAL
from analysis.wording import listed, percent

if TYPE_CHECKING:
    from analysis.forgetting.probe.measure import Probe

_WORDS = 6  # of an answer that is quoted: the table has all of it
_MOVED = 0.03  # of the attention: less is about as much


def sentence(found: "Probe") -> str:
    """When the answer was lost, to which form, and whether the truth stays likely; then where attention went."""
    told = _of_truth(found) if found.truth else _of_answers(found)
    return " ".join(part for part in (told, _attention(found)) if part)


def _of_answers(found: "Probe") -> str:
    """What can be said without knowing what is true."""
    last, forms = found.last, found.styles[: found.trained]
    said = f"{_quoted(found, 0, 'The base answers')}; {_quoted(found, last, f'after {found.checkpoints[last]} it is')}."
    changes = [i for i in range(1, found.trained) if forms[i] != forms[i - 1]]
    if changes:
        steps = [f"{found.checkpoints[i]} ({forms[i - 1]} to {forms[i]})" for i in changes]
        said += f" The form changes with {listed(steps)}."
    else:
        said += " No task changed its form."
    return f"{said} Tell the true answer to see whether it stays likely."


def _of_truth(found: "Probe") -> str:
    last, right, where = found.last, found.right, found.checkpoints
    truth = f"the truth, “{found.truth}”,"
    if found.verdict == NEVER:
        best = int(np.argmax(found.probability[: found.trained]))
        return (
            "No checkpoint of the training answers this right, so nothing could be lost. The answer begins with "
            f"{truth} with a probability of at most {percent(found.probability[best])} ({_at(found, best)})."
        )
    if found.verdict == KEPT:
        wrong = [_at(found, i) for i in range(int(np.argmax(right)) + 1, last) if not right[i]]
        between = f", though it is wrong {listed(wrong)}" if wrong else ""
        return (
            f"Not lost: after {where[last]}, the last task, the answer is right{between}. There it begins with {truth} "
            f"with a probability of {percent(found.probability[last])} ({percent(found.probability[0])} "
            f"{_at(found, 0)})."
        )
    before, lost = found.lost - 1, found.lost
    said = f"Last right {_at(found, before)} and wrong since {_quoted(found, lost, f'{where[lost]}, which answers')}."
    if lost != last:
        said += f" {_quoted(found, last, f'At the end, {_at(found, last)}, it is')}."
    said += (
        f" There the answer begins with {truth} with a probability of {percent(found.probability[last])} "
        f"({percent(found.probability[before])} {_at(found, before)})."
    )
    return f"{said} {_verdict(found)}"


def _verdict(found: "Probe") -> str:
    """Superficial or essential, for this one item."""
    form, asked = found.styles[found.last], found.style
    if form == asked:
        said = f"The asked form ({asked}) stayed and the fact is wrong: for this item the loss is {ESSENTIAL}."
        if found.likeliest[found.last]:
            share, count = percent(found.among[found.last, 0]), len(found.options)
            said += f" Among {count} options the true one is still the likeliest ({share})"
            among = found.answers[found.last].lower() in [option.lower() for option in found.options]
            said += "." if among else ", and its answer is none of them."
        return said
    if found.verdict == OPEN:
        return (
            f"It is in another form than asked ({form} in place of {asked}); give options to see whether the truth "
            "still is the likeliest among them."
        )
    share, count = percent(found.among[found.last, 0]), len(found.options)
    if found.verdict == SUPERFICIAL:
        return (
            f"It is in another form than asked ({form} in place of {asked}), and among {count} options the true one is "
            f"still the likeliest ({share}): for this item the loss is {SUPERFICIAL}."
        )
    return (
        f"It is in another form than asked ({form} in place of {asked}), and even among {count} options the true one "
        f"({share}) is not the likeliest: for this item the loss is {ESSENTIAL}."
    )


def _attention(found: "Probe") -> str:
    """What became of the attention on the picture while the answer is written."""
    if not found.picture or np.isnan(found.attention[[0, found.last], 0]).any():
        return ""
    first, last = found.attention[[0, found.last], 0]
    change = "about as much" if abs(last - first) < _MOVED else "more" if last > first else "less"
    return f"While it answers it looks at the picture with {percent(last)} of its attention at the end, {change}" + (
        f" {'as' if change == 'about as much' else 'than'} the base ({percent(first)})."
    )


def _quoted(found: "Probe", i: int, who: str) -> str:
    words = found.answers[i].split()
    told = " ".join(words[:_WORDS]) + ("…" if len(words) > _WORDS else "")
    return f"{who} {f'“{told}”' if told else 'nothing'} ({found.styles[i]})"


def _at(found: "Probe", i: int) -> str:
    """``at the base`` or ``after naming``."""
    return f"after {found.checkpoints[i]}" if i else "at the base"
