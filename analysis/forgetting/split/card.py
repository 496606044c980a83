"""What the model card says of superficial and essential forgetting."""

from collections.abc import Sequence

from analysis.forgetting.split.reading import labelled, read
from analysis.forgetting.split.result import Became, Share, Split
from analysis.forgetting.split.sentence import sentence


def told(found: Sequence[Split]) -> str:
    """The section's Markdown, of any numbers; ``found`` are the splits of the methods, that of plain training first."""
    plain = found[0]
    of = read(labelled())
    right = of.n - len(of.misread)
    return "\n\n".join(
        [
            "### Superficial or essential",
            "Of the answers that were right after their own task, at the last task's end: *superficial* are those in "
            "another form than asked whose true option is still the likeliest when asked as a choice (log-probability "
            "of its tokens, summed; of captions the mean), *essential* all other lost ones. *Corrected*: less what "
            "guessing among the options would put on top. *Back*: lost answers in another form that are right once the "
            "form is spelled out. Brackets are 95 % intervals (Wilson; a bootstrap for the corrected share); one "
            f"training seed. The style parser reads {right} of {of.n} labelled answers as labelled.",
            table({split.method: split.all for split in found}, "method"),
            f"By task, {plain.method}:",
            table({became.task: became for became in plain.tasks}, "task"),
            sentence(plain),
        ]
    )


def table(rows: dict[str, Became], head: str) -> str:
    """A line for each of ``rows``, in per cent of what was right."""
    columns = ["right then", "kept, %", "superficial, %", "essential, %", "superficial corrected, %", "back"]
    lines = [[head, *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *row(became)] for name, became in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def row(became: Became) -> list[str]:
    """The cells of one line, those behind its name."""
    shares = [*became.parts.values(), became.known]
    back = f"{became.agreement[:, 1].sum()} of {became.other_form}"
    return [f"{became.right} of {became.n}", *map(_share, shares), back]


def _share(of: Share) -> str:
    return f"{100 * of.share:.0f} ({100 * of.low:.0f} to {100 * of.high:.0f})" if of.of else "–"
