"""Read a CSV table; whatever is wrong with it is one sentence."""

import csv
import warnings
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

import pandas as pd

from emoser_lib.errors import DataError


def read_table(
    path: Path,
    need: Iterable[str] = (),
    *,
    how_to_get: str = "check the path",
    quoted: bool | None = None,
    only_utf8: bool = False,
) -> pd.DataFrame:
    """Read a table in which every cell is text and an empty cell is ``""``.

    The separator (comma, semicolon or tab) is the one that occurs most in the header, or what a first line ``sep=;``
    says: spreadsheets with Spanish settings write semicolons. Cells that a row lacks at its end are empty, and
    ``table.attrs["short_rows"]`` lists such rows; rows without any content are left out, as Excel leaves them.

    Args:
        path: a CSV or TSV file, UTF-8, with or without byte-order mark; else Windows-1252, with a warning.
        need: columns it must have.
        how_to_get: the way out named when the file is not there.
        quoted: whether quotation marks hold cells together that contain the separator or line breaks. By default in a
            CSV and not in a ``.tsv``, whose cells may begin with a quotation mark of their own (Common Voice).
        only_utf8: refuse a table that is not UTF-8: for those whose cells are names and labels, not words.

    Raises:
        DataError: not there, no text or not in UTF-8 where it must be, empty, a row longer than the header, a column
            twice, or a needed one lacking; or a cell that holds what looks like rows, where a lone quotation mark
            swallowed them.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there: {how_to_get}.")
    text = _text_of(path, only_utf8)
    if "\0" in text:
        raise DataError(f"{path} is not a text file: save the table as 'CSV UTF-8'.")
    first, _, rest = text.partition("\n")
    told = first.strip().strip('"').lower()
    text = rest if told in ("sep=,", "sep=;", "sep=\t", "sep=") else text
    header = next((line for line in text.splitlines() if line.strip()), "")
    separator = told[4] if len(told) == 5 and told.startswith("sep=") else max(",;\t", key=header.count)
    quoted = path.suffix.lower() != ".tsv" if quoted is None else quoted
    try:
        rows = list(
            csv.reader(
                StringIO(text, newline=""), delimiter=separator, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
            )
        )
    except csv.Error as error:
        raise DataError(f"{path} is not a well-formed table ({error}): look for a lone quotation mark.") from None
    _refuse_swallowed_rows(path, rows, separator)
    filled = [(line, row) for line, row in enumerate(rows, start=1) if any(cell.strip() for cell in row)]
    if not filled:
        raise DataError(f"{path} is empty: it needs a header line and one line per clip.")
    names, body = pd.Series(filled[0][1]).str.strip(), filled[1:]
    if long := next((line for line, row in body if any(cell.strip() for cell in row[len(names) :])), None):
        cells = len(rows[long - 1])
        raise DataError(
            f"{path} is not a well-formed table (expected {len(names)} cells in row {long}, saw {cells}): correct it."
        )
    width = len(names)
    table = pd.DataFrame([[*row, *[""] * width][:width] for _, row in body], columns=range(width), dtype=str)
    twice = names[names.duplicated() & (names != "")]
    if len(twice):
        raise DataError(f"{path} has the column '{twice.iloc[0]}' more than once: rename or remove one.")
    table.columns = pd.Index(names)
    table.attrs["short_rows"] = [number for number, (_, row) in enumerate(body) if len(row) < width]
    for column in need:
        if column not in table.columns:
            found = ", ".join(table.columns)
            raise DataError(f"{path} has no column '{column}': it has {found}.")
    return table


def _text_of(path: Path, only_utf8: bool) -> str:
    """A table's text: UTF-8, or what a spreadsheet's plain CSV is in the west of Europe, which a warning says."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): give yourself access to it.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        refusal = DataError(f"{path} is not UTF-8 text: save it as 'CSV UTF-8'.")
    if only_utf8:
        raise refusal
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        raise refusal from None
    if "\0" not in text:
        said = f"{path} is not UTF-8 and is read as Windows-1252: if letters are wrong, save it as 'CSV UTF-8'"
        warnings.warn(said, stacklevel=3)
    return text


def _refuse_swallowed_rows(path: Path, rows: list[list[str]], separator: str) -> None:
    """A lone quotation mark makes one cell of all rows up to the next one: such a cell holds lines like rows."""
    like_a_row = max(1, len(rows[0]) - 1 if rows else 1)
    for number, row in enumerate(rows, start=1):
        for cell in row:
            lines = cell.splitlines()
            inside = [line for line in lines[1:] if line.count(separator) >= like_a_row]
            if inside:
                raise DataError(
                    f"{path}, row {number}: a cell holds {len(lines)} lines, {len(inside)} like rows (it begins with "
                    f"{lines[0][:30]!r}): a lone quotation mark swallowed them, write it twice or remove it."
                )
