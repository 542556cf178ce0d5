"""Read a CSV table; whatever is wrong with it is one sentence."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from emoser_lib.errors import DataError


def read_table(path: Path, need: Iterable[str] = (), *, how_to_get: str = "check the path") -> pd.DataFrame:
    """Read a table in which every cell is text and an empty cell is ``""``.

    The separator (comma, semicolon or tab) is the one that occurs most in the header: spreadsheets
    with Spanish settings write semicolons.

    Args:
        path: a CSV or TSV file, UTF-8, with or without byte-order mark.
        need: columns it must have.
        how_to_get: the way out named when the file is not there.

    Raises:
        DataError: not there, not UTF-8, empty, ragged, or without a needed column.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there: {how_to_get}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: save it as 'CSV UTF-8'.") from None
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    try:
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty: it needs a header line and one line a clip.") from None
    except pd.errors.ParserError as error:
        raise DataError(f"{path} is not a well-formed table ({str(error).strip()}): correct that line.") from None
    if not isinstance(table.index, pd.RangeIndex):
        # pandas takes the first column for an index where rows have one cell more than the header.
        raise DataError(f"{path}: its rows have more cells than its header: remove what ends each line too much.")
    table.columns = table.columns.str.strip()
    for column in need:
        if column not in table.columns:
            found = ", ".join(table.columns)
            raise DataError(f"{path} has no column '{column}': it has {found}.")
    return table
