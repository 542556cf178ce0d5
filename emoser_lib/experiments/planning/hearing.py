"""What planned runs of systems that hear need: encoders, bridges, memory, and room for the encoders' frames."""

import copy
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from emoser_lib.corpora import load_corpus
from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.errors import EmoserError, UsageError
from emoser_lib.experiments.planning.memory import (
    ADAM,
    PREFIX_TOKENS,
    REST_TOKENS,
    AudioInput,
    BatchShape,
    Memory,
    activation_bytes,
    module_activation_bytes,
    number_bytes,
    quietly_adapted,
)
from emoser_lib.experiments.planning.meta_models import MetaEncoder, meta_encoder, size
from emoser_lib.experiments.planning.shapes import shapes_only
from emoser_lib.experiments.settings.audit import AuditSettings
from emoser_lib.experiments.settings.base import Settings
from emoser_lib.experiments.settings.hearing import (
    AudioSettings,
    EmosllmSettings,
    Emotion2vecGemmaSettings,
    RefitSettings,
    WhisperGemmaSettings,
)
from emoser_lib.experiments.settings.own import OwnSettings
from emoser_lib.experiments.settings.robustness import RobustnessSettings
from emoser_lib.systems.declared import AudioSystem
from emoser_lib.systems.hearing.bridges import Joined, places
from emoser_lib.systems.hearing.encoders.encoder import FRAME_SAMPLES, Frames
from emoser_lib.systems.prompts.audio import audio_prompt
from emoser_lib.systems.prompts.text import AUDIO_TAG, TAG
from emoser_lib.values import Immutable

CLIP_SECONDS = 9.2
"""Mean length of EmoSPeech's clips."""

CLIPS = {"emospeech": 3750}
"""Clips of a corpus that is not here."""

END, ASK = 8, 16
"""Tokens of a template's end, and of the auxiliary task's question (our guess)."""


class Recordings(Immutable):
    """Frames that an encoder makes of a corpus, once.

    Attributes:
        clips: of the corpus; ``None``: it is not here, and nobody knows.
        frames: of one clip of `CLIP_SECONDS`; a clip that is cut into windows has those of all its windows.
        clip_bytes: in the feature cache; 0 where the encoder runs at each step instead.
    """

    clips: int | None
    frames: int
    clip_bytes: int

    @property
    def bytes(self) -> int | None:
        """In the feature cache, all clips together."""
        return None if self.clips is None else self.clips * self.clip_bytes


class EncoderNeeds(Immutable):
    """Needs of an audio encoder.

    Attributes:
        checkpoint, licence, gated, access, download_bytes: as in `Needs`; the whole checkpoint is downloaded.
        parameters: of the part that is used: of Whisper, the encoder half.
        counted: whether these were counted on the model, or are what its authors state (emotion2vec without FunASR).
        recordings: what it makes of the corpus.
    """

    checkpoint: str
    licence: str | None
    gated: bool
    access: str
    parameters: int
    counted: bool
    download_bytes: int
    recordings: Recordings


class SystemNeeds(Immutable):
    """Needs of one system of a run.

    Attributes:
        name: what sets it apart in the run.
        encoder: its checkpoint.
        bridge: trained parameters of the bridge, with the weights of a learnt sum of layers.
        adapter: trained parameters in the language model.
        encoder_trained: of the encoder, where it is trained along.
        parameters: encoder, bridge, language model and adapter.
        stated: what the paper says of `parameters`, where it does.
        memory: while it is trained.
        trainings: of this system: folds, refit, ablations.
    """

    name: str
    encoder: str
    bridge: int
    adapter: int
    encoder_trained: int
    parameters: int
    stated: int | None
    memory: Memory
    trainings: int


@dataclass(frozen=True)
class PlannedTraining:
    """A system of a run: what sets it apart, its encoder's checkpoint, and how often it is trained."""

    name: str
    encoder: str
    system: AudioSystem
    trainings: int


