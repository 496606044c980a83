import numpy as np
import pytest
import torch
from transformers import LlavaForConditionalGeneration

from models.embedded.packing import PATCHES_WEIGHT, PREFIX, Branch, Packer, answer_loss
from models.embedded.patches import BACKGROUND, BACKGROUND_WEIGHT, box_loss, patch_boxes, patch_labels
from models.embedded.questions import Turn
from models.embedded.scenes import Item, Scene
from models.embedded.text import IMAGE, IMAGE_SIZE

NAMING = Branch((Turn("What is this?", "bee", "word"),))
BEE = Item("bee", "fluent", (0.0, 0.0, 0.5, 0.25))
CAT = Item("cat", "fluent", (0.25, 0.0, 0.5, 1.0))


def test_patches_whose_centre_a_drawing_covers_bear_its_name_and_the_last_is_on_top():
    labels = patch_labels(Scene((BEE, CAT)), {BACKGROUND: 0, "bee": 1, "cat": 2}).reshape(8, 8)
    wanted = np.zeros((8, 8), dtype=int)
    wanted[:2, :4] = 1
    wanted[:, 2:4] = 2
    assert (labels == wanted).all()


def test_labels_are_first_tokens_of_names(tokenizer):
    labels = Packer(tokenizer, 160).patches([Scene((BEE,))])["patches"]
    bee, image = tokenizer(" bee", add_special_tokens=False)["input_ids"][0], tokenizer.convert_tokens_to_ids(IMAGE)
    assert labels.shape == (1, PREFIX - 1)
    assert (labels == bee).sum() == 8
    assert (labels == image).sum() == 56


def test_the_patch_loss_is_that_of_the_plain_logits(saved, tokenizer):
    model = LlavaForConditionalGeneration.from_pretrained(saved / "model", dtype=torch.float32).eval()
    pack = Packer(tokenizer, 160)
    generator = torch.Generator().manual_seed(0)
    batch = {**pack([[NAMING]]), "pixel_values": torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)}
    labels = pack.patches([Scene((BEE,))])["patches"]
    with torch.inference_mode():
        without, _ = answer_loss(model, batch)
        value, numbers = answer_loss(model, {**batch, "patches": labels})
        prefix = {"input_ids": batch["input_ids"][:, :PREFIX], "pixel_values": batch["pixel_values"]}
        logprobs = model(**prefix, attention_mask=torch.ones(1, PREFIX)).logits[0, 1:].log_softmax(-1)
    shown = labels[0] != tokenizer.convert_tokens_to_ids(IMAGE)
    weight = torch.where(shown, 1.0, BACKGROUND_WEIGHT)
    losses = -logprobs.gather(1, labels[0][:, None])[:, 0]
    wanted = PATCHES_WEIGHT * float((losses * weight).sum() / weight.sum())
    assert float(value - without) == pytest.approx(wanted, abs=1e-3)
    named = (logprobs.argmax(1) == labels[0])[shown].float().mean()
    assert float(numbers["patches named"]) == pytest.approx(float(named))


def test_every_patch_knows_the_box_of_the_drawing_on_top():
    boxes = patch_boxes(Scene((BEE, CAT))).reshape(8, 8, 4)
    wanted = np.zeros((8, 8, 4), dtype=np.float32)
    wanted[:2, :4] = BEE.box
    wanted[:, 2:4] = CAT.box
    assert np.array_equal(boxes, wanted)


def test_two_drawings_of_one_name_have_a_box_each():
    other = Item("bee", "fluent", (0.5, 0.5, 1.0, 1.0))
    boxes = patch_boxes(Scene((BEE, other))).reshape(8, 8, 4)
    assert tuple(boxes[0, 0]) == BEE.box
    assert tuple(boxes[7, 7]) == other.box


def test_the_box_loss_is_the_mean_distance_on_patches_with_a_drawing():
    head = torch.nn.Linear(2, 4)
    torch.nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(torch.tensor([0.25, 0.25, 0.75, 0.75]).logit())
    boxes = torch.zeros(1, 3, 4)
    boxes[0, 1] = torch.tensor([0.25, 0.25, 0.75, 0.75])
    boxes[0, 2] = torch.tensor([0.05, 0.25, 0.75, 0.95])
    assert float(box_loss(head, torch.randn(1, 3, 2), boxes)) == pytest.approx(0.4 / 8, abs=1e-6)
