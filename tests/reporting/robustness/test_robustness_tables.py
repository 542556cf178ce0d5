"""Tables about conditions, calibration and abstention: by hand, with the demo corpus's gold labels."""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from emoser_lib.corpora import Condition, Corpus, load_corpus
from emoser_lib.experiments.judging import calibration
from emoser_lib.reporting import gold_for, recorded, recorded_tables, score_on
from emoser_lib.reporting.audit import groups
from emoser_lib.reporting.hearing import listening
from emoser_lib.reporting.robustness import robustness_figures
from emoser_lib.reporting.robustness import robustness_tables as robustness

NOISY, CUT = Condition(snr_db=0), Condition(seconds=1)


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return load_corpus("demo")


def told(demo: Corpus, wrong: int, probability: float = 0.7) -> pd.DataFrame:
    """Answers to the test clips of which the first so many are wrong."""
    gold = gold_for(demo, pd.Index(demo.test()["id"]))
    other = gold.map({label: demo.labels[number - 1] for number, label in enumerate(demo.labels)})
    answer = other.where(np.arange(len(gold)) < wrong, gold)
    return pd.DataFrame({"answer": answer, "probability": probability, "confidence": np.linspace(0, 1, len(gold))})


@pytest.fixture(scope="module")
def answers(demo: Corpus) -> dict[Condition, dict[str, pd.DataFrame]]:
    deaf = told(demo, 30, np.nan)
    return {
        Condition(): {"hears": told(demo, 10), "reads": deaf},
        NOISY: {"hears": told(demo, 60, 0.6), "reads": deaf},
        CUT: {"hears": told(demo, 20), "reads": told(demo, 40, np.nan)},
        Condition(snr_db=20): {"hears": told(demo, 15), "reads": deaf},
    }


def test_what_a_condition_changes(demo: Corpus, answers: robustness.Answers) -> None:
    table = robustness.conditions_table(demo, answers, resamples=200).set_index(["condition", "system"])
    noisy = table.loc[(NOISY.name, "hears")]
    clean = score_on(demo, answers[Condition()]["hears"]["answer"])
    assert table.loc[("clean", "hears"), "macro_f1"] == clean.macro_f1
    assert noisy["accuracy"] == pytest.approx(0.4)
    assert noisy["changed"] == pytest.approx(0.5)
    assert noisy["change"] == pytest.approx(noisy["macro_f1"] - clean.macro_f1)
    assert noisy["low"] < noisy["change"] < noisy["high"] < 0
    assert noisy["probability"] == pytest.approx(0.6)
    assert table.loc[(NOISY.name, "reads"), ["changed", "change", "low", "high"]].tolist() == [0, 0, 0, 0]
    assert np.isnan(table.loc[(NOISY.name, "reads"), "probability"])


def test_side_by_side_keeps_the_order_of_conditions_and_systems(demo: Corpus, answers: robustness.Answers) -> None:
    table = robustness.conditions_table(demo, answers, resamples=100)
    wide = robustness.side_by_side(table, "accuracy")
    assert list(wide.index) == ["clean", NOISY.name, CUT.name, "white noise, 20 dB"]
    assert wide.loc[CUT.name].to_dict() == {"hears": 0.8, "reads": 0.6}


def test_curves_go_from_clean_to_the_strongest(demo: Corpus, answers: robustness.Answers) -> None:
    table = robustness.conditions_table(demo, answers, resamples=100)
    curves = robustness.curves(table, list(answers))
    assert set(curves["kind"]) == {"noise, dB"}  # of seconds there is only one strength
    ours = curves[curves["system"] == "hears"]
    assert ours["strength"].tolist() == ["clean", "20", "0"]
    assert ours["macro_f1"].is_monotonic_decreasing


