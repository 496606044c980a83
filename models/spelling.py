"""Tokens as text while they are generated."""

from collections.abc import Sequence

BROKEN = "\N{REPLACEMENT CHARACTER}"


class Spelling:
    """The text that each new token adds to an answer; one object an answer.

    Decoded with the tokens before it, because a token alone loses its space (SentencePiece) or is a part of a
    character (byte-level tokenizers): such a part adds nothing, the token that completes it adds the character.
    """

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self._ids: list[int] = []  # since the last complete character but one
        self._told = 0  # how many of them are complete

    def _text(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def rivals(self, ids: Sequence[int]) -> tuple[str, ...]:
        """What each of ``ids`` would add as the next token; a replacement character where it has no text alone."""
        before = len(self._text(self._ids[: self._told]))
        return tuple(self._text([*self._ids, i])[before:] or BROKEN for i in ids)

    def add(self, token: int) -> str:
        """What ``token`` adds to the answer."""
        before, self._ids = len(self._text(self._ids[: self._told])), [*self._ids, token]
        text = self._text(self._ids)
        if text.endswith(BROKEN):
            return ""
        self._ids, self._told = self._ids[self._told :], len(self._ids) - self._told
        return text[before:]
