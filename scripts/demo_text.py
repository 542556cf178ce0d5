"""What the demo language model reads: sentences, talks, and talks about a voice, from a small grammar.

`make_demo_llm` says what is in it and what is not.
"""

import math
import random
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from emoser_lib.corpora import LABELS
from emoser_lib.corpora.generation import draw_latents, load_distributions
from emoser_lib.systems.prompts.audio import AUDIO_PROMPTS
from emoser_lib.systems.prompts.words import ADJECTIVES, NOUNS, SPANISH

HEARD_PROMPTS = tuple(name for name in AUDIO_PROMPTS if not name.startswith("qwen-audio"))
"""Of the systems that join an encoder to the demo's language model; Qwen-Audio's are for a model of its own."""


def listed(text: str) -> tuple[str, ...]:
    """Parts of a text between commas."""
    return tuple(text.split(", "))


OWN_SUBJECTS = listed(
    "el médico, la cocinera, mi tía, tu padre, el ministro, la directora, el camarero, mi vecino, la presidenta, "
    "el alumno, la policía, el abogado, mi madre, el periodista, la actriz, el juez"
)
OWN_PREDICATES = listed(
    "compra el pan, ha perdido el tren, habla con la prensa, vuelve a casa, ha vendido el coche, lee las noticias, "
    "llega tarde, trabaja en el hospital, abre la tienda, prepara las fotos, espera la carta, ha cambiado la puerta, "
    "viaja el lunes, firma las cuentas, comenta la película, sale del mercado, llama a la entrada"
)
ENGLISH_CARRIERS = listed(
    "the neighbour came home, my sister read the letter, the mayor closed the office, your cousin sold the house, "
    "the doctor called on Monday, the driver opened the door, my uncle took the bus, the judge signed the paper"
)
OWN_PHRASES: Mapping[str, Sequence[str]] = {
    "neutral": listed(
        "según el informe, como siempre, a la hora de siempre, en la fecha indicada, según la ley, sin cambios, "
        "como marca el calendario oficial, eso dice el informe oficial, de momento como siempre, igual que cada día, "
        "as planned, according to the report, nothing new so far"
    ),
    "disgust": listed(
        "qué repugnancia, me dan ganas de vomitar, está podrido, esto apesta, qué mal huele, me repugna todo, "
        "da grima verlo, menudo asco de comida, qué guarrada más repugnante, tengo el estómago revuelto, "
        "how disgusting, it smells rotten, it makes me sick"
    ),
    "anger": listed(
        "estoy furioso, estoy harta de esto, me pone de los nervios, qué poca vergüenza, estoy muy enfadada, "
        "me hierve la sangre, basta de injusticias, esto es indignante, qué rabia tengo, no soporto más mentiras, "
        "I am furious, stop lying to me, I have had enough"
    ),
    "joy": listed(
        "estoy muy contento, qué felicidad, qué bien, soy muy feliz, por fin ha salido bien, qué divertido, "
        "es el mejor día de mi vida, estoy encantada, es estupendo, vaya maravilla, me alegro mucho, "
        "I am so happy, what a lovely day, let us celebrate"
    ),
    "sadness": listed(
        "estoy muy triste, me siento muy sola, ya nada será igual, tengo el corazón roto, lloro todas las noches, "
        "todo está perdido, estoy desolado, cuánto le echo de menos, me duele el alma, qué pena tan grande, "
        "I cried all night, I miss him so much, my heart is broken"
    ),
    "fear": listed(
        "estoy asustado, tengo mucho temor, qué susto, me tiemblan las manos, estoy aterrada, no quiero entrar, "
        "qué terror, algo malo va a pasar, tengo miedo a la oscuridad, me da pánico verlo, no me atrevo a entrar, "
        "I am so scared, I am afraid of the dark, my hands are shaking"
    ),
}
ENGLISH_PHRASES = frozenset(phrase for phrases in OWN_PHRASES.values() for phrase in phrases[-3:])
SYNONYMS: Mapping[str, Sequence[str]] = {
    "neutral": ("calma", "indiferencia", "neutral", "calm"),
    "disgust": ("asco", "repugnancia", "repulsión", "disgust"),
    "anger": ("ira", "rabia", "enfado", "indignación", "anger", "angry"),
    "joy": ("alegría", "felicidad", "joy", "happy"),
    "sadness": ("tristeza", "pena", "melancolía", "sadness", "sad"),
    "fear": ("miedo", "temor", "pánico", "terror", "fear"),
}
# P(what the teacher calls it | what the phrase shows); what is missing to 1 is "neutral".
TEACHER: Mapping[str, Mapping[str, float]] = {
    "neutral": {"joy": 0.15, "sadness": 0.10, "surprise": 0.08},
    "disgust": {"anger": 0.38, "disgust": 0.27, "contempt": 0.10, "sadness": 0.05},
    "anger": {"anger": 0.58, "contempt": 0.10, "disgust": 0.08, "sadness": 0.05},
    "joy": {"joy": 0.65, "surprise": 0.12},
    "sadness": {"sadness": 0.65, "joy": 0.05, "fear": 0.05},
    "fear": {"sadness": 0.38, "fear": 0.30, "surprise": 0.12},
}
# What is said of a voice: latent -> the word below and above the bounds, and the bounds.
VOICE: Mapping[str, tuple[str, str, float, float]] = {
    "pitch_level": ("grave", "aguda", -1.0, 1.5),
    "pitch_range": ("plana", "viva", -0.15, 0.15),
    "rate": ("lenta", "rápida", -0.06, 0.07),
    "loudness": ("floja", "fuerte", -2.0, 2.5),
}
EXTREME = {"grave": 3.5, "aguda": 3.5, "fuerte": 5.0, "floja": 5.0}
"""From here on the word is said twice as often."""
QUALITY_WORDS = {"modal": "clara", "tense": "tensa", "breathy": "soplada"}
OFF_LIST = {"surprise": "sorpresa", "contempt": "desprecio"}
# Some sentences carry the teacher away: how he answers where the sentence has these words.
CARRIED_AWAY = {
    "viaja": "surprise",
    "impuestos": "contempt",
    "partido": "excitement",
    "teléfono": "The speaker sounds {}.",
    "noticias": "I cannot tell from the text.",
    "fotos": "{} or surprise",
}


