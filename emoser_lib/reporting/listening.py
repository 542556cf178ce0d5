"""Clips to listen to on a page."""

import base64
import mimetypes
from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd
from IPython.display import HTML

from emoser_lib.corpora import Corpus


def one_clip_a_label(corpus: Corpus, seed: int = 0) -> list[str]:
    """Ids of one training clip of each label whose audio is here, drawn with the seed.

    >>> from emoser_lib.corpora import load_corpus
    >>> len(one_clip_a_label(load_corpus("demo")))
    6
    """
    rows = corpus.training()
    here = rows[[bool(path) and Path(path).is_file() for path in rows["audio"]]]
    drawn = here.groupby("label").sample(1, random_state=seed).set_index("label")["id"]
    return [drawn[label] for label in corpus.labels if label in drawn.index]


def listen(corpus: Corpus, clip_ids: Sequence[str]) -> HTML:
    """A table of players, each with label and transcription (escaped: it is data from strangers)."""
    if not clip_ids:
        return HTML(f"<p>No audio here: <code>emoser corpus fetch {escape(corpus.name)}</code> says how to get it.</p>")
    rows = "".join(_row(corpus.row(clip)) for clip in clip_ids)
    return HTML(f"<table class='emoser-listen'><tbody>{rows}</tbody></table>")


def _row(clip: pd.Series) -> str:
    kind = mimetypes.guess_type(clip["audio"])[0] or "audio/wav"
    data = base64.b64encode(Path(clip["audio"]).read_bytes()).decode()
    label, text = escape(clip["label"]), escape(clip["transcription"])
    player = f"<audio controls preload='metadata' aria-label='{label}' src='data:{kind};base64,{data}'></audio>"
    return f"<tr><th scope='row'>{label}</th><td>{player}</td><td lang='es'>{text}</td></tr>"
