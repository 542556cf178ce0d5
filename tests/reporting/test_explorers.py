"""What is played with: every setting of the controls has its row, its part of the picture and its sentence."""

import re
from html import unescape
from itertools import product

import pandas as pd
import pytest

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.corpora.corpus import build_frame
from emoser_lib.reporting import explorers
from emoser_lib.reporting.audit.leakage import leakage

DEMO = load_corpus("demo")
GRID = pd.DataFrame({"rank": [16, 4, 16], "alpha": [32, 8, 8], "macro_f1": [0.5, 0.4, 0.3], "trainable": [9, 3, 9]})


def answers() -> pd.Series:
    test = DEMO.gold_labels()
    return pd.Series(list(test)[::-1], test.index)


PAGES = {
    "adapters": lambda: explorers.adapter_explorer(GRID),
    "interval": lambda: explorers.interval_explorer(0.6, {"joy": 90, "fear": 6, "anger": 70}, draws=50),
    "leakage": lambda: explorers.leakage_explorer({"demo": leakage(DEMO)}),
    "confusion": lambda: explorers.confusion_explorer(DEMO, answers()),
}


@pytest.mark.parametrize("name", PAGES)
def test_every_setting_has_one_row_with_a_sentence(name: str) -> None:
    html = PAGES[name]().data
    options = [re.findall(r"<option value='([^']*)'", select) for select in re.findall(r"<select>.*?</select>", html)]
    options += [
        [str(n) for n in range(int(low), int(high) + 1)]
        for low, high in re.findall(r"type='range' min='(\d+)' max='(\d+)'", html)
    ]
    keys = [unescape("|".join(key)) for key in product(*options)]
    rows = [
        (unescape(key), said) for key, said in re.findall(r"<tr[^>]* data-choice='([^']*)' data-said='([^']+)'", html)
    ]
    assert sorted(key for key, _ in rows) == sorted(keys)
    assert [unescape(key) for key in re.findall(r"<g[^>]* data-choice='([^']*)'", html)] == [key for key, _ in rows]
    assert html.count("<tr class='emoser-chosen'") == 1


def test_ranks_and_alphas_say_what_the_table_has() -> None:
    html = unescape(explorers.adapter_explorer(GRID).data)
    assert "Rank 16, alpha 8: macro-F1 0.300, number 3 of 3. What is learnt counts 0.5 times" in html
    assert "Rank 4, alpha 32: not trained." in html
    assert "<output aria-live='polite'>Rank 16, alpha 32: macro-F1 0.500, number 1 of 3." in html
    assert "No grid here" in explorers.adapter_explorer(pd.DataFrame()).data


def test_recorded_leakage_stands_beside_this_runs() -> None:
    html = unescape(explorers.leakage_explorer({"demo": leakage(DEMO)}).data)
    assert re.search(r"emospeech, recorded, official test: 53% of the clips .* the rule scores 0.840\.", html)


def test_speakers_are_a_scheme_beside_videos_where_it_is_known_who_speaks() -> None:
    html = unescape(explorers.leakage_explorer({"demo": leakage(DEMO)}).data)
    for scheme in ("clip", "video", "speaker"):
        assert re.search(rf"demo, folds by {scheme}: \d+% of the clips .* on the average of the folds\.", html), scheme
    unknown = Corpus("own", build_frame(dict(DEMO.frame.assign(speaker="").items())))
    assert list(leakage(unknown).folds) == ["paper", "video"]


@pytest.mark.parametrize(
    ("lacks", "folds"), [(("video",), "folds by speaker"), (("video", "speaker"), "folds by clip")]
)
def test_a_corpus_without_videos_has_the_folds_that_it_can_have(lacks: tuple[str, ...], folds: str) -> None:
    corpus = Corpus("own", build_frame(dict(DEMO.frame.drop(columns=list(lacks)).items())))
    html = unescape(explorers.leakage_explorer({"own": leakage(corpus)}).data)
    assert re.search(rf"own, {folds}: \d+% of the clips", html)


def test_a_strangers_label_and_text_are_texts() -> None:
    bad = "<img src=x onerror=alert(1)>'|"
    given = {"id": ["c0", "c1"], "label": [bad, "joy"], "split": ["test"] * 2, "transcription": [bad] * 2}
    corpus = Corpus("made up", build_frame(given), labels=(bad, "joy"))
    html = explorers.confusion_explorer(corpus, pd.Series(["joy", bad], pd.Index(["c0", "c1"], name="id"))).data
    assert "<img" not in html
    assert "no audio here" in html
    assert html.count("data-said=") == 4
