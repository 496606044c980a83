"""``python -m analysis.report``: measures the embedded default and every phenomenon on it, and writes its card.

What the rooms measure is kept in ``assets/embedded/measured``, where their pages find it; what is there already, of
the same weights, data and settings, is not measured again.
"""

from analysis import kept
from analysis.attention import card as attention
from analysis.decoding import card as decoding
from analysis.embedding_space import card as embedding_space
from analysis.forgetting import card as forgetting
from analysis.interference import card as interference
from models.embedded import ASSETS, report

SECTIONS = (
    interference.sets, interference.conflicts, interference.trusts, attention.section, decoding.section, decoding.prior,
    embedding_space.section, forgetting.section, forgetting.parts_section, forgetting.path_section,
)  # fmt: skip
"""Each measures one room's phenomenon on the embedded default and tells it in Markdown."""


def card(before: str = "") -> str:
    """The whole card: what the models can do, then what the rooms see in them. ``before`` is the card as it was."""
    with kept.shipping():
        return "\n\n".join([report.card(before).rstrip(), *filter(None, (of().strip() for of in SECTIONS))]) + "\n"


if __name__ == "__main__":
    out = ASSETS / "CARD.md"
    out.write_text(card(out.read_text(encoding="utf-8") if out.exists() else ""), encoding="utf-8")
    print(out.read_text(encoding="utf-8"))
