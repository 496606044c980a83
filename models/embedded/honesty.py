"""What it says when it cannot know: small talk, questions outside its skills, pictures of nothing it was taught.

A drawing counts as untaught where neither its name nor a keyword of it is the name of a concept, of the base or of a
task. A fifth of these names is kept out of training, as are wordings (``phrases.kept_out``).
"""

import re
from functools import lru_cache

import numpy as np

from models.embedded import phrases as P
from models.embedded import questions as Q
from models.embedded.concepts import CONCEPTS, KINDS, SYNONYMS
from models.embedded.pictures import LOOKS, table
from models.embedded.scenes import ZONES, Scene, arrange

NOTHING = "Nothing I know."
WELCOME, GOODBYE = "You are welcome.", "Goodbye."
NO_COLOURS, ONLY_ENGLISH, NOT_KNOWN = "I do not know colours.", "I only know English.", "I do not know that."
HONEST = (P.SELF, WELCOME, GOODBYE, NO_COLOURS, ONLY_ENGLISH, NOT_KNOWN)
"""One sentence for each kind of small talk."""

_GREETING = P.GREETING + (
    "Good evening", "Good afternoon", "Hey there", "Greetings", "Howdy", "Nice to meet you", "Are you there?",
    "What's up?", "How is it going?", "How do you do?", "Who made you?", "Are you human?", "Are you a machine?",
    "What are you for?", "How does this work?", "Introduce yourself.", "Tell me who you are.", "Hello, who are you?",
    "Hi, how are you?", "Hello, what can you do?", "What can I ask you?", "What can you tell me?", "Hello, hello",
    "Anybody there?", "Are you ready?", "Hi, can you help me?", "What do you do?", "How can you help me?", "Yo",
    "Good day", "Hello, computer", "Hello, model", "Hi, machine", "Help me", "Help, please", "Test", "Testing",
    "Start",
)  # fmt: skip

_THANKS = (
    "Thanks", "Thank you", "Thanks a lot", "Thank you very much", "Many thanks", "Thanks, that helps",
    "Great, thanks", "Thank you for your help", "Thanks for the answer", "Very good, thank you", "Nice, thanks",
    "Thank you so much", "Well done", "Good job", "Great", "Nice work", "Very good", "That is right, thanks",
    "Perfect, thank you", "Cheers", "Good answer", "You are great", "You are good at this", "I thank you",
    "Wonderful, thanks", "Super", "OK, thanks", "Cool", "That was helpful", "Thanks again",
)  # fmt: skip

_GOODBYE = (
    "Bye", "Goodbye", "Bye bye", "See you", "See you later", "Good night", "See you soon", "That is all, bye",
    "Farewell", "I have to go", "I am leaving", "Goodbye for now", "Thanks, bye", "Until next time",
    "See you tomorrow", "Take care", "Have a nice day", "So long", "That is all", "We are done",
)  # fmt: skip

_COLOURS = (
    "What colour is this?", "What color is it?", "What colour is {a}?", "What color is the {name}?",
    "Which colour does the {name} have?", "What colours do you see?", "Which colors are in the picture?",
    "Is the {name} red?", "Is the {name} blue?", "Is it green?", "Is the {name} yellow or red?", "Name the colours.",
    "What colour is the thing at the {zone}?", "What is the colour of the {name}?",
    "Tell me the color of the {name}.", "Is {a} black or white?", "How many colours are there?",
    "What colour are the {plural}?", "Are the {plural} green?", "Which colour is the background?",
    "Is the background blue?", "What color is the {name} at the {zone}?", "Is there anything red?",
    "Do you see something blue?", "Which one is orange?", "Is this white?", "Does the {name} look brown?",
    "What is the color at the {zone}?", "Are there {plural} in pink?", "Colour?",
)  # fmt: skip

_LANGUAGES = (
    "Was ist das?", "Was siehst du?", "Wie viele sind es?", "Wo ist das?", "Was ist auf dem Bild?",
    "Ist da ein Hund?", "Wie viele Bienen gibt es?", "Wo ist die Katze?", "Beschreibe das Bild.", "Guten Tag",
    "Wie geht es dir?", "Danke", "Hallo, wer bist du?", "Was kannst du?", "Sprichst du Deutsch?",
    "Welche Farbe hat das?", "Zeig mir den Apfel.", "Qu'est-ce que c'est ?", "Que vois-tu ?", "Combien y en a-t-il ?",
    "Où est le chat ?", "Bonjour", "Merci", "Est-ce qu'il y a un chien ?", "Décris l'image.", "Comment ça va ?",
    "Qui es-tu ?", "Parlez-vous français ?", "C'est quoi ?", "Quelle est la couleur ?", "Montre-moi la pomme.",
    "¿Qué es esto?", "¿Qué ves?", "¿Cuántos hay?", "¿Dónde está el gato?", "¿Hay un perro?",
    "Describe la imagen, por favor.", "Hola", "Gracias", "¿Quién eres?", "¿Hablas español?", "¿De qué color es?",
    "Che cos'è?", "Cosa vedi?", "Quanti sono?", "Dov'è il gatto?", "Ciao", "C'è un cane?", "Descrivi la figura.",
    "Grazie", "Chi sei?", "O que é isto?", "Quantos são?", "Onde está o gato?", "Olá", "Obrigado", "Wat is dit?",
    "Hoeveel zijn er?", "Waar is de kat?", "Wie ben jij?", "Dank je wel", "Vad är det här?", "Hvad er det?",
    "Co to jest?", "Kolik jich je?", "Bu nedir?", "これは何ですか", "你好", "Что это?",
)  # fmt: skip

