"""What a conflict shows, in plain words, whether or not the paper's law holds."""

from typing import TYPE_CHECKING

import numpy as np

from analysis.wording import between, brief, percent, plural, signed, verdict

if TYPE_CHECKING:
    from analysis.interference.conflict.balance import Fit, NearAndFar
    from analysis.interference.conflict.measure import Conflicts
    from analysis.interference.conflict.single import Conflict

_CLEARLY = 0.05  # of relative uncertainty: less is no difference


def sentence(found: "Conflicts") -> str:
    """What many conflicts show: who is followed, whether relative uncertainty tells, what happens between layers."""
    counted, total = int(found.counted.sum()), len(found.seen)
    if not counted:
        return (
            f"None of the {total} conflicts counts, so nothing can be told. For one to count, the text alone and the "
            f"picture alone must each be answered rightly ({percent(found.right_text.mean())} and "
            f"{percent(found.right_image.mean())} are), and the answer from both must name one of the two."
        )
    tfr = found.following_text
    said = (
        f"The answer follows the text in {percent(tfr.value)} of {plural(counted, 'conflict')} (95 % interval "
        f"{percent(tfr.low)} to {percent(tfr.high)}): {_LEANING[lean(found)]}. Of {total} drawn, only those count "
        "that are answered rightly from either side alone, and then follow one."
    )
    return " ".join(filter(None, [said, _law(found.fitted), _inside(found)]))


LEANS = ("the text", "the picture", "neither clearly")
"""What ``lean`` can be."""
_LEANING = dict(zip(LEANS, ("mostly the text", "mostly the picture", "no clear preference"), strict=True))


def lean(found: "Conflicts") -> str | None:
    """Which of ``LEANS`` is mostly followed; None where no item counts."""
    if not found.counted.any():
        return None
    tfr = found.following_text
    return LEANS[0] if tfr.low > 0.5 else LEANS[1] if tfr.high < 0.5 else LEANS[2]


def _law(curve: "Fit") -> str:
    if curve.reason:
        return f"No curve was fitted: {curve.reason}."
    of = curve.balance
    if np.isnan(of.low):
        return "Whether relative uncertainty matters cannot be told: the slope could be zero, so no balance point."
    numbers = f"{signed(of.value)} (95 % {between(of, 2, sign=True, times=1)})"
    if curve.beyond:
        measured = f"{signed(curve.start)} to {signed(curve.end)}"
        place = f"the balance point would be at {numbers}, beyond what was measured ({measured})"
    else:
        place = f"the balance point is at {numbers}"
    if curve.slope > 0:
        return f"Against the paper's law, the text is followed more where it is less sure; {place}."
    said = f"As in the paper, the surer the text, the more it is followed; {place}"
    if curve.start > 0 or curve.end < 0:
        sure = "less sure" if curve.start > 0 else "surer"
        return f"{said}. Every item is {sure} in the text, so nothing is known of equal certainty."
    lean = verdict(of, "towards the text", "towards the picture", "to neither side clearly")
    return f"{said}: at equal certainty it leans {lean}."


def _inside(found: "Conflicts") -> str:
    compared: NearAndFar | None = found.oscillation
    if compared is None:
        known = found.switches[found.counted & ~np.isnan(found.switches)]
        if not len(known):
            return ""
        return (
            f"Between layers the lead changes {known.mean():.2f} times on average (n = {len(known)}); near and far "
            "cannot be compared, for no balance point is located among enough items."
        )
    numbers = f"{compared.near:.2f} against {compared.far:.2f} (n = {compared.difference.n} each)"
    if compared.difference.low > 0:
        return f"Near the balance point the lead changes more often between layers than far from it: {numbers}."
    if compared.difference.high < 0:
        return f"Against the paper, the lead changes less often near the balance point than far from it: {numbers}."
    return (
        f"Changes of the lead between layers do not differ clearly near the balance point and far from it: {numbers}."
    )


SIDES = ("the picture", "the text", "neither")
"""What ``followed`` can be."""


def followed(found: "Conflict") -> str:
    """Which side the answer from both follows."""
    return SIDES[found.followed]


def single(found: "Conflict") -> str:
    """What one conflict shows: who is followed, which side was surer alone, and who led between the layers."""
    answer, chance = brief(found.answers[2].strip()), found.probability[2, 1]
    said = f"From both, the model answers “{answer}”" if answer else "From both, the model answers nothing"
    ahead = f"Of the two, “{found.told if chance > 0.5 else found.seen}” has {percent(max(chance, 1 - chance))} of the"
    whom = "neither side alone is followed" if found.followed < 0 else f"it follows {followed(found)}"
    parts = [f"{said}: {whom}.", f"{ahead} probability."]
    wrong = [side for side, right in zip(("the text", "the picture"), found.right, strict=True) if not right]
    if wrong:
        fails = "does not give" if len(wrong) == 1 else "do not give"
        parts.append(
            f"Beware: {' and '.join(wrong)} alone {fails} the answer that {'it' if len(wrong) == 1 else 'they'} "
            "should, so this is no clean conflict."
        )
    parts += [_surer(found), _oscillating(found)]
    return " ".join(parts)


def _surer(found: "Conflict") -> str:
    text, picture, relative = found.entropy[0], found.entropy[1], found.relative
    numbers = f"{text:.2f} nats from the text alone, {picture:.2f} from the picture alone, relative {signed(relative)}"
    if abs(relative) < _CLEARLY:
        return f"It is equally sure of either ({numbers})."
    surer, follows = ("text", 1) if relative < 0 else ("picture", 0)
    if found.followed < 0:
        return f"Alone, it is surer of the {surer} ({numbers})."
    how = "as the paper's law has it" if found.followed == follows else "yet the other side wins here"
    return f"Alone, it is surer of the {surer} ({numbers}), {how}."


def _oscillating(found: "Conflict") -> str:
    if found.unread:
        return f"What happens between the layers cannot be told: {found.unread}."
    last = found.told if found.margin[-1] > 0 else found.seen
    times = int(found.switched.sum())
    if not times:
        return f"Between the layers no struggle is visible: “{last}” leads after every layer."
    changes = "once" if times == 1 else f"{times} times"
    where = ", ".join(str(i) for i in np.flatnonzero(found.switched) + 1)
    return (
        f"Between the layers the lead changes {changes} (at layer {where} of {len(found.margin)}); “{last}” has it at "
        "the end."
    )
