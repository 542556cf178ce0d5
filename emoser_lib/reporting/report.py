"""What a notebook tells the page and its record."""

from typing import Any

import numpy as np
from IPython.display import HTML, display, publish_display_data

from emoser_lib.corpora import Corpus, describe

GLUE = "application/papermill.record/"
"""Prefix under which myst-nb looks for values to put into prose."""


def report(**metrics: Any) -> None:
    """Hand values to the page (``{glue:text}`` by name) and to the run's record; shows nothing.

    Args:
        metrics: numbers, texts, or lists and dicts of them.

    >>> report(macro_f1=0.5)
    """
    for name, given in metrics.items():
        value = given.item() if isinstance(given, np.generic) else given  # JSON knows no numpy
        publish_display_data(
            {f"{GLUE}text/plain": repr(value)},
            metadata={"scrapbook": {"name": name, "mime_prefix": GLUE}, "emoser": {"metrics": {name: value}}},
        )


def introduce(corpus: Corpus) -> None:
    """Show one line that says what is read, and tell the record which data they were."""
    told = {"name": corpus.name, "sha256": corpus.sha256, "clips": len(corpus)}
    splits = ", ".join(f"{s.clips:,} {name}" for name, s in describe(corpus).splits.items())
    text = f"Corpus <code>{corpus.name}</code>: {splits} clips; sha256 <code>{corpus.sha256[:12]}…</code>"
    display(HTML(f'<p class="emoser-corpus">{text}</p>'), metadata={"emoser": {"corpus": told}})
