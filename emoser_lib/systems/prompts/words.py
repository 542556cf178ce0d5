"""The words that stand for labels: nouns, adjectives, Spanish, or a dictionary of one's own."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from emoser_lib.corpora import LABELS
from emoser_lib.errors import UsageError, did_you_mean


def _words(*words: str) -> Mapping[str, str]:
    return MappingProxyType(dict(zip(LABELS, words, strict=True)))


NOUNS = _words(*LABELS)
"""The data set's labels as they are (and those of the Qwen-Audio prompt)."""


ADJECTIVES = _words("neutral", "disgust", "angry", "happy", "sad", "fear")
"""What Table 1's Gemma prompt calls the six labels; the authors' released code for Whisper-Gemma uses them too."""


SPANISH = _words("neutral", "asco", "ira", "alegría", "tristeza", "miedo")
"""The usual Spanish names of Ekman's emotions (our choice)."""


WORDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"nouns": NOUNS, "adjectives": ADJECTIVES, "spanish": SPANISH}
)
"""The word sets by name. The paper does not say which one Gemma was trained on: both English ones can be run."""


def words_for(labels: Sequence[str], name: str = "nouns") -> dict[str, str]:
    """Return the words of a corpus's labels. A label that is not one of the six is its own word, in any language.

    Args:
        labels: of the corpus.
        name: of the word set.

    Raises:
        UsageError: there is no such word set.

    >>> words_for(["joy", "boredom"]), words_for(["joy"], "spanish")
    ({'joy': 'joy', 'boredom': 'boredom'}, {'joy': 'alegría'})
    """
    if name not in WORDS:
        raise UsageError(f"There is no word set '{name}'{did_you_mean(name, list(WORDS))}: use {', '.join(WORDS)}.")
    return {label: WORDS[name].get(label, label) for label in labels}
