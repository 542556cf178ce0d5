"""A finished run's system asked about new clips and exported: each kind, trained on thirty clips."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard
from scipy.special import softmax

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.corpora.loaders import DEMO_CORPUS_FOLDER
from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments import OwnSettings, prepare
from emoser_lib.experiments.predicting import Clip, System, export_system, load_system
from emoser_lib.experiments.predicting.answers import ask_into
from emoser_lib.experiments.predicting.asked import clips_of_table, named_clips
from emoser_lib.experiments.predicting.going_on import trained_here
from emoser_lib.experiments.runs.records import RunStatus
from emoser_lib.experiments.training.cells import Cell
from emoser_lib.systems.checkpoints.folders import find_checkpoint
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.reading.llm import load_llm
from tests.command import emoser
from tests.finished import CHAPTERS, LABELS, finished_run, own_recordings

MakeRun = Callable[..., Path]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predicting")


@pytest.fixture(scope="module")
def corpus_folder(place: Path) -> Path:
    return own_recordings(place / "own")


@pytest.fixture(scope="module")
def corpus(corpus_folder: Path) -> Corpus:
    return load_corpus("folder", root=str(corpus_folder))


@pytest.fixture(scope="module")
def make_run(place: Path, corpus_folder: Path) -> MakeRun:
    return partial(finished_run, place / "runs", corpus_folder)


def asked(corpus: Corpus) -> list[Clip]:
    """The test clips as somebody else would give them."""
    return [Clip(row["audio"], row["transcription"]) for row in corpus.test().to_dict("records")]


@pytest.mark.parametrize("chapter", [name for name in CHAPTERS if name[:2] in ("05", "07", "08", "09", "10")])
def test_a_run_answers_as_its_own_cell_does(
    chapter: str, make_run: MakeRun, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path))
    system = load_system(make_run(chapter))
    found = system.predict_proba(asked(corpus))
    [path] = (tmp_path / "runs").glob("*/cell.json")
    cell = Cell.model_validate_json(path.read_text())
    assert cell.ids == tuple(corpus.test()["id"])
    np.testing.assert_allclose(found, softmax(cell.scores().to_numpy(), axis=1), atol=1e-4)
    assert list(system.predict(asked(corpus)[:3])) == list(cell.predicted()[:3])
    # One clip is answered about as among others; kept by the run, it needs neither corpus nor cell.
    shutil.rmtree(tmp_path / "runs")
    again = load_system(make_run(chapter)).predict_proba(asked(corpus)[1:2])
    np.testing.assert_allclose(again, found[1:2], atol=1e-4)
    exported = export_system(system, tmp_path / "exported")
    np.testing.assert_allclose(load_system(exported).predict_proba(asked(corpus)[1:2]), again, atol=1e-6)
    _check_private(exported, corpus)


def _check_private(exported: Path, corpus: Corpus) -> None:
    content = b"".join(path.read_bytes() for path in exported.rglob("*") if path.is_file())
    private = [*corpus.frame["transcription"], "secret-", "Ana-", str(Path.home()), str(exported.parent.parent)]
    assert not [text for text in private if text.encode() in content]


@pytest.mark.parametrize("chapter", ["04-gemma-zero-shot", "06-qwen-audio-zero-shot"])
def test_a_model_as_it_is_answers_by_the_likelihood_of_the_words(
    chapter: str, make_run: MakeRun, corpus: Corpus
) -> None:
    found = load_system(make_run(chapter)).predict_proba(asked(corpus))
    assert found.shape == (6, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert np.ptp(np.log(found), axis=0).max() > 0.01  # clips are told apart


@pytest.mark.parametrize("name", ["text-svm", "audio-svm", "cnn", "late-fusion", "majority", "audio-kmeans"])
def test_a_baseline_answers_as_its_chapter_does(name: str, make_run: MakeRun, corpus: Corpus, tmp_path: Path) -> None:
    from emoser_lib.experiments import evaluation_folds, predict_by_folds
    from emoser_lib.systems import Clips, parts_of
    from emoser_lib.systems.classical.estimators import baseline

    system = load_system(make_run("03-classical"), name)
    clips = Clips.from_corpus(corpus, corpus.frame["id"], **parts_of([name]))
    wanted = predict_by_folds(baseline(name, 0), corpus, clips, evaluation_folds(corpus, "test"))
    assert list(system.predict(asked(corpus))) == list(wanted)
    exported = load_system(export_system(system, tmp_path / "exported"))
    np.testing.assert_array_equal(exported.predict_proba(asked(corpus)), system.predict_proba(asked(corpus)))
    assert system.predict_proba(asked(corpus)).shape == (6, len(system.classes_))


def test_after_folds_the_choice_is_trained_once_on_all_labelled_clips(
    make_run: MakeRun, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path))
    folder = make_run("05-gemma-lora", table="unsplit.csv", refit=False)
    with pytest.warns(UserWarning, match=r"folds only judge: gemma-lora \(rank 2, alpha 4\) is trained once"):
        load_system(folder).predict(asked(corpus)[:1])
    kept = json.loads((folder / "system/gemma-lora/system.json").read_text())
    assert kept["clips"] == 30
    assert kept["judged"] == "1 of 5 folds (paper)"


def test_a_notebook_asks_the_system_that_its_finished_run_leaves(
    make_run: MakeRun, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both systems of the chapter on own recordings, on folds only; nothing is left behind in the temporary folder."""
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = make_run("14-own-recordings", table="unsplit.csv")
    given = json.loads((run / "parameters.json").read_text())
    settings = prepare(OwnSettings.check(**given)).settings
    scores = json.loads((run / "record.json").read_text())["metrics"]["scores"]
    models = [load_llm(settings.llm), load_encoder(settings.encoder)]
    for name in ("text-svm", "whisper-gemma"):
        here = trained_here(settings, settings.load(), scores, name, models)
        with pytest.warns(UserWarning, match=f"folds only judge: {name}"):
            wanted = load_system(run, name).predict_proba(asked(corpus))
        np.testing.assert_allclose(here.predict_proba(asked(corpus)), wanted, atol=1e-6)
        kept = json.loads((here.folder / "system.json").read_text())
        assert (kept["clips"], kept["judged"], kept["scores"]["macro_f1"]) == (30, "1 of 5 folds (paper)", 0.5)
        del here
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_run_that_was_repeated_keeps_its_system_anew(make_run: MakeRun) -> None:
    folder = make_run("03-classical", baselines=["majority"])
    first = load_system(folder, "majority").folder
    kept = json.loads((first / "system.json").read_text()) | {"recorded": "2020-01-01T00:00:00Z"}
    (first / "system.json").write_text(json.dumps(kept))
    again = json.loads((load_system(folder, "majority").folder / "system.json").read_text())
    assert again["recorded"] == "2026-01-01T00:00:00Z"