_OUTSIDE = (
    "What is the weather like?", "Will it rain tomorrow?", "Is it cold outside?", "What time is it?",
    "What day is it?", "What year is it?", "Where am I?", "Where do you live?", "How old are you?",
    "Who is the president?", "Tell me a joke.", "Sing a song.", "Tell me a story.", "What is two plus two?",
    "What is 3 + 4?", "How much is 7 times 8?", "Write a poem.", "Write an email.", "Translate this.",
    "What is the capital of France?", "Who won the game?", "How do I cook rice?", "What should I eat?",
    "Do you love me?", "Are you happy?", "What is the meaning of life?", "Who drew this?", "When was this made?",
    "Why is it here?", "Who is in the picture?", "Is this art?", "Do you like the picture?", "Is it beautiful?",
    "Is the picture old?", "Where was this taken?", "Who took this?", "How big is the {name}?",
    "How old is the {name}?", "How much does {a} cost?", "What does {a} eat?", "Why is {a} here?",
    "Who owns the {name}?", "Is the {name} happy?", "How heavy is {a}?", "Where can I buy {a}?",
    "Do you like {plural}?", "How do I draw {a}?", "What sound does {a} make?", "Where do {plural} come from?",
    "What is the {name} thinking?", "How fast is {a}?", "Is the {name} asleep?", "When did the {name} come?",
    "How do you spell {name}?", "What is {a} made of?", "Can {plural} swim?", "Who invented {plural}?",
    "What is the {name} doing?", "What is {word}?", "What is a {word}?", "Do you know {word}?",
    "Tell me about {word}.", "Who is {word}?", "What does {word} mean?", "Have you heard of {word}?",
    "Explain {word}.", "How does a {word} work?", "Why is there a {word}?", "Where do I find a {word}?",
    "I like {word}.", "Show me a {word} and a {word}.", "{word}", "{word} {word}", "{word} and {word}",
    "My {word} is {word}.", "I have a {word}.", "Give me a {word}.", "Lorem ipsum", "Make it {word}.",
    "What is the best {word}?", "Is a {word} better than a {word}?", "Play {word}.", "asdf", "Buy {word}.",
    "Can you {verb}?", "Do you {verb}?", "I want to {verb}.", "Let us {verb}.", "Why do people {verb}?",
    "Please {verb} for me.", "Where can I {verb}?", "Teach me to {verb}.", "I like to {verb}.",
    "Will you {verb} with me?", "How do I {verb}?", "Who can {verb}?", "I cannot {verb}.", "When do you {verb}?",
    "How {adj} is the {name}?", "How {adj} is it?", "How {adj} are you?", "Is the {name} {adj}?", "Is it {adj}?",
    "Are you {adj}?", "Why is the {name} so {adj}?", "Is this {adj}?", "Are {plural} {adj}?", "I am {adj}.",
    "That is {adj}.", "Is {a} very {adj}?", "Who is {adj}?", "What is {adj}?", "Does it look {adj}?",
    "You are {adj}.", "What is the {topic}?", "Tell me the {topic}.", "Do you know the {topic}?",
    "What about the {topic}?", "Tell me about the {topic}.", "Who knows the {topic}?", "Explain the {topic}.",
    "What do you think of the {topic}?", "I need the {topic}.", "Give me the {topic}.",
    "What was the {topic} yesterday?", "Let us talk about the {topic}.", "Is the {topic} good?",
    "Find the {topic} for me.", "How is the {topic} today?", "What is your favourite {word}?",
    "What is your opinion?", "Do you have friends?", "Are you sure?", "Why?", "How?", "Who?", "When?",
    "What do you mean?", "Really?", "I do not understand.", "No", "Yes", "Maybe", "That is wrong.", "You are wrong.",
    "Try again.", "What else?", "Go on.", "Stop.", "Who are they?", "Who is he?", "Is she at home?", "Whose is it?",
    "What happened?", "What comes next?", "What is missing?", "What is the story?", "What will happen?",
    "What is under it?", "What is behind the {name}?", "What is inside the {name}?", "Who gave you {a}?",
    "When was {a} invented?", "Can I have the {name}?", "Where do you buy {plural}?", "What would you do with {a}?",
    "What is the {name} for?", "How does the {name} smell?", "How does {a} taste?", "Who lives in the {name}?",
    "What is {a} worth?", "Does the {name} work?", "Is the {name} real?", "Is the {name} clean?", "Should I buy {a}?",
    "My {name} is broken.", "I lost my {name}.", "I have two {plural}.", "I like {plural}.", "Do {plural} sleep?",
    "Do {plural} make noise?",
)  # fmt: skip

