"""Every chapter over a table of corpora as people bring them: what runs, what is refused, and in which words.

    python -m tests.chapters [CHAPTER ...]      (make chapters)

Runs what is not refused, with the demo's models and the smallest sizes, and writes ``book/chapters.json``. What
ran with the chapter's code and the checks as they are is not run again, so a call that was stopped goes on. What is
planned only is checked in every test run (``tests/notebooks/test_chapters.py``), and so is that the file is of this
code.
"""

import contextlib
import hashlib
import io
import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import pandas as pd

from emoser_lib.corpora.loaders import DEMO_CORPUS_FOLDER
from emoser_lib.environment import commit, now
from emoser_lib.errors import EmoserError
from emoser_lib.experiments.runs.parameters import parameters_of, read_notebook
from emoser_lib.experiments.runs.profiles import PlannedRun, plan, prepared
from emoser_lib.files import write_whole
from emoser_lib.source import code_sha256, file_of, without_comments

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "book/chapters.json"
CHAPTERS = {path.stem[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")) if path.stem[:2] != "11"}
"""Number -> notebook. Chapter 11 shows the ledger; of a corpus it asks what chapter 2 asks."""

SMALLEST: Mapping[str, Any] = {
    **{"resamples": 100, "draws": 100, "epochs": 1, "train_clips": 24, "clips": 12, "max_new_tokens": 4},
    **{"ranks": [2], "alphas": [8], "batch_sizes": [8], "learning_rates": [1e-2], "weights": ["none"]},
    **{"arms": ["published"], "queries": [2], "other_encoders": [], "speech_weights": [0.1], "variants": ["gemma-six"]},
    **{"snr_db": [10], "speeds": [1.1], "seconds": [1], "words_deleted": [0.3], "mapper_layers": 1},
    **{"sizes": [12], "tested_on": ""},
    **{"words": "nouns", "baselines": ["majority", "text-svm", "audio-svm", "late-fusion"]},
}
"""Parameter -> value, for the chapters that have it. Words are nouns, as only these can name labels of one's own."""

OF_ONE = {"10-emosllm": {"weights": "none"}}
"""Chapter -> values of its own."""

CHECKS = (
    *("corpora.corpus", "corpora.loaders", "corpora.check", "corpora.survey", "experiments.training.folds"),
    *("experiments.training.evaluation", "systems.checkpoints.limits"),
    *(
        f"experiments.settings.{name}"
        for name in ("base", "prepare", "audit", "hearing", "own", "qwen_audio", "reading")
    ),
    "experiments.settings.robustness",
)
"""The modules that decide what runs."""


def plain() -> pd.DataFrame:
    """72 clips of the demo corpus, dealt out to six speakers, two of each label a speaker; two of them are the test."""
    demo = pd.read_csv(DEMO_CORPUS_FOLDER / "metadata.csv", dtype=str)
    clips = pd.concat([rows.head(12) for _, rows in demo.groupby("label")], ignore_index=True)
    number = clips.groupby("label").cumcount()
    speaker = "s" + (number // 2).astype(str)
    return clips.assign(
        audio=[str(DEMO_CORPUS_FOLDER / name) for name in clips["audio"]],
        speaker=speaker,
        video=speaker + "-" + clips["label"] + "-" + (number // 4).astype(str),
        split=(number // 2 < 4).map({True: "train", False: "test"}),
    )[["audio", "transcription", "label", "speaker", "video", "gender", "split"]]


def _unlabelled(table: pd.DataFrame) -> pd.DataFrame:
    some = table.index[table["split"] == "test"][::8]
    return table.assign(label=table["label"].mask(table.index.isin(some), ""))


def _two_speakers(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="split").assign(speaker=table["speaker"].map(lambda name: f"s{int(name[1]) % 2}"))


def _one_test_clip(table: pd.DataFrame) -> pd.DataFrame:
    test = table["split"] == "test"
    return table[~test | (table.index == table.index[test][0])]


def _twelve(table: pd.DataFrame) -> pd.DataFrame:
    some = table[table["label"].isin(["joy", "anger", "neutral"])]
    return some.groupby(["label", "split"]).head(3).groupby("label").head(4)


CORPORA: Mapping[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], Mapping[str, Any]]] = {
    "plain": (lambda table: table, {}),
    "no text": (lambda table: table.drop(columns="transcription"), {}),
    "no text, not asked for": (
        lambda table: table.drop(columns="transcription"),
        {"transcript": False, "system": "audio-svm", "speech_weights": [0.0, 0.1]},
    ),
    "no audio": (lambda table: table.assign(id=[f"c{n}" for n in table.index]).drop(columns="audio"), {}),
    "no speakers": (lambda table: table.drop(columns=["speaker", "gender"]), {"scheme": "speaker"}),
    "no videos": (lambda table: table.drop(columns="video"), {}),
    "neither videos nor speakers": (lambda table: table.drop(columns=["video", "speaker", "gender"]), {}),
    "no split": (lambda table: table.drop(columns="split"), {"folds": [0], "scheme": "speaker"}),
    "test clips without a label": (_unlabelled, {}),
    "one label missing in the test": (lambda table: table[(table["split"] != "test") | (table["label"] != "fear")], {}),
    "three labels": (lambda table: table[table["label"].isin(["joy", "anger", "neutral"])], {}),
    "labels of one's own": (lambda table: table.assign(label=table["label"].replace({"joy": "calm"})), {}),
    "two speakers": (_two_speakers, {"scheme": "speaker", "folds": [0]}),
    "twelve clips": (_twelve, {}),
    "two labels": (lambda table: table[table["label"].isin(["joy", "anger"])], {}),
    "a label in the test only": (lambda table: table[(table["split"] == "test") | (table["label"] != "fear")], {}),
    "one speaker": (lambda table: table.assign(speaker="s0", gender="female"), {"scheme": "speaker"}),
    "a test of one clip": (_one_test_clip, {}),
    "no folds": (lambda table: table, {"folds": [], "refit": True}),
    "no labels": (lambda table: table.drop(columns="label"), {}),
    "one label": (lambda table: table[table["label"] == "joy"], {}),
    "half the texts": (
        lambda table: table.assign(transcription=table["transcription"].where(table.index % 2 == 0, "")),
        {},
    ),
}
"""What people bring -> the table of it, made from `plain`, and the values that go with it."""


def planned(chapter: str, corpus: str, folder: Path) -> PlannedRun:
    """The run of a chapter with a corpus, whose table is written to a folder below this one."""
    make, values = CORPORA[corpus]
    root = folder / corpus.replace(" ", "-")
    root.mkdir(parents=True, exist_ok=True)
    make(plain()).to_csv(root / "metadata.csv", index=False)
    notebook = CHAPTERS[chapter]
    wanted = {**SMALLEST, **OF_ONE.get(notebook.stem, {}), **values}
    known = parameters_of(notebook)
    own = {name: value for name, value in wanted.items() if name in known}
    own |= {"corpus": "folder", "corpus_options": {"root": str(root)}}
    return plan(notebook, "demo", changed=own)[0]


def refused(chapter: str, corpus: str, folder: Path) -> str:
    """The sentence with which a run is refused before a kernel starts; empty: it is not."""
    try:
        prepared(planned(chapter, corpus, folder))
    except EmoserError as error:
        return str(error)
    return ""


def code_of(chapter: str) -> str:
    """A hash of what decides whether a chapter runs: its own code, the checks, and this table."""
    cells = [cell.source for cell in read_notebook(CHAPTERS[chapter]).cells if cell.cell_type == "code"]
    files = [file for name in CHECKS if (file := file_of(f"emoser_lib.{name}"))]
    told = [*map(without_comments, cells), code_sha256([*files, Path(__file__)])]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def known() -> dict[str, Any]:
    """What was found last."""
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}


def main(chapters: list[str]) -> int:
    """Run what was not yet, or failed, with the code as it is; of all chapters or of those named. How many failed."""
    found = known()
    with tempfile.TemporaryDirectory() as folder:
        for chapter in chapters or list(CHAPTERS):
            code = code_of(chapter)
            before = found.get(chapter, {})
            same = before.get("outcomes", {}) if before.get("code") == code else {}
            outcomes = {corpus: outcome for corpus, outcome in same.items() if not outcome.startswith("failed")}
            for corpus in CORPORA:
                if corpus in outcomes:
                    continue
                outcomes[corpus] = _outcome(chapter, corpus, Path(folder))
                python = ".".join(map(str, sys.version_info[:2]))
                about = {"code": code, "python": python, "commit": commit(), "date": now()}
                found[chapter] = {**about, "outcomes": {name: outcomes[name] for name in CORPORA if name in outcomes}}
                write_whole(RECORD, json.dumps(dict(sorted(found.items())), indent=1, ensure_ascii=False) + "\n")
    return len(failures(found))


def failures(found: Mapping[str, Any]) -> list[str]:
    """The pairs that neither ran nor were refused."""
    pairs = ((chapter, *pair) for chapter, one in found.items() for pair in one["outcomes"].items())
    return [f"{chapter}, {corpus}: {outcome}" for chapter, corpus, outcome in pairs if outcome.startswith("failed")]


def _outcome(chapter: str, corpus: str, folder: Path) -> str:
    told = refused(chapter, corpus, folder)
    outcome = f"refused: {told.replace(str(folder), '…')}" if told else "ok"
    if not told:
        try:
            execute(planned(chapter, corpus, folder))
        except Exception as error:
            outcome = f"failed: {type(error).__name__}: {error}".splitlines()[0]
            traceback.print_exc()
    print(f"{chapter}, {corpus}: {outcome}", flush=True)
    return outcome


def execute(run: PlannedRun) -> None:
    """Run a chapter's cells here, in the notebook's folder: a kernel for each of 200 runs would take an hour more."""
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.chdir(run.notebook.parent), contextlib.redirect_stdout(io.StringIO()):
        for cell in read_notebook(run.notebook).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, f"<{run.chapter}: {cell.id}>", "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= dict(run.parameters)
    plt.close("all")


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
