"""The words of the page."""

import re
from pathlib import Path

import pytest

from analysis import glossary

ROOMS = Path(__file__).parents[2] / "analysis"


@pytest.fixture(scope="module")
def texts() -> str:
    """All that the rooms say and teach, without the glossary itself."""
    files = [f for f in [*ROOMS.rglob("*.md"), *ROOMS.rglob("*.py")] if f.stem != "glossary"]
    return "\n".join(f.read_text(encoding="utf-8") for f in files)


@pytest.mark.parametrize("term", glossary.terms(), ids=lambda term: term.name)
def test_a_word_is_used_and_explained_in_whole_sentences(term, texts):
    spelt = "|".join(re.escape(word) for word in (term.name, *term.also))
    assert re.search(rf"(?<![\w-])(?:{spelt})(?![\w-])", texts, re.I), "nobody uses it"
    assert term.means[0].isupper() and term.means.endswith((".", ")."))


def test_no_spelling_stands_for_two_words():
    spelt = [word.lower() for term in glossary.terms() for word in (term.name, *term.also)]
    assert len(spelt) == len(set(spelt)) and len(glossary.terms()) >= 40


def test_the_script_ends_no_script():
    assert "</" not in glossary.script() and '"LoRA": ["LoRA"' in glossary.script()