def trained_systems(settings: AudioSettings) -> list[PlannedTraining]:
    """List what a chapter trains with these settings. A refit, the best one's or each arm's, needs no more memory."""
    folds, refit = len(settings.folds), int(isinstance(settings, RefitSettings) and settings.refit)
    match settings:
        case AuditSettings():
            return [
                PlannedTraining(what, settings.encoder, system, folds)
                for what, (_, system) in settings.changes().items()
            ]
        case WhisperGemmaSettings():
            first = settings.batch_sizes[0]
            grid = [*settings.grid(), *(settings.system(first, weights=way) for way in settings.weights)]
            each = dict.fromkeys(grid)  # the arm's own weights are in the grid already
            counts = Counter(system.training.batch_size for system in each)
            return [
                PlannedTraining(
                    f"{settings.arm}, batch {batch}",
                    settings.encoder,
                    settings.system(batch),
                    counts[batch] * folds + refit * (batch == first),
                )
                for batch in settings.batch_sizes
            ]
        case Emotion2vecGemmaSettings():
            return [
                PlannedTraining(arm, settings.encoder, settings.system(arm), folds + refit) for arm in settings.arms
            ]
        case RobustnessSettings():
            return [PlannedTraining(settings.arm, settings.encoder, settings.system(), 1)]
        case OwnSettings():
            points = 1 + len(settings.sizes)
            return [PlannedTraining(settings.arm, settings.encoder, settings.system(), folds * points + 1)]
        case EmosllmSettings():
            cuts = 1 if refit else folds
            other = settings.system(transcript=not settings.transcript)
            name = "without transcription" if settings.transcript else "with transcription"
            (as_it_is, (encoder, system)), *changed = settings.ablations().items()
            return [
                # What is changed is compared on the first fold: with a refit that is one training more.
                PlannedTraining(as_it_is, encoder, system, cuts + (refit and folds > 0)),
                PlannedTraining(name, settings.encoder, other, cuts),
                *(PlannedTraining(what, encoder, system, 1) for what, (encoder, system) in changed),
            ]
    raise UsageError(
        f"{type(settings).__name__} does not say what is trained: see emoser_lib.experiments.planning.hearing."
    )


def recordings(settings: AudioSettings, systems: list[PlannedTraining], encoder: str) -> Recordings:
    """Count what the feature cache takes for the clips of a run, see `Recordings`."""
    made, per_clip = meta_encoder(encoder), {}
    for trained in (t for t in systems if t.encoder == encoder):
        number, frames = clip_entries(trained.system)
        layers = made.layers if trained.system.layer == "weighted" else 1
        cached = trained.system.encoding == "cached"
        kept = number * frames * made.width * layers * number_bytes(settings.dtype)
        per_clip[trained.system.window_seconds, layers, cached] = (number * frames, kept if cached else 0)
    frames = max(count for count, _ in per_clip.values())
    return Recordings(clips=clips_of(settings), frames=frames, clip_bytes=sum(kept for _, kept in per_clip.values()))


def clip_entries(system: AudioSystem) -> tuple[int, int]:
    """Return the windows of a clip, and the frames of each."""
    window = system.window_seconds
    if not window or window >= CLIP_SECONDS:
        return 1, _frames(CLIP_SECONDS)
    return math.ceil(CLIP_SECONDS / window), _frames(window)


def _frames(seconds: float) -> int:
    return math.ceil(seconds * SAMPLE_RATE / FRAME_SAMPLES)


def clips_of(settings: Settings) -> int | None:
    """Return the clips of the corpus that is heard, as far as they are known; see `Recordings`."""
    try:
        return len(load_corpus(settings.heard) if isinstance(settings, AuditSettings) else settings.load())
    except EmoserError:
        return CLIPS.get(settings.corpus)


