"""The reference: every public name of the library that a chapter uses, with the chapters, made from both."""

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emoser_lib.errors import DataError
from emoser_lib.reporting.book.uses import PACKAGE, Chapter, Defined, Library, Module

LAYERS = ("corpora", "systems", "experiments", "reporting")
"""A page each, in the order of imports."""


@dataclass
class ReferenceEntry:
    """An entry of the reference: one name."""

    found: Defined
    chapters: list[str] = field(default_factory=list)
    methods: "dict[str, ReferenceEntry]" = field(default_factory=dict)


def anchor(library: Library, found: Defined) -> str:
    """Return where the reference explains a name: page and anchor, relative to the book's pages.

    >>> library = Library()
    >>> anchor(library, library.find("emoser_lib.reporting", "score_on"))
    'api-reporting.html#emoser_lib.reporting.score_on'
    """
    name = library.public_name(found)
    return f"{_page(name)}.html#{name}"


def reference_pages(chapters: Mapping[str, Chapter], library: Library) -> dict[Path, bytes]:
    """Write the reference's pages in Markdown, one per layer; Sphinx adds signatures and docstrings itself.

    Args:
        chapters: the chapters' code by the notebook's name.
        library: its source.
    """
    entries = _entries(chapters, library)
    sections: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(entries, key=lambda name: (name.rpartition(".")[0], name.lower())):
        sections[name.rpartition(".")[0]].append(_written(name, entries[name], library))
    pages = {}
    for layer in LAYERS:
        package = f"{PACKAGE}.{layer}"
        parts = [f"# {package}", _described(library, package)]
        for module in sorted(section for section in sections if f"{section}.".startswith(f"{package}.")):
            own = [] if module == package else [f"## {module.removeprefix(f'{PACKAGE}.')}", _described(library, module)]
            parts += [*own, *sections[module]]
        pages[Path(f"api-{layer}.md")] = ("\n\n".join(parts) + "\n").encode()
    return pages


def _entries(chapters: Mapping[str, Chapter], library: Library) -> dict[str, ReferenceEntry]:
    entries: dict[str, ReferenceEntry] = {}
    for package in library.packages():
        for name in library.handed_on(package):
            found = library.find(package, name)
            if isinstance(found, Module) or found is None:
                raise DataError(
                    f"{package} hands on '{name}', which the library does not define: take it from __all__."
                )
            entries.setdefault(library.public_name(found), ReferenceEntry(found))
    for chapter, code in chapters.items():
        for used in dict.fromkeys(used for cell in code.uses for used in cell):
            _credit(entries, used, chapter, library)
    return entries


def _credit(entries: dict[str, ReferenceEntry], used: Defined, chapter: str, library: Library) -> None:
    owner, _, method = used.name.partition(".")
    found = library.find(used.module, owner)
    assert isinstance(found, Defined)
    entry = entries.setdefault(library.public_name(found), ReferenceEntry(found))
    own = [entry.methods.setdefault(method, ReferenceEntry(used))] if method else []
    for credited in (entry, *own):
        if chapter not in credited.chapters:
            credited.chapters.append(chapter)


def _page(name: str) -> str:
    return f"api-{name.split('.')[1]}"


def _written(name: str, entry: ReferenceEntry, library: Library) -> str:
    """One entry, as a directive of Sphinx's autodoc."""
    node = entry.found.node
    if isinstance(node, ast.FunctionDef):
        lines = [f".. autofunction:: {name}", ""]
    elif isinstance(node, ast.ClassDef):
        lines = [f".. autoclass:: {name}", ""]
    else:
        module, _, own = name.rpartition(".")
        lines = [
            f".. py:data:: {own}",
            f"   :module: {module}",
            "",
            *_indented(_comment(entry.found, library).splitlines()),
            "",
        ]
    lines += _indented([_used_in(entry.chapters)])
    for method, of in sorted(entry.methods.items()):
        kind = "autoproperty" if of.found.is_property else "automethod"
        lines += ["", *_indented([f".. {kind}:: {name}.{method}", "", *_indented([_used_in(of.chapters)])])]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def _used_in(chapters: Iterable[str]) -> str:
    named = ", ".join(f":doc:`{chapter}`" for chapter in chapters)
    return f"*Used in* {named}." if named else "*Used by no chapter.*"


def _comment(constant: Defined, library: Library) -> str:
    """The text below a constant's definition; empty if there is none."""
    tree = library.tree(constant.module)
    body = tree.body if tree else []
    below = body[body.index(constant.node) + 1 :][:1]
    said = (
        below[0].value.value
        if below and isinstance(below[0], ast.Expr) and isinstance(below[0].value, ast.Constant)
        else ""
    )
    return inspect.cleandoc(said) if isinstance(said, str) else ""


def _described(library: Library, module: str) -> str:
    """A module's own words on itself."""
    tree = library.tree(module)
    assert tree is not None
    said = ast.get_docstring(tree) or ""
    return "\n".join(["```{eval-rst}", *said.splitlines(), "```"])


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"   {line}" if line else "" for line in lines]
