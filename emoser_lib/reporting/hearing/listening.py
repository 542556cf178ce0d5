"""Clips to listen to on a page."""

import base64
import io
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from IPython.display import HTML

from emoser_lib.corpora import SAMPLE_RATE, Condition, Corpus, alter
from emoser_lib.reporting.escaping import as_text
from emoser_lib.reporting.scores import gold_for


def one_clip_a_label(corpus: Corpus, seed: int = 0) -> list[str]:
    """Draw one training clip of each label whose audio is here, with the seed; return their ids.

    >>> from emoser_lib.corpora import load_corpus
    >>> len(one_clip_a_label(load_corpus("demo")))
    6
    """
    return clips_a_label(corpus, corpus.training()["id"], seed=seed)


def clips_a_label(corpus: Corpus, ids: Iterable[str], each: int = 1, seed: int = 0) -> list[str]:
    """Draw some clips of every label whose audio is here from those given, with the seed; return their ids.

    Args:
        corpus: gives the labels, of the test split too: these clips are listened to, nothing is learnt from them.
        ids: to draw from.
        each: clips of every label; fewer where there are not so many.
        seed: of the drawing.
    """
    audio = corpus.frame.set_index("id")["audio"][list(ids)]
    here = audio.index[[bool(path) and Path(path).is_file() for path in audio]]
    gold = gold_for(corpus, here).sample(frac=1, random_state=seed)
    return [clip for label in corpus.labels for clip in gold.index[gold == label][:each]]


def listen(corpus: Corpus, clip_ids: Sequence[str], said: pd.DataFrame | None = None) -> HTML:
    """Show a table of players, each with label and transcription (escaped: it is data from strangers).

    Args:
        corpus: has clips and labels.
        clip_ids: which clips.
        said: what systems say of them: one row per clip, one column per system.
    """
    if not clip_ids:
        name = as_text(corpus.name)
        return HTML(f"<p>No audio here: <code>emoser corpus fetch {name}</code> says how to get it.</p>")
    labels = gold_for(corpus, pd.Index(clip_ids))
    answers = {} if said is None else said.T.to_dict()
    rows = "".join(clip_row(corpus.row(clip), labels[clip], answers.get(clip, {})) for clip in clip_ids)
    return HTML(f"<table class='emoser-listen'><tbody>{rows}</tbody></table>")


def listen_under(corpus: Corpus, clip_id: str, conditions: Iterable[Condition], seed: int = 0) -> HTML:
    """Show a table of players: one clip under each condition, with the words that are read (escaped).

    Args:
        corpus: the clean one.
        clip_id: which clip; its audio must be here.
        conditions: of `alter`.
        seed: of noise and deletions.
    """
    rows = []
    for condition in conditions:
        there = alter(corpus, condition, seed)
        name, read = as_text(condition.name), as_text(there.row(clip_id)["transcription"])
        player = _played(there.waveform(clip_id), condition.name)
        rows.append(f"<tr><th scope='row'>{name}</th><td>{player}</td><td lang='es'>{read}</td></tr>")
    return HTML(f"<table class='emoser-listen'><tbody>{''.join(rows)}</tbody></table>")


def _played(waveform: np.ndarray, name: str) -> str:
    """A player of a waveform, made quieter where it is beyond what a file can hold."""
    file = io.BytesIO()
    soundfile.write(file, waveform / max(1.0, float(np.abs(waveform).max())), SAMPLE_RATE, format="MP3")
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f"<audio controls preload='metadata' aria-label='{as_text(name)}' src='data:audio/mpeg;base64,{data}'></audio>"
    )


def clip_row(clip: pd.Series, of: str, said: Mapping[Any, Any]) -> str:
    """Write a clip as a row of HTML: label, player where its audio is here, what systems say of it, transcription.

    Args:
        clip: its row of the corpus.
        of: its label.
        said: system -> answer.
    """
    label, text = as_text(of), as_text(clip["transcription"])
    answers = "<br>".join(f"{as_text(name)}: <b>{as_text(answer)}</b>" for name, answer in said.items())
    told = f"<td>{answers}</td>" if said else ""
    return f"<tr><th scope='row'>{label}</th><td>{_player(clip, label)}</td>{told}<td lang='es'>{text}</td></tr>"


def _player(clip: pd.Series, label: str) -> str:
    if not clip["audio"] or not Path(clip["audio"]).is_file():
        return "no audio here"
    kind = mimetypes.guess_type(clip["audio"])[0] or "audio/wav"
    data = base64.b64encode(Path(clip["audio"]).read_bytes()).decode()
    return f"<audio controls preload='metadata' aria-label='{label}' src='data:{kind};base64,{data}'></audio>"