def system_needs(
    trained: PlannedTraining, settings: AudioSettings, meta_llm: Callable[[], Any], stated: int | None
) -> SystemNeeds:
    """Count what a system needs.

    Args:
        trained: the system.
        settings: of its run.
        meta_llm: makes the language model on the meta device, in the run's dtype.
        stated: what the paper says of its parameters.
    """
    system, encoder, llm = trained.system, meta_encoder(trained.encoder), meta_llm()
    of_llm, width = llm.num_parameters(), llm.get_input_embeddings().weight.shape[1]
    llm = llm.requires_grad_(False) if system.adaptation is None else quietly_adapted(llm, system.adaptation)
    adapter = sum(p.numel() for p in llm.parameters() if p.requires_grad)
    bridge = meta_bridge(system, encoder, width)
    along = encoder.parameters if system.encoding == "trained" else 0
    learnt = 4 * (size(bridge) + adapter)
    return SystemNeeds(
        name=trained.name,
        encoder=trained.encoder,
        bridge=size(bridge),
        adapter=adapter,
        encoder_trained=along,
        parameters=encoder.parameters + size(bridge) + of_llm + adapter,
        stated=stated,
        memory=Memory(
            weights=(of_llm + encoder.parameters) * number_bytes(settings.dtype),
            trained=learnt,
            gradients=learnt + along * number_bytes(settings.dtype),
            optimiser=ADAM * (learnt + along * number_bytes(settings.dtype)),
            activations=_activations(system, llm, bridge, encoder),
        ),
        trainings=trained.trainings,
    )


def meta_bridge(system: AudioSystem, encoder: MetaEncoder, width: int) -> Joined:
    """Build the bridge of a system, on the meta device, for a language model of so wide embeddings."""
    layers = encoder.layers if system.layer == "weighted" else 1
    with shapes_only():
        return Joined(system.bridge, layers, encoder.width, width)


def batch_shape(system: AudioSystem, clips: int, bridge: Joined, encoder: MetaEncoder) -> BatchShape:
    """Return the shape of what a language model gets of a batch."""
    _, frames = clip_entries(system)
    layers = encoder.layers if system.layer == "weighted" else 1
    values = torch.empty(clips, layers, frames, encoder.width, device="meta")
    heard = AudioInput(bridge, Frames(values, torch.full((clips,), frames)), places(system.bridge, frames))
    prompt = audio_prompt(system.prompt)
    # What comes before the first tag is the same for all clips.
    shared = min(prompt.template.index(tag) for tag in (TAG, AUDIO_TAG) if tag in prompt.template)
    prefix = round(PREFIX_TOKENS * shared / len(prompt.template))
    return BatchShape(clips, prefix, PREFIX_TOKENS - prefix + (REST_TOKENS if prompt.reads else END), heard)


def _activations(system: AudioSystem, llm: Any, bridge: Joined, encoder: MetaEncoder) -> int:
    clips, (windows, frames) = system.training.batch_size, clip_entries(system)
    shape = batch_shape(system, clips, bridge, encoder)
    kept = activation_bytes(llm, shape)
    if system.speech_weight and windows == 1:  # a clip that was cut is not asked what is said in it
        kept += activation_bytes(llm, replace(shape, prefix=0, rest=ASK + REST_TOKENS, targets=REST_TOKENS))
    if system.encoding == "trained":
        kept += _encoder_activations(encoder, clips, frames)
    return kept


def _encoder_activations(encoder: MetaEncoder, clips: int, frames: int) -> int:
    """Of an encoder that is trained along: Whisper's, for clips of so many frames instead of its full window."""
    if encoder.kind != "whisper" or encoder.model is None:
        raise UsageError(f"memory is counted of a Whisper that is trained along, not of a {encoder.kind}: freeze it.")
    config: Any = copy.deepcopy(encoder.model.config)
    config.max_source_positions = frames
    with shapes_only():
        model = type(encoder.model)(config)
        mel = torch.empty(clips, config.num_mel_bins, 2 * frames)
    return module_activation_bytes(model, mel)
