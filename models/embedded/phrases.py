"""How people ask: at least fifteen wordings of every question type the embedded default is taught.

Placeholders: ``{a}`` (a bee), ``{name}``, ``{plural}``, ``{zone}`` (top left), ``{kind}`` (animal),
``{kinds}`` (animals), ``{akind}`` (an animal), ``{other}`` (a second name), ``{options}``.

Every fifth wording is kept out of the training of the base: ``taught`` and ``kept_out`` are the two parts.
"""

_FIFTH = 5


def kept_out(wordings: tuple[str, ...]) -> tuple[str, ...]:
    """The wordings that no training of the base has: every fifth."""
    return wordings[_FIFTH - 1 :: _FIFTH]


def taught(wordings: tuple[str, ...]) -> tuple[str, ...]:
    """The wordings that the base is trained with: all others."""
    return tuple(w for i, w in enumerate(wordings) if i % _FIFTH != _FIFTH - 1)


NAME = (
    "What is this?", "What is it?", "What's this?", "What do you see?", "Name this.", "What is shown here?",
    "What is in the picture?", "What is in the image?", "What does the picture show?", "What thing is this?",
    "What object is this?", "What is the name of this?", "Can you name this?", "Tell me what this is.",
    "Which thing is shown?", "What can you see here?", "What is drawn here?", "Identify this.",
    "Which object is in the picture?", "What am I looking at?",
)  # fmt: skip

NAME_ZONE = (
    "What is at the {zone}?", "What is in the {zone}?", "What do you see at the {zone}?",
    "Name the thing at the {zone}.", "Which thing is at the {zone}?", "What is on the {zone}?",
    "What object is at the {zone}?", "Tell me what is at the {zone}.", "What can you see in the {zone}?",
    "At the {zone}, what is there?", "What is drawn at the {zone}?", "What's at the {zone}?",
    "What is in the {zone} of the picture?", "What is shown at the {zone}?", "Identify the thing at the {zone}.",
    "What is there at the {zone}?", "Look at the {zone}. What is it?",
)  # fmt: skip

NAME_KIND = (
    "Which {kind} is this?", "What {kind} is it?", "Which {kind} do you see?", "Name the {kind}.",
    "What is the {kind}?", "Which {kind} is in the picture?", "What {kind} is shown?", "Tell me which {kind} it is.",
    "Which {kind} is there?", "What {kind} can you see?", "What kind of {kind} is it?", "Which {kind} is drawn?",
    "There is {akind}. Which one?", "What is the name of the {kind}?", "Identify the {kind}.",
)  # fmt: skip

COUNT = (
    "How many {plural} are there?", "How many {plural} do you see?", "How many {plural} are in the picture?",
    "How many {plural}?", "Count the {plural}.", "What is the number of {plural}?", "Number of {plural}?",
    "How many {plural} can you see?", "How many {plural} are shown?", "Tell me how many {plural} there are.",
    "Can you count the {plural}?", "How many {plural} can you find?", "How many {plural} are in the image?",
    "How many times do you see {a}?", "Please count all {plural}.", "How many {plural} does the picture have?",
)  # fmt: skip

COUNT_ALL = tuple(p.replace("{plural}", "things").replace("{a}", "something") for p in COUNT) + (
    "How many objects are there?", "How many things do you see in the picture?", "Count the objects.",
    "How many drawings are there?", "How many are there?", "How many items are in the picture?",
)  # fmt: skip

EXIST = (
    "Is there {a}?", "Is there {a} in the picture?", "Do you see {a}?", "Can you see {a}?", "Is {a} in the image?",
    "Does the picture show {a}?", "Is {a} shown?", "Are there any {plural}?", "Is there {a} in the image?",
    "Is {a} there?", "Can you find {a}?", "Does the picture have {a}?", "Do you see any {plural}?",
    "Is {a} in the picture?", "Tell me, is there {a}?", "Is there {a} here?", "Any {plural} in the picture?",
)  # fmt: skip

RELATION = (
    "Is the {name} {side} the {other}?", "Is the {name} {side} the {other} in the picture?",
    "Do you see the {name} {side} the {other}?", "Would you say the {name} is {side} the {other}?",
    "Tell me, is the {name} {side} the {other}?", "Can you see the {name} {side} the {other}?",
    "The {name} is {side} the {other}. Right?", "Is it true that the {name} is {side} the {other}?",
    "Does the {name} stand {side} the {other}?", "True or not: the {name} is {side} the {other}?",
    "Is the {name} placed {side} the {other}?", "Check: is the {name} {side} the {other}?",
    "Look: is the {name} {side} the {other}?", "In the image, is the {name} {side} the {other}?",
    "Is the {name} found {side} the {other}?",
)  # fmt: skip