def test_what_is_wrong_is_said_before_anything_is_loaded(
    make_run: MakeRun, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(System, "_answering", property(lambda self: pytest.fail("a model was loaded")))
    text, audio = load_system(make_run("05-gemma-lora", seed=7)), load_system(make_run("08-whisper-gemma", seed=7))
    with pytest.raises(UsageError, match=r"gemma-lora reads what is said, and a\.wav has no transcription"):
        text.predict(["a.wav"])
    with pytest.raises(UsageError, match=r"hears, and clip 1 has no audio file"):
        audio.predict([Clip(transcription="hola")])
    with pytest.raises(DataError, match=r"a\.wav is not there"):
        audio.predict([Clip("a.wav", "hola")])
    (tmp_path / "b.wav").write_text("<html>")
    with pytest.raises(DataError, match="it is a web page"):
        audio.predict([*asked(corpus)[:1], Clip(tmp_path / "b.wav", "hola")])
    with pytest.raises(UsageError, match="put the one you have in a list"):
        text.predict("a.wav")
    with pytest.raises(UsageError, match="is there twice"):
        audio.predict([Clip("a.wav", "hola"), Clip("a.wav", "hola")])


def test_runs_that_have_no_system_are_one_sentence(make_run: MakeRun, place: Path) -> None:
    with pytest.raises(UsageError, match="02-scoring leaves no system that answers"):
        load_system(make_run("02-scoring"))
    with pytest.raises(UsageError, match="is 'failed', so it has no system: repeat it"):
        load_system(make_run("04-gemma-zero-shot", status=RunStatus.FAILED, seed=9))
    with pytest.raises(UsageError, match="there is no run 'nosuch'"):
        load_system("nosuch", runs=place / "runs")
    folder = make_run("03-classical")
    with pytest.raises(UsageError, match=r"has no system 'text-svn' \(did you mean 'text-svm'\?\)"):
        load_system(folder, "text-svn")
    assert load_system(folder.name, runs=place / "runs").needs.name == "text-svm"
    with pytest.raises(UsageError, match="answers about no single clip"):
        load_system(make_run("08-whisper-gemma", normalised_by="speaker"))


def test_a_changed_corpus_does_not_train_in_silence(make_run: MakeRun, corpus_folder: Path, corpus: Corpus) -> None:
    folder = make_run("03-classical", table="unsplit.csv", evaluate="folds", seed=3)
    table = corpus_folder / "unsplit.csv"
    before = table.read_text()
    table.write_text(before.replace(",joy,", ",fear,", 1))
    try:
        with pytest.raises(DataError, match="is not what the run learnt from"):
            load_system(folder).predict(asked(corpus))
    finally:
        table.write_text(before)


def test_an_export_is_a_model_of_the_hub(make_run: MakeRun, corpus: Corpus, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    exported = export_system(load_system(make_run("05-gemma-lora")), tmp_path / "exported")
    base = AutoModelForCausalLM.from_pretrained(find_checkpoint("emoser/demo-gemma"))
    adapter = PeftModel.from_pretrained(base, str(exported))
    assert adapter.peft_config["default"].r == 2
    assert any(p.abs().sum() for name, p in adapter.named_parameters() if "lora_B" in name)
    card = ModelCard.load(exported / "README.md")
    assert (card.data.license, card.data.base_model) == ("mit", "emoser/demo-gemma")
    assert "speech-emotion-recognition" in card.data.tags
    assert card.data.metrics == ["f1", "accuracy"]
    assert card.data.eval_results[0].metric_value == 0.5
    assert "0.500 [0.400, 0.600]" in card.text
    script = (exported / "use.py").read_text()
    assert len(script.splitlines()) <= 12
    used = subprocess.run(
        [sys.executable, exported / "use.py", "tengo miedo"], capture_output=True, text=True, cwd=tmp_path
    )
    assert used.returncode == 0, used.stderr
    assert {line.partition(":")[0] for line in used.stdout.splitlines()} == set(LABELS)
    with pytest.raises(UsageError, match="is there already: name a new folder"):
        export_system(load_system(exported), exported)
    assert [path.name for path in tmp_path.iterdir()] == ["exported"]


def test_another_base_model_is_refused(make_run: MakeRun, corpus: Corpus, tmp_path: Path) -> None:
    exported = export_system(load_system(make_run("05-gemma-lora")), tmp_path / "exported")
    other = shutil.copytree(find_checkpoint("emoser/demo-gemma"), tmp_path / "other")
    from safetensors.torch import load_file, save_file

    tensors = load_file(other / "model.safetensors")
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name] * 2}, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=r"gemma-lora was trained on emoser/demo-gemma with weights of sha256 .*--llm"):
        load_system(exported, llm=str(other)).predict(asked(corpus))


