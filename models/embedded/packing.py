"""Several questions about one picture in one training sequence, each as if it were asked alone.

The picture's tokens come first and are shared. Every dialogue after it is a *branch*: it attends to
the picture and to itself, never to another branch, and its positions start right after the picture.
A branch without a picture sees only the opening token. One sequence then teaches what eight would,
at the price of one picture.
"""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from models.embedded import questions as Q
from models.embedded.patches import BACKGROUND, box_loss, patch_boxes, patch_labels, patch_loss
from models.embedded.scenes import Scene
from models.embedded.text import ASSISTANT, END, IMAGE, IMAGE_TOKENS, USER

PREFIX = 1 + IMAGE_TOKENS
PATCHES_WEIGHT, BOXES_WEIGHT = 0.5, 2.0


@dataclass(frozen=True)
class Branch:
    """One dialogue; ``sees`` tells whether it has the picture."""

    turns: tuple[Q.Turn, ...]
    sees: bool = True

    @property
    def text(self) -> str:
        """What follows the opening ``<|user|>`` (and the picture), as the chat template writes it."""
        return USER.join(f" {t.question}{END}{ASSISTANT} {t.answer}{END}" for t in self.turns)


class Packer:
    """Packs branches into rows of ``length`` tokens; branches that no longer fit are left out."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, length: int):
        self.tokenizer, self.length = tokenizer, length
        self.ids = {t: tokenizer.convert_tokens_to_ids(t) for t in (USER, ASSISTANT, END, IMAGE)}
        self.pad = tokenizer.pad_token_id

    def __call__(self, rows: list[list[Branch]]) -> dict[str, torch.Tensor]:
        """int64 ``input_ids`` and ``position_ids``, uint8 ``branch`` (0: shared or padding), bool ``sees``,
        float32 ``weight`` of predicting each token (1 / square root of its answer's length), all ``[N, length]``.
        """
        shape = (len(rows), self.length)
        ids, positions = np.full(shape, self.pad), np.zeros(shape, dtype=int)
        branch, sees = np.zeros(shape, dtype=np.uint8), np.zeros(shape, dtype=bool)
        weight = np.zeros(shape, dtype=np.float32)
        ids[:, 0], ids[:, 1:PREFIX], positions[:, :PREFIX] = self.ids[USER], self.ids[IMAGE], np.arange(PREFIX)
        sees[:, :PREFIX] = True
        coded = iter(self.tokenizer([b.text for row in rows for b in row], add_special_tokens=False)["input_ids"])
        for r, row in enumerate(rows):
            at = PREFIX
            for number, one in enumerate(row, 1):
                tokens = next(coded)
                here = slice(at, at + len(tokens))
                if here.stop > self.length:
                    continue
                first = PREFIX if one.sees else 1
                ids[r, here], branch[r, here], sees[r, here] = tokens, number, one.sees
                positions[r, here] = np.arange(first, first + len(tokens))
                weight[r, here] = self._weights(tokens)
                at = here.stop
        arrays = {"input_ids": ids, "position_ids": positions, "branch": branch, "sees": sees, "weight": weight}
        return {k: torch.from_numpy(v) for k, v in arrays.items()}

    def short(self, rows: list[list[Branch]]) -> dict[str, torch.Tensor]:
        """The same, cut to the longest row: ``[N, T]``."""
        packed = self(rows)
        longest = int((packed["branch"] > 0).sum(1).max()) + PREFIX
        return {key: value[:, :longest] for key, value in packed.items()}

    def patches(self, scenes: list[Scene]) -> dict[str, torch.Tensor]:
        """What each patch shows: ``patches``, the first token of its name or the image token for background,
        int64 ``[N, patches]``; ``boxes``, where that drawing lies, float32 ``[N, patches, 4]``.
        """
        names = sorted({item.name for scene in scenes for item in scene.items})
        coded = self.tokenizer([f" {n}" for n in names], add_special_tokens=False)["input_ids"]
        index = {BACKGROUND: self.ids[IMAGE]} | {n: c[0] for n, c in zip(names, coded, strict=True)}
        labels = torch.from_numpy(np.stack([patch_labels(scene, index) for scene in scenes]))
        return {"patches": labels, "boxes": torch.from_numpy(np.stack([patch_boxes(scene) for scene in scenes]))}

    def _weights(self, tokens: list[int]) -> np.ndarray:
        weights, start = np.zeros(len(tokens), dtype=np.float32), None
        for i, token in enumerate(tokens):
            if token == self.ids[ASSISTANT]:
                start = i + 1
            elif token == self.ids[END] and start is not None:
                weights[start : i + 1] = (i + 1 - start) ** -0.5
                start = None
        return weights


def attention_mask(branch: torch.Tensor, sees: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Additive mask ``[N, 1, T, T]``: 0 where row may attend to column, else the lowest number of ``dtype``."""
    length = branch.shape[1]
    order = torch.arange(length, device=branch.device)
    shared = (order < PREFIX)[None, None, :] & (sees[:, :, None] | (order == 0)[None, None, :])
    own = branch[:, :, None] == branch[:, None, :]
    own &= (order >= PREFIX)[None, None, :]
    allowed = (own | shared) & (order[None, :, None] >= order[None, None, :])
    mask = torch.zeros(allowed.shape, dtype=dtype, device=branch.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]


@dataclass(frozen=True)
class Answered:
    """What a model says at the tokens of all answers in a packed batch, ``A`` in all.

    ``logits`` float32 ``[A, V]``; ``target``, ``weight`` and ``row`` (of the batch) ``[A]``; ``hidden`` ``[N, T, d]``;
    ``layers`` hidden states ``[N, T, d]`` of the embeddings and of each layer, where they were asked for.
    """

    logits: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor
    row: torch.Tensor
    hidden: torch.Tensor
    layers: tuple[torch.Tensor, ...] = ()

    @property
    def right(self) -> torch.Tensor:
        """float32 ``[A]``: 1 where the true token is the most likely one."""
        return (self.logits.argmax(1) == self.target).float()


def answered(model, batch: dict[str, torch.Tensor], layers: bool = False) -> Answered:
    """Run ``model``, a ``LlavaForConditionalGeneration``, on a packed batch with ``pixel_values``.

    Logits are computed only where an answer is; with ``layers`` the hidden states of all layers are told too.
    """
    dtype = torch.bfloat16 if torch.is_autocast_enabled(batch["input_ids"].device.type) else torch.float32
    found = model.model(
        input_ids=batch["input_ids"],
        pixel_values=batch["pixel_values"],
        position_ids=batch["position_ids"],
        attention_mask=attention_mask(batch["branch"], batch["sees"], dtype),
        use_cache=False,
        output_hidden_states=layers,
    )
    hidden = found.last_hidden_state
    wanted = batch["weight"][:, 1:] > 0
    logits = model.lm_head(hidden[:, :-1][wanted]).float()
    target, weight = batch["input_ids"][:, 1:][wanted], batch["weight"][:, 1:][wanted]
    return Answered(logits, target, weight, wanted.nonzero()[:, 0], hidden, tuple(found.hidden_states or ()))


def answer_loss(
    model, batch: dict[str, torch.Tensor], box_head: torch.nn.Linear | None = None
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """``loss_of`` what ``model``, bare or with LoRA layers, says of a packed batch."""
    return loss_of(model, batch, answered(model, batch), box_head)


def loss_of(
    model, batch: dict[str, torch.Tensor], said: Answered, box_head: torch.nn.Linear | None = None
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Weighted cross-entropy of the answers' tokens.

    With ``patches`` (int64 ``[N, image tokens]``) the decoder also says, at each image token, the first token of the
    name of what that patch shows: so many labels a picture that a small model starts to look early, where answers
    alone leave it guessing from the question for long. With ``box_head`` each image token also tells the box of its
    drawing (``patches.box_loss``).
    """
    losses = torch.nn.functional.cross_entropy(said.logits, said.target, reduction="none")
    value = (losses * said.weight).sum() / said.weight.sum()
    numbers = {"token accuracy": (said.right * said.weight).sum() / said.weight.sum()}
    if "patches" in batch:
        background = int(batch["input_ids"][0, 1])  # the image token
        seen = said.hidden[:, 1:PREFIX]
        dense, numbers["patches named"] = patch_loss(model.lm_head(seen), batch["patches"], background)
        value = value + PATCHES_WEIGHT * dense
        if box_head is not None:
            box = box_loss(box_head, seen, batch["boxes"])
            value, numbers["box"] = value + BOXES_WEIGHT * box, box.detach()
    return value, numbers
