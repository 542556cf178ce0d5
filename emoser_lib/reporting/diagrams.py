"""Block diagrams as data: boxes and arrows, with shapes measured on the loaded models (`figures` draws them)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from emoser_lib.corpora import Corpus
from emoser_lib.systems.declared import AudioSystem, Linear
from emoser_lib.systems.hearing.assembly import assembled
from emoser_lib.systems.hearing.audio_task import audio_examples
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoders.whisper import WhisperFrames
from emoser_lib.systems.hearing.encoding import hear
from emoser_lib.systems.prompts.text import AUDIO
from emoser_lib.systems.reading.llm import LLM

State = Literal["trained", "frozen", ""]


@dataclass(frozen=True)
class Box:
    """A box of a block diagram.

    Attributes:
        name: what arrows call it.
        title: what it says; a line break is kept.
        state: "trained", "frozen", or empty for what is data or has no parameters.
        row: from the top, from 0.
        column: from the left, from 0.
        span: columns it is wide.
    """

    name: str
    title: str
    state: State
    row: int
    column: int
    span: int = 1


@dataclass(frozen=True)
class Arrow:
    """An arrow from one box to another, with what flows along it."""

    start: str
    end: str
    label: str


@dataclass(frozen=True)
class Shapes:
    """Shapes of one clip on its way through an audio system.

    Attributes:
        samples: of the waveform.
        mel: rows and columns of Whisper's log-mel spectrogram; ``None``: the encoder has none.
        frames: [frames, width], or [layers, frames, width] where a learnt sum weighs them.
        audio: [places, width of the language model], what the bridge gives.
        tokens: of the prompt and the transcription.
        text: [tokens, width], their embeddings.
        joined: [tokens and places, width].
        logits: size of the vocabulary.
        labels: how many words are compared.
    """

    samples: int
    mel: tuple[int, ...] | None
    frames: tuple[int, ...]
    audio: tuple[int, ...]
    tokens: int
    text: tuple[int, ...]
    joined: tuple[int, ...]
    logits: int
    labels: int


@torch.no_grad()
def measure(llm: LLM, encoder: Encoder, system: AudioSystem, corpus: Corpus, clip: str) -> Shapes:
    """Send one clip through the parts of a system, one after the other, and note the shapes.

    Args:
        llm, encoder, system: as they are trained.
        corpus: has the clip's audio and transcription.
        clip: its id; of a clip that is cut into windows, the first one is sent.
    """
    hearing = hear(encoder, system, corpus, [clip])
    _, asked, verbaliser, _ = audio_examples(llm, system, hearing, (), [clip])
    waveform = hearing.waveform(asked.sounds[0])
    ids = [*asked.prefix, *asked.rests[0]]
    at = ids.index(AUDIO)
    mel: list[tuple[int, ...]] = []
    hook = None
    if isinstance(encoder, WhisperFrames):
        hook = encoder.model.conv1.register_forward_pre_hook(lambda _, given: mel.append(tuple(given[0].shape[1:])))
    try:
        frames = encoder([waveform], system.encoder_layer)
    finally:
        if hook:
            hook.remove()
    with assembled(llm, system, encoder) as model:
        model.eval()
        embeddings, lengths = model.joined(frames)
        audio = embeddings[0, : int(lengths[0])] * model.scale
        embed = model.llm.get_input_embeddings()
        parts = (ids[:at], ids[at + 1 :])
        before, after = (embed(torch.tensor(part, device=audio.device, dtype=torch.long)) for part in parts)
        joined = torch.cat([before, audio.to(before.dtype), after])
        logits = model.llm(inputs_embeds=joined[None], use_cache=False, logits_to_keep=1).logits
    heard = frames.of(0)
    return Shapes(
        samples=len(waveform),
        mel=mel[0] if mel else None,
        frames=tuple(heard.shape[1:] if len(heard) == 1 else heard.shape),
        audio=tuple(audio.shape),
        tokens=len(ids) - 1,
        text=(len(before) + len(after), before.shape[1]),
        joined=tuple(joined.shape),
        logits=logits.shape[-1],
        labels=len(verbaliser.labels),
    )


def times(shape: tuple[int, ...]) -> str:
    """Write a shape as one reads it.

    >>> times((57, 1280))
    '57 × 1,280'
    """
    return " × ".join(f"{size:,}" for size in shape)


def linear_diagram(
    shapes: Shapes, system: AudioSystem, titles: Mapping[str, str] | None = None
) -> tuple[list[Box], list[Arrow]]:
    """Draw up THAU-UPM's Figure 2: a frozen encoder, a linear projector and a language model.

    Args:
        shapes: from `measure`.
        system: says what is trained.
        titles: other names for the boxes "encoder" and "llm".
    """
    named = {"encoder": "Whisper encoder", "llm": "Gemma"} | dict(titles or {})
    bridge = system.bridge
    assert isinstance(bridge, Linear)
    joins = f"{bridge.stack} frames stacked\n" if bridge.stack > 1 else f"{bridge.pool} frames averaged\n"
    encoder: State = "trained" if system.encoding == "trained" else "frozen"
    projector = (joins if bridge.stack * bridge.pool > 1 else "") + "Linear projector"
    first = [Box("mel", "Log-mel spectrogram", "", 1, 0)] if shapes.mel else []
    row = 1 + len(first)
    boxes = [
        Box("waveform", "Waveform", "", 0, 0),
        *first,
        Box("encoder", named["encoder"], encoder, row, 0),
        Box("projector", projector, "trained", row + 1, 0),
        Box("prompt", "Prompt and\ntranscription", "", row, 1),
        Box("embedding", "Embedding table", "frozen", row + 1, 1),
        Box("joined", "Audio in its place in the text", "", row + 2, 0, 2),
    ]
    arrows = [
        Arrow("encoder", "projector", f"frames\n{times(shapes.frames)}"),
        Arrow("projector", "joined", f"audio\n{times(shapes.audio)}"),
    ]
    if shapes.mel:
        arrows += [
            Arrow("waveform", "mel", f"{shapes.samples:,} samples"),
            Arrow("mel", "encoder", f"{shapes.mel[0]} bands × {shapes.mel[1]:,}"),
        ]
    else:
        arrows.append(Arrow("waveform", "encoder", f"{shapes.samples:,} samples"))
    reads, flows = reading(shapes, system, named["llm"], row + 3, columns=2)
    return boxes + reads, arrows + flows


def reading(shapes: Shapes, system: AudioSystem, llm: str, row: int, columns: int) -> tuple[list[Box], list[Arrow]]:
    """Draw up what all systems that hear do with the text, and with audio and text joined.

    Args:
        shapes: from `measure`.
        system: says whether the language model is trained.
        llm: what its box says.
        row: of that box; there are boxes "prompt", "embedding" and "joined" before it.
        columns: how wide the boxes are.
    """
    boxes = [
        Box("llm", llm, "trained" if system.adaptation else "frozen", row, 0, columns),
        Box("labels", "Words of the labels", "", row + 1, 0, columns),
        Box("softmax", "Probabilities of the labels", "", row + 2, 0, columns),
    ]
    arrows = [
        Arrow("prompt", "embedding", f"{shapes.tokens:,} tokens"),
        Arrow("embedding", "joined", f"text\n{times(shapes.text)}"),
        Arrow("joined", "llm", f"embeddings {times(shapes.joined)}"),
        Arrow("llm", "labels", f"logits at the last position: {shapes.logits:,}"),
        Arrow("labels", "softmax", f"{shapes.labels} logits, softmax"),
    ]
    return boxes, arrows