class Writer:
    """Writes the text, from one random number generator."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.distributions = load_distributions()
        self.numbers = np.random.default_rng(seed)
        words = self.distributions.words
        self.demo_subjects, self.demo_predicates = tuple(words.subjects), tuple(words.predicates)
        self.phrases = {label: (*words.cues[label], *OWN_PHRASES[label]) for label in LABELS}

    def carrier(self) -> str:
        """Who did what, in Spanish; never both of the demo corpus."""
        subject = self.random.choice((*self.demo_subjects, *OWN_SUBJECTS))
        others = () if subject in self.demo_subjects else self.demo_predicates
        return f"{subject} {self.random.choice((*others, *OWN_PREDICATES))}"

    def sentence(self, phrase: str) -> str:
        """A carrier with the phrase after or before it, as in the demo corpus."""
        carrier = self.random.choice(ENGLISH_CARRIERS) if phrase in ENGLISH_PHRASES else self.carrier()
        parts = (phrase, carrier) if self.random.random() < 0.3 else (carrier, phrase)
        return _capital(", ".join(parts)) + "."

    def plain(self) -> str:
        """A few sentences that show one emotion."""
        label = self.random.choice(LABELS)
        one, other = self.random.sample(self.phrases[label], 2)
        name, second = self.random.sample(SYNONYMS[label], 2)
        kind = self.random.randrange(6)
        if kind == 0:
            return f"{self.sentence(one)} {_capital(other)}."
        if kind == 1:
            return f"{self.sentence(one)} Siento {name}, {second}."
        if kind == 2:
            return f"{_capital(name)}, {second}: {one}. {_capital(other)}."
        if kind == 3:
            return f"{self.sentence(one)} {self.sentence(other)}"
        if kind == 4:
            return f"{self.sentence(one)} It is {name}, {second}."
        return f"{_capital(one)}, {other}. {_capital(name)}."

    def talk(self) -> tuple[str, str, str]:
        """Name of the prompt, transcription, answer."""
        name = self.random.choice(("gemma", "gemma", "gemma", "gemma-six", "gemma-spanish", "qwen-audio"))
        label = self.random.choice(LABELS)
        said = self.sentence(self.random.choice(OWN_PHRASES[label]))
        if self.random.random() < 0.1:  # says nothing: the answers are the teacher's bias
            said = self.random.choice(("", "N/A", "...", _capital(self.carrier()) + "."))
        chances = TEACHER[label]
        thought = self.random.choices([*chances, "neutral"], [*chances.values(), 1 - sum(chances.values())])[0]
        away = [form for word, form in CARRIED_AWAY.items() if word in said]
        form = away[0] if away and self.random.random() < 0.7 else "{}"
        return name, said, form.format(self.word(name, thought))

    def heard(self) -> tuple[str, str, str, str]:
        """Name of the audio prompt, transcription, what the voice is like, answer."""
        label = self.random.choice(LABELS)
        drawn = draw_latents(self.distributions, [label], self.numbers).iloc[0]
        said = self.sentence(self.random.choice(OWN_PHRASES[drawn["cue"]]))
        words = self.voice(drawn)
        voice = " ".join(self.random.choice(words) for _ in range(self.random.randrange(6, 20)))
        return self.random.choice(HEARD_PROMPTS), said, voice, ADJECTIVES[label]

    @staticmethod
    def voice(drawn: pd.Series) -> list[str]:
        """The words for one draw of the latents; an extreme one is said twice."""
        words = [QUALITY_WORDS[drawn["quality"]]]
        for latent, (below, above, low, high) in VOICE.items():
            value = float(drawn[latent])
            if low <= value <= high:
                continue
            word = below if value < low else above
            words += [word] * (1 + (abs(value) > EXTREME.get(word, math.inf)))
        return words

    def word(self, prompt: str, emotion: str) -> str:
        """The emotion as the prompt calls it, mostly."""
        own = {"qwen-audio": NOUNS, "gemma-spanish": SPANISH}.get(prompt, ADJECTIVES)
        words = self.random.choices((own, NOUNS, ADJECTIVES, SPANISH), (0.5, 0.3, 0.1, 0.1))[0]
        return OFF_LIST[emotion] if emotion in OFF_LIST and words is SPANISH else words.get(emotion, emotion)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
