"""What makes the book stale: what a chapter's run depends on, and what the pages depend on besides the runs.

A run depends on what its code does and reads, not on words: prose, tags, comments and docstrings change the pages,
which take them from the sources, and no run.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from emoser_lib.environment import ROOT
from emoser_lib.experiments.runs.parameters import read_notebook
from emoser_lib.reporting.book.provenance import READS
from emoser_lib.reporting.book.uses import Library
from emoser_lib.source import code_sha256, file_of, imported, modules_behind, without_comments

PAGES = "emoser_lib.reporting.book.pages"
"""The module that lays the pages out."""

READERS: Mapping[str, str] = MappingProxyType(
    {
        "emoser_lib.corpora.loaders": "emoser_lib/corpora/demo_data",
        "emoser_lib.corpora.generation": "emoser_lib/corpora/demo_data",
        "emoser_lib.systems.checkpoints.folders": "emoser_lib/systems/checkpoints/demo_models",
        "emoser_lib.reporting.ledger.claims": "book/claims.yaml",
        "emoser_lib.experiments.planning.dry_run": "book/claims.yaml",
        "emoser_lib.experiments.runs.profiles": "notebooks/profiles",
        "emoser_lib.reporting.reading.joined": "book/records/cells",
    }
)
"""Modules that read files of this project, and which; the committed records apart."""


class Dependencies:
    """What runs and pages of a checkout depend on, each as a hash.

    Args:
        root: the checkout.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.notebooks = sorted((root / "notebooks").glob("[0-9]*.ipynb"))
        self._runs: dict[Path, str] = {}
        self._contents: dict[Path, str] = {}
        self._modules: dict[Path, list[str]] = {}

    def of_run(self, notebook: Path) -> str:
        """Hash what a chapter's run depends on: its code, the modules it imports, the files and records they read.

        Its parameters are in the run's key.
        """
        if notebook not in self._runs:
            self._runs[notebook] = self._of_run(notebook)
        return self._runs[notebook]

    def _of_run(self, notebook: Path) -> str:
        cells = [python for cell in _code(notebook) if (python := _python(cell.source))]
        modules = self.modules_of_run(notebook)
        parts = [
            *map(without_comments, cells),
            code_sha256(self._files(modules)),
            *(self._content(self.root / READERS[module]) for module in modules if module in READERS),
            *map(self._content, self._records(modules, cells)),
        ]
        if "emoser_lib.experiments.runs.profiles" in modules:  # it reads the parameters of all chapters
            cells = [cell.source for path in self.notebooks for cell in _code(path) if _tagged(cell, "parameters")]
            parts += map(without_comments, cells)
        return _sha256(parts)

    def modules_of_run(self, notebook: Path) -> list[str]:
        """List the modules that a chapter imports, directly or not, by name."""
        if notebook not in self._modules:
            cells = [_python(cell.source) for cell in _code(notebook)]
            starts = (name for cell in cells for name in imported(cell, self.root))
            self._modules[notebook] = modules_behind(starts, self.root)
        return self._modules[notebook]

    def of_book(self) -> str:
        """Hash what the pages depend on besides the runs: prose, what lays it out, and the docstrings they show."""
        extensions = sorted((self.root / "book/extensions").glob("*.py"))
        packages = [file for name in Library(self.root).packages() if (file := file_of(name, self.root))]
        read = [path.read_text(encoding="utf-8") for path in [*extensions, *packages]]
        starts = {PAGES, *(name for text in read for name in imported(text, self.root))}
        starts |= {name for path in self.notebooks for name in self.modules_of_run(path)}
        prose = (path for path in (self.root / "book").rglob("*") if path.suffix != ".py")
        built = self.root / "book/_build"
        parts = [
            code_sha256([*extensions, *packages, *self._files(modules_behind(starts, self.root))], docstrings=True),
            *(self._content(path) for path in sorted(prose) if path.is_file() and built not in path.parents),
            *map(self._content, self.notebooks),
        ]
        return _sha256(parts)

    def _records(self, modules: Iterable[str], cells: Iterable[str]) -> list[Path]:
        """The committed records a run shows: those of the chapters that it names, or all where it asks for all."""
        named, everything = {text for cell in cells for text in _texts(cell)}, False
        for source in (file.read_text(encoding="utf-8") for file in self._files(modules)):
            if f"{READS}(" in source:
                named |= _texts(source)
                everything |= f"{READS}()" in source
        shown = tuple(f"{chapter.stem}-" for chapter in self.notebooks if everything or chapter.stem in named)
        return [path for path in sorted((self.root / "book/records").glob("*.json")) if path.name.startswith(shown)]

    def _files(self, modules: Iterable[str]) -> list[Path]:
        return [file for module in modules if (file := file_of(module, self.root))]

    def _content(self, path: Path) -> str:
        """Of a file, or of all files below a folder that are not prose, with their names."""
        if path not in self._contents:
            files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
            read = [file for file in files if file == path or file.suffix != ".md"]
            told = (part for file in read for part in (str(file.relative_to(self.root)), _bytes_sha256(file)))
            self._contents[path] = _sha256(told)
        return self._contents[path]


def same_code(one: str, other: str) -> bool:
    """Compare what two cells do: comments and docstrings apart.

    >>> same_code("x = 1  # one", "x = 1"), same_code("x = 1", "x = 2")
    (True, False)
    """
    return without_comments(_python(one)) == without_comments(_python(other))


@cache
def _python(cell: str) -> str:
    return TransformerManager().transform_cell(cell)


def _code(notebook: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read_notebook(notebook).cells if cell.cell_type == "code"]


def _tagged(cell: nbformat.NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def _texts(source: str) -> set[str]:
    nodes = ast.walk(ast.parse(source))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _bytes_sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _sha256(parts: Iterable[str]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()
