"""What a model wrote, read as a label: how strictly is a choice, and how often it fails is counted."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Literal, get_args

from emoser_lib.corpora import LABELS
from emoser_lib.errors import UsageError
from emoser_lib.systems.prompts.words import WORDS

AnswerKind = Literal["exact", "extracted", "several", "negated", "foreign", "missing"]
"""What an answer is. Only "exact" and "extracted" have a label."""

FALLBACK = "neutral"
"""What an answer without a label counts as (THAU-UPM, section 3.2)."""

LEXICON: Mapping[str, str] = MappingProxyType(
    {
        "neutral": "neutral neutrality neutr~ neutrales neutralidad",
        # "disgusto" means annoyance, but is what models write for the prompt's "disgust" when they answer in Spanish.
        "disgust": "disgust disgusted disgusting revulsion repulsion asco asquead~ repugnancia repulsión disgusto",
        "anger": "anger angry angered mad furious fury rage enraged irate annoyed annoyance irritated irritation "
        "indignant indignation ira iracund~ enfado enfadad~ enojo enojad~ rabia rabios~ furia furios~ cólera "
        "coléric~ cabreo cabread~ irritación irritad~ indignación indignad~",
        "joy": "joy joyful joyous happy happiness cheerful delighted glad alegría alegre alegres feliz felices "
        "felicidad content~",
        "sadness": "sad sadness saddened sorrow sorrowful melancholy melancholic triste tristes tristeza "
        "entristecid~ apenad~ melancolía melancólic~",
        "fear": "fear fearful afraid scared frightened terrified terror miedo miedos~ temor temeros~ asustad~ "
        "aterrad~ aterrorizad~",
        "surprise": "surprise surprised sorpresa sorprendid~ asombro asombrad~",
        "contempt": "contempt contemptuous scorn desprecio despectiv~ desdén",
        "boredom": "boredom bored aburrimiento aburrid~",
        "excitement": "excitement excited entusiasmo entusiasmad~ emocionad~",
        "anxiety": "anxiety anxious ansiedad ansios~",
        "frustration": "frustration frustrated frustración frustrad~",
        "confusion": "confusion confused confusión confundid~",
        "pride": "pride proud orgullo orgullos~",
        "shame": "shame ashamed vergüenza avergonzad~",
    }
)
"""Emotion -> its words in English and Spanish; ~ stands for o, a, os, as. Our choice, short on purpose: a word that
as often belongs to what was said as to how (love, guilt, hope) is left out."""

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")

_STOP = re.compile(r"[.;:!?¿¡\n]")

_CLAUSE = re.compile(r"[.,;!?¿¡\n]|\b(?:but|with|although|though|while|than|pero|sino|con|aunque|mientras)\b")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NEGATION = _set(
    "not no non never neither nor without cannot hardly lack lacks lacking absence isnt dont doesnt arent wasnt "
    "ni nunca jamas tampoco sin nada falta ausencia"
)

_NEGATION_OF_TWO = frozenset({("rather", "than"), ("other", "than"), ("instead", "of"), ("lugar", "de"), ("vez", "de")})

_NO_NEGATION_BEFORE = _set("only just merely solo solamente")

_DOUBT = _set("doubt duda dudas")

_CONTRAST = _set("but however instead and because pero sino aunque y e porque")

_OR = _set("or nor ni o u")

_REACH = 6
"""Words that a negation reaches: "does not seem to be particularly sad"."""

_MARKS = _set(
    "predominant predominantly predominates dominant primary primarily main mainly mostly principally answer "
    "predominante predominantemente predomina principal principalmente mayormente respuesta"
)

_LIST_MARKS = _set("from among between following entre siguientes")


@dataclass(frozen=True)
class ParsedAnswer:
    """A label, or None, and what the answer was."""

    label: str | None
    kind: AnswerKind


def parse_answer(text: str, labels: Sequence[str] = LABELS, mode: str = "strict") -> ParsedAnswer:
    """Read a freely generated answer.

    ``strict``: the answer is one of the label's words of the three word sets (noun, adjective, Spanish) and nothing
    else; case, accents, punctuation, quotes and markdown do not matter. Anything else has no label.

    ``lenient``: label words and synonyms are looked for anywhere, in English and Spanish, as whole words. If the first
    line is a label's word alone, it decides: models that were not tuned to stop write on. Negated emotions do not
    count. Of several emotions none is taken, unless one is called predominant or the answer ("the answer is
    sad"): ambiguous answers should be seen, not guessed.

    The kinds: ``exact`` (a label's word alone), ``extracted`` (one label found), ``several``, ``negated`` (only negated
    ones), ``foreign`` (an emotion that is not among the labels), ``missing`` (none). The rules are our choice: the
    paper only says that answers without one of the emotions become neutral.

    Args:
        text: what the model wrote, without special tokens.
        labels: the allowed ones; each a single word.
        mode: "strict" or "lenient".

    Raises:
        UsageError: there is no such mode, or a label is not one word.

    >>> parse_answer("**Sadness.**")
    ParsedAnswer(label='sadness', kind='exact')
    >>> parse_answer("The speaker is not angry but sad.", mode="lenient")
    ParsedAnswer(label='sadness', kind='extracted')
    >>> parse_answer("Sorpresa", mode="lenient")
    ParsedAnswer(label=None, kind='foreign')
    """
    if mode not in ("strict", "lenient"):
        raise UsageError(f"There is no mode '{mode}' for answers: use strict or lenient.")
    exact, lexicon = _vocabulary(tuple(labels))
    folded = _fold(text)
    alone = _alone(folded, exact, lexicon, labels)
    if alone.kind != "missing" or mode == "strict":
        return alone
    first_line = next((line for line in folded.splitlines() if _WORD.search(line)), "")
    first = _alone(first_line, exact, lexicon, labels)
    if first.kind != "missing":
        return ParsedAnswer(first.label, "extracted" if first.label else first.kind)
    return _searched(folded, lexicon, labels)


def to_label(answer: ParsedAnswer, fallback: str = FALLBACK) -> str:
    """The label of an answer; without one the fallback, as in THAU-UPM, section 3.2. It favours the fallback's class.

    >>> to_label(ParsedAnswer(None, "several"))
    'neutral'
    """
    return fallback if answer.label is None else answer.label


def count_answers(answers: Iterable[ParsedAnswer]) -> dict[str, int]:
    """How many answers are of each kind, and ``unparsable``: how many have no label.

    >>> count_answers([ParsedAnswer("joy", "exact"), ParsedAnswer(None, "missing")])
    {'exact': 1, 'extracted': 0, 'several': 0, 'negated': 0, 'foreign': 0, 'missing': 1, 'unparsable': 1}
    """
    answers = list(answers)
    kinds = Counter(answer.kind for answer in answers)
    return {kind: kinds[kind] for kind in get_args(AnswerKind)} | {"unparsable": sum(a.label is None for a in answers)}


def _fold(text: str) -> str:
    """Lower case, no accents, straight apostrophes."""
    parts = unicodedata.normalize("NFD", text.casefold().replace("\u2019", "'"))
    return "".join(char for char in parts if not unicodedata.combining(char))


@lru_cache(maxsize=16)
def _vocabulary(labels: tuple[str, ...]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Folded word -> emotion: the words that may stand alone, and all words."""
    lexicon: dict[str, str] = {}
    for emotion, forms in LEXICON.items():
        for form in forms.split():
            endings = ("o", "a", "os", "as") if form.endswith("~") else ("",)
            lexicon |= {_fold(form.rstrip("~") + ending): emotion for ending in endings}
    names = {emotion: {emotion, *(words.get(emotion, emotion) for words in WORDS.values())} for emotion in LEXICON}
    exact = {_fold(word): emotion for emotion, words in names.items() for word in words}
    for label in labels:
        if _WORD.fullmatch(_fold(label)) is None:
            raise UsageError(f"The label '{label}' is not a single word: answers can be read as single words only.")
    own = {_fold(label): label for label in labels}
    return MappingProxyType(exact | own), MappingProxyType(lexicon | own)


def _alone(folded: str, exact: Mapping[str, str], lexicon: Mapping[str, str], labels: Sequence[str]) -> ParsedAnswer:
    """What a single word says; several words, or a synonym of a label, say nothing here."""
    words = _WORD.findall(folded)
    word = words[0] if len(words) == 1 else ""
    if exact.get(word) in labels:
        return ParsedAnswer(exact[word], "exact")
    return ParsedAnswer(None, "foreign" if word in lexicon and lexicon[word] not in labels else "missing")


def _searched(folded: str, lexicon: Mapping[str, str], labels: Sequence[str]) -> ParsedAnswer:
    mentions = _mentions(folded, lexicon)
    meant = {emotion for _, emotion, negated in mentions if not negated}
    if not meant:
        return ParsedAnswer(None, "negated" if mentions else "missing")
    if len(meant) > 1 and len(meant & set(labels)) > 0:
        marked = _marked(folded, mentions)
        if marked is None:
            return ParsedAnswer(None, "several")
        meant = {marked}
    found = meant & set(labels)
    return ParsedAnswer(found.pop(), "extracted") if found else ParsedAnswer(None, "foreign")


def _mentions(folded: str, lexicon: Mapping[str, str]) -> list[tuple[int, str, bool]]:
    """Every emotion word: where it starts, its emotion, whether it is negated."""
    found = list(_WORD.finditer(folded))
    words = [match[0] for match in found]
    mentions, reach, after = [], 0, 0
    for place, (match, word) in enumerate(zip(found, words, strict=True)):
        gap, after = folded[after : match.start()], match.end()
        ends = _STOP.search(gap) or ("," in gap and word not in _OR and not _goes_on(words[:place]))
        reach = 0 if ends or word in _CONTRAST else reach - 1
        if _negates(words, place):
            reach = _REACH
        elif word in lexicon:
            mentions.append((match.start(), lexicon[word], reach > 0))
    return mentions


def _goes_on(before: list[str]) -> bool:
    """After "neither" and "ni" a comma is part of the list."""
    return bool({"neither", "ni"} & set(before[-_REACH:]))


def _negates(words: list[str], place: int) -> bool:
    word, following = words[place], words[place + 1 : place + 3]
    if tuple(words[max(0, place - 1) : place + 1]) in _NEGATION_OF_TWO:
        return True
    if word not in _NEGATION and not word.endswith("n't"):
        return False
    return not (following[:1] and following[0] in _NO_NEGATION_BEFORE) and not _DOUBT & set(following)


def _marked(folded: str, mentions: list[tuple[int, str, bool]]) -> str | None:
    """The one emotion that a clause calls predominant, or the answer."""
    edges = [0, *(match.end() for match in _CLAUSE.finditer(folded)), len(folded) + 1]
    chosen = set()
    for start, stop in pairwise(edges):
        words = set(_WORD.findall(folded[start:stop]))
        emotions = {emotion for where, emotion, negated in mentions if start <= where < stop and not negated}
        if words & _MARKS and not words & _LIST_MARKS:
            chosen |= emotions
    return chosen.pop() if len(chosen) == 1 else None
