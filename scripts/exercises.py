"""Execute what the solutions of the exercises show, and keep what came out: `make exercises`.

    python scripts/exercises.py [LABEL …]

Commands run in an empty folder, Python at the end of its chapter's notebook. ``book/exercises.json`` then holds, by the
exercise's label, each command with its status and scores; the solutions' texts take their numbers from there. What was
executed as it stands is left out; a command that fails ends it.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import papermill

from emoser_lib.corpora import load_corpus
from emoser_lib.environment import ROOT, commit, now
from emoser_lib.files import write_whole
from emoser_lib.teaching.markers import SOLUTION_BLOCK

RESULTS = ROOT / "book" / "exercises.json"

CODE = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)

KEPT = ("macro_f1", "uar", "grid", "ablations", "scores")
"""What is kept of a run's metrics."""


def solutions(notebook: Path) -> Iterator[tuple[str, str, str]]:
    """Read the code of a chapter's solutions: label, language, code."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        for _, label, text in SOLUTION_BLOCK.findall(cell.source) if cell.cell_type == "markdown" else ():
            for language, code in CODE.findall(text):
                yield label, language, code.strip()


def executed(notebook: Path, language: str, code: str) -> list[dict[str, object]]:
    """Execute one piece of code; one entry per run that it made."""
    with tempfile.TemporaryDirectory() as folder:
        if language == "python":
            _at_the_end(notebook, code, Path(folder))
            return [{}]
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        subprocess.run(["bash", "-euo", "pipefail", "-c", code], cwd=folder, env=environment, check=True)
        records = [json.loads(path.read_text()) for path in Path(folder).glob("runs/**/record.json")]
        records.sort(key=lambda record: record["date"])
        return [
            {"seconds": record["seconds"]}
            | {name: record["metrics"][name] for name in KEPT if name in record["metrics"]}
            for record in records
        ]


def _at_the_end(notebook: Path, code: str, folder: Path) -> None:
    """Run a chapter with a cell more. What it reads of the reader's own is made first: the shipped clips."""
    longer = nbformat.read(notebook, as_version=4)
    longer.cells.append(nbformat.v4.new_code_cell(code))
    own = folder / "my-recordings"
    own.mkdir()
    demo = load_corpus("demo").training().groupby("label").head(5)
    demo = demo.assign(file=demo["audio"], label=demo["label"].replace({"anger": "Ira"}))
    demo[["file", "transcription", "label"]].to_csv(own / "metadata.csv", index=False)
    nbformat.write(longer, folder / "longer.ipynb")
    papermill.execute_notebook(folder / "longer.ipynb", folder / "out.ipynb", cwd=folder, progress_bar=False)


def _kept() -> dict[str, dict[str, object]]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}


def main(labels: list[str]) -> None:
    """Execute the solutions with these labels; without any, all that were not executed as they stand."""
    results = _kept()
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for label, language, code in solutions(notebook):
            if (labels and label not in labels) or (not labels and results.get(label, {}).get("code") == code):
                continue
            print(f"{notebook.stem}, {label} …", flush=True)
            runs = executed(notebook, language, code)
            results = _kept()  # another call may have written meanwhile
            results[label] = {"notebook": notebook.stem, "code": code, "date": now(), "commit": commit(), "runs": runs}
            write_whole(RESULTS, json.dumps(results, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
