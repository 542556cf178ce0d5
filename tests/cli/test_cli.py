"""The command as a user types it: exit codes, one sentence for an error, JSON that a program can read."""

import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from emoser_lib.cli import main
from emoser_lib.cli.run import chapters_of
from emoser_lib.corpora import LABELS, load_corpus
from emoser_lib.doctor import print_report
from emoser_lib.errors import UsageError
from emoser_lib.experiments.runs.runner import find_notebook
from tests import tiny
from tests.command import emoser


def refused(code: int, words: str, *arguments: str, **environment: str) -> None:
    done = emoser(*arguments, **environment)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def answered(*arguments: str, **environment: str) -> object:
    done = emoser(*arguments, "--json", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("did you mean 'emospeech'", ["corpus", "describe", "emospech"]),
        ("did you mean 'video'", ["folds", "demo", "--scheme", "vidoe"]),
        ("there is no notebook 'nosuch'", ["run", "nosuch"]),
        ("there is no corpus", ["score", "x.csv", "--corpus", "nosuch"]),
        ("--root DIR", ["corpus", "describe", "folder"]),
        ("takes no option", ["corpus", "describe", "demo", "--root", "."]),
        ("not of the form", ["corpus", "describe", "folder", "--root", ".", "--column", "audio"]),
        ("No such command", ["nosuch"]),
        ("Missing argument", ["score"]),
        ("did you mean 'seed'", ["run", "notebooks/03-classical.ipynb", "-p", "sede", "1"]),
        ("takes int", ["run", "notebooks/03-classical.ipynb", "-p", "seed", "one"]),
        ("greater than or equal to 0", ["run", "notebooks/03-classical.ipynb", "-p", "seed", "-1"]),
        ("no baseline 'svm'", ["run", "notebooks/03-classical.ipynb", "-p", "baselines", "[svm]"]),
        ("there is no profile 'big'", ["run", "notebooks/03-classical.ipynb", "--profile", "big"]),
        ("say what to delete", ["cache", "prune"]),
        ("say what to delete", ["cache", "prune", "--all", "--encoder", "openai/whisper-base"]),
        ("is not in the range", ["cache", "prune", "--older-than", "-1"]),
        ("nothing is cached of encoder 'nosuch'", ["cache", "prune", "--encoder", "nosuch"]),
        ("nosuch is not there: name one", ["checkpoint", "convert", "nosuch", "new"]),
        ("nosuch is not there: name the folder", ["qwen-audio", "convert", "nosuch", "new"]),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    words: str, arguments: list[str], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    refused(2, words, *arguments)


def test_wrong_content_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    refused(1, "is not there", "corpus", "describe", "emospeech", EMOSER_DATA=str(tmp_path / "none"))
    (tmp_path / "metadata.csv").write_text("name,mood\na.wav,joy\n")
    refused(1, "no column 'audio'", "corpus", "describe", "folder", "--root", str(tmp_path))
    (tmp_path / "empty.csv").write_text("")
    refused(1, "empty.csv", "score", str(tmp_path / "empty.csv"), "--corpus", "demo")


def test_list_and_describe() -> None:
    listed = answered("corpus", "list")
    assert {"demo", "emospeech", "folder"} <= {c["name"] for c in listed["corpora"]}
    described = answered("corpus", "describe", "demo")
    assert described["name"] == "demo"
    assert described["splits"]["train"]["clips"] == 400
    assert set(described["splits"]["train"]["labels"]) == set(LABELS)


@pytest.mark.needs_data
def test_describe_emospeech() -> None:
    splits = answered("corpus", "describe", "emospeech")["splits"]
    assert (splits["train"]["clips"], splits["test"]["clips"]) == (3000, 750)
    assert splits["train"]["labels"]["fear"] == 23
    assert splits["test"]["labels"] == {}


def test_folds_cover_the_training_clips_once() -> None:
    training = list(load_corpus("demo").training()["id"])
    for scheme in ("paper", "video", "speaker"):
        folds = answered("folds", "demo", "--scheme", scheme)["folds"]
        assert len(folds) == 5
        assert sorted(clip for fold in folds for clip in fold) == sorted(training)


def test_score_of_a_perfect_submission(tmp_path: Path) -> None:
    gold = load_corpus("demo").gold_labels()
    with (tmp_path / "results.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "task_1"), *((c.removesuffix(".mp3"), x) for c, x in gold.items())])
    scored = answered("score", str(tmp_path / "results.csv"), "--corpus", "demo")
    assert scored["task_2"] is None
    assert scored["task_1"]["macro_f1"] == 1
    assert scored["task_1"]["n"] == 100
    assert set(scored["task_1"]) == {
        "macro_f1", "accuracy", "per_class", "n", "ci_paper", "ci_bootstrap_clip", "ci_bootstrap_video",
    }  # fmt: skip


def test_own_recordings_need_no_code(tmp_path: Path) -> None:
    demo = load_corpus("demo")
    rows = demo.training().groupby("label").head(6)
    rows = rows.assign(file=rows["audio"], mood=rows["label"].replace({"anger": "Ira"}), split="", audio="")
    rows[["file", "transcription", "mood", "speaker"]].to_csv(tmp_path / "clips.csv", index=False)
    own = ["--root", str(tmp_path), "--table", "clips.csv", "--column", "audio=file", "--column", "label=mood"]
    described = answered("corpus", "describe", "folder", *own, "--label", "Ira=anger")
    assert described["splits"]["all"]["clips"] == 36
    assert described["labels"] == list(LABELS)
    folds = answered("folds", "folder", *own, "--label", "Ira=anger", "--scheme", "speaker")["folds"]
    assert sum(map(len, folds)) == 36
    refused(1, "'Ira' is not mapped", "corpus", "describe", "folder", *own, "--label", "Asco=disgust")
    checked = emoser("corpus", "check", "folder", *own, "--json")
    assert json.loads(checked.stdout)["clips"] == 36


def a_spanish_table(folder: Path) -> Path:
    """Sixty clips of a user's own, in a table with columns and labels in Spanish."""
    rows = load_corpus("demo").training().groupby("label").head(20)
    rows = rows[rows["label"].isin(["anger", "joy", "neutral"])].reset_index(drop=True)
    names = {"anger": "Ira", "joy": "Alegría", "neutral": "Calma"}
    columns = {"archivo": rows["audio"], "texto": rows["transcription"], "emoción": rows["label"].map(names)}
    table = pd.DataFrame({**columns, "hablante": [f"h{number % 5}" for number in rows.index]})
    folder.mkdir()
    table.to_csv(folder / "metadata.csv", index=False)
    return folder


def commands_on_own_recordings(page: Path) -> list[list[str]]:
    """The commands that a page prints about the folder ``my-recordings``."""
    printed = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return [
        shlex.split(line)[1:]
        for line in printed.splitlines()
        if line.startswith("emoser ") and "--root my-recordings" in line
    ]


@pytest.mark.parametrize("page", ["README.md", "book/rerun.md"])
def test_the_printed_commands_on_own_recordings_work(
    page: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_spanish_table(tmp_path / "my-recordings")
    monkeypatch.chdir(tmp_path)
    commands = commands_on_own_recordings(root / page)
    assert any(command[0] == "run" for command in commands)
    for command in commands:
        if command[0] == "run":  # what stands before the kernel, which other tests start
            command = ["plan", str(root / f"notebooks/{command[1]}.ipynb"), *command[2:]]
        done = emoser(*command)
        assert done.returncode == 0, done.stderr
        assert "column" not in done.stdout + done.stderr, "nothing of the table is left unread"
        if command[0] == "plan":
            assert "(own)" in done.stdout, "no run on own data is called demo"


def test_what_is_not_read_of_a_table_is_named(tmp_path: Path) -> None:
    own = ["folder", "--root", str(a_spanish_table(tmp_path / "own"))]
    partly = [*own, "--column", "audio=archivo", "--column", "transcription=texto", "--label", "Ira=anger"]
    checked = emoser("corpus", "check", *partly)
    assert checked.returncode == 1
    assert "no clip has a label: say which column has them (--column label=emoción)" in checked.stdout
    assert "'hablante', which may be our speaker (--column speaker=hablante)" in checked.stdout
    assert "no row has the label 'Ira'" in checked.stdout
    described = answered("corpus", "describe", *partly)
    assert described["columns"] == {"audio": "archivo", "transcription": "texto"}
    assert described["unused_columns"] == ["emoción", "hablante"]
    for wrong in ([], ["--column", "audio=file"]):
        refused(1, "(--column label=emoción --column transcription=texto --column audio=archivo", "corpus", "check",
                *own, *wrong)  # fmt: skip


def test_doctor_answers_in_json() -> None:
    done = emoser("doctor", "--json")
    assert {need["name"] for need in json.loads(done.stdout)} >= {"Python"}


def test_an_error_is_one_line_whatever_it_quotes(tmp_path: Path) -> None:
    (tmp_path / "open.csv").write_text('id,task_1\n"a,joy\n"b,joy\n')
    refused(1, "which is no test clip", "score", str(tmp_path / "open.csv"), "--corpus", "demo")
    (tmp_path / "twice.csv").write_text("id,task_1, task_1\na,joy,joy\n")
    refused(1, "more than once", "score", str(tmp_path / "twice.csv"), "--corpus", "demo")


def test_a_damaged_mp3_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_text("<!DOCTYPE html><html><body>404</body></html>")
    (tmp_path / "metadata.csv").write_text("audio,transcription\na.mp3,hola\n")
    refused(
        1, "a.mp3 cannot be read as audio (it is a web page)", "corpus", "describe", "folder", "--root", str(tmp_path)
    )


def test_what_cannot_be_written_is_named(tmp_path: Path, root: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    done = emoser("run", str(root / "notebooks" / "01-corpus.ipynb"), "--runs", str(tmp_path / "runs"))
    assert done.returncode == 1
    assert f"{tmp_path}/runs is a link without end or no folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_enough_is_no_error() -> None:
    for reader in ("head -1", "true"):
        command = f"{sys.executable} -m emoser_lib.cli corpus check demo | {reader}"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_options_of_an_own_folder_are_wrong_before_a_kernel_starts(tmp_path: Path, root: Path) -> None:
    run = ["run", str(root / "notebooks" / "01-corpus.ipynb"), "--runs", str(tmp_path / "runs")]
    refused(2, "is not there", *run, "--root", str(tmp_path / "none"))
    refused(2, "did you mean 'audio'", *run, "--root", str(tmp_path), "--column", "adio=file")
    refused(2, "cannot be 5", *run, "-p", "corpus", "folder", "-p", "corpus_options", "{root: 5}")
    refused(2, "takes no option", *run, "-p", "corpus_options", f"{{root: {tmp_path}}}")
    refused(2, "names 'audio' twice", *run, "--root", ".", "--column", "audio=a", "--column", "audio=b")
    assert not (tmp_path / "runs").exists()


def test_an_own_test_split_can_be_scored(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("id,transcription,label,split\na,hola,joy,test\nb,no,anger,test\n")
    (tmp_path / "results.csv").write_text("id,task_1\na,joy\nb,anger\n")
    scored = answered("score", str(tmp_path / "results.csv"), "--corpus", "folder", "--root", str(tmp_path))
    assert scored["task_1"]["macro_f1"] == 1


@pytest.fixture
def filled(tmp_path: Path) -> dict[str, str]:
    """A cache with two clips of one encoder, and the environment that finds it."""
    folder = tmp_path / "cache/features/0123456789abcdef"
    (folder / "aa").mkdir(parents=True)
    (folder / "encoder.json").write_text('{"encoder": "tiny (random)", "name": "own/tiny", "layer": 4}')
    for clip in ("a", "b"):
        (folder / "aa" / f"{clip}.safetensors").write_bytes(b"x" * 500_000)
    return {"EMOSER_CACHE": str(tmp_path / "cache")}


def test_cache_shows_its_size(filled: dict[str, str]) -> None:
    listed = answered("cache", "size", **filled)
    assert listed["features"] == f"{filled['EMOSER_CACHE']}/features"
    [one] = listed["encoders"]
    assert (one["title"], one["layer"], one["entries"], one["bytes"]) == ("tiny (random)", 4, 2, 1_000_000)
    done = emoser("cache", **filled)
    assert "1.0 MB      2 clips  tiny (random), layer 4, last used" in done.stdout
    assert f"1.0 MB in {filled['EMOSER_CACHE']}/features" in done.stdout


def test_cache_is_pruned(filled: dict[str, str]) -> None:
    assert answered("cache", "prune", "--older-than", "1", **filled) == {"freed_bytes": 0}
    refused(2, "did you mean 'own/tiny'", "cache", "prune", "--encoder", "own/tyni", **filled)
    done = emoser("cache", "prune", "--encoder", "own/tiny", **filled)
    assert done.stdout == f"1.0 MB freed in {filled['EMOSER_CACHE']}/features\n"
    assert answered("cache", "size", **filled)["encoders"] == []
    assert answered("cache", "prune", "--all", **filled) == {"freed_bytes": 0}


def test_a_checkpoint_is_converted_once(tmp_path: Path) -> None:
    from hashlib import sha256

    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    source = tmp_path / "source"
    config = Wav2Vec2Config(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=1,
    )  # fmt: skip
    Wav2Vec2FeatureExtractor().save_pretrained(source)
    config.save_pretrained(source)
    torch.save(Wav2Vec2Model(config).state_dict(), source / "pytorch_model.bin")
    right = sha256((source / "pytorch_model.bin").read_bytes()).hexdigest()
    convert = ["checkpoint", "convert", str(source), str(tmp_path / "dest")]
    refused(2, "no sha256 is pinned for pytorch_model.bin", *convert)
    refused(1, f"has the sha256 {right}, not {'0' * 64}", *convert, "--sha256", "0" * 64)
    done = answered(*convert, "--sha256", right)
    assert done["source_sha256"] == right
    assert (tmp_path / "dest/model.safetensors").is_file()
    refused(2, "is a whole checkpoint already", *convert, "--sha256", right)


def test_qwen_audio_is_converted_once(tmp_path: Path) -> None:
    convert = ["qwen-audio", "convert", str(tiny.write_v1(tmp_path / "source")), str(tmp_path / "dest")]
    weights = tmp_path / "source/model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    refused(1, f"{weights} cannot be read", *convert)
    assert not (tmp_path / "dest").exists()
    weights.write_bytes(whole)
    done = answered(*convert)
    assert (done["shards"], done["tokenizer"], done["folder"]) == (1, False, str(tmp_path / "dest"))
    refused(2, "is converted already", *convert)


def test_findings_of_a_kind_are_named_up_to_twenty(tmp_path: Path) -> None:
    rows = [f"{number}.wav,{number},joy" for number in range(30)]
    (tmp_path / "metadata.csv").write_text("\n".join(["audio,transcription,label", *rows, ""]), encoding="utf-8")
    checked = emoser("corpus", "check", "folder", "--root", str(tmp_path))
    missing = [line for line in checked.stdout.splitlines() if line.startswith("missing audio: ")]
    assert len(missing) == 21 and missing[-1] == "missing audio: and 10 more (--json names all)"
    assert "folder: 30 clips; " in checked.stderr and "missing audio (30)" in checked.stderr
    named = json.loads(emoser("corpus", "check", "folder", "--root", str(tmp_path), "--json").stdout)["findings"]
    assert sum(one["kind"] == "missing audio" for one in named) == 30


ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
"""A terminal that has no ñ."""

SAID_THERE = """
import json, sys
from tests.command import emoser
done = [emoser(*command, encoding=sys.stdout.encoding) for command in json.loads(sys.argv[1])]
print(json.dumps([[one.returncode, one.stdout, one.stderr] for one in done]))
"""


def test_a_terminal_without_accents_gets_escapes_and_no_traceback(tmp_path: Path, root: Path) -> None:
    (tmp_path / "metadata.csv").write_text("audio,transcription,label\naño.wav,,joy\n", encoding="utf-8")
    own = ["folder", "--root", str(tmp_path)]
    commands = [["corpus", "check", *own], ["corpus", "check", *own, "--json"], ["run", "año"]]
    commands += [["plan", "--only", "x"], ["ledger"], ["doctor"], ["corpus", "list"]]
    process = [sys.executable, "-c", SAID_THERE, json.dumps(commands)]
    shown = subprocess.run(process, cwd=root, env=os.environ | ASCII, capture_output=True, text=True, check=True)
    checked, as_json, wrong, *others = json.loads(shown.stdout)
    assert "a\\xf1o" in checked[1] + checked[2]
    assert "año.wav" in str(json.loads(as_json[1])), "JSON has escapes of its own"
    assert wrong[:2] == [2, ""]
    assert "there is no notebook 'a\\" in wrong[2] and len(wrong[2].splitlines()) == 1
    for command, (_, out, err) in zip(commands[3:], others, strict=True):
        assert out + err and "Traceback" not in err, command


def test_a_run_on_such_a_terminal_keeps_what_the_notebook_said(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("n: int = 1", metadata={"tags": ["parameters"]})]
    cells.append(nbformat.v4.new_code_cell("print('año'); raise ValueError('señal')"))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "demo.yaml").write_text("09-try: {one: {}}\n")
    notebook = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    )
    nbformat.write(notebook, tmp_path / "09-try.ipynb")
    command = [sys.executable, "-m", "emoser_lib.cli", "run", str(tmp_path / "09-try.ipynb")]
    done = subprocess.run(
        [*command, "--runs", str(tmp_path / "runs")],
        env=os.environ | ASCII | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "ValueError: se\\xf1al" in done.stderr and "Traceback" not in done.stderr
    (record,) = tmp_path.rglob("record.json")
    assert json.loads(record.read_text(encoding="utf-8"))["error"] == "ValueError: señal"
    assert "año" in (record.parent / "run.log").read_text(encoding="utf-8")


def test_notebooks_that_are_not_the_books_are_left_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01-theirs.ipynb").write_text("{}")
    (tmp_path / "notebooks" / "03-classical.ipynb").write_text("{}")
    assert chapters_of("demo") == [str(path) for path in sorted((root / "notebooks").glob("[0-9]*.ipynb"))]
    assert find_notebook("03-classical") == root / "notebooks" / "03-classical.ipynb"
    assert find_notebook("notebooks/01-theirs.ipynb") == tmp_path / "notebooks" / "01-theirs.ipynb", "named by its path"
    (tmp_path / "notebooks" / "profiles").mkdir()
    assert find_notebook("03-classical") == tmp_path / "notebooks" / "03-classical.ipynb", "a copy of the book's"


def test_windows_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "sysconf")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "WSL" in said and len(said.splitlines()) == 1
    assert print_report() == 1
    assert "missing  system: Windows" in capsys.readouterr().out


def test_a_profile_may_name_some_chapters_only(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "notebooks"
    (folder / "profiles").mkdir(parents=True)
    for name in ("02-scoring", "03-classical"):
        (folder / f"{name}.ipynb").write_bytes((root / "notebooks" / f"{name}.ipynb").read_bytes())
    (folder / "profiles" / "mine.yaml").write_text("03-classical:\n  one: {}\n")
    monkeypatch.chdir(tmp_path)
    assert chapters_of("mine") == ["notebooks/03-classical.ipynb"]
    with pytest.raises(UsageError, match=r"there is no profile 'mien' \(did you mean 'mine'\?\)"):
        chapters_of("mien")
