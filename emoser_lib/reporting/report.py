"""What a notebook tells the page and its record."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from IPython.display import HTML, display, publish_display_data

from emoser_lib.corpora import Corpus
from emoser_lib.environment import computing
from emoser_lib.reporting.escaping import as_text

if TYPE_CHECKING:
    from torch.nn import Module

    from emoser_lib.systems.hearing.encoders.encoder import Encoder
    from emoser_lib.systems.reading.llm import LLM

GLUE = "application/papermill.record/"
"""Prefix under which myst-nb looks for values to put into prose."""


def report(**metrics: Any) -> None:
    """Hand values to the page (``{glue:text}`` by name) and to the run's record; shows nothing.

    Args:
        metrics: numbers, texts, or lists and dicts of them; in the record a number that is not finite is ``null``.

    >>> report(macro_f1=0.5)
    """
    for name, given in metrics.items():
        value = given.item() if isinstance(given, np.generic) else given  # JSON knows no numpy
        told = {"metrics": {name: _null_where_not_finite(value)}, "computing": computing()}
        publish_display_data(
            {f"{GLUE}text/plain": repr(value)},
            metadata={"scrapbook": {"name": name, "mime_prefix": GLUE}, "emoser": told},
        )


def _null_where_not_finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _null_where_not_finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_null_where_not_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def introduce(corpus: Corpus, notes: Sequence[str] = ()) -> None:
    """Show what is read and what was derived from it or found in it; tell the record which data they were.

    Args:
        corpus: the chapter's.
        notes: of `prepare`.
    """
    told = {"name": corpus.name, "sha256": corpus.sha256, "clips": len(corpus)}
    counts = corpus.frame["split"].replace("", "all").value_counts(sort=False)
    splits = ", ".join(f"{number:,} {as_text(name)}" for name, number in counts.items())
    text = f"Corpus <code>{as_text(corpus.name)}</code>: {splits} clips; sha256 <code>{corpus.sha256[:12]}…</code>"
    told_with_code = (re.sub("&#96;(.*?)&#96;", r"<code>\1</code>", as_text(note)) for note in notes)
    lines = "".join(f'<p class="emoser-corpus">{note}</p>' for note in told_with_code)
    about = {"corpus": told, "notes": list(notes), "computing": computing()}
    display(HTML(f'<p class="emoser-corpus">{text}</p>{lines}'), metadata={"emoser": about})


def introduce_llm(llm: "LLM") -> None:
    """Show one line that says which language model is used, and tell the record which weights these are."""
    _introduce("Language model", llm.name, llm.sha256, llm.note, llm.model)


def introduce_encoder(encoder: "Encoder") -> None:
    """Show one line that says which audio encoder is used, and tell the record which weights these are."""
    _introduce("Audio encoder", encoder.name, encoder.sha256, encoder.note, encoder)


def _introduce(what: str, name: str, sha256: str, noted: str, model: "Module") -> None:
    first = next(model.parameters())
    told = {"name": name, "sha256": sha256, "note": noted}
    told |= {"device": first.device.type, "dtype": str(first.dtype).removeprefix("torch.")}
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    note = f" ({as_text(noted)})" if noted else ""
    size = f"{millions:,.0f}" if millions >= 10 else f"{millions:.1f}"
    text = f"{what} <code>{as_text(name)}</code>{note}: {size} million parameters; sha256 of its weights "
    html = f'<p class="emoser-corpus">{text}<code>{sha256[:12]}…</code></p>'
    display(HTML(html), metadata={"emoser": {"checkpoints": [told], "computing": computing()}})
