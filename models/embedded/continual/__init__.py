"""How the six tasks are taught one after another: every method's settings in one place.

All methods train the same LoRA layers (``RANK``, on the text decoder's linear layers alone) from the same base, with
the same steps, batch size and peak learning rate, on the same new-task questions in the same order (they are drawn by
seed, task and step). What a paper gives and transfers is kept; what depends on its model's size was set here, on seed
0, by trying a value or two on the first tasks; no method was searched more than another.
"""

from dataclasses import dataclass

BATCH, STEPS, PEAK = 8, 160, 4e-3
RANK = 2
TARGETS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"


@dataclass(frozen=True)
class Method:
    """One way to learn the next task. ``about`` is a sentence for people; zero switches a part off.

    - ``buffer`` scenes of each task before are kept, ``replayed`` of every batch are drawn from them;
    - ``rewritten``: share of the questions put into another answer style (ASD);
    - ``ewc``, ``distilled``, ``protected``: weights of EWC's, LwF's and RegLoRA's terms;
    - ``frozen``: share of the LoRA layers that a task may not change, drawn anew for each (HFT);
    - ``slow``: decay of the moving average that is kept in the place of the weights, ``consistent`` the weight of the
      working model's distance from it on replayed questions (I-LoRA);
    - ``healing``: of a task's steps, how many go to the ``movers``, the share of LoRA layers that the task moved most,
      on the buffer alone (FPF);
    - ``together``: all tasks in every batch, with the steps of all of them.
    """

    about: str
    paper: str = ""
    buffer: int = 0
    replayed: int = 0
    rewritten: float = 0.0
    ewc: float = 0.0
    distilled: float = 0.0
    protected: float = 0.0
    frozen: float = 0.0
    slow: float = 0.0
    consistent: float = 0.0
    healing: int = 0
    movers: float = 0.0
    together: bool = False


METHODS = {
    "sequential": Method("sequential fine-tuning"),
    "joint": Method("all tasks at once", together=True),
    "replay": Method("replay of 32 scenes a task, a quarter of every batch", "arXiv 1902.10486", buffer=32, replayed=2),
    "ewc": Method("elastic weight consolidation", "arXiv 1612.00796", ewc=300.0),
    "lwf": Method("learning without forgetting: the old model's answers are kept", "arXiv 1606.09282", distilled=1.0),
    "reglora": Method("RegLoRA: key elements of earlier tasks held still", "arXiv 2505.02486", protected=1000.0),
    "sefe": Method(
        "SEFE: answer style diversification and RegLoRA", "arXiv 2505.02486", rewritten=0.2, protected=1000.0
    ),
    "asd": Method(
        "answer style diversification: a fifth of the questions rewritten", "arXiv 2505.02486", rewritten=0.2
    ),
    "hft": Method("half fine-tuning: half of the layers frozen in each task", "arXiv 2404.18466", frozen=0.5),
    "i-lora": Method(
        "I-LoRA: a slow average of the weights, and replay held close to it", "arXiv 2402.18865", buffer=32, replayed=2,
        slow=0.98, consistent=0.05,
    ),
    "fpf": Method(
        "the layers that moved most are mended on a small buffer", "arXiv 2304.04158",
        buffer=32, healing=40, movers=0.25,
    ),
}  # fmt: skip