GROUND = (
    "Where is the {name}?", "Where is the {name} in the picture?", "Find the {name}.", "Locate the {name}.",
    "Give the box of the {name}.", "Where do you see the {name}?", "Where's the {name}?", "Show me the {name}.",
    "Point to the {name}.", "Mark the {name}.", "In which box is the {name}?", "Draw a box around the {name}.",
    "Where can I find the {name}?", "What is the position of the {name}?", "Tell me where the {name} is.",
    "Where is {a}?", "Give me the box around the {name}.",
)  # fmt: skip

CHOICE = (
    "Which of these is in the picture? {options}", "Which one do you see? {options}",
    "Which of these do you see? {options}", "Which one is shown? {options}", "Pick what is in the picture. {options}",
    "Choose what you see. {options}", "Which is in the image? {options}", "What is in the picture? {options}",
    "Which thing is there? {options}", "Which answer is right? {options}", "What do you see? {options}",
    "Which option is in the picture? {options}", "Select what is shown. {options}",
    "One of these is in the picture. Which one? {options}", "Only one of these is drawn here. Which? {options}",
    "What is this? {options}",
)  # fmt: skip

CAPTION = (
    "Describe the picture.", "Describe the image.", "What is in the picture? Answer in a sentence.",
    "Describe what you see.", "Caption this.", "Write a caption.", "Tell me about the picture.",
    "What does the picture show? Describe it.", "Describe this.", "Describe everything in the picture.",
    "What do you see? Answer in a sentence.", "Say what is where.", "Give a description.",
    "Describe the scene.", "Tell me everything you see.", "Write a sentence about the picture.",
    "Please describe this picture for me.", "What is going on here?", "Can you describe the picture?",
    "What are the things in the picture?",
)  # fmt: skip

KIND_OF = (
    "What kind of thing is {a}?", "What is {a}?", "What kind of thing is the {name}?", "What sort of thing is {a}?",
    "What group is {a} in?", "Which group does {a} belong to?", "Tell me what kind of thing {a} is.",
    "{a}: what kind of thing is that?", "What type of thing is {a}?", "What are {plural}?",
    "What kind of things are {plural}?", "How would you class {a}?", "Which kind is {a}?",
    "What category is {a}?", "In one word, what kind of thing is {a}?",
)  # fmt: skip

IS_A = (
    "Is {a} {akind}?", "Are {plural} {kinds}?", "Is the {name} {akind}?", "Would you call {a} {akind}?",
    "Is {a} a kind of {kind}?", "Tell me, is {a} {akind}?", "Do {plural} belong to the {kinds}?",
    "Is it true that {a} is {akind}?", "Can you say that {a} is {akind}?", "{a} is {akind}. Right?",
    "Do you think {a} is {akind}?", "Does {a} count as {akind}?", "Are all {plural} {kinds}?",
    "Is {a} one of the {kinds}?", "Say, is {a} {akind}?",
)  # fmt: skip

CHOICE_KIND = (
    "Which of these is {akind}? {options}", "Which one is {akind}? {options}", "Pick the {kind}. {options}",
    "Choose the {kind}. {options}", "Find the {kind}. {options}", "Only one of these is {akind}. Which? {options}",
    "Which option is {akind}? {options}", "Select the {kind}. {options}", "Which word means {akind}? {options}",
    "One of these is {akind}. Which one? {options}", "Which is the {kind}? {options}",
    "Which answer names {akind}? {options}", "Which of them is {akind}? {options}",
    "Tell me which one is {akind}. {options}", "What is {akind}? {options}",
)  # fmt: skip

GOES_WITH = (
    "What often comes with {a}?", "What goes with {a}?", "What is often next to {a}?", "What is often seen with {a}?",
    "What do you often see beside {a}?", "With what does {a} often come?", "What comes together with {a}?",
    "What is the usual partner of {a}?", "Name what often goes with {a}.", "What belongs with {a}?",
    "Which thing often comes with {a}?", "What would you expect next to {a}?",
    "Where there is {a}, what else is there?",
    "{a} often comes with what?", "Tell me what goes with {a}.", "What is mostly found with {a}?",
)  # fmt: skip

ANOTHER = (
    "What is another word for {a}?", "What else is {a} called?", "Give another word for {a}.",
    "Say {a} in another word.", "Another word for {a}?", "What other word is there for {a}?",
    "How else would you call {a}?", "What is a different word for {a}?", "Which other word means {a}?",
    "Tell me another word for {a}.", "What other name does {a} have?", "Is there another word for {a}? Which one?",
    "Name {a} in a different way.", "What do others call {a}?", "Find a different word for {a}.",
)  # fmt: skip

