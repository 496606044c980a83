"""The 120 everyday concepts of the embedded default: which are drawn, what they are called, when they are learnt.

Sixty are known to the base model. Sixty more are kept for the six tasks, ten each, so that a task
teaches new things and not only a new answer style. Partners are things that are often seen together
in training scenes (never in evaluation scenes): this is where the language prior comes from.
"""

from dataclasses import dataclass

TASKS = ("naming", "counting", "existence", "grounding", "choice", "captioning")
KINDS = ("animal", "plant", "food", "vehicle", "place", "instrument", "tool", "toy", "thing")

# spoken name: (emoji as named in emojibase, kind)
_BASE = {
    "dog": ("dog face", "animal"),
    "cat": ("cat face", "animal"),
    "bee": ("honeybee", "animal"),
    "fish": ("tropical fish", "animal"),
    "frog": ("frog", "animal"),
    "penguin": ("penguin", "animal"),
    "elephant": ("elephant", "animal"),
    "snail": ("snail", "animal"),
    "turtle": ("turtle", "animal"),
    "mouse": ("mouse face", "animal"),
    "monkey": ("monkey face", "animal"),
    "cow": ("cow face", "animal"),
    "rabbit": ("rabbit face", "animal"),
    "lion": ("lion", "animal"),
    "duck": ("duck", "animal"),
    "apple": ("red apple", "food"),
    "banana": ("banana", "food"),
    "lemon": ("lemon", "food"),
    "strawberry": ("strawberry", "food"),
    "carrot": ("carrot", "food"),
    "tomato": ("tomato", "food"),
    "bread": ("bread", "food"),
    "cheese": ("cheese wedge", "food"),
    "egg": ("egg", "food"),
    "pizza": ("pizza", "food"),
    "cookie": ("cookie", "food"),
    "cake": ("birthday cake", "food"),
    "milk": ("glass of milk", "food"),
    "flower": ("hibiscus", "plant"),
    "tree": ("deciduous tree", "plant"),
    "cactus": ("cactus", "plant"),
    "leaf": ("maple leaf", "plant"),
    "car": ("automobile", "vehicle"),
    "bus": ("bus", "vehicle"),
    "bicycle": ("bicycle", "vehicle"),
    "plane": ("airplane", "vehicle"),
    "rocket": ("rocket", "vehicle"),
    "boat": ("sailboat", "vehicle"),
    "house": ("house", "place"),
    "tent": ("tent", "place"),
    "sun": ("sun", "thing"),
    "cloud": ("cloud", "thing"),
    "rainbow": ("rainbow", "thing"),
    "snowman": ("snowman without snow", "thing"),
    "umbrella": ("umbrella", "thing"),
    "key": ("key", "tool"),
    "book": ("closed book", "thing"),
    "pencil": ("pencil", "tool"),
    "hammer": ("hammer", "tool"),
    "lamp": ("light bulb", "thing"),
    "clock": ("alarm clock", "thing"),
    "camera": ("camera", "thing"),
    "guitar": ("guitar", "instrument"),
    "drum": ("drum", "instrument"),
    "ball": ("soccer ball", "toy"),
    "balloon": ("balloon", "toy"),
    "crown": ("crown", "thing"),
    "bell": ("bell", "thing"),
    "lock": ("locked", "thing"),
    "bomb": ("bomb", "thing"),
}