def test_many_clips_go_on_where_they_were(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = load_system(make_run("03-classical"))
    clips = named_clips(clips_of_table(corpus_folder / "metadata.csv"))
    ask, calls = System.ask, []

    def dies(self: System, some: Any) -> Any:
        calls.append(len(some))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return ask(self, some)

    for form in ("csv", "json"):
        output = tmp_path / f"answers.{form}"
        calls.clear()
        monkeypatch.setattr(System, "ask", dies)
        with pytest.raises(KeyboardInterrupt):
            ask_into(system, clips, output, form)
        assert ask_into(system, clips, output, form) == (16, 14)
        assert calls == [16, 14, 1, 14]
        whole = output.read_text()
        assert ask_into(system, clips, output, form) == (30, 0)
        assert output.read_text() == whole
        monkeypatch.setattr(System, "ask", ask)
        with pytest.raises(UsageError, match="answers of another system"):
            ask_into(load_system(make_run("03-classical"), "majority"), clips, output, form)
    table = pd.read_csv(tmp_path / "answers.csv")
    assert list(table.columns) == ["id", "label", "p_neutral", "p_joy", "p_fear"]
    assert list(table["id"]) == [clip.id for clip in clips]
    (tmp_path / "answers.csv").write_text("no answers\n")
    with pytest.raises(DataError, match=r"has no column 'id'"):
        ask_into(system, clips, tmp_path / "answers.csv", "csv")


def test_the_command_prints_text_csv_and_json(make_run: MakeRun, corpus: Corpus, tmp_path: Path) -> None:
    folder, audio = str(make_run("03-classical")), corpus.test()["audio"].iloc[0]
    spoken = ["--transcription", "qué alegría"]
    told = emoser("predict", folder, audio, *spoken)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"{audio}: ")
    found = json.loads(emoser("predict", folder, *spoken, "--json").stdout)
    assert found.keys() == {"labels", "clips"}
    [clip] = found["clips"]
    assert (clip["id"], clip["label"] in LABELS, set(clip["probabilities"])) == ("clip 1", True, set(found["labels"]))
    rows = emoser("predict", folder, *spoken, "--csv", "--system", "majority").stdout.splitlines()
    assert rows[0] == "id,label,p_neutral,p_joy,p_fear"
    for words, arguments in (
        ("has no transcription", [audio]),
        ("give one for each", [audio, *spoken, *spoken]),
        ("exclude each other", [*spoken, "--csv", "--json"]),
        ("there is no clip to ask about", []),
    ):
        refused = emoser("predict", folder, *arguments)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1), refused.stderr
        assert words in refused.stderr
    written = emoser("export", folder, str(tmp_path / "mine"), "--json")
    assert "classifier.skops" in json.loads(written.stdout)["files"]


