"""Train an audio system on cuts of a corpus, each a cell (`cells`): its clips are encoded once, whatever the cut."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from emoser_lib.corpora import Corpus, cache_home
from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments.cells import Cell, kept_cell
from emoser_lib.experiments.folds import Fold
from emoser_lib.systems import audio_llm, bridges, fitting, label_logits, lora, packed_attention, packing, prefix_cache
from emoser_lib.systems.audio_llm import AudioLLM, AudioTask, Heard, Loss
from emoser_lib.systems.audio_prompts import TRANSCRIBE, audio_prompt
from emoser_lib.systems.bridges import Bridge, Linear
from emoser_lib.systems.checkpoints import LLM
from emoser_lib.systems.encoders import Encoder, Layer
from emoser_lib.systems.feature_cache import FeatureCache, Features, frames_depend_on
from emoser_lib.systems.fitting import WEIGHTS, Trained, Training, fit, load_trained, trained_parameters
from emoser_lib.systems.lora import Lora, adapted, add_encoder_lora
from emoser_lib.systems.verbaliser import Verbaliser, words_for

TRAINING_CODE = (packing, packed_attention, label_logits, prefix_cache, fitting, lora, bridges, audio_llm)
"""A change in what these modules do makes another cell; that of the encoders is in `Hearing.identity`."""


@dataclass(frozen=True)
class AudioSystem:
    """A language model that hears and, if its prompt says so, reads: declared. Defaults: Whisper-Gemma as published.

    Attributes:
        prompt: a name of ``AUDIO_PROMPTS``.
        chat: how it is put before the model, see `prompts.chat_of`; "plain" (released code).
        words: a name of ``WORDS``; the released code has the prompt's adjectives.
        layer: of the encoder: its number, -1 the last one (seed 1), or "weighted", a learnt sum of all.
        bridge: `Linear` (seed 1) or `Queries` (seed 2).
        scaled: see `AudioLLM`.
        adaptation: an adapter in the language model; ``None``: it is frozen (seed 1).
        ears: an adapter in the encoder, which then runs at each step (seed 1, section 6, of Qwen-Audio: future work);
            ``None``: it has none.
        encoding: "cached": the frozen encoder runs once a clip; "live": at each step, as in the released code of seed
            1, where a clip may be heard with its batch (`encoders.Context`); "trained": it is trained along, as that
            code does as it is set.
        loss: how the labels are weighed.
        window_seconds: cut clips into windows of this length, score each, average the probabilities (seed 2: 3
            seconds; how they were cut is not known); 0: whole clips (seed 1).
        speech_weight: of the loss of writing down what is said, as an auxiliary task; 0: none.
        training: the hyper-parameters.
    """

    prompt: str = "whisper-gemma"
    chat: str = "plain"
    words: str = "adjectives"
    layer: int | Literal["weighted"] = -1
    bridge: Bridge = field(default_factory=Linear)
    scaled: bool = True
    adaptation: Lora | None = None
    ears: Lora | None = None
    encoding: Literal["cached", "live", "trained"] = "cached"
    loss: Loss = field(default_factory=Loss)
    window_seconds: float = 0.0
    speech_weight: float = 0.0
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        if self.encoding == "trained" and self.layer == "weighted":
            raise UsageError("encoding is 'trained' and layer 'weighted': name one layer, such as -1.")
        if self.ears is not None and self.encoding != "live":
            raise UsageError(f"ears has an adapter and encoding is '{self.encoding}': set it to live.")
        if not audio_prompt(self.prompt).hears:
            raise UsageError(f"The prompt '{self.prompt}' has no place for audio: choose another one.")

    @property
    def encoder_layer(self) -> Layer:
        """What the encoder is asked for."""
        return "all" if self.layer == "weighted" else self.layer


@dataclass(frozen=True)
class Hearing:
    """What an encoder makes of a corpus's clips.

    Attributes:
        encoder: that one.
        windows: clip id -> the keys of its windows; of whole clips, the id itself.
        features: their frames; ``None`` where the encoder runs at each step.
        corpus: whose clips.
        seconds: of a window; 0: whole clips.
    """

    encoder: Encoder
    windows: Mapping[str, Sequence[str]]
    features: Features | None
    corpus: Corpus
    seconds: float

    def waveform(self, key: str) -> np.ndarray:
        """The waveform of a window, read anew."""
        clip, _, number = key.rpartition("#") if self.seconds else (key, "", "0")
        return windows_of(self.corpus.waveform(clip), self.seconds)[int(number)]

    def identity(self, keys: Sequence[str], layer: Layer) -> object:
        """Stands for the audio of these windows, the encoder, and what it gives or would give."""
        if self.features is not None:
            return self.features.of(keys).digest
        return [self.corpus.sha256, frames_depend_on(self.encoder, layer)]


def windows_of(waveform: np.ndarray, seconds: float) -> list[np.ndarray]:
    """Cut a waveform [samples] into windows of equal length, the last one ending where the clip does.

    A clip that is no longer than a window is one; 0 seconds: no cutting. Our choice: seed 2 does not say how.

    >>> [len(window) / 16_000 for window in windows_of(np.zeros(112_000, np.float32), 3.0)]
    [3.0, 3.0, 3.0]
    """
    size = round(seconds * SAMPLE_RATE)
    return [waveform[start : start + size] if size else waveform for start in window_starts(len(waveform), seconds)]


def window_starts(samples: int, seconds: float) -> list[int]:
    """The sample at which each window of `windows_of` begins.

    >>> window_starts(112_000, 3.0)
    [0, 48000, 64000]
    """
    size = round(seconds * SAMPLE_RATE)
    if not size or samples <= size:
        return [0]
    return [min(start, samples - size) for start in range(0, samples, size)]


def hear(
    encoder: Encoder, system: AudioSystem, corpus: Corpus, ids: Iterable[str], home: Path | None = None
) -> Hearing:
    """Encode clips once, or find them in the cache.

    Args:
        encoder: from `load_encoder`.
        system: says which layer, and whether clips are cut.
        corpus: has the audio.
        ids: of the clips.
        home: of the cache, see `FeatureCache`.

    Raises:
        DataError: a clip has no audio, cannot be read, or is too short or too long for the encoder.
    """
    seconds = system.window_seconds
    windows: dict[str, list[str]] = {}

    def cut() -> Iterator[tuple[str, np.ndarray]]:
        for clip in dict.fromkeys(ids):
            pieces = windows_of(corpus.waveform(clip), seconds)
            windows[clip] = [f"{clip}#{number}" if seconds else clip for number in range(len(pieces))]
            yield from zip(windows[clip], pieces, strict=True)

    if system.encoding != "cached":
        for key, waveform in cut():
            encoder.check(waveform, f"clip {key}")
        return Hearing(encoder, windows, None, corpus, seconds)
    features = FeatureCache(encoder, system.encoder_layer, home).add(cut())
    return Hearing(encoder, windows, features, corpus, seconds)


def train_audio_cell(llm: LLM, system: AudioSystem, hearing: Hearing, cut: Fold, home: Path | None = None) -> Cell:
    """Train on a cut's training part, score its validation part. A finished cell is read from disk (`cells.kept_cell`).

    A training that was stopped, even killed, goes on from its last checkpoint to the same result. What was trained is
    kept beside the cell, see `trained_system`.

    Args:
        llm: from `load_llm`.
        system: what is trained, and how.
        hearing: of the cut's clips, with this system.
        cut: from `folds` or `evaluation_folds`.
        home: default ``runs`` in the cache folder.

    Raises:
        UsageError: a prompt, a word set or a label does not fit.
        DataError: the loss is not finite, or ``cell.json`` is damaged.
    """
    learnt, held_out, verbaliser, speech = encode_cut(llm, system, hearing, cut)
    identity = {
        "llm": [llm.sha256, str(llm.model.dtype)],
        "system": asdict(system),
        "bridge": type(system.bridge).__name__,
        "features": hearing.identity([*learnt.sounds, *held_out.sounds], system.encoder_layer),
        "learnt": asdict(learnt),
        "held_out": [cut.validation, asdict(held_out)],
        "words": [verbaliser.labels, verbaliser.ids],
        "speech": speech,
    }

    def run(folder: Path) -> Trained:
        with made(llm, system, hearing.encoder) as model:
            weights = system.loss.of([verbaliser.labels[label] for label in learnt.labels], verbaliser.labels)
            task = AudioTask(
                model,
                verbaliser.ids,
                system.loss,
                weights,
                learnt,
                held_out,
                hearing.features,
                hearing.waveform,
                speech,
                system.speech_weight,
            )
            trained = fit(task, system.training, folder / "training")
            save_file(trained_parameters(model), folder / WEIGHTS)
        return trained

    return kept_cell(identity, TRAINING_CODE, cut.validation, verbaliser.labels, run, home)


@contextmanager
def made(llm: LLM, system: AudioSystem, encoder: Encoder) -> Iterator[AudioLLM]:
    """The system's parts put together, with their first values, for as long as the block lasts."""
    llm.model.requires_grad_(False).eval()
    make = partial(
        AudioLLM,
        bridge=system.bridge,
        width=encoder.width,
        layers=encoder.layers if system.layer == "weighted" else 1,
        encoder=None if system.encoding == "cached" else _ears(system, encoder),
        layer=system.encoder_layer,
        scaled=system.scaled,
    )
    if system.adaptation is None:
        torch.manual_seed(system.training.seed)
        yield make(llm.model)
        return
    with adapted(llm.model, system.adaptation, system.training.seed) as model:
        yield make(model)


