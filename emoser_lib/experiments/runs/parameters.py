"""The parameters cell of a notebook: what can be changed, of which type, and what it means.

papermill starts a kernel first and lets unknown names and wrong types pass; here both end at once.
"""

import ast
import io
import json
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml
from pydantic import TypeAdapter

from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.visible import shortened

TYPES: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}
"""The annotations a parameter may have; ``list[float]`` and the like too."""


class NumberLoader(yaml.SafeLoader):
    """YAML whose numbers are Python's: PyYAML reads 1e-4 as a text."""


NumberLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)

LARGEST_YAML = 1_000_000
"""Characters of a text, as it stands and with all its aliases written out (our choice)."""


def load_yaml(text: str) -> Any:
    """Read YAML whose numbers are Python's, and which stands for no more than it seems to.

    Raises:
        yaml.YAMLError: it is no YAML, too large, too deep, or its aliases (``*name``) multiply.

    >>> load_yaml("{rate: 1e-4}")
    {'rate': 0.0001}
    """
    if len(text) > LARGEST_YAML:
        raise yaml.YAMLError(f"it has more than {LARGEST_YAML:,} characters")
    loader = NumberLoader(text)
    try:
        node = loader.get_single_node()
        if node is not None and _values_of(node, {}) > LARGEST_YAML:
            raise yaml.YAMLError("its aliases stand for too much")
        return None if node is None else loader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError("it is too deep, or holds itself") from None
    except (ValueError, OverflowError) as error:  # a date or number that there is not
        raise yaml.YAMLError(str(error)) from None
    finally:
        loader.dispose()


def _values_of(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for; a node that holds itself ends in a RecursionError."""
    if isinstance(node, yaml.ScalarNode):
        return 1 + len(node.value)
    if id(node) not in known:
        inner = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_values_of(part, known) for part in inner)
    return known[id(node)]


TRUE_FALSE = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Parameter:
    """A line of the parameters cell: ``name: annotation = default  # help``."""

    name: str
    annotation: str
    default: Any
    help: str = ""

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """What checks a value of this type."""
        return TypeAdapter(eval(self.annotation, {"__builtins__": {}}, dict(TYPES)))

    def check(self, value: Any) -> Any:
        """Return the value if it has the parameter's type (an int will do for a float).

        Raises:
            UsageError: it has another type, or holds what a record cannot (a date, a number that is not finite).
        """
        try:
            valid = self.adapter.validate_python(value, strict=True)
            json.dumps(valid, allow_nan=False)
            return valid
        except (ValueError, TypeError):  # pydantic's ValidationError is a ValueError
            means = self.help or "see the notebook"
            raise UsageError(
                f"parameter '{self.name}' takes {self.annotation}, not {shortened(value)}: {means}."
            ) from None

    def parse(self, text: str) -> Any:
        """Read a value as typed on the command line, by the parameter's own type.

        >>> Parameter("lr", "float", 1e-4).parse("1e-3")
        0.001
        >>> Parameter("ranks", "list[int]", [8]).parse("[8, 16]")
        [8, 16]
        """
        kind = self.annotation.split("[")[0]
        if kind == "str":
            return text
        if kind == "bool":
            return self.check(TRUE_FALSE.get(text.strip().lower(), text))
        if kind in ("list", "dict"):
            return self._parse_collection(text)
        try:
            return self.check(TYPES[kind](text))
        except ValueError:
            return self.check(text)

    def _parse_collection(self, text: str) -> Any:
        try:
            value = load_yaml(text)
        except yaml.YAMLError:
            value = text
        return self.check(value)


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read a notebook.

    Raises:
        DataError: the file is not a notebook.
    """
    try:
        return nbformat.read(path, as_version=4)
    except Exception:
        # nbformat raises a dozen kinds of error for what is, to the user, one thing.
        raise DataError(f"{path} is not a Jupyter notebook: restore the file.") from None


def parameters_of(path: Path) -> dict[str, Parameter]:
    """Read the parameters of a notebook, in the order of its cell.

    Raises:
        DataError: no or more than one cell is tagged ``parameters``, or a line is not
            ``name: type = literal``.
    """
    cells = [c for c in read_notebook(path).cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise DataError(f"{path} has {len(cells)} cells tagged 'parameters': it must have exactly one.")
    source = cells[0].source
    try:
        lines, helps = ast.parse(source).body, _comments(source)
    except SyntaxError as error:
        raise DataError(f"{path}: line {error.lineno} of the parameters cell is not Python: correct it.") from None
    found = {}
    for node in lines:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None):
            line = source.splitlines()[node.lineno - 1]
            raise DataError(f"{path}: the parameters cell has the line '{line}': write it as `name: type = value`.")
        name, annotation = node.target.id, ast.unparse(node.annotation)
        if not _is_plain(node.annotation):
            raise DataError(f"{path}: parameter '{name}' has the type {annotation}: use {', '.join(TYPES)}.")
        try:
            parameter = Parameter(name, annotation, ast.literal_eval(node.value), helps.get(node.end_lineno or 0, ""))
            parameter.check(parameter.default)
        except (ValueError, TypeError):
            default = ast.unparse(node.value)
            raise DataError(
                f"{path}: parameter '{name}' is {default}, it must be a literal of its type ({annotation})."
            ) from None
        found[name] = parameter
    return found


def resolve(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the given values with the defaults of all other parameters.

    Raises:
        UsageError: a name is unknown or a value has the wrong type.
    """
    for name in values:
        if name not in parameters:
            hint = did_you_mean(name, list(parameters))
            raise UsageError(f"there is no parameter '{name}'{hint}: known are {', '.join(parameters) or 'none'}.")
    return {name: p.check(values[name]) if name in values else p.default for name, p in parameters.items()}


def _is_plain(annotation: ast.expr) -> bool:
    """One of TYPES, or a list or dict of them: what papermill's inspector shows too."""
    if isinstance(annotation, ast.Name):
        return annotation.id in TYPES
    if not (isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in ("list", "dict")):
        return False
    inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    return all(map(_is_plain, inner))


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").rstrip(".") for t in tokens if t.type == tokenize.COMMENT}
