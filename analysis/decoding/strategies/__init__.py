"""Decoding strategies, and what a page has to know to offer them: ``ALL``, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analysis.decoding.strategies.inter import Inter, dividends, four_contexts, modified
from analysis.decoding.strategies.searches import Beam, Opera
from analysis.decoding.strategies.stepwise import Guidance, LayerContrast, MutualInformation, Nucleus, VisualContrast
from models.errors import InputError
from models.generation import Greedy, Strategy
from models.search import Search

__all__ = [
    "ALL", "Beam", "Greedy", "Guidance", "Inter", "Kind", "LayerContrast", "MutualInformation", "Nucleus", "Opera",
    "Parameter", "VisualContrast", "dividends", "four_contexts", "make", "modified",
]


@dataclass(frozen=True)
class Parameter:
    """A number that a page shows as a slider, or one of ``choices``. ``name`` is the strategy's own."""

    name: str
    label: str
    default: float | str
    minimum: float = 0
    maximum: float = 0
    step: float = 0
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A decoding strategy to offer: its title, the paper it comes from, one plain sentence, and its parameters."""

    title: str
    citation: str
    sentence: str
    make: Callable[..., Strategy | Search]
    parameters: tuple[Parameter, ...] = ()

    @property
    def defaults(self) -> dict[str, float | str]:
        """The value of each parameter where none is given."""
        return {p.name: p.default for p in self.parameters}

    def build(self, settings: Mapping[str, float | str] | None = None) -> Strategy | Search:
        """The strategy with ``settings`` by parameter name; what is not given has its default here.

        Raises ``InputError`` for a parameter that it does not have, and for a value that cannot be.
        """
        given = dict(settings or {})
        if unknown := [name for name in given if name not in self.defaults]:
            has = ", ".join(sorted(self.defaults)) or "none"
            raise InputError(f"{self.title} has no parameter {unknown[0]!r}. It has: {has}.")
        return self.make(**self.defaults | given)


def make(name: str, settings: Mapping[str, float | str] | None = None) -> Strategy | Search:
    """The strategy ``name`` of ``ALL``. Raises ``InputError`` for another name and as ``Kind.build``."""
    if name not in ALL:
        raise InputError(f"There is no strategy {name!r}. There are: {', '.join(ALL)}.")
    return ALL[name].build(settings)


_BETA = Parameter("beta", "Plausibility beta", 0.1, 0.01, 1, 0.01)
_BEAMS = Parameter("num_beams", "Answers open at once", 5, 1, 10, 1)
_LENGTH = Parameter("length_penalty", "Length penalty (exponent)", 1.0, -2, 2, 0.1)
_SEED = Parameter("seed", "Seed", 0, 0, 1000, 1)
_NUCLEUS = (Parameter("temperature", "Temperature", 1.0, 0.1, 2, 0.1), Parameter("top_p", "Top-p", 0.9, 0, 1, 0.05))
_K = Parameter("threshold", "Threshold k of the variance (logits squared)", 1.0, 0, 20, 0.1)
_INTER = (_K, _BETA, Parameter("image_seed", "Seed of the random picture", 0, 0, 1000, 1))

ALL: dict[str, Kind] = {
    "greedy": Kind("Greedy", "The likeliest token at each step", "Takes the likeliest token at each step.", Greedy),
    "nucleus": Kind(
        "Nucleus sampling", "Holtzman et al. 2020, arXiv 1904.09751",
        "Draws from the likeliest tokens, which together have the probability top-p.",
        Nucleus, (*_NUCLEUS, _SEED),
    ),
    "nucleus-cut": Kind(
        "Nucleus with the cut", "Control: the plausibility cut of Li et al. 2023, arXiv 2210.15097, alone",
        "Draws from the nucleus once all tokens far less likely than the best are removed, with no contrast.",
        Nucleus, (*_NUCLEUS, _SEED, _BETA),
    ),
    "beam": Kind(
        "Beam search", "Graves 2012, arXiv 1211.3711; as in transformers",
        "Keeps several answers open and takes the one that is likeliest as a whole.",
        Beam, (_BEAMS, _LENGTH),
    ),
    "inter": Kind(
        "INTER", "INTER 2025, arXiv 2507.05056",
        "Adds what picture and question say only together, at the steps where that differs much between tokens.",
        Inter, (
            *_INTER,
            Parameter("temperature", "Temperature (0: the best token)", 0.0, 0, 2, 0.1),
            Parameter("top_p", "Top-p", 1.0, 0, 1, 0.05),
            _SEED,
        ),
    ),
    "inter-nucleus": Kind(
        "INTER with nucleus", "INTER 2025, arXiv 2507.05056",
        "Draws from the nucleus of INTER's scores: INTER as a rival of sampling.",
        Inter, (*_INTER, *_NUCLEUS, _SEED),
    ),
    "vcd": Kind(
        "Visual contrastive decoding (VCD)", "Leng et al. 2024, arXiv 2311.16922",
        "Subtracts what the model says about the same picture under noise.",
        VisualContrast, (
            Parameter("alpha", "Strength alpha", 1.0, 0, 3, 0.1),
            _BETA,
            Parameter("noise_steps", "Noise steps (of 1000)", 500, 0, 999, 1),
            Parameter("seed", "Seed of the noise", 0, 0, 1000, 1),
        ),
    ),
    "m3id": Kind(
        "M3ID", "Favero et al. 2024, arXiv 2403.14003",
        "Subtracts what the model says without the picture, the more the longer the answer is, where it is unsure.",
        MutualInformation, (
            Parameter("decay", "Decay of the picture's memory, per token", 0.02, 0, 0.5, 0.01),
            Parameter("sure", "Probability from which on it is left alone", 0.3, 0, 1, 0.05),
        ),
    ),
    "dola": Kind(
        "DoLa", "Chuang et al. 2024, arXiv 2309.03883",
        "Subtracts what an early layer says already.",
        LayerContrast, (Parameter("layers", "Layers to contrast with", "high", choices=("low", "high")), _BETA),
    ),
    "opera": Kind(
        "OPERA", "Huang et al. 2024, arXiv 2311.17911",
        "Beam search that punishes leaning on one word of the answer, and goes back where it lasts.",
        Opera, (
            _BEAMS,
            Parameter("candidates", "Candidates of each answer", 5, 2, 10, 1),
            Parameter("scale", "Scale factor of the attention", 50.0, 1, 100, 1),
            Parameter("threshold", "Repetitions before it goes back", 15, 1, 50, 1),
            Parameter("weight", "Penalty weight", 1.0, 0, 5, 0.1),
            _LENGTH,
        ),
    ),
    "cfg": Kind(
        "Classifier-free guidance", "Sanchez et al. 2023, arXiv 2306.17806",
        "Goes further in the direction in which the picture moves the answer.",
        Guidance, (Parameter("scale", "Guidance scale", 1.5, 0, 5, 0.1),),
    ),
}
