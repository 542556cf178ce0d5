"""Execute what the solutions of the exercises show, and keep what came out: `make exercises`.

    python scripts/exercises.py [LABEL …]

Commands run in an empty folder, Python at the end of its chapter's notebook, whose code runs once for all of them.
``book/exercises.json`` then holds, by the exercise's label, the scores of a command's runs, or what Python reports;
the solutions' texts take their numbers from there. What was executed as it stands is left out; what fails ends it.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
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


def commanded(code: str) -> list[dict[str, object]]:
    """Execute a solution's commands; one entry per run that they made."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        subprocess.run(["bash", "-euo", "pipefail", "-c", code], cwd=folder, env=environment, check=True)
        records = [json.loads(path.read_text()) for path in Path(folder).glob("runs/**/record.json")]
    records.sort(key=lambda record: record["date"])
    return [
        {"seconds": record["seconds"]} | {name: record["metrics"][name] for name in KEPT if name in record["metrics"]}
        for record in records
    ]


def at_the_end(notebook: Path, codes: Sequence[str]) -> list[dict[str, object]]:
    """Run a chapter with a cell more for each of these codes; what each reports.

    What they read of the reader's own is made first: the shipped clips.
    """
    longer = nbformat.read(notebook, as_version=4)
    longer.cells += [nbformat.v4.new_code_cell(code) for code in codes]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = folder / "my-recordings"
        own.mkdir()
        demo = load_corpus("demo").training().groupby("label").head(5)
        demo = demo.assign(file=demo["audio"], label=demo["label"].replace({"anger": "Ira"}))
        demo[["file", "transcription", "label"]].to_csv(own / "metadata.csv", index=False)
        nbformat.write(longer, folder / "longer.ipynb")
        papermill.execute_notebook(folder / "longer.ipynb", folder / "out.ipynb", cwd=folder, progress_bar=False)
        cells = nbformat.read(folder / "out.ipynb", as_version=4).cells[-len(codes) :]
    told = [[output.get("metadata", {}).get("emoser", {}) for output in cell.outputs] for cell in cells]
    return [{name: value for one in of for name, value in one.get("metrics", {}).items()} for of in told]


def _kept() -> dict[str, dict[str, object]]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}


def main(labels: list[str]) -> None:
    """Execute the solutions with these labels; without any, all that were not executed as they stand."""
    results = _kept()
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        chosen = [
            (label, language, code)
            for label, language, code in solutions(notebook)
            if (label in labels if labels else results.get(label, {}).get("code") != code)
        ]
        for label, _, code in (one for one in chosen if one[1] == "bash"):
            print(f"{notebook.stem}, {label} …", flush=True)
            _keep(notebook, label, code, commanded(code))
        if written := [(label, code) for label, language, code in chosen if language == "python"]:
            print(f"{notebook.stem}, {', '.join(label for label, _ in written)} …", flush=True)
            told = at_the_end(notebook, [code for _, code in written])
            for (label, code), metrics in zip(written, told, strict=True):
                _keep(notebook, label, code, [metrics])


def _keep(notebook: Path, label: str, code: str, runs: list[dict[str, object]]) -> None:
    results = _kept()  # another call may have written meanwhile
    results[label] = {"notebook": notebook.stem, "code": code, "date": now(), "commit": commit(), "runs": runs}
    write_whole(RESULTS, json.dumps(results, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
