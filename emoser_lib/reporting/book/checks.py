"""What long checks found, committed as `book/checks/*.json` and shown on the status page: when, on which code, what."""

import platform
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from emoser_lib.environment import ROOT, commit, now
from emoser_lib.errors import DataError
from emoser_lib.files import write_whole
from emoser_lib.source import code_sha256, file_of
from emoser_lib.values import Immutable

CHECKS_FOLDER = "checks"
"""The folder of the book's source that they are in."""


class LongCheck(Immutable):
    """What one of them found.

    Attributes:
        title: of its part of the page.
        about: what was done, in a sentence.
        command: that does it again.
        columns, rows: the table.
        covers: modules that it checks.
        code: hash of what they do, comments and docstrings apart.
        python: the version that this hash is for.
        commit, date: when.
    """

    title: str
    about: str
    command: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int, ...], ...]
    covers: tuple[str, ...]
    code: str
    python: str
    commit: str | None
    date: str

    @property
    def is_stale(self) -> bool:
        """Whether the code it covers does something else now; not known under another Python."""
        return self.python == _python() and self.code != _code(self.covers)


def write_check(
    path: Path,
    title: str,
    about: str,
    command: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str | int]],
    covers: Sequence[str],
) -> LongCheck:
    """Write what a long check found, with the code it is of.

    Args:
        path: below ``book/checks``.
        title, about, command, columns, rows, covers: see `LongCheck`.
    """
    check = LongCheck(
        title=title,
        about=about,
        command=command,
        columns=tuple(columns),
        rows=tuple(map(tuple, rows)),
        covers=tuple(covers),
        code=_code(covers),
        python=_python(),
        commit=commit(),
        date=now(),
    )
    write_whole(path, check.model_dump_json(indent=1) + "\n")
    return check


def read_checks(book: Path) -> list[LongCheck]:
    """Read all of them, by name.

    Args:
        book: the book's source.

    Raises:
        DataError: one is not as `write_check` writes it.
    """
    found = []
    for path in sorted((book / CHECKS_FOLDER).glob("*.json")):
        try:
            found.append(LongCheck.model_validate_json(path.read_text(encoding="utf-8")))
        except (ValueError, OSError):
            raise DataError(f"{path} is damaged: restore it from git, or make it again.") from None
    return found


def checks_section(checks: Iterable[LongCheck]) -> str:
    """Write their part of the status page, in Markdown with tables in HTML."""
    return "\n\n".join(map(_section, checks))


def _section(check: LongCheck) -> str:
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in check.columns)
    rows = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in check.rows)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    old = " The code has changed since." if check.is_stale else ""
    when = f"{escape(check.date[:10])}, {escape(str(check.commit))}"
    told = f"{escape(check.about)} <code>{escape(check.command)}</code>, {when}."
    return (
        f"## {escape(check.title)}\n\n<p>{told}{old}</p>\n\n"
        f"<div class='emoser-table-scroll' tabindex='0' role='region' aria-label='{escape(check.title)}'>"
        f"<table class='table emoser-status'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _code(modules: Iterable[str]) -> str:
    return code_sha256(file for name in modules if (file := file_of(name, ROOT)))


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])