def test_calibration_and_temperature_of_the_demo_clips(demo: Corpus) -> None:
    gold = gold_for(demo, pd.Index(demo.test()["id"]))
    rng = np.random.default_rng(0)
    logits = pd.DataFrame(rng.normal(size=(100, 6)), gold.index, list(demo.labels))
    said = calibration.tempered(logits + 2 * pd.get_dummies(gold)[list(demo.labels)], 0.1)  # far too sure
    mended, temperatures = robustness.tempered_answers(demo, said, by="speaker")
    table = robustness.calibration_table(demo, {"raw": said, "mended": mended}, bins=5)
    assert all(2 < temperature < 10 for temperature in temperatures)
    assert table.loc["mended", "NLL"] < table.loc["raw", "NLL"]
    assert table["accuracy"].nunique() == 1
    bins = robustness.reliability_table(demo, {"raw": said, "mended": mended}, bins=5)
    assert bins.groupby("way")["clips"].sum().tolist() == [100, 100]


def test_abstention_by_hand(demo: Corpus) -> None:
    # The least sure answers are the wrong ones: as good an order as there is.
    curves = robustness.abstention_curves(
        demo, {"good": told(demo, 20), "mute": told(demo, 20).assign(confidence=np.nan)}
    )
    assert set(curves["system"]) == {"good"}
    row = robustness.abstention_table(curves).loc["good"]
    assert row["area"] == pytest.approx(row["best area"])
    assert row[["risk of 100%", "risk of 80%", "risk of 50%"]].tolist() == pytest.approx([0.2, 0, 0])
    flipped = told(demo, 20).assign(confidence=lambda frame: -frame["confidence"])
    worst = robustness.abstention_table(robustness.abstention_curves(demo, {"bad": flipped})).loc["bad"]
    assert worst["area"] > worst["risk of 100%"] > worst["best area"]


def test_records_show_what_the_run_showed(
    demo: Corpus, answers: robustness.Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {c: {"whisper-gemma": told["hears"], "text-svm": told["reads"]} for c, told in answers.items()}
    table = robustness.conditions_table(demo, ours, resamples=100)
    shown = groups.by_group(demo, ours[NOISY]["whisper-gemma"]["answer"], "gender")
    metrics = json.loads(
        json.dumps({"conditions": table.to_dict("records"), "genders": shown.to_dict("index")}, sort_keys=True)
    )
    monkeypatch.setattr(recorded_tables, "published_records", lambda _: [SimpleNamespace(run="own", metrics=metrics)])
    genders = recorded("13-robustness", "genders")
    pd.testing.assert_frame_equal(genders.drop(columns="run"), shown, check_names=False, check_dtype=False)
    conditions = recorded("13-robustness", "conditions")
    wide = robustness.side_by_side(table, "macro_f1")
    assert conditions["whisper-gemma"].to_dict() == wide["whisper-gemma"].to_dict()
    assert conditions.loc[NOISY.name, "whisper-gemma: change"] < 0
    monkeypatch.setattr(recorded_tables, "published_records", lambda _: [])
    assert recorded("13-robustness", "genders").empty
    assert recorded("13-robustness", "conditions").empty


def test_the_figures_draw_what_there_is_and_say_so_where_there_is_nothing(
    demo: Corpus, answers: robustness.Answers
) -> None:
    table = robustness.conditions_table(demo, answers, resamples=100)
    changes = robustness_figures.changes(table).axes[0]
    assert [label.get_text() for label in changes.get_yticklabels()] == [NOISY.name, CUT.name, "white noise, 20 dB"]
    noise, beside = robustness_figures.score_curves(robustness.curves(table, list(answers))).axes
    assert noise.get_xlabel() == "noise, dB" and not beside.axison, "one kind has a strength: no second panel is seen"
    clean = table[table["condition"] == "clean"]
    for empty in (robustness_figures.changes(clean), robustness_figures.score_curves(robustness.curves(clean, []))):
        (text,) = empty.axes[0].texts
        assert text.get_text().startswith("No condition")
    plt.close("all")


def test_a_clip_is_played_under_each_condition_and_its_words_are_escaped(demo: Corpus) -> None:
    clip = demo.frame["id"][0]
    own = Corpus("own", demo.frame.assign(transcription="<b>no</b> me"), demo.labels)
    page = listening.listen_under(own, clip, [Condition(), NOISY, Condition(transcript=False)]).data
    assert page.count("<audio") == 3
    assert page.count("&#60;b&#62;no&#60;/b&#62; me") == 2
    assert "<b>" not in page
    sounds = {part.split("'")[0] for part in page.split("base64,")[1:]}
    assert len(sounds) == 2  # without its words a clip sounds the same
