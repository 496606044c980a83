import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from models.spelling import BROKEN, Spelling


def byte_level():
    """As the tokenizers of Qwen and Llama 3: with so few merges a rare character is several tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(["There is a bee and a cat."] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe)


def sentence_piece():
    """As the tokenizers of Llama 2 and Gemma: the space is a mark at the beginning of a word."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Metaspace()
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    bpe.train_from_iterator(["There is a bee and a cat."] * 3, trainers.BpeTrainer(vocab_size=60, show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=bpe)


@pytest.mark.parametrize("text", ["There is a bee and a cat.", "a 猫 and a 🐝🐝, ¿é? is", "  two  spaces "])
def test_pieces_of_a_byte_level_tokenizer_make_the_text(text):
    tokenizer = byte_level()
    spelling, ids = Spelling(tokenizer), tokenizer(text)["input_ids"]
    pieces = [spelling.add(i) for i in ids]
    assert "".join(pieces) == text
    assert not any(BROKEN in p for p in pieces)
    assert len(pieces) > 4


def test_pieces_of_a_sentence_piece_tokenizer_keep_their_spaces():
    tokenizer, text = sentence_piece(), "There is a bee and a cat."
    ids = tokenizer(text)["input_ids"]
    spelling = Spelling(tokenizer)
    assert "".join(spelling.add(i) for i in ids) == text
    assert "".join(tokenizer.decode([i]) for i in ids) != text  # what this is for


def test_rivals_are_spelled_where_they_would_stand():
    tokenizer = sentence_piece()
    spelling, (first, second) = Spelling(tokenizer), tokenizer("a bee")["input_ids"][:2]
    assert spelling.rivals([first, second]) == (tokenizer.decode([first]), tokenizer.decode([second]))
    spelling.add(first)
    rivals = spelling.rivals([second, len(tokenizer) + 5])
    assert rivals == (spelling.add(second), BROKEN)
    assert rivals[0].startswith(" ")


def test_an_id_without_a_token_adds_nothing():
    tokenizer = byte_level()
    spelling = Spelling(tokenizer)
    ids = [*tokenizer("a bee")["input_ids"], len(tokenizer) + 5, *tokenizer(" is")["input_ids"]]
    assert "".join(spelling.add(i) for i in ids) == "a bee is"