READ = (
    "What does the text name?", "What is it, says the text?", "According to the text, what is there?",
    "What does the text talk about?", "Which thing is in the text?", "What is named in the text?",
    "What does the text say is there?", "From the text: what is there?", "Read the text. What is there?",
    "By the text, what is it?", "What thing does the text name?", "Which thing does the text talk about?",
    "What is the text about?", "Tell me what the text names.", "Name the thing in the text.",
)  # fmt: skip

KIND_AT = (
    "What kind of thing is at the {zone}?", "What kind of thing is in the {zone}?", "At the {zone}, what kind is it?",
    "What sort of thing is at the {zone}?", "Tell me the kind of thing at the {zone}.",
    "What type of thing is at the {zone}?", "Which kind of thing is at the {zone}?", "What group is the {zone} one in?",
    "In one word, what kind of thing is at the {zone}?", "What kind is the thing at the {zone}?",
    "Name the kind of thing at the {zone}.", "What category is the thing at the {zone}?",
    "How would you class what is at the {zone}?", "What kind of thing do you find at the {zone}?",
    "The thing at the {zone}: what kind is it?",
)  # fmt: skip

STATEMENT = (
    "There is {a} {at}.", "You can see {a} {at}.", "The picture shows {a} {at}.", "I see {a} {at}.",
    "{a} is {at}.", "Here is {a} {at}.", "Someone put {a} {at}.", "It is {a} {at}.",
    "There is {a}.", "The picture shows {a}.", "This is {a}.", "I see {a}.", "You can see {a}.",
    "Here is {a}.", "We have {a}.",
)  # fmt: skip

GREETING = (
    "Hello", "Hi", "Hi there", "Hello there", "Who are you?", "What are you?", "What can you do?", "Help",
    "Good morning", "How are you?", "What do you know?", "Hey", "Can you help me?", "Tell me about yourself.",
    "What is your name?", "What should I ask?",
)  # fmt: skip

WITHOUT_PICTURE = ("NAME", "NAME_ZONE", "COUNT_ALL", "CAPTION", "EXIST", "GROUND")

FOLLOW_WHERE = (
    "Where is it?", "And where is it?", "Where?", "Where is that?", "Can you find it?", "Give its box.",
    "Where do you see it?", "Show me where.", "And where?", "Which box is it in?", "Locate it.", "Find it.",
    "Where exactly?", "Tell me where it is.", "And its place?",
)  # fmt: skip

FOLLOW_KIND = (
    "What kind of thing is that?", "What kind of thing is it?", "And what is that?", "What group is it in?",
    "What sort of thing is it?", "And what kind is it?", "What type of thing is it?", "Which kind is that?",
    "Which group does it belong to?", "What category is it?", "And its kind?", "How would you class it?",
    "In one word, what kind of thing is it?", "Tell me its kind.", "What kind is that?",
)  # fmt: skip

FOLLOW_COUNT = (
    "How many?", "How many are there?", "And how many?", "How many of them?", "How many do you see?",
    "Count them.", "And how many are there?", "How many of those?", "Tell me how many.", "What is their number?",
    "How many times?", "How many can you find?", "Can you count them?", "And their number?", "Please count them.",
)  # fmt: skip

OTHER_WORD = (
    "Use another word.", "In another word.", "Do not use its usual name.", "Say it differently.", "With another word.",
    "Another word, please.", "Use a different word.", "Not the usual word.", "In a different word.",
    "Call it something else.", "Give its other name.", "Use its other name.", "By another name.", "Put it differently.",
    "The other word for it, please.",
)  # fmt: skip

FORMAT = {
    "word": ("Answer with one word.", "One word.", "In one word.", "Use a single word.", "Just one word, please."),
    "numeral": ("Answer with a number.", "Just the number.", "Use a numeral.", "Give a number.", "As a number."),
    "yes/no": ("Answer yes or no.", "Yes or no?", "Just yes or no.", "Say yes or no.", "Only yes or no, please."),
    "box": ("Answer with a box.", "Give a box.", "As a box.", "Only the box, please.", "Box please."),
    "letter": ("Answer with the letter.", "Just the letter.", "Give the letter.", "One letter.", "Only the letter."),
    "sentence": (
        "Answer in a sentence.", "Use a full sentence.", "In a sentence, please.", "As a sentence.", "Full sentence.",
    ),
}  # fmt: skip

SELF = "I am crosstalk-mini, a small model. Show me a picture of drawings and ask what is there, how many, or where."
NO_PICTURE = "There is no picture."
