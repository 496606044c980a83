"""What the model card says of superficial and essential forgetting."""

from collections.abc import Sequence
from dataclasses import replace

from analysis.forgetting.split.figure import numbers_table
from analysis.forgetting.split.reading import labelled, read
from analysis.forgetting.split.result import Split
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
            numbers_table([replace(split.all, task=split.method) for split in found], "Method").markdown(),
            f"By task, {plain.method}:",
            numbers_table(plain.tasks, "Task").markdown(),
            sentence(plain),
        ]
    )
