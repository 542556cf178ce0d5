"""The parameters of 04-gemma-zero-shot: what is predicted, and what is refused in one sentence."""

import pytest

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.corpora.corpus import build_frame
from emoser_lib.errors import UsageError
from emoser_lib.experiments import GemmaZeroShotSettings

VALUES = {
    "corpus": "demo",
    "corpus_options": {},
    "llm": "emoser/demo-gemma",
    "dtype": "float32",
    "prompt": "gemma",
    "chat": "auto",
    "words": "adjectives",
    "split": "test",
    "calibrate": False,
    "variants": [],
    "batch_size": 16,
    "max_new_tokens": 12,
    "resamples": 2000,
    "seed": 0,
}


def test_the_clips_of_each_split() -> None:
    demo = load_corpus("demo")
    test, train = (GemmaZeroShotSettings.check(**{**VALUES, "split": split}).clips(demo) for split in ("test", "train"))
    assert (len(test), len(train)) == (100, 400)
    assert set(test["id"]).isdisjoint(train["id"])


def test_a_corpus_without_a_test_split_says_what_to_do() -> None:
    bare = Corpus("own", build_frame({"id": ["a", "b"], "label": ["joy", "fear"]}))
    assert list(GemmaZeroShotSettings.check(**{**VALUES, "split": "train"}).clips(bare)["id"]) == ["a", "b"]
    with pytest.raises(UsageError, match="'own' has no labelled test split: set split to 'train'"):
        GemmaZeroShotSettings.check(**VALUES).clips(bare)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("split", "folds", "'split' is 'folds': input should be 'test' or 'train'"),
        ("variants", ["gema"], "there is no prompt 'gema' .did you mean 'gemma'"),
        (
            "llm",
            "google/gemma-3-270",
            "there is no checkpoint 'google/gemma-3-270' .did you mean 'google/gemma-3-270m'",
        ),
        ("words", "verbs", "there is no word set 'verbs'"),
        ("max_new_tokens", 0, "'max_new_tokens' is 0"),
        ("dtype", "float16", "'dtype' is 'float16': input should be 'float32' or 'bfloat16'"),
        ("device", "gpu", "'device' is 'gpu': a device is auto, cpu, cuda, a GPU such as cuda:1, or mps"),
        ("batch_size", 0, "'batch_size' is 0"),
    ],
)
def test_what_cannot_be_is_refused(name: str, value: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        GemmaZeroShotSettings.check(**{**VALUES, name: value})