_NEW = {
    "naming": {
        "fox": ("fox", "animal"),
        "owl": ("owl", "animal"),
        "crab": ("crab", "animal"),
        "pineapple": ("pineapple", "food"),
        "mushroom": ("mushroom", "plant"),
        "train": ("locomotive", "vehicle"),
        "castle": ("castle", "place"),
        "trumpet": ("trumpet", "instrument"),
        "candle": ("candle", "thing"),
        "magnet": ("magnet", "tool"),
    },
    "counting": {
        "pig": ("pig face", "animal"),
        "ladybug": ("lady beetle", "animal"),
        "pear": ("pear", "food"),
        "donut": ("doughnut", "food"),
        "tractor": ("tractor", "vehicle"),
        "star": ("star", "thing"),
        "gift": ("wrapped gift", "thing"),
        "shoe": ("running shoe", "thing"),
        "anchor": ("anchor", "thing"),
        "robot": ("robot", "toy"),
    },
    "existence": {
        "panda": ("panda", "animal"),
        "whale": ("spouting whale", "animal"),
        "watermelon": ("watermelon", "food"),
        "broccoli": ("broccoli", "food"),
        "burger": ("hamburger", "food"),
        "truck": ("delivery truck", "vehicle"),
        "volcano": ("volcano", "place"),
        "violin": ("violin", "instrument"),
        "hat": ("top hat", "thing"),
        "ladder": ("ladder", "tool"),
    },
    "grounding": {
        "koala": ("koala", "animal"),
        "octopus": ("octopus", "animal"),
        "corn": ("ear of corn", "food"),
        "taco": ("taco", "food"),
        "helicopter": ("helicopter", "vehicle"),
        "fire": ("fire", "thing"),
        "phone": ("telephone", "thing"),
        "chair": ("chair", "thing"),
        "gem": ("gem stone", "thing"),
        "globe": ("globe showing Europe-Africa", "thing"),
    },
    "choice": {
        "tiger": ("tiger face", "animal"),
        "camel": ("camel", "animal"),
        "peach": ("peach", "food"),
        "avocado": ("avocado", "food"),
        "motorcycle": ("motorcycle", "vehicle"),
        "mountain": ("snow-capped mountain", "place"),
        "backpack": ("backpack", "thing"),
        "spoon": ("spoon", "tool"),
        "die": ("game die", "toy"),
        "trophy": ("trophy", "thing"),
    },
    "captioning": {
        "giraffe": ("giraffe", "animal"),
        "spider": ("spider", "animal"),
        "eggplant": ("eggplant", "food"),
        "pretzel": ("pretzel", "food"),
        "scooter": ("kick scooter", "vehicle"),
        "moon": ("crescent moon", "thing"),
        "ghost": ("ghost", "thing"),
        "piano": ("musical keyboard", "instrument"),
        "bed": ("bed", "thing"),
        "heart": ("red heart", "thing"),
    },
}

_PARTNERS = (
    ("bee", "flower"), ("dog", "ball"), ("cat", "fish"), ("mouse", "cheese"), ("monkey", "banana"),
    ("rabbit", "carrot"), ("cow", "milk"), ("penguin", "snowman"), ("key", "lock"), ("cloud", "umbrella"),
    ("car", "house"), ("pencil", "book"), ("cake", "balloon"), ("drum", "guitar"), ("frog", "leaf"),
    ("tree", "apple"), ("bread", "egg"), ("sun", "boat"), ("lion", "crown"), ("tomato", "pizza"),
    ("fox", "mushroom"), ("owl", "candle"), ("castle", "trumpet"),
    ("pig", "pear"), ("tractor", "donut"), ("star", "gift"),
    ("panda", "watermelon"), ("truck", "ladder"), ("hat", "violin"),
    ("koala", "corn"), ("octopus", "gem"), ("chair", "phone"),
    ("tiger", "mountain"), ("camel", "backpack"), ("spoon", "avocado"),
    ("ghost", "moon"), ("spider", "bed"), ("giraffe", "pretzel"),
)  # fmt: skip

_SYNONYMS = {
    "dog": ("puppy", "hound"), "cat": ("kitty", "kitten"), "rabbit": ("bunny", "hare"), "monkey": ("ape", "chimp"),
    "bee": ("honeybee", "bumblebee"), "turtle": ("tortoise", "terrapin"), "bicycle": ("bike", "cycle"),
    "plane": ("airplane", "airliner"), "car": ("automobile", "sedan"), "boat": ("sailboat", "yacht"),
    "rocket": ("spaceship", "starship"), "bus": ("coach", "autobus"), "house": ("home", "cottage"),
    "umbrella": ("parasol", "brolly"), "lamp": ("bulb", "lantern"), "flower": ("blossom", "bloom"),
    "cookie": ("biscuit", "cracker"), "ball": ("football", "soccer ball"), "lock": ("padlock", "latch"),
    "clock": ("alarm", "timer"),
}  # fmt: skip