def test_a_system_is_tested_on_another_corpus(make_run: MakeRun, corpus_folder: Path, tmp_path: Path) -> None:
    folder = str(make_run("03-classical", table="unsplit.csv", scheme="speaker", evaluate="test"))
    demo = pd.read_csv(DEMO_CORPUS_FOLDER / "metadata.csv", dtype=str, keep_default_na=False)
    other = demo[demo["split"] == "test"].groupby("label").head(5)
    theirs = {"joy": "Freude", "fear": "Angst"}
    table = pd.DataFrame({"id": other["id"], "Text": other["transcription"], "label": other["label"].replace(theirs)})
    table.to_csv(tmp_path / "metadata.csv", index=False)
    there = ["folder", "--root", str(tmp_path), "--column", "transcription=Text"]
    named = [*there, "--label", "Freude=joy", "--label", "Angst=fear"]
    told = emoser("transfer", folder, *named, "--json")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["labels"] == list(LABELS)
    assert found["left_out"] == {"disgust": 5, "anger": 5, "sadness": 5}
    assert found["judged"] == "5 folds (speaker)"
    known = other[other["label"].isin(LABELS)]
    answers = load_system(folder).predict([Clip(transcription=text) for text in known["transcription"]])
    assert found["scores"]["n"] == len(known)
    assert found["scores"]["accuracy"] == pytest.approx(float(np.mean(answers == known["label"].to_numpy())))
    assert found["own"]["macro_f1"] == 0.5
    text = emoser("transfer", folder, *named).stdout.splitlines()
    assert text[1].startswith("folder (5 folds (speaker)): macro-F1 0.500 [0.400, 0.600]")
    assert f"{len(known)} clips" in text[2]
    for words, arguments in (
        ("learnt from clips of 'folder'", ["folder", "--root", str(corpus_folder), "--table", "unsplit.csv"]),
        ("name two of the corpus's labels as the system does (--label", [*there, "--column", "label=Text"]),
    ):
        refused = emoser("transfer", folder, *arguments)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1), refused.stderr
        assert words in refused.stderr


def test_labels_of_a_named_corpus_can_be_named_as_the_system_s(make_run: MakeRun) -> None:
    folder = str(make_run("03-classical", table="unsplit.csv", evaluate="folds", baselines=["text-svm"]))
    refused = emoser("transfer", folder, "demo_theirs", "--label", "jo=fear")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1), refused.stderr
    assert "corpus 'demo_theirs' has no label 'jo' (did you mean 'joy'?)" in refused.stderr
    told = emoser("transfer", folder, "demo_theirs", "--label", "anger=fear", "--label", "calm=neutral", "--json")
    assert json.loads(told.stdout)["labels"] == list(LABELS), told.stderr
    assert json.loads(told.stdout)["left_out"] == {"sadness": 15}


@pytest.mark.slow
def test_the_page_s_commands_run_as_printed(root: Path, tmp_path: Path) -> None:
    section = (root / "book/rerun.md").read_text(encoding="utf-8").partition("## Ask a trained system")[2]
    section = section.partition("\n## ")[0]
    (tmp_path / "clips.csv").write_text("id,transcription\na,tengo miedo\nb,qué asco\n", encoding="utf-8")
    commands = "\n".join(re.findall(r"```bash\n(.*?)```", section, re.DOTALL))
    python = "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(root), *sys.path]),
    }
    command = ["bash", "-e", "-c", f"{commands}\npython - <<'END'\n{python}\nEND"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "clip 1: " in done.stdout
    assert list(pd.read_csv(tmp_path / "answers.csv")["id"]) == ["a", "b"]
