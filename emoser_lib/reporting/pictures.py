"""Pictures of ideas, drawn to what was measured: a layer with LoRA, sound between words, attention over a clip."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle

from emoser_lib.corpora import SAMPLE_RATE
from emoser_lib.reporting.figures import STATES, WIDTH, draw_spectrogram
from emoser_lib.systems.prompts.text import AUDIO
from emoser_lib.visible import visible

EACH_SIDE = 2
"""Tokens that are written out before and after the audio; dots stand for the others."""

TOKEN_LETTERS = 8
"""Of a token that are shown."""


def lora_layer(outputs: int, inputs: int, rank: int, alpha: int) -> Figure:
    """Draw a linear layer with its LoRA adapter: what is multiplied with what, its shapes, and what is trained.

    Args:
        outputs, inputs: rows and columns of the layer's matrix.
        rank, alpha: of the adapter.

    >>> figure = lora_layer(2048, 2048, 16, 32)
    >>> [text.get_text() for text in figure.axes[0].texts][-1]
    'trained: 65,536 of 4,259,840 numbers, 1.5 %'
    """
    figure, axes = _canvas(3.66)
    frozen, trained = outputs * inputs, rank * (outputs + inputs)
    _block(axes, 1.2, 1.1, 1.9, 1.46, f"W₀\n{outputs:,} × {inputs:,}\n{frozen:,} numbers\n(frozen)", "frozen")
    narrow, low, high = 0.5, 0.95, 0.95
    for name, rows, columns, bottom, (base, top) in (
        ("A", rank, inputs, 1.1, (low, narrow)),
        ("B", outputs, rank, 1.86, (narrow, high)),
    ):
        fill, frame = STATES["trained"]
        corners = [(3.9 - base, bottom), (3.9 + base, bottom), (3.9 + top, bottom + 0.7), (3.9 - top, bottom + 0.7)]
        axes.add_patch(Polygon(corners, fc=fill, ec=frame))
        said = f"{name}\n{rows:,} × {columns:,}\n(trained)"
        axes.text(3.9, bottom + 0.35, said, ha="center", va="center", linespacing=1.15)
    _block(axes, 2.55, 0.35, 2.2, 0.42, f"x: {inputs:,} numbers", "")
    _block(axes, 2.55, 3.12, 2.2, 0.42, f"h: {outputs:,} numbers", "")
    for start, end in (
        ((1.9, 0.77), (1.2, 1.1)),
        ((3.2, 0.77), (3.9, 1.1)),
        ((1.2, 2.56), (1.9, 3.12)),
        ((3.9, 2.56), (3.2, 3.12)),
    ):
        _arrow(axes, start, end)
    axes.text(1.45, 2.88, "W₀x", ha="right", va="center")
    axes.text(3.65, 2.88, f"BAx, times α/r =\n{alpha}/{rank} = {alpha / rank:g}", ha="left", va="center")
    axes.text(2.55, 2.88, "+", ha="center", va="center", fontsize=14)
    share = f"trained: {trained:,} of {frozen + trained:,} numbers, {trained / (frozen + trained):.1%}"
    axes.text(2.55, 0.07, share.replace("%", " %"), ha="center", va="center")
    return figure


def splice(tokens: pd.DataFrame, places: int, width: int) -> Figure:
    """Draw how the rows that the bridge makes of a clip take the place of the audio's tag between the rows of the text.

    Args:
        tokens: a clip's input, from `PromptBatch.table`.
        places: rows that its sound takes.
        width: numbers in each row, of the sound and of the text alike.

    >>> tokens = pd.DataFrame({"id": [5, AUDIO, 7], "text": ["Hear", "<audio>", "Emotion"]})
    >>> figure = splice(tokens, places=40, width=64)
    >>> [text.get_text() for text in figure.axes[0].texts][-1]
    '42 rows of 64 numbers: what the language model reads'
    """
    at = list(tokens["id"]).index(AUDIO)
    figure, axes = _canvas(3.5)
    middle, wide, gap = WIDTH / 2, 0.8, 1.4
    shown = [(at - n, middle - gap / 2 - (n - 0.5) * wide) for n in range(1, min(at, EACH_SIDE) + 1)]
    rest = len(tokens) - at - 1
    shown += [(at + n, middle + gap / 2 + (n - 0.5) * wide) for n in range(1, min(rest, EACH_SIDE) + 1)]
    for number, x in shown:
        _block(axes, x, 2.85, wide - 0.08, 0.34, _short(tokens["text"].iloc[number]), "frozen")
        _arrow(axes, (x, 2.85), (x, 2.5))
        _bars(axes, x, 1, "frozen")
    _block(axes, middle, 2.85, gap - 0.08, 0.34, "place of the sound", "", linestyle="--")
    _bars(axes, middle, min(places, 9), "trained")
    _block(axes, middle, 0.5, 1.6, 0.42, "Bridge\n(trained)", "trained")
    _arrow(axes, (middle, 0.92), (middle, 1.75))
    axes.text(middle + 0.08, 1.35, f"{places:,} rows", va="center")
    for count, side in ((at, -1), (rest, 1)):
        if count > EACH_SIDE:
            axes.text(middle + side * (gap / 2 + EACH_SIDE * wide + 0.12), 2.1, "…", ha="center", va="center")
        axes.text(middle + side * (gap / 2 + wide), 1.58, f"{count:,} rows", ha="center", va="center")
    axes.text(
        middle,
        3.34,
        f"text: {at + rest:,} tokens; a row of the embedding table (frozen) for each",
        ha="center",
        va="center",
    )
    joined = f"{at + rest + places:,} rows of {width:,} numbers: what the language model reads"
    axes.text(middle, 0.2, joined, ha="center", va="center")
    return figure


def attention_map(waveform: np.ndarray, attention: np.ndarray) -> Figure:
    """Draw how much each query of a mapper looks at each moment of a clip, below the clip's mel spectrogram.

    In multiples of an even share of the frames: 1 everywhere is a plain mean.

    Args:
        waveform: float32 [samples], 16 kHz mono.
        attention: [queries, frames] over the same seconds.
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 5.6), sharex=True, layout="constrained")
    draw_spectrogram(above, waveform)
    end = len(waveform) / SAMPLE_RATE
    # Against an even share, as attention may be nearly even; what the colours reach from and to is written above them.
    rows = attention * attention.shape[1] / attention.sum(axis=1, keepdims=True)
    below.imshow(rows, aspect="auto", extent=(0, end, len(rows) + 0.5, 0.5), cmap="Blues", interpolation="nearest")
    below.set_title(f"white: {rows.min():.2f}, dark: {rows.max():.2f} times a frame's even share", fontsize=9)
    below.set(xlabel="seconds", ylabel="query", yticks=range(1, len(rows) + 1, max(1, len(rows) // 8)))
    return figure


def _canvas(height: float) -> tuple[Figure, Axes]:
    """One panel without axes, a unit of which is an inch."""
    figure, axes = plt.subplots(figsize=(WIDTH, height))
    figure.subplots_adjust(0, 0, 1, 1)
    axes.set(xlim=(0, WIDTH), ylim=(0, height))
    axes.set_axis_off()
    return figure, axes


def _block(
    axes: Axes, x: float, bottom: float, width: float, height: float, said: str, state: str, linestyle: str = "-"
) -> None:
    fill, frame = STATES[state]
    place = (x - width / 2, bottom)
    axes.add_patch(
        FancyBboxPatch(place, width, height, "round,pad=0,rounding_size=0.04", fc=fill, ec=frame, ls=linestyle)
    )
    axes.text(x, bottom + height / 2, said, ha="center", va="center", linespacing=1.15)


def _bars(axes: Axes, x: float, count: int, state: str) -> None:
    """Rows of numbers, upright, as many as are to be seen."""
    fill, frame = STATES[state]
    for n in range(count):
        left = x + 0.14 * (n - (count - 1) / 2) - 0.05
        axes.add_patch(Rectangle((left, 1.75), 0.1, 0.75, fc=fill, ec=frame))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "0.25", "shrinkA": 0, "shrinkB": 0})


def _short(token: str) -> str:
    """A token as it fits in its box: white space is seen, what acts is written out."""
    said = visible(token).replace(" ", "·").replace("\n", "↵")
    return said if len(said) <= TOKEN_LETTERS else f"{said[: TOKEN_LETTERS - 1]}…"
