"""What a split says, in plain words."""

from collections import Counter

from analysis.forgetting.split.result import SUPERFICIAL, Split
from analysis.wording import listed, percent

_FEW = 10  # items below which a share says little


def sentence(found: Split) -> str:
    """How much was lost, how much of it in form alone, and how sure that is."""
    whole, where = found.all, f"After {found.checkpoint}"
    if not whole.right:
        return "No answer was right after its own task, so none could be lost."
    if not whole.lost:
        return f"{where} all {whole.right} answers that were right after their own task are still right."
    lost = f"{where}, {whole.lost} of {whole.right} right answers are lost"
    if not whole.other_form:
        return f"{lost}, all in fact: each comes in the asked form, so every loss is essential, none superficial."
    hits = whole.superficial.count
    known = percent(whole.known.value * whole.right / whole.lost)
    said = f"{lost}: {percent(hits / whole.lost)} of them in form alone (superficial), the others in fact (essential)."
    comes = "comes" if whole.other_form == 1 else "come"
    said += (
        f" {whole.other_form} {comes} in another form than asked{_forms(found)}; asked again as a choice, the true "
        f"option is still the likeliest for {hits} (guesses would give {whole.luck:.0f}; corrected for that, {known} "
        "of all losses)."
    )
    if whole.other_form < _FEW:
        said += " So few say little about form."
    if most := _most(found):
        said += f" {most}"
    back, both = int(whole.agreement[:, 1].sum()), int(whole.agreement.trace())
    return (
        f"{said} With the asked form spelled out, {back} of the {whole.other_form} come back right; the two tests "
        f"agree on {percent(both / whole.other_form)} of them."
    )


def _forms(found: Split) -> str:
    """The form that took the place of the asked one most often."""
    forms = Counter(x.form for x in found.lost if x.options)
    form, most = forms.most_common(1)[0]
    return f" (most often: {form}, {most})" if len(forms) > 1 else f" ({form})"


def _most(found: Split) -> str:
    """The tasks whose losses are mostly superficial, where there are some and others are not."""
    some = [b for b in found.tasks if b.lost >= _FEW]
    mostly = [b.task for b in some if b.superficial.count > b.lost / 2]
    if not mostly or len(mostly) == len(some):
        return ""
    return f"Mostly {SUPERFICIAL} is what {listed(mostly)} lost."