def _ears(system: AudioSystem, encoder: Encoder) -> Encoder:
    """A copy of the encoder, so that the one that was given stays as its checkpoint is, with what is trained of it."""
    own = copy.deepcopy(encoder).requires_grad_(system.encoding == "trained")
    if system.ears is None:
        return own
    torch.manual_seed(system.training.seed)
    return add_encoder_lora(own, system.ears)


def train_audio_grid(
    llm: LLM,
    encoder: Encoder,
    systems: Iterable[AudioSystem],
    corpus: Corpus,
    cuts: Iterable[Fold],
    home: Path | None = None,
) -> dict[AudioSystem, list[Cell]]:
    """`train_audio_cell` for each system and cut."""
    cuts = list(cuts)
    ids = [clip for cut in cuts for clip in (*cut.train, *cut.validation)]
    cells: dict[AudioSystem, list[Cell]] = {}
    for system in systems:
        hearing = hear(encoder, system, corpus, ids)
        cells[system] = [train_audio_cell(llm, system, hearing, cut, home) for cut in cuts]
    return cells


def encode_cut(
    llm: LLM, system: AudioSystem, hearing: Hearing, cut: Fold
) -> tuple[Heard, Heard, Verbaliser, list[int] | None]:
    """The token ids of a cut: what is learnt, what is held out, the labels' words, and how speech is asked for."""
    corpus = hearing.corpus
    texts = corpus.frame.set_index("id")["transcription"]
    ids = [*cut.train, *cut.validation]
    batch = audio_prompt(system.prompt).encode(llm.tokenizer, list(texts[ids]), system.chat)
    words = words_for(corpus.labels, system.words)
    end = batch.end if system.loss.over == "words" else ""
    verbaliser = Verbaliser.build(llm.tokenizer, words, leading=batch.leading, after=batch.tail, end=end)
    labels = corpus.training().set_index("id")["label"]
    place = {label: number for number, label in enumerate(verbaliser.labels)}

    def heard(clips: Sequence[str], rests: Sequence[Sequence[int]], learnt: bool) -> Heard:
        entries = [(number, key) for number, clip in enumerate(clips) for key in hearing.windows[clip]]
        of = [clips[number] for number, _ in entries]
        return Heard(
            batch.prefix,
            [rests[number] for number, _ in entries],
            [key for _, key in entries],
            [number for number, _ in entries],
            [place[labels[clip]] for clip in of] if learnt else (),
            _spoken(llm, hearing, texts, of) if learnt and system.speech_weight else (),
        )

    size = len(cut.train)
    speech = None
    if system.speech_weight:
        asked = TRANSCRIBE.encode(llm.tokenizer, [""], system.chat)
        speech = [*asked.prefix, *asked.rests[0]]
    learnt, held = heard(cut.train, batch.rests[:size], True), heard(cut.validation, batch.rests[size:], False)
    return learnt, held, verbaliser, speech


