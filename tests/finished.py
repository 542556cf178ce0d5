"""Finished runs on a user's own recordings, for what asks trained systems: made in no time, as no kernel runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from emoser_lib.corpora import load_corpus
from emoser_lib.experiments.runs.profiles import plan
from emoser_lib.experiments.runs.records import Checkpoint, CorpusUsed, Record, RunStatus, write_record
from emoser_lib.experiments.runs.runner import find_notebook
from emoser_lib.systems.checkpoints.folders import find_checkpoint, weights_sha256
from emoser_lib.systems.qwen_audio import converted

LABELS = ("neutral", "joy", "fear")

TINY: dict[str, Any] = {"epochs": 1, "folds": [0], "train_clips": 0, "refit": True, "device": "cpu"}

CHAPTERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "03-classical": ({"evaluate": "test"}, {"best": "text-svm"}),
    "04-gemma-zero-shot": ({"calibrate": True}, {}),
    "05-gemma-lora": ({**TINY, "ranks": [2], "alphas": [4]}, {"best_rank": 2, "best_alpha": 4}),
    "06-qwen-audio-zero-shot": ({}, {}),
    "07-qwen-audio-lora": ({**TINY, "ranks": [2], "alphas": [64]}, {"best_rank": 2, "best_alpha": 64}),
    "08-whisper-gemma": (
        {**TINY, "batch_sizes": [8], "learning_rates": [1e-2], "layer": "weighted"},
        {"best_batch_size": 8, "best_learning_rate": 1e-2},
    ),
    "09-emotion2vec-gemma": ({**TINY, "arms": ["corrected"]}, {"best_arm": "corrected"}),
    "14-own-recordings": (
        {"epochs": 1, "device": "cpu", "tested_on": "", "folds": [0], "scheme": "paper"},
        {"best": "text-svm"},
    ),
    "10-emosllm": ({**TINY, "queries": [2], "rank": 2, "other_encoders": [], "window_seconds": 1.0}, {}),
}
"""Chapter -> parameters that are not the demo's, and what its run reports."""


def own_recordings(folder: Path) -> Path:
    """A user's own recordings: eight training and two test clips of each of three labels."""
    demo = load_corpus("demo")
    folder.mkdir()
    rows = []
    for label in LABELS:
        for number, (_, row) in enumerate(demo.training()[demo.training()["label"] == label].head(10).iterrows()):
            name = f"secret-{label}-{number}.flac"
            shutil.copy(row["audio"], folder / name)
            split = "train" if number < 8 else "test"
            rows.append((name, row["transcription"], label, f"Ana-{number}", split))
    table = pd.DataFrame(rows, columns=["audio", "transcription", "label", "speaker", "split"])
    table.to_csv(folder / "metadata.csv", index=False)
    table.drop(columns="split").to_csv(folder / "unsplit.csv", index=False)
    return folder


def finished_run(
    runs: Path,
    recordings: Path,
    chapter: str,
    table: str = "metadata.csv",
    status: RunStatus = RunStatus.OK,
    **more: Any,
) -> Path:
    """A run's folder as the runner leaves it, without the minutes that a kernel takes."""
    parameters, metrics = CHAPTERS.get(chapter, ({}, {}))
    options = {"root": str(recordings), "table": table}
    changed = {**parameters, "corpus": "folder", "corpus_options": options, **more}
    planned = plan(find_notebook(chapter), changed=changed if chapter in CHAPTERS else {})[0]
    own = load_corpus("folder", **options)
    given = planned.parameters
    paths = {
        given[role]: find_checkpoint(given[role], kind)
        for role, kind in (("llm", "llm"), ("encoder", "encoder"))
        if role in given
    }
    if "checkpoint" in given:
        paths[given["checkpoint"]] = converted(given["checkpoint"])
    scores = {
        name: {"macro_f1": 0.5, "low": 0.4, "high": 0.6, "accuracy": 0.5, "n": 6}
        for name in (
            "text-svm",
            "majority",
            "audio-svm",
            "cnn",
            "late-fusion",
            "audio-kmeans",
            "gemma-lora",
            "whisper-gemma",
            "label likelihood, calibrated",
            "emosllm",
            "corrected",
        )
    }
    record = Record(
        notebook=chapter, profile="demo", run="demo", key=planned.key, command=planned.command, status=status,
        parameters=dict(given), corpus=CorpusUsed(name=own.name, sha256=own.sha256, clips=len(own)),
        checkpoints=[Checkpoint(name=name, sha256=weights_sha256(path)) for name, path in paths.items()],
        metrics={"scores": scores, **metrics}, seconds=1, peak_memory_mb=1, versions={}, hardware={},
        commit=None, date="2026-01-01T00:00:00Z",
    )  # fmt: skip
    folder = runs / chapter / planned.key
    write_record(folder / "record.json", record)
    (folder / "parameters.json").write_text(json.dumps(dict(given)))
    return folder
