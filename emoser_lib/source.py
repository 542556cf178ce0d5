"""The project's own modules as text: what each imports, and what it does apart from comments and docstrings."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from emoser_lib.environment import ROOT

OWN_PACKAGES = ("emoser_lib", "benchmarks")
"""The project's: beside an installed library lie others."""


def modules_behind(names: Iterable[str], root: Path = ROOT) -> list[str]:
    """List modules and all that they import of the project, directly or not, by name.

    A package that hands a name on stands for the module that defines it.

    Args:
        names: dotted; of other modules than the project's nothing is known, they are left out.
        root: the folder that the packages lie in.

    >>> modules_behind(["emoser_lib.files", "json"])
    ['emoser_lib.errors', 'emoser_lib.files']
    """
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        module = waiting.pop()
        if module not in found and (file := file_of(module, root)) is not None:
            found.add(module)
            waiting += imported(file.read_text(encoding="utf-8"), root)
    return sorted(found)


def imported(text: str, root: Path = ROOT) -> list[str]:
    """Return the modules that a source text imports, the project's and others, by name."""
    return [_defining(module, name, root) if name else module for module, name, _ in _imports(text)]


def file_of(module: str, root: Path = ROOT) -> Path | None:
    """Return the file of a module; ``None`` where the project has no such module."""
    parts = module.split(".")
    if parts[0] not in OWN_PACKAGES:
        return None
    path = root.joinpath(*parts)
    files = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in files if file.is_file()), None)


def code_sha256(files: Iterable[Path], docstrings: bool = False) -> str:
    """Hash what Python files do: comments count for nothing, docstrings where they are asked for.

    The hash is the same for one version of Python only.
    """
    written = _tree if docstrings else without_comments
    trees = (written(file.read_text(encoding="utf-8")) for file in files)
    return hashlib.sha256("\0".join(trees).encode()).hexdigest()


@cache
def without_comments(text: str) -> str:
    """Return a source text as its syntax tree, without comments and docstrings.

    >>> without_comments("x = 1  # one") == without_comments("'''What it is.'''\\nx = 1")
    True
    """
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # a docstring is an expression that is only a text
            node.body = [  # type: ignore[attr-defined]
                line for line in body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            ]
    return ast.dump(tree)


@cache
def _tree(text: str) -> str:
    return ast.dump(ast.parse(text))


@cache
def _imports(text: str) -> list[tuple[str, str, str]]:
    """Module, name in it and what it is called here, of each import that is run; no name for ``import module``."""
    found: list[tuple[str, str, str]] = []
    waiting: list[ast.AST] = [ast.parse(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found += [(alias.name, "", "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, alias.name, alias.asname or alias.name) for alias in node.names]
    return found


def _defining(module: str, name: str, root: Path) -> str:
    """The module that ``from module import name`` reads."""
    file = file_of(module, root)
    if file is None:
        return module
    if file_of(f"{module}.{name}", root) is not None:
        return f"{module}.{name}"
    if file.name == "__init__.py":
        for origin, there, here in _imports(file.read_text(encoding="utf-8")):
            if here == name:
                return _defining(origin, there, root)
    return module
