"""Read a CSV table; whatever is wrong with it is one sentence."""

from collections.abc import Iterable
from io import StringIO
from pathlib import Path

import pandas as pd

from emoser_lib.errors import DataError


def read_table(path: Path, need: Iterable[str] = (), *, how_to_get: str = "check the path") -> pd.DataFrame:
    """Read a table in which every cell is text and an empty cell is ``""``.

    The separator (comma, semicolon or tab) is the one that occurs most in the header: spreadsheets
    with Spanish settings write semicolons. Cells that a row lacks at its end are empty.

    Args:
        path: a CSV or TSV file, UTF-8, with or without byte-order mark.
        need: columns it must have.
        how_to_get: the way out named when the file is not there.

    Raises:
        DataError: not there, not UTF-8, empty, a row longer than the header, a column twice, or a needed one lacking.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there: {how_to_get}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: save it as 'CSV UTF-8'.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): give yourself access to it.") from None
    if "\0" in text:
        raise DataError(f"{path} is not a text file: save the table as 'CSV UTF-8'.")
    header = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(",;\t", key=header.count)
    try:
        # header=None: pandas would rename a column that is there twice, and take the first one for an index where
        # rows have one cell more than the header.
        rows = pd.read_csv(StringIO(text), sep=separator, header=None, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty: it needs a header line and one line per clip.") from None
    except pd.errors.ParserError as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise DataError(f"{path} is not a well-formed table ({reason}): correct that line.") from None
    names, table = rows.iloc[0].str.strip(), rows.iloc[1:].reset_index(drop=True)
    twice = names[names.duplicated() & (names != "")]
    if len(twice):
        raise DataError(f"{path} has the column '{twice.iloc[0]}' more than once: rename or remove one.")
    table.columns = pd.Index(names)
    for column in need:
        if column not in table.columns:
            found = ", ".join(table.columns)
            raise DataError(f"{path} has no column '{column}': it has {found}.")
    return table
