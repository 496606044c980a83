"""How the room calls things, the same in measurements, charts, tables, sentences and the card."""

from analysis.table import Head

RIGHT = 0.5
"""A score from here on counts as right where an answer must be one or the other."""

KEPT, SUPERFICIAL, ESSENTIAL = PARTS = ("kept", "superficial", "essential")
"""What became of an answer that was right after its own task (SEFE, arXiv 2505.02486)."""

NEVER, OPEN = "never right", "open"
"""The same of a single question: it was not right, or whether the fact is lost cannot be told."""

MEANS = {
    KEPT: "Right after its own task, and right now.",
    SUPERFICIAL: "Wrong now and in another form than asked, but as a choice among options the true one is likeliest.",
    ESSENTIAL: "Wrong now: in the asked form, or in another with the true option not the likeliest.",
}

BETTER, WORSE, LARGER, SMALLER = "better", "worse", "larger", "smaller"
"""A method beside plain training, where the two can be told apart."""


NAMES = {
    name: Head(title, about, unit=unit, digits=1)
    for name, title, unit, about in (
        ("bwt", "Earlier tasks changed by (BWT)", "points",
         "Backward transfer: accuracy at the end minus accuracy right after a task's own training; the mean over all "
         "tasks but the last. Negative is forgetting."),
        ("mft", "Learnt (MFT)", "%", "Mean fine-tune accuracy: each task right after its own training."),
        ("mfn", "Kept in the end (MFN)", "%", "Mean final accuracy: all tasks after the last one."),
        ("maa", "Mean on the way (MAA)", "%",
         "Mean average accuracy: after each task the mean over the tasks so far; the mean of those."),
        ("fwt", "New tasks helped by (FWT)", "points",
         "Forward transfer: accuracy on a task just before it is trained minus the base's; the mean over all tasks but "
         "the first."),
        ("superficial", "Lost in form (superficial)", "% of right",
         "Of the items that were right after their own task: asked as a choice, the model still knows."),
        ("essential", "Lost in fact (essential)", "% of right", "Of the items that were right after their own task."),
        ("superficial_of_lost", "Form alone, of what was lost", "%",
         "Of the items that were lost: the share lost in form alone. The rest is essential."),
        ("base_kept", "What the base knew, kept", "%",
         "Accuracy after the last task on the base's own things, asked in the ways that it was taught."),
        ("mfn_unseen", "Kept in the end, style never seen", "%",
         "Mean final accuracy on drawings in an art style that no training ever saw."),
    )
}
"""Each metric of a method as the head of a column, in plain words and as the field calls it."""

SAYS = {
    "bwt": ("forget less", "forget more"),
    "mft": ("learn more", "learn less"),
    "mfn": ("know more in the end", "know less in the end"),
    "maa": ("know more on the way", "know less on the way"),
    "fwt": ("are helped more with new tasks", "are helped less with new tasks"),
    "superficial": ("lose less in form alone", "lose more in form alone"),
    "essential": ("lose less in fact", "lose more in fact"),
    "superficial_of_lost": ("lose a larger share in form alone", "lose a smaller share in form alone"),
    "base_kept": ("keep more of what the base knew", "keep less of what the base knew"),
    "mfn_unseen": ("keep more in a style never seen", "keep less in a style never seen"),
}
"""What methods do that are better, or larger, than plain training in a metric, and those that are worse, or smaller."""
