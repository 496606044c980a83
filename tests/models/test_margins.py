"""How far *yes* is ahead of *no*, by hand."""

import math
from types import SimpleNamespace

import pytest
import torch

from models.generation import Greedy
from models.margins import Margin, leading

SPELT = {"yes": [1, 9], "Yes": [2], "YES": [2], "no": [3], "No": [3], "NO": [4], " yes": [0, 1], " no": [0, 3]}
TOKENIZER = SimpleNamespace(encode=lambda text, add_special_tokens: SPELT.get(text, [0, 5]))
LOGITS = torch.tensor([[0.1, 0.3, 0.2, 0.15, 0.1, 0.15], [0.0, 0.1, 0.1, 0.7, 0.1, 0.0]], dtype=torch.float64).log()


class Cut:
    """Takes its second context away from its first, and cuts some tokens."""

    layers = (1,)

    def __init__(self, *tokens):
        self.tokens = list(tokens)

    def contexts(self, encoded):
        return (encoded, encoded)

    def scores(self, logits, step, early):
        scores = 2 * logits[0] - logits[1]
        scores[self.tokens] = -torch.inf
        return scores


class Plausible(Cut):
    """Cuts them while its ``beta`` is above zero."""

    beta = 0.1

    def scores(self, logits, step, early):
        return super().scores(logits, step, early) if self.beta else 2 * logits[0] - logits[1]


def test_a_word_is_all_tokens_that_begin_it_and_not_the_other():
    assert leading(TOKENIZER, "yes") == {0, 1, 2} and leading(TOKENIZER, "no") == {0, 3, 4}  # 0: a space alone
    told = Margin(Greedy(), TOKENIZER).choose(LOGITS[:1], 0).details
    assert told["margin"] == pytest.approx(math.log(0.5 / 0.25), abs=1e-4) and math.isnan(told["blind"])


def test_margins_are_those_of_the_scores_and_of_the_context_without_the_picture():
    strategy = Margin(Cut(0, 5), TOKENIZER)
    assert strategy.contexts("prompt") == ("prompt", "prompt") and strategy.layers == (1,)
    told = strategy.choose(LOGITS, 0, {}).details
    yes, no = 0.09 / 0.1 + 0.04 / 0.1, 0.0225 / 0.7 + 0.01 / 0.1
    assert told["margin"] == pytest.approx(math.log(yes / no), abs=1e-4)
    assert told["blind"] == pytest.approx(math.log(0.2 / 0.8), abs=1e-4)


@pytest.mark.parametrize("gone", [(3, 4), (1, 2), (1, 2, 3, 4)])
def test_a_rule_with_a_plausibility_cut_is_read_without_it_and_stays_as_it_is(gone):
    cut = Plausible(*gone)
    told = Margin(cut, TOKENIZER).choose(LOGITS, 0, {}).details
    yes, no = 0.09 / 0.1 + 0.04 / 0.1, 0.0225 / 0.7 + 0.01 / 0.1
    assert told["margin"] == pytest.approx(math.log(yes / no), abs=1e-4)
    assert cut.beta == 0.1 and cut.scores(LOGITS, 0, {})[gone[0]] == -torch.inf
