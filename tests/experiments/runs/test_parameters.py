"""The parameters cell: every value has a type, and what does not fit ends at once."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments.runs.parameters import Parameter, parameters_of, resolve

CELL = """
corpus: str = "demo"  # which corpus: "a # b" too
seed: int = 0  # the seed
lr: float = 1e-4
shuffle: bool = True
ranks: list[int] = [8, 16]  # ranks
options: dict = {}
rates: list[float] = [1e-4]
pairs: list[list[int]] = [[1, 2]]
"""


def notebook(path: Path, *sources: str, tag: str = "parameters") -> Path:
    cells = [nbformat.v4.new_code_cell(s, metadata={"tags": [tag]}) for s in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_names_types_defaults_and_help_are_read(tmp_path: Path) -> None:
    found = parameters_of(notebook(tmp_path / "a.ipynb", CELL))
    assert list(found) == ["corpus", "seed", "lr", "shuffle", "ranks", "options", "rates", "pairs"]
    assert found["corpus"].help == 'which corpus: "a # b" too'
    assert found["ranks"].default == [8, 16]
    assert found["lr"].help == ""


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("corpus", "123", "123"),
        ("seed", "7", 7),
        ("lr", "1e-3", 1e-3),
        ("lr", "2", 2.0),
        ("shuffle", "false", False),
        ("ranks", "[1, 2]", [1, 2]),
        ("options", "{root: here}", {"root": "here"}),
        ("rates", "[1e-4, 2E+3, -3.5e1, 4, .5]", [1e-4, 2000.0, -35.0, 4, 0.5]),
        ("pairs", "[[1, 2], []]", [[1, 2], []]),
    ],
)
def test_command_line_values_are_read_by_the_parameters_type(name: str, text: str, value: Any, tmp_path: Path) -> None:
    parsed = parameters_of(notebook(tmp_path / "a.ipynb", CELL))[name].parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("seed", "1.5"), ("seed", "one"), ("seed", "true"), ("lr", "fast"), ("lr", "inf"),
     ("lr", "nan"), ("shuffle", "maybe"), ("ranks", "8"),
     ("ranks", "[a]"), ("ranks", "[1"), ("options", "[1]"),
     ("ranks", "[true]"), ("ranks", "['8']"), ("rates", "[1, yes]"), ("rates", "[fast]"), ("pairs", "[[1, true]]")],
)  # fmt: skip
def test_a_wrong_type_is_one_sentence(name: str, text: str, tmp_path: Path) -> None:
    parameter = parameters_of(notebook(tmp_path / "a.ipynb", CELL))[name]
    with pytest.raises(UsageError, match=f"parameter '{name}' takes"):
        parameter.parse(text)


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    parameters = parameters_of(notebook(tmp_path / "a.ipynb", CELL))
    with pytest.raises(UsageError, match="no parameter 'sede' \\(did you mean 'seed'"):
        resolve(parameters, {"sede": 1})
    with pytest.raises(UsageError, match="'seed' takes int, not True"):
        resolve(parameters, {"seed": True})


@pytest.mark.parametrize("sources", [[], ["a: int = 1", "b: int = 2"]])
def test_exactly_one_cell_is_needed(sources: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exactly one"):
        parameters_of(notebook(tmp_path / "a.ipynb", *sources))


@pytest.mark.parametrize("line", ["seed = 1", "seed: int", "seed: int | None = None", "import os"])
def test_a_line_that_is_not_typed_is_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        parameters_of(notebook(tmp_path / "a.ipynb", line))


def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("{")
    with pytest.raises(DataError, match="not a Jupyter notebook"):
        parameters_of(tmp_path / "a.ipynb")


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.lists(st.integers()))
def test_what_is_typed_comes_back(value: Any) -> None:
    kind = "list[int]" if isinstance(value, list) else type(value).__name__
    assert Parameter("p", kind, value).parse(str(value)) == value


@given(st.text())
def test_text_is_kept_as_it_is(value: str) -> None:
    assert Parameter("p", "str", "").parse(value) == value


@pytest.mark.parametrize(
    "source", ["x: int = = 3", "  x: int = 3", "x: int = f()", "x: int = 'a'", "x: dict[str] = {}", "x = 3"]
)
def test_a_parameters_cell_that_is_wrong_is_the_notebooks_fault(source: str, tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "one.ipynb")
    with pytest.raises(DataError):
        parameters_of(tmp_path / "one.ipynb")


@pytest.mark.parametrize("text", ["{root: 2024-01-01}", "{a: .nan}", "{a: [.inf]}"])
def test_what_a_record_cannot_hold_is_no_parameter(text: str) -> None:
    with pytest.raises(UsageError, match="takes dict"):
        Parameter("corpus_options", "dict", {}).parse(text)
