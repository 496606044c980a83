"""How a course of tasks is taught one after another: every method's settings in one place.

From the same base, each task trains a fresh LoRA (rank ``RANK``, on the text decoder's linear layers alone) on top of
the earlier ones merged; a checkpoint is the base plus the sum of these increments. All methods take the same steps on
the same new questions in the same order (they are drawn by seed, task and step), at the same peak learning rate. What a
paper gives and transfers is kept; what depends on its model's size was set here once: the weights of EWC and RegLoRA so
that plain training, which does not have their term, would pay about as much by it in its second task as its loss
(on the first base: counting after naming, loss 1.1, terms 0.011 and 0.0054); the rate of full fine-tuning so that it
moves the matrices about as far as a LoRA does. No method was searched more than another.
"""

from dataclasses import dataclass, replace

BATCH, STEPS, PEAK = 8, 160, 1e-3
RANK = 8
SEEDS = 3  # of every method; the first one's checkpoints ship, of the others what is measured on them
GENERAL, KEPT = 3, 64
"""Scenes of base concepts with base questions beside the new ones of every batch, and of how many they are drawn: the
general data that real instruction tuning always has."""

TARGETS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
HEAD = "lm_head"
MOST_MOVED = 0.25
"""Share of the weights' norm that a task may move, on average over matrices: above it is rewriting, not tuning."""


@dataclass(frozen=True)
class Method:
    """One way to learn the next task. ``about`` is a sentence for people; zero switches a part off.

    - ``general``: how many scenes of base concepts stand beside the new ones of a batch;
    - ``buffer`` scenes of each task before are kept, ``replayed`` of them stand beside the new ones of a batch;
    - ``rewritten``: share of the questions put into another answer style (ASD);
    - ``ewc``, ``distilled``, ``protected``: weights of EWC's, LwF's and RegLoRA's terms;
    - ``full``: peak learning rate of full fine-tuning, all matrices of the decoder in the place of a LoRA;
    - ``frozen``: share of the matrices of each kind that a task may not change, drawn anew for each (HFT);
    - ``slow``: decay of the moving average that is kept in the place of the weights, ``consistent`` the weight of the
      term that holds the working model's hidden states to that one's on replayed questions (I-LoRA);
    - ``whole``: the decoder's norms and the head are trained too (a LoRA on the head), so that these can be movers;
    - ``healing``: steps of the ``movers``, the share of modules that a task moved most, on the buffer of all tasks so
      far: after the last task (FPF), or where nothing is replayed in between after every task (k-FPF);
    - ``together``: all tasks in every batch, with the steps of all of them.
    """

    about: str
    paper: str = ""
    general: int = GENERAL
    buffer: int = 0
    replayed: int = 0
    rewritten: float = 0.0
    ewc: float = 0.0
    distilled: float = 0.0
    protected: float = 0.0
    full: float = 0.0
    frozen: float = 0.0
    slow: float = 0.0
    consistent: float = 0.0
    whole: bool = False
    healing: int = 0
    movers: float = 0.0
    together: bool = False

    @property
    def first(self) -> "Method":
        """What it does in the first task, where there is nothing yet to hold on to: methods that agree in it train that
        task alike."""
        return replace(
            self, about="", paper="", buffer=0, replayed=0, ewc=0.0, distilled=0.0, protected=0.0, healing=0, movers=0.0
        )


METHODS = {
    "sequential": Method("sequential fine-tuning"),
    "no-general": Method("sequential fine-tuning without general data", general=0),
    "joint": Method("all tasks at once", together=True),
    "replay": Method("replay of 32 scenes a task, two in every batch", "arXiv 1902.10486", buffer=32, replayed=2),
    "ewc": Method("elastic weight consolidation", "arXiv 1612.00796", ewc=100.0),
    "lwf": Method("learning without forgetting: the old model's answers are kept", "arXiv 1606.09282", distilled=1.0),
    "reglora": Method("RegLoRA: key elements of earlier tasks held still", "arXiv 2505.02486", protected=200.0),
    "sefe": Method(
        "SEFE: answer style diversification and RegLoRA", "arXiv 2505.02486", rewritten=0.2, protected=200.0
    ),
    "asd": Method(
        "answer style diversification: a fifth of the questions rewritten", "arXiv 2505.02486", rewritten=0.2
    ),
    "full": Method("full fine-tuning of the decoder's matrices", full=2e-4),
    "hft": Method(
        "half fine-tuning: half of the matrices of each kind frozen in each task", "arXiv 2404.18466",
        full=2e-4, frozen=0.5,
    ),
    "i-lora": Method(
        "I-LoRA: a slow average of the weights, whose hidden states hold the working ones on replay",
        "arXiv 2402.18865", buffer=32, replayed=8, slow=0.25, consistent=1.0,
    ),
    "whole": Method("sequential fine-tuning of norms and head too", whole=True),
    "fpf": Method(
        "replay, and at the end the modules that moved most are mended on the buffer", "arXiv 2304.04158",
        buffer=32, replayed=2, whole=True, healing=40, movers=0.25,
    ),
    "k-fpf": Method(
        "after every task the modules that moved most are mended on the buffer", "arXiv 2304.04158",
        buffer=32, whole=True, healing=40, movers=0.25,
    ),
}  # fmt: skip
