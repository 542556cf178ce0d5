"""What a chapter's code uses of the library: right where it is certain, left where it is not, stale names refused."""

import importlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.parameters import read_notebook
from emoser_lib.reporting.book.provenance import chapter_of
from emoser_lib.reporting.book.uses import Chapter, Defined, Library

NOTEBOOKS = sorted((Path(__file__).parents[3] / "notebooks").glob("*.ipynb"))

SOURCES = {
    "__init__.py": "",
    "corpora/__init__.py": "from emoser_lib.corpora.shape import Corpus\n__all__ = ['Corpus']\n",
    "corpora/shape.py": (
        "from typing import Self\nimport numpy as np\n\nLABELS = ()\n\n"
        "class Base:\n    @classmethod\n    def of(cls, x) -> Self: ...\n\n"
        "class Corpus(Base):\n    def training(self): ...\n    @property\n    def words(self) -> 'Words': ...\n\n"
        "class Words:\n    def count(self): ...\n\n"
        "def load(name) -> Corpus: ...\n"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    root = tmp_path_factory.mktemp("checkout")
    for name, source in SOURCES.items():
        path = root / "emoser_lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return Library(root)


def used(library: Library, *cells: str) -> list[list[str]]:
    return [[library.public_name(name) for name in cell] for cell in Chapter(cells, library).uses]


def test_names_are_followed_through_imports_aliases_and_packages(library: Library) -> None:
    cells = ["from emoser_lib.corpora import Corpus, shape as s\nimport numpy", "Corpus(); s.LABELS; numpy.mean"]
    assert used(library, *cells) == [[], ["emoser_lib.corpora.Corpus", "emoser_lib.corpora.shape.LABELS"]]
    assert used(library, "import emoser_lib.corpora as c\nc.shape.load") == [["emoser_lib.corpora.shape.load"]]
    assert used(library, "import emoser_lib.corpora.shape\nemoser_lib.corpora.shape.load") == [
        ["emoser_lib.corpora.shape.load"]
    ]


@pytest.mark.parametrize("made", ["shape.load('a')", "shape.Corpus()", "shape.Corpus.of(1)"])
def test_methods_are_found_by_what_a_variable_is(library: Library, made: str) -> None:
    first, second = used(
        library, f"from emoser_lib.corpora import shape\ncorpus = {made}", "corpus.training().x\ncorpus.words.count()"
    )
    assert first
    assert second == [
        "emoser_lib.corpora.Corpus.training",
        "emoser_lib.corpora.shape.Words.count",
        "emoser_lib.corpora.Corpus.words",
    ]


BINDINGS = {
    "x = shape.load('a')": True,
    "x = shape.Corpus()": True,
    "if True:\n    x = shape.Corpus.of(2)": True,
    "x = shape.Words()": False,
    "x = 1": False,
    "for x in []: pass": False,
    "[x for x in []]": False,
    "def f(x): pass": False,
    "with open('a') as x: pass": False,
    "x, y = 1, 2": False,
    "x += 1": False,
    "import numpy as x": False,
    "try: pass\nexcept ValueError as x: pass": False,
}
"""Ways to bind x, and whether that makes it a Corpus."""


@given(st.lists(st.sampled_from(sorted(BINDINGS)), min_size=1, max_size=4))
def test_a_variable_is_known_only_if_every_assignment_says_the_same(library: Library, bindings: list[str]) -> None:
    *_, last = used(library, "from emoser_lib.corpora import shape", *bindings, "x.training()")
    assert last == (["emoser_lib.corpora.Corpus.training"] if all(BINDINGS[how] for how in bindings) else [])


def test_a_variable_that_depends_on_itself_is_left(library: Library) -> None:
    assert used(library, "a = b", "b = a", "a.training()") == [[], [], []]


def test_magics_and_shell_lines_are_no_mistake(library: Library) -> None:
    assert used(library, "%matplotlib inline\n!ls\nfrom emoser_lib.corpora import shape\nshape.load") == [
        ["emoser_lib.corpora.shape.load"]
    ]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("from emoser_lib.corpora import Corpsu", r"no 'Corpsu' in emoser_lib.corpora \(did you mean 'Corpus'\?\)"),
        ("from emoser_lib.nowhere import x", "no module 'emoser_lib.nowhere'"),
        ("import emoser_lib.nowhere", "no module 'emoser_lib.nowhere'"),
        ("from emoser_lib.corpora import shape\nshape.lood(1)", "no 'lood' in emoser_lib.corpora.shape"),
        ("from emoser_lib.corpora import shape\nf = shape.lood", "no 'lood'"),
    ],
)
def test_a_stale_name_is_refused(library: Library, code: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Chapter([code], library)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_read_from_the_source_is_what_python_imports(path: Path) -> None:
    library = Library()
    found = {name for cell in chapter_of(read_notebook(path), path.stem, library).uses for name in cell}
    assert len(found) > 8
    for name in found:
        assert is_at(name.module, name.name) is is_at(*split(library, name))


def split(library: Library, name: Defined) -> tuple[str, str]:
    return library.public_name(name).removesuffix(f".{name.name}"), name.name


def is_at(module: str, name: str) -> object:
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return getattr(found, "__func__", found)  # a classmethod is a new object each time
