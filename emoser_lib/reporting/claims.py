"""The papers' numbers, from the one place where they are written down."""

from typing import Any

import pandas as pd
import yaml

from emoser_lib.errors import DataError
from emoser_lib.experiments.records import ROOT


def claims() -> pd.DataFrame:
    """The claims of ``book/claims.yaml``, by id: paper, place, text, value, interval and more.

    Raises:
        DataError: the book's source is not beside the library.
    """
    path = ROOT / "book" / "claims.yaml"
    if not path.is_file():
        raise DataError(f"{path} is not there: work in a checkout of the project.")
    listed: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return pd.DataFrame(listed).set_index("id")
