"""Tables about systems that hear: numbers that a hand can check, and text of strangers that stays text."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.corpora.corpus import build_frame
from emoser_lib.experiments import folds
from emoser_lib.experiments.training.cells import Cell
from emoser_lib.reporting import figures, recorded, score_on
from emoser_lib.reporting.hearing import audio_systems, listening
from emoser_lib.reporting.ledger.claims import claims
from emoser_lib.reporting.reading import adapters, text_systems
from emoser_lib.systems.declared import AudioSystem, Linear, Lora, Loss, Training
from emoser_lib.systems.hearing.encoders.emotion2vec import Emotion2vecFrames
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.hearing.encoding import hear
from emoser_lib.systems.prompts.audio import audio_prompt
from emoser_lib.systems.reading.llm import load_llm

DEMO = load_corpus("demo")
LABELS = DEMO.labels
CUTS = folds(DEMO)[:2]
SYSTEMS = [
    AudioSystem(training=Training(batch_size=size, learning_rate=rate)) for size in (4, 6) for rate in (1e-3, 1e-2)
]


def cell(ids: tuple[str, ...], *rights: float) -> Cell:
    """A cell that answers about these shares of its clips rightly, one share an epoch."""
    gold = DEMO.training().set_index("id")["label"][list(ids)].map(LABELS.index).to_numpy()
    epochs = []
    for number, right in enumerate(rights):
        draw = np.random.default_rng(number)
        best = np.where(draw.random(len(ids)) < right, gold, draw.integers(0, len(LABELS), len(ids)))
        epochs.append(tuple(tuple(0.0 if label == k else -3.0 for k in range(len(LABELS))) for label in best))
    return Cell(
        key="0", ids=ids, labels=LABELS, epochs=tuple(epochs), log=({"step": 1.0, "epoch": 0.5, "loss": 1.0},),
        trainable=64, steps=20, seconds=10.0, threads=1, commit=None, date="",
    )  # fmt: skip


def cells(*rights: float) -> list[Cell]:
    return [cell(cut.validation, *rights) for cut in CUTS]


GRID = {
    system: cells(*rights) for system, rights in zip(SYSTEMS, [(0.1, 0.9), (0.8, 0.5), (0, 0.3), (0, 0)], strict=True)
}


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOSER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_parameters_are_counted_by_part() -> None:
    llm, encoder = load_llm("emoser/demo-gemma"), load_encoder("emoser/demo-whisper")
    system = AudioSystem(bridge=Linear(stack=2))
    table = audio_systems.parameters(llm, encoder, system)
    size = 2 * encoder.width * llm.model.config.hidden_size + llm.model.config.hidden_size
    assert table.loc["bridge"].tolist() == [size, size]
    assert table.loc["together", "trained"] == size
    assert table.loc["language model"].tolist() == [sum(p.numel() for p in llm.model.parameters()), 0]
    along = audio_systems.parameters(llm, encoder, replace(system, encoding="trained", adaptation=Lora(2, 4, "q,v", 0)))
    assert along.loc["encoder", "trained"] == along.loc["encoder", "parameters"] == table.loc["encoder", "parameters"]
    assert along.loc["its adapter", "trained"] == along.loc["its adapter", "parameters"] > 0
    assert along.loc["language model"].tolist() == table.loc["language model"].tolist()


def test_what_was_encoded_and_what_it_would_have_been() -> None:
    encoder = load_encoder("emoser/demo-whisper")
    ids = [*CUTS[0].train[:3], *CUTS[0].validation[:2]]
    cut = replace(CUTS[0], train=tuple(ids[:3]), validation=tuple(ids[3:]))
    hearing = hear(encoder, SYSTEMS[0], DEMO, ids)
    table = audio_systems.encoded(hearing, {SYSTEMS[0]: [cell(cut.validation, 1.0, 1.0)]}, [cut]).loc["encoded once"]
    frames = sum(encoder.frames_of(len(DEMO.waveform(clip))) for clip in ids)
    assert table["clips"] == table["runs of the encoder"] == 5
    assert table["runs without the cache"] == 2 * 5
    assert table["frames"] == frames
    assert table["megabytes"] == pytest.approx(frames * encoder.width * 4 / 1e6)
    live = hear(encoder, replace(SYSTEMS[0], encoding="live"), DEMO, ids)
    assert audio_systems.encoded(live, {}, [cut]).empty


def test_table_2_has_our_rows_above_the_papers() -> None:
    table = adapters.grid_table(DEMO, GRID, audio_systems.batch_and_rate)
    both = audio_systems.table_2(table, claims())
    assert list(both.columns) == ["0.0001", "0.001", "0.01"]
    assert both.loc["paper, batch 4", "0.001"] == 0.8125 and both.loc["paper, batch 6", "0.0001"] == 0.7404
    best = table.iloc[0]
    assert both.loc["this run, batch 4", "0.001"] == best["macro_f1"] == table["macro_f1"].max()
    assert len(audio_systems.table_2(adapters.grid_table(DEMO, {}), claims())) == 2


def test_curves_of_audio_systems_are_drawn_by_what_they_differ_in() -> None:
    by = audio_systems.batch_and_rate
    curves = adapters.learning_curves(DEMO, GRID, by)
    assert set(curves["batch size"]) == {4, 6} and len(curves) == 4 * 2 * 2
    figure = figures.adapter_curves(adapters.losses(GRID, by), curves)
    (legend,) = figure.legends
    settings = {f"batch size {size}, learning rate {rate}" for size in (4, 6) for rate in ("0.001", "0.01")}
    assert {text.get_text() for text in legend.get_texts()} == settings
    one = audio_systems.named("arm", {SYSTEMS[0]: "published"})
    alone = {SYSTEMS[0]: GRID[SYSTEMS[0]]}
    assert figures.adapter_curves(adapters.losses(alone, one), adapters.learning_curves(DEMO, alone, one)).axes


def test_weights_of_the_labels_are_those_of_the_loss() -> None:
    table = audio_systems.weights_table(DEMO, CUTS[0].train, ["none", "inverse", "normalised", "sqrt"])
    assert table["clips"].sum() == len(CUTS[0].train)
    assert (table["inverse"] * table["clips"]).tolist() == pytest.approx([len(CUTS[0].train)] * 6)
    assert table["inverse"].tolist() == pytest.approx((6 * table["normalised"]).tolist())
    assert table["sqrt"].tolist() == pytest.approx((table["inverse"] ** 0.5).tolist())


def test_recall_of_all_folds_together() -> None:
    systems = [replace(SYSTEMS[0], loss=Loss(name)) for name in ("none", "sqrt")]  # type: ignore[arg-type]
    grid = dict(zip(systems, (cells(0.9), cells(0.4)), strict=True))
    table = audio_systems.recall_table(DEMO, grid, audio_systems.loss_weights)
    scored = score_on(DEMO, audio_systems.predicted(grid[systems[0]]))
    assert list(table.index) == ["none", "sqrt"]
    assert (
        table.loc["none", "uar"] == pytest.approx(scored.uar) == pytest.approx(table.loc["none", list(LABELS)].mean())
    )
    assert table.loc["none", "fear"] == scored.per_class["fear"].recall
    assert audio_systems.recall_table(DEMO, {}, audio_systems.loss_weights).empty


def test_the_best_look_is_never_below_the_last() -> None:
    names = dict(zip(SYSTEMS, "abcd", strict=True))
    table = audio_systems.epochs_table(DEMO, GRID, audio_systems.named("arm", names))
    each = [[score_on(DEMO, of.predicted(epoch)).macro_f1 for epoch in (0, 1)] for of in GRID[SYSTEMS[1]]]
    assert table.loc["b", "best epoch"] == pytest.approx(np.mean([max(scores) for scores in each]))
    assert table.loc["b", "last epoch"] == pytest.approx(np.mean([scores[1] for scores in each]))
    assert table.loc["b", "difference"] > 0.05
    assert table.loc["a", "difference"] == 0


def answers(ids: list[str]) -> pd.DataFrame:
    gold = DEMO.training().set_index("id")["label"][ids]
    heard = gold.where(np.arange(len(ids)) > 0, "no such label")
    return pd.DataFrame({"with audio": heard, "p with": 0.876, "without audio": "neutral", "p without": 0.5})


def test_answers_with_and_without_audio_are_counted_and_shown() -> None:
    ids = listening.clips_a_label(DEMO, DEMO.training()["id"])
    assert list(DEMO.training().set_index("id")["label"][ids]) == list(LABELS)
    made = answers(ids)
    shares = audio_systems.audio_share(DEMO, made)
    assert shares.tolist() == pytest.approx([5 / 6, 1 / 6, 1.0])
    html = listening.listen(DEMO, ids, audio_systems.answers_table(made)).data
    assert html.count("<audio") == 6 and html.count("with audio: <b>") == 6
    assert "without audio: <b>neutral (0.50)</b>" in html and "with audio: <b>fear (0.88)</b>" in html


def test_clips_of_the_test_are_listened_to_with_their_labels() -> None:
    test = DEMO.test()["id"]
    ids = listening.clips_a_label(DEMO, test, each=2)
    gold = DEMO.gold_labels()[ids]
    assert set(gold) == set(LABELS) and gold.value_counts().max() == 2
    assert all(f"<th scope='row'>{label}</th>" in listening.listen(DEMO, ids).data for label in LABELS)


def test_what_a_system_says_is_escaped() -> None:
    clip = DEMO.training().iloc[0]
    corpus = Corpus("own", build_frame({"id": ["a"], "audio": [clip["audio"]], "label": ["joy"], "split": ["train"]}))
    html = listening.listen(corpus, ["a"], pd.DataFrame({"system": ["<script>"]}, index=["a"])).data
    assert "<script>" not in html and "&#60;script&#62;" in html


def test_the_audios_place_is_one_box_of_the_prompt() -> None:
    llm = load_llm("emoser/demo-gemma")
    batch = audio_prompt("whisper-gemma").encode(llm.tokenizer, ["hola", "adiós"], "plain")
    html = text_systems.tokens(batch, llm.tokenizer, places=31).data
    assert html.count("<b>audio: 31 embeddings</b>") == 1
    assert f"{len(batch.rests[0]) - 1} of this clip and 31 of its audio" in html


def test_what_padding_mask_and_normalisation_do_is_told_apart() -> None:
    encoder = load_encoder("emoser/demo-emotion2vec")
    assert isinstance(encoder, Emotion2vecFrames)
    draw = np.random.default_rng(0)
    waveforms = [draw.normal(0, 0.1, 16_000 * seconds).astype(np.float32) for seconds in (2, 4)]
    table = audio_systems.mask_effects(encoder, waveforms)
    mean = table.groupby("way")["distance"].mean()
    assert table["way"].iloc[0] == "right mask"
    assert len(table) == 4 * encoder.frames_of(32_000)
    assert np.isfinite(table["distance"]).all()
    assert (mean > 0.01).all()
    # Without padding the right mask changes nothing; normalising with a louder clip still does.
    equal = audio_systems.mask_effects(encoder, [waveforms[0], 9 * waveforms[1][:32_000]])
    mean = equal.groupby("way")["distance"].mean()
    assert mean["right mask"] < 1e-4
    assert mean["right mask, normalised together"] > 0.01
    (legend,) = figures.frame_distances(table).legends
    assert {text.get_text() for text in legend.get_texts()} == set(table["way"])


def test_the_recorded_runs_say_what_was_heard_and_read() -> None:
    table = recorded("08-whisper-gemma", "systems")
    assert table.loc["speaker", "heard with a clip"] == "silence up to 30 s"
    assert table.loc["clip", "heard with a clip"] == "nothing"
    assert table.loc["speaker", "folds"] == 5
    assert table.loc["speaker", "sd"] > 0


def test_in_the_recorded_runs_who_only_reads_is_at_chance_and_who_hears_is_not() -> None:
    scores = recorded("08-whisper-gemma", "scores")
    run = scores[scores["run"] == "speaker"]
    order = [name for name in ("speaker", "normalised", "clip") for _ in range(len(run))]
    assert list(scores["run"]) == order, "all folds before one of them"
    chance = 1 / 6
    assert run.loc["text-svm", "UAR low"] < chance + 0.01
    assert run.loc["whisper-gemma", "UAR low"] > run.loc["audio-svm", "UAR high"] > chance


def test_a_classifier_of_the_same_frames_is_not_below_the_language_model() -> None:
    """What chapter 8 says of its recorded runs, and of the classifier it sets beside them."""
    scores = recorded("08-whisper-gemma", "scores")
    reached = scores.loc["whisper-gemma"].set_index("run")["UAR"]
    assert scores.loc["text-svm"].set_index("run")["UAR low"]["normalised"] < 1 / 6 + 0.01
    heard = recorded("08-whisper-gemma", "voices")
    assert set(heard["run"]) == {"normalised"}
    frames = heard["uar"].drop("acoustic statistics").droplevel("heard as")
    assert frames["new voices"] > reached["speaker"]
    assert frames["new voices, normalised"] > reached["normalised"]
    assert frames["new voices, normalised"] == pytest.approx(reached["normalised"], abs=0.02)


def test_in_emosllms_recorded_run_who_only_reads_is_at_chance_and_who_hears_is_not() -> None:
    run = recorded("10-emosllm", "scores")
    assert set(run["run"]) == {"speaker"} and set(run["evaluated on"]) == {"elicited_es, 5 folds, speaker"}
    chance = 1 / 6
    assert run.loc["text only", "UAR low"] < chance + 0.01
    hears = run.loc[["emosllm", "emosllm, no transcription"]]
    assert (hears["UAR low"] > run.loc["text only", "UAR high"] + 0.1).all()
    # What the chapter says of them: no better than the baseline beyond its interval, worse than Whisper-Gemma.
    assert (hears["UAR"] < run.loc["audio-svm", "UAR high"]).all()
    whisper = recorded("08-whisper-gemma", "scores").query("run == 'speaker'").loc["whisper-gemma"]
    assert (hears["UAR high"] < whisper["UAR low"]).all()
    epochs = recorded("10-emosllm", "epochs").drop(columns="run")
    assert (epochs.loc["emosllm"] < epochs.loc["emosllm, no transcription"]).all()
    assert (epochs["epoch 4"] > epochs["epoch 3"]).all()