_LOOKALIKES = {
    "dog": "monkey cookie lion", "cat": "pizza bell crown", "bee": "bus penguin lion", "fish": "lock bell cat",
    "frog": "cactus tree turtle", "penguin": "bomb bee umbrella", "elephant": "milk cloud rabbit",
    "snail": "egg bread bomb", "turtle": "tree cactus frog", "mouse": "rabbit cow plane", "monkey": "dog cookie lion",
    "cow": "dog monkey rabbit", "rabbit": "mouse milk cloud", "lion": "monkey dog cookie", "duck": "house cow hammer",
    "apple": "tomato strawberry balloon", "banana": "sun cheese bell", "lemon": "carrot banana cheese",
    "strawberry": "tomato apple flower", "carrot": "lemon apple tomato", "tomato": "apple strawberry flower",
    "bread": "egg sun banana", "cheese": "sun bell banana", "egg": "banana bread cheese", "pizza": "sun cat crown",
    "cookie": "monkey dog lion", "cake": "pizza drum pencil", "milk": "cloud rabbit elephant",
    "flower": "strawberry tomato apple", "tree": "cactus turtle tomato", "cactus": "tree turtle frog",
    "leaf": "book tomato apple", "car": "book strawberry rocket", "bus": "bee camera plane",
    "bicycle": "mouse rabbit guitar", "plane": "rabbit mouse milk", "rocket": "car rainbow flower",
    "boat": "crown cake rainbow", "house": "monkey cow duck", "tent": "bomb carrot lock", "sun": "banana cheese bell",
    "cloud": "milk cheese banana", "rainbow": "flower crown apple", "snowman": "penguin rocket umbrella",
    "umbrella": "balloon cloud bomb", "key": "banana cheese sun", "book": "leaf strawberry car",
    "pencil": "cake sun banana", "hammer": "bomb cow duck", "lamp": "banana lock lemon", "clock": "guitar drum cake",
    "camera": "ball lion bus", "guitar": "clock drum car", "drum": "guitar cake clock", "ball": "camera book bus",
    "balloon": "apple leaf tomato", "crown": "rainbow lock pizza", "bell": "cheese banana sun",
    "lock": "banana lamp sun", "bomb": "tent penguin snail",
}  # fmt: skip

_PLURALS = {
    "mouse": "mice", "fish": "fish", "leaf": "leaves", "die": "dice", "cactus": "cactuses", "tomato": "tomatoes",
    "volcano": "volcanoes", "snowman": "snowmen",
}  # fmt: skip
_MASS = ("bread", "milk", "cheese", "corn", "broccoli", "fire")


@dataclass(frozen=True)
class Concept:
    """One thing the embedded default can be asked about.

    ``name`` is the word it is called by, ``label`` its name in emojibase, ``kind`` one of ``KINDS``,
    ``learnt`` is ``"base"`` or the task that teaches it.
    """

    name: str
    label: str
    kind: str
    learnt: str

    @property
    def plural(self) -> str:
        if self.name in _PLURALS or self.name in _MASS:
            return _PLURALS.get(self.name, self.name)
        if self.name.endswith(("s", "sh", "ch", "x")):
            return self.name + "es"
        if self.name.endswith("y") and self.name[-2] not in "aeiou":
            return self.name[:-1] + "ies"
        return self.name + "s"

    @property
    def a(self) -> str:
        """The name with its indefinite article; stuff that is not counted takes *some*."""
        if self.name in _MASS:
            return "some " + self.name
        return ("an " if self.name[0] in "aeiou" else "a ") + self.name


CONCEPTS: dict[str, Concept] = {
    name: Concept(name, label, kind, learnt)
    for learnt, group in {"base": _BASE, **_NEW}.items()
    for name, (label, kind) in group.items()
}

SYNONYMS: dict[str, tuple[Concept, ...]] = {
    name: tuple(Concept(word, CONCEPTS[name].label, CONCEPTS[name].kind, "base") for word in words)
    for name, words in _SYNONYMS.items()
}
"""Two more words each for a third of the base concepts."""

LOOKALIKES: dict[str, tuple[str, ...]] = {name: tuple(names.split()) for name, names in _LOOKALIKES.items()}
"""For each base concept the three whose drawings look most like its own to the first ``crosstalk-clip`` (mean cosine
over all pairs of art styles)."""

PARTNERS: dict[str, str] = {a: b for pair in _PARTNERS for a, b in (pair, pair[::-1])}


def learnt_in(stage: str) -> list[str]:
    """Names of the concepts taught in ``stage`` (``"base"`` or a task), in a fixed order."""
    return [c.name for c in CONCEPTS.values() if c.learnt == stage]
