"""The project's own modules as text: what each imports, and what it does apart from comments and docstrings."""

import ast
import hashlib
from collections.abc import Iterable, Iterator
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
            waiting += imported(ast.walk(_parsed(file.read_text(encoding="utf-8"))), root)
    return sorted(found)


def imported(nodes: Iterable[ast.AST], root: Path = ROOT) -> Iterator[str]:
    """Name the modules that the import statements among some nodes mean, the project's and others."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (_defining(node.module, alias.name, root) for alias in node.names)


def file_of(module: str, root: Path = ROOT) -> Path | None:
    """Return the file of a module; ``None`` where the project has no such module."""
    parts = module.split(".")
    path = root.joinpath(*parts)
    files = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in files if parts[0] in OWN_PACKAGES and file.is_file()), None)


def code_sha256(files: Iterable[Path], docstrings: bool = False) -> str:
    """Hash what Python files do: comments count for nothing, docstrings where they are asked for.

    The hash is the same for one version of Python only.
    """
    digest = hashlib.sha256()
    for file in files:
        text = file.read_text(encoding="utf-8")
        digest.update((ast.dump(_parsed(text)) if docstrings else without_comments(text)).encode())
    return digest.hexdigest()


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
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _defining(module: str, name: str, root: Path) -> str:
    """The module that ``from module import name`` reads."""
    file = file_of(module, root)
    if file is None:
        return module
    if file_of(f"{module}.{name}", root) is not None:
        return f"{module}.{name}"
    if file.name == "__init__.py":
        for node in _parsed(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return _defining(node.module, alias.name, root)
    return module
