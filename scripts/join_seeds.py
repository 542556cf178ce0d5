"""Commit finished cells, then compare the committed seeds of chapter 5's test with text-svm, alone and joined.

    python scripts/join_seeds.py [FOLDER ...]

A FOLDER is a cell's, below ``runs`` in the cache folder: its scores are copied to ``book/records/cells``. What is
compared needs the corpus (``EMOSER_DATA``) and trains no language model; it is kept beside the cells, for the chapter.
"""

import json
import sys
from pathlib import Path

from emoser_lib.environment import ROOT
from emoser_lib.errors import EmoserError
from emoser_lib.experiments import GemmaLoraSettings, evaluation_folds, predict_by_folds, prepare, published_records
from emoser_lib.experiments.runs.profiles import plan
from emoser_lib.experiments.training.cells import commit_cell, committed_cells
from emoser_lib.files import write_whole
from emoser_lib.reporting.reading.joined import committed_cell, seeds_beside
from emoser_lib.reporting.seeds import NO_SETTING, of_other_seeds
from emoser_lib.systems import Clips, parts_of
from emoser_lib.systems.classical.estimators import baseline

CHAPTER, PROFILE, RUN = "05-gemma-lora", "small", "test"
"""The run whose seeds are joined."""


def main(folders: list[str]) -> None:
    """Commit the cells of these folders and write the comparison."""
    for folder in folders:
        print(commit_cell(Path(folder).absolute()))
    records = published_records(CHAPTER)
    first = next(record for record in records if (record.profile, record.run) == (PROFILE, RUN))
    found = {record.parameters["seed"]: committed_cell(record) for record in of_other_seeds(first, records)}
    cells = {seed: cell for seed, cell in found.items() if cell is not None}
    ready = prepare(GemmaLoraSettings.check(**{"device": "cpu"} | first.parameters))
    corpus, settings = ready.corpus, ready.settings
    [cut] = evaluation_folds(corpus, "test")
    clips = Clips.from_corpus(corpus, corpus.frame["id"], **parts_of(["text-svm"]))
    plain = predict_by_folds(baseline("text-svm", settings.seed), corpus, clips, [cut])
    table = seeds_beside(corpus, cells, plain, settings.resamples, settings.seed)

    def setting(parameters: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in parameters.items() if name not in NO_SETTING}

    planned = [
        run.parameters["seed"]
        for run in plan(ROOT / "notebooks" / f"{CHAPTER}.ipynb", PROFILE)
        if setting(dict(run.parameters)) == setting(first.parameters)
    ]
    told = {
        "notebook": CHAPTER,
        "planned": sorted(planned),
        "cells": {str(seed): cell.key for seed, cell in cells.items()},
        "rows": table.reset_index().to_dict("records"),
    }
    path = committed_cells() / f"{first.name}.json"
    write_whole(path, json.dumps(told, indent=1) + "\n")
    print(table.round(4).to_string(), path, sep="\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except EmoserError as error:
        sys.exit(f"{error}")
