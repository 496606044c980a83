"""A packed row must teach exactly what its branches would teach one by one."""

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from models.embedded.packing import PREFIX, Branch, Packer, answer_loss, attention_mask
from models.embedded.questions import Turn
from models.embedded.text import ASSISTANT, END, IMAGE, IMAGE_SIZE, IMAGE_TOKENS, USER

NAMING = Branch((Turn("What is this?", "bee", "word"),))
DIALOGUE = Branch((Turn("What is at the top?", "cat", "word"), Turn("Where is it?", "[10,20,50,99]", "box")))
CAPTION = Branch((Turn("Describe this.", "There is a bee at the top left and two gifts.", "sentence"),))
TEXT_ONLY = Branch((Turn("What kind of thing is a bee?", "animal", "word"),), sees=False)
ROWS = [[TEXT_ONLY, NAMING, DIALOGUE, CAPTION], [CAPTION, TEXT_ONLY]]
LENGTH = 160


@pytest.fixture(scope="module")
def model(saved):
    """A small LLaVA of random weights, large enough that logits differ widely."""
    return LlavaForConditionalGeneration.from_pretrained(saved / "model", dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def packed(tokenizer):
    return Packer(tokenizer, LENGTH)(ROWS)


@torch.inference_mode()
def packed_logits(model, batch, pixels):
    hidden = model.model(
        input_ids=batch["input_ids"], pixel_values=pixels, position_ids=batch["position_ids"],
        attention_mask=attention_mask(batch["branch"], batch["sees"], torch.float32), use_cache=False,
    ).last_hidden_state  # fmt: skip
    return model.lm_head(hidden)


@torch.inference_mode()
def alone(model, tokenizer, branch, picture):
    """The branch in an ordinary forward of its own: its token ids and their logits, without the opening."""
    opening = [USER] + [IMAGE] * (IMAGE_TOKENS if branch.sees else 0)
    ids = tokenizer(branch.text, add_special_tokens=False)["input_ids"]
    everything = torch.tensor([tokenizer.convert_tokens_to_ids(opening) + ids])
    seen = {"pixel_values": picture[None]} if branch.sees else {}
    logits = model(input_ids=everything, attention_mask=torch.ones_like(everything), **seen).logits
    return torch.tensor(ids), logits[0, len(opening) :]


def test_packed_branches_have_the_logits_they_have_alone(model, tokenizer, packed, pixels):
    logits = packed_logits(model, packed, pixels)
    for r, row in enumerate(ROWS):
        for number, branch in enumerate(row, 1):
            here = packed["branch"][r] == number
            ids, expected = alone(model, tokenizer, branch, pixels[r])
            assert expected.std() > 0.3, "the model is too tame to show a mistake"
            assert packed["input_ids"][r, here].tolist() == ids.tolist()
            torch.testing.assert_close(logits[r, here], expected, rtol=0, atol=1e-4)


def answers_of(tokenizer, branch):
    """Start and stop, among the branch's tokens, of each answer with its ``<|end|>``."""
    at, found = 0, []
    for i, turn in enumerate(branch.turns):
        opening = (USER if i else "") + f" {turn.question}{END}{ASSISTANT}"
        start = at + len(tokenizer(opening, add_special_tokens=False)["input_ids"])
        at = start + len(tokenizer(f" {turn.answer}{END}", add_special_tokens=False)["input_ids"])
        found.append((start, at))
    return found


def test_packed_loss_is_that_of_the_branches_alone(model, tokenizer, packed, pixels):
    """Each answer's mean loss counts with the square root of its length."""
    total = weights = 0.0
    for r, row in enumerate(ROWS):
        for branch in row:
            ids, logits = alone(model, tokenizer, branch, pixels[r])
            for start, stop in answers_of(tokenizer, branch):
                n = stop - start
                mean = torch.nn.functional.cross_entropy(logits[start - 1 : stop - 1], ids[start:stop])
                total, weights = total + n**0.5 * mean, weights + n**0.5
    with torch.inference_mode():
        loss, numbers = answer_loss(model, {**packed, "pixel_values": pixels})
    torch.testing.assert_close(loss, total / weights, rtol=1e-4, atol=1e-4)
    assert 0 <= numbers["token accuracy"] <= 1


def test_only_branches_that_see_the_picture_change_with_it(model, packed, pixels):
    before, after = (packed_logits(model, packed, p) for p in (pixels, -pixels))
    for r, row in enumerate(ROWS):
        for number, branch in enumerate(row, 1):
            here = packed["branch"][r] == number
            change = (after - before)[r, here].abs().amax(1)
            assert (change > 1e-2).all() if branch.sees else (change == 0).all()


def test_gradients_reach_the_picture_and_only_answers_teach(model, packed, pixels):
    pixels = pixels.clone().requires_grad_()
    batch = {**packed, "pixel_values": pixels}
    loss, _ = answer_loss(model, batch)
    (gradient,) = torch.autograd.grad(loss, pixels)
    assert gradient.abs().sum() > 0
    batch["weight"] = torch.where(packed["branch"] == 1, packed["weight"], 0.0)
    batch["weight"][1] = 0  # of both rows only the first branch is left: the one without a picture
    loss, _ = answer_loss(model, batch)
    (gradient,) = torch.autograd.grad(loss, pixels)
    assert gradient.abs().sum() == 0


def test_what_does_not_fit_is_left_out_whole(tokenizer):
    room = PREFIX + len(tokenizer(NAMING.text, add_special_tokens=False)["input_ids"])
    batch = Packer(tokenizer, room)([[CAPTION, NAMING]])
    assert set(batch["branch"][0].tolist()) == {0, 2}
    assert (batch["branch"][0] == 2).sum() == room - PREFIX
    assert all(tensor.shape == (1, room) for tensor in batch.values())
