"""What each method does, in a sentence, how it was trained here, and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from models.embedded.continual import BATCH, METHODS, PEAK, RANK, STEPS, Method

COMMON = (
    f"All: LoRA of rank {RANK} on the text decoder's linear layers, from the same base; {STEPS} steps a task of "
    f"{BATCH} scenes each, peak learning rate {PEAK:g}; the same new questions in the same order. What a method adds "
    "is beside its name."
)
_TITLES = {
    "sequential": "plain",
    "joint": "the upper bound",
    "replay": "experience replay",
    "ewc": "elastic weight consolidation",
    "lwf": "learning without forgetting",
    "asd": "answer style diversification",
    "reglora": "regularised LoRA",
    "sefe": "ASD and RegLoRA",
    "hft": "half fine-tuning",
    "i-lora": "interpolated LoRA",
    "fpf": "forgetting prioritised fine-tuning",
}
_DOES = {
    "sequential": "One task after another, each on its own data alone. Nothing protects what was learnt before.",
    "joint": "All tasks in every batch: what there was to learn, not a way to learn one task after another.",
    "replay": "Some examples of old tasks are kept and mixed into the batches of the new one.",
    "ewc": "A penalty holds each weight near its old value, as firmly as it mattered to old tasks (the diagonal of the "
    "Fisher information).",
    "lwf": "On the new task's questions the model must also answer as it did before the task (distillation); no old "
    "examples are kept.",
    "asd": "A share of each task's questions is rewritten for other forms of answer, so that no task's form takes "
    "over: against superficial forgetting.",
    "reglora": "After each task the largest elements of B A are marked, and later tasks pay for changing them: against "
    "essential forgetting.",
    "sefe": "ASD against superficial and RegLoRA against essential forgetting, together.",
    "hft": "In each task half of the parameters are frozen and keep what they knew.",
    "i-lora": "A slow average of the weights is what is kept; the weights in training must stay close to it on "
    "replayed examples.",
    "fpf": "The layers that a task moved most are tuned again, alone, on a small buffer of all tasks.",
}
_OFF = Method("")
_SHARED = ("about", "paper")


@dataclass(frozen=True)
class Told:
    """``title`` and ``does`` of any training, ``here`` of this one; ``paper``, for example ``arXiv 1612.00796``."""

    title: str
    does: str
    here: str
    paper: str = ""


def told(names: Mapping[str, str]) -> dict[str, Told]:
    """What is known of each set; ``names``: the set's name, and what its ``checkpoints.json`` calls the method."""
    return {
        name: Told(_TITLES[name], _DOES[name], _settings(METHODS[name]), METHODS[name].paper)
        if name in METHODS and name in _DOES
        else Told("", "A set of your own.", own)
        for name, own in names.items()
    }


def _settings(method: Method) -> str:
    """The settings that differ from plain training: ``"ewc = 300"``."""
    values = {f.name: getattr(method, f.name) for f in fields(Method) if f.name not in _SHARED}
    chosen = [f"{n} = {v:g}" for n, v in values.items() if v != getattr(_OFF, n) and not isinstance(v, bool)]
    return f"{method.about} ({', '.join(chosen)})" if chosen else method.about