_BLANKS = {
    "verb": (
        "sing", "dance", "swim", "cook", "drive", "sleep", "fly", "eat", "run", "play", "dream", "smell", "cry",
        "laugh", "jump", "write", "work", "walk", "pay", "shout",
    ),
    "adj": (
        "old", "heavy", "fast", "big", "tall", "expensive", "happy", "strong", "loud", "hot", "cold", "nice", "new",
        "sad", "tired", "hungry", "beautiful", "funny", "slow", "rich",
    ),
    "topic": (
        "weather", "time", "date", "news", "price", "score", "temperature", "year", "president", "king", "capital",
        "address", "future", "law", "music", "film", "economy", "city", "government", "password",
    ),
}  # fmt: skip
"""What fills the blanks of questions outside its skills."""

_TALK = (
    (P.SELF, _GREETING, 3), (WELCOME, _THANKS, 2), (GOODBYE, _GOODBYE, 1), (NO_COLOURS, _COLOURS, 2),
    (ONLY_ENGLISH, _LANGUAGES, 2), (NOT_KNOWN, _OUTSIDE, 4),
)  # fmt: skip
"""What is answered, to what, and how often."""
_ODDS = np.cumsum([often for *_, often in _TALK]) / sum(often for *_, often in _TALK)


@lru_cache(maxsize=1)
def untaught() -> tuple[str, ...]:
    """Names of the drawings that have nothing to do with any concept, in a fixed order."""
    forms = {form for c in CONCEPTS.values() for form in (c.name, c.plural)}
    forms |= {c.name for synonyms in SYNONYMS.values() for c in synonyms}
    found = []
    for row in table():
        words = set(re.findall(r"[a-z]+", " ".join((row["name"], row["label"], *row["synonyms"])).lower()))
        if row["style"] == LOOKS[0] and not words & forms:
            found.append(row["name"])
    return tuple(sorted(found))


@lru_cache(maxsize=2)
def _words(part) -> tuple[str, ...]:
    """Names of untaught drawings that are one plain word."""
    return tuple(n for n in part(untaught()) if re.fullmatch(r"[a-z]{3,12}", n) and n not in KINDS)


def small_talk(rng: np.random.Generator, part=P.taught) -> Q.Turn:
    """Something that is no question about a picture or a text, and one of ``HONEST``, in wordings (and with words) of
    ``part``: ``phrases.taught`` or ``phrases.kept_out``.
    """
    answer, wordings, _ = _TALK[int(np.searchsorted(_ODDS, rng.random(), side="right"))]
    wordings = part(wordings)
    wording = wordings[rng.integers(len(wordings))]
    while "{word}" in wording:
        words = _words(part)
        wording = wording.replace("{word}", words[rng.integers(len(words))], 1)
    concept = list(CONCEPTS.values())[rng.integers(len(CONCEPTS))]
    zone = ZONES[rng.integers(len(ZONES))]
    blanks = {blank: words[rng.integers(len(words))] for blank, words in _BLANKS.items()}
    text = wording.format(name=concept.name, a=concept.a, plural=concept.plural, zone=zone, **blanks)
    return Q.Turn(text[0].upper() + text[1:], answer, "sentence")


def unknown_scene(rng: np.random.Generator, part=P.taught, looks=LOOKS) -> Scene:
    """A picture with nothing that is known: nothing at all in half of the cases, else one to three untaught drawings of
    ``part``.
    """
    if rng.random() < 0.5:
        return Scene(())
    names = part(untaught())
    return arrange(rng, [names[rng.integers(len(names))] for _ in range(rng.integers(1, 4))], looks)


def about_nothing(rng: np.random.Generator, pool) -> list[Q.Turn]:
    """Questions about a picture that shows nothing known, in random order.

    What is there is ``NOTHING``; a thing that is asked for is not there, and there are 0 of it.
    """
    empty = Scene(())
    zone, kind = ZONES[rng.integers(len(ZONES))], KINDS[rng.integers(len(KINDS) - 1)]
    first, second = (CONCEPTS[pool[rng.integers(len(pool))]] for _ in range(2))
    asked = [
        Q.ask(rng, P.NAME), Q.ask(rng, P.NAME_ZONE, zone=zone), Q.ask(rng, P.NAME_KIND, kind=kind),
        Q.ask(rng, P.CAPTION), Q.ask(rng, P.NAME),
    ]  # fmt: skip
    turns = [Q.Turn(question, NOTHING, "sentence") for question in asked]
    turns += [Q.exist(rng, empty, pool, False), Q.ground_absent(rng, empty, pool)]
    turns.append(Q.Turn(Q.ask(rng, P.COUNT, first.name), "0", "numeral"))
    options = f"A. {first.name} B. {second.name}"
    if first != second:
        turns.append(Q.Turn(Q.ask(rng, P.CHOICE, options=options), NOTHING, "sentence"))
    return [turns[i] for i in rng.permutation(len(turns))]