def _spoken(llm: LLM, hearing: Hearing, texts: pd.Series, clips: Sequence[str]) -> list[list[int]]:
    """What is said, with the end token; not of a clip that was cut, since no one knows which words are in a window."""
    ends = [] if llm.tokenizer.eos_token_id is None else [llm.tokenizer.eos_token_id]
    said = [TRANSCRIBE.leading + texts[clip] for clip in clips]
    # A control token in a transcription is text like any other.
    ids = llm.tokenizer(said, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [[*own, *ends] if len(hearing.windows[clip]) == 1 else [] for own, clip in zip(ids, clips, strict=True)]


@contextmanager
def trained_system(
    llm: LLM, system: AudioSystem, hearing: Hearing, cell: Cell, home: Path | None = None
) -> Iterator[AudioLLM]:
    """What a cell trained, put together again, for as long as the block lasts.

    Raises:
        DataError: the cell's folder has not its parameters any more.
    """
    path = (home or cache_home() / "runs") / cell.key / WEIGHTS
    if not path.is_file():
        raise DataError(f"{path} is not there: delete its folder, the cell is then trained again.")
    with made(llm, system, hearing.encoder) as model:
        load_trained(model, path)
        yield model.eval()


def answers(
    llm: LLM,
    system: AudioSystem,
    hearing: Hearing,
    cell: Cell,
    clips: Sequence[str],
    home: Path | None = None,
    ways: Sequence[Literal["with", "without"]] = ("with", "without"),
) -> pd.DataFrame:
    """What a trained system says of clips with their audio, and with nothing in its place.

    Args:
        llm, system, hearing: those of the cell.
        cell: from `train_audio_cell`.
        clips: ids.
        home: where the cell is, as there.
        ways: which of the two; both by default.

    Returns:
        One row a clip: ``with audio``, ``p with``, ``without audio``, ``p without``: the likeliest label and its
        probability among the labels, either way.
    """
    _, asked, verbaliser, _ = encode_cut(llm, system, hearing, Fold(0, (), tuple(clips)))
    columns: dict[str, list[object]] = {}
    with trained_system(llm, system, hearing, cell, home) as model:
        for way in ways:
            task = AudioTask(
                model,
                verbaliser.ids,
                system.loss,
                [],
                Heard(asked.prefix, (), (), ()),
                asked if way == "with" else asked.without_audio(),
                hearing.features,
                hearing.waveform,
            )
            best = task.scores().exp().max(dim=1)
            columns[f"{way} audio"] = [verbaliser.labels[label] for label in best.indices.tolist()]
            columns[f"p {way}"] = best.values.tolist()
    return pd.DataFrame(columns, index=pd.Index(clips, name="id"))
