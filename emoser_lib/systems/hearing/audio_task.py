"""An audio system as a training task: its examples, its batches, its loss, its scores."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from emoser_lib.errors import UsageError
from emoser_lib.systems.declared import Loss
from emoser_lib.systems.finite import check_finite
from emoser_lib.systems.hearing.audio_llm import AudioLLM
from emoser_lib.systems.hearing.bridges import places
from emoser_lib.systems.hearing.encoders.encoder import Frames
from emoser_lib.systems.hearing.feature_cache import Features
from emoser_lib.systems.prompts.audio import TRANSCRIBE, audio_prompt
from emoser_lib.systems.prompts.text import AUDIO
from emoser_lib.systems.prompts.words import words_for
from emoser_lib.systems.reading import packing
from emoser_lib.systems.reading.label_logits import can_pack, label_loss, padding_refusal
from emoser_lib.systems.reading.llm import LLM
from emoser_lib.systems.reading.prefix_cache import PrefixCache
from emoser_lib.systems.reading.verbaliser import Verbaliser

if TYPE_CHECKING:
    from transformers import Cache

    from emoser_lib.systems.hearing.feature_cache import Features
    from emoser_lib.systems.reading.label_logits import Batch
from emoser_lib.systems.declared import AudioSystem
from emoser_lib.systems.hearing.audio_llm import AudioBatch, Sound
from emoser_lib.systems.hearing.encoding import Hearing


@dataclass(frozen=True)
class AudioExamples:
    """What is learnt or scored: one entry a clip, or a window of a clip.

    Attributes:
        prefix: token ids all prompts begin with; no audio in it.
        rests: per entry, the token ids from there to the last one before the answer; `AUDIO` once in each.
        sounds: per entry, the key of its frames.
        clips: per entry, which clip it is of, from 0.
        labels: per entry, its label's place in the order of the words; empty for clips that are only scored.
        spoken: per entry, the token ids of what is said, for the auxiliary task; empty where it is not learnt.
    """

    prefix: Sequence[int]
    rests: Sequence[Sequence[int]]
    sounds: Sequence[str]
    clips: Sequence[int]
    labels: Sequence[int] = ()
    spoken: Sequence[Sequence[int]] = ()

    def without_audio(self) -> Self:
        """The same with nothing in the audio's place."""
        return replace(self, rests=[[token for token in rest if token != AUDIO] for rest in self.rests])


def audio_examples(
    llm: LLM, system: AudioSystem, hearing: Hearing, learnt: Sequence[str], held_out: Sequence[str]
) -> tuple[AudioExamples, AudioExamples, Verbaliser, list[int] | None]:
    """Encode the clips that are learnt and those held out, by id.

    Returns:
        Both as token ids, the labels' words, and the token ids that ask for the transcription (auxiliary task only).
    """
    corpus = hearing.corpus
    texts = corpus.frame.set_index("id")["transcription"]
    ids = [*learnt, *held_out]
    words = words_for(corpus.labels, system.words)
    batch = audio_prompt(system.prompt).listing(words).encode(llm.tokenizer, list(texts[ids]), system.chat)
    end = batch.end if system.loss.over == "words" else ""
    verbaliser = Verbaliser.build(llm.tokenizer, words, leading=batch.leading, after=batch.tail, end=end)
    labels = corpus.training().set_index("id")["label"]
    place = {label: number for number, label in enumerate(verbaliser.labels)}

    def examples(clips: Sequence[str], rests: Sequence[Sequence[int]], with_labels: bool) -> AudioExamples:
        entries = [(number, key) for number, clip in enumerate(clips) for key in hearing.windows[clip]]
        of = [clips[number] for number, _ in entries]
        return AudioExamples(
            batch.prefix,
            [rests[number] for number, _ in entries],
            [key for _, key in entries],
            [number for number, _ in entries],
            [place[labels[clip]] for clip in of] if with_labels else (),
            _spoken(llm, hearing, texts, of) if with_labels and system.speech_weight else (),
        )

    size = len(learnt)
    speech = None
    if system.speech_weight:
        asked = TRANSCRIBE.encode(llm.tokenizer, [""], system.chat)
        speech = [*asked.prefix, *asked.rests[0]]
    rests = batch.rests[:size], batch.rests[size:]
    return examples(learnt, rests[0], True), examples(held_out, rests[1], False), verbaliser, speech


def _spoken(llm: LLM, hearing: Hearing, texts: pd.Series, clips: Sequence[str]) -> list[list[int]]:
    """What is said, with the end token; not of a clip that was cut, since no one knows which words are in a window."""
    if not clips:  # a tokenizer takes no empty list
        return []
    ends = [] if llm.tokenizer.eos_token_id is None else [llm.tokenizer.eos_token_id]
    said = [TRANSCRIBE.leading + texts[clip] for clip in clips]
    # A control token in a transcription is text like any other.
    ids = llm.tokenizer(said, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [[*own, *ends] if len(hearing.windows[clip]) == 1 else [] for own, clip in zip(ids, clips, strict=True)]


class AudioTask:
    """Train an `AudioLLM` on clips and score others: a `fitting.Task`.

    Args:
        model: its parts, made.
        words: the pieces of each label's word.
        loss: how the labels' losses are weighed.
        weights: of the labels, from `Loss.of`.
        learnt, held_out: clips to learn from and to score.
        features: their frames; ``None`` where the encoder runs at each step.
        waveform: a clip's waveform by its key, for that case.
        speech: how the auxiliary task asks: a prompt's token ids before and after the audio; ``None``: no such task.
        speech_weight: of the auxiliary task's loss.
        batch_size: entries scored at once (our choice); the answer does not depend on it.

    Raises:
        UsageError: an entry has not exactly one place for its audio.
    """

    def __init__(
        self,
        model: AudioLLM,
        words: Sequence[Sequence[int]],
        loss: Loss,
        weights: Sequence[float],
        learnt: AudioExamples,
        held_out: AudioExamples,
        features: "Features | None" = None,
        waveform: Callable[[str], np.ndarray] | None = None,
        speech: Sequence[int] | None = None,
        speech_weight: float = 0.0,
        batch_size: int = 4,
    ) -> None:
        if any(list(rest).count(AUDIO) != 1 for rest in learnt.rests):
            raise UsageError("A prompt has not exactly one place for the audio: give its template one <audio>.")
        self.model, self.words = model, words
        self.loss_settings, self.weights = loss, torch.tensor(weights)
        self.learnt, self.held_out = learnt, held_out
        self.features, self.waveform = features, waveform
        self.speech, self.speech_weight, self.batch_size = speech, speech_weight, batch_size
        self.clips = len(learnt.rests)
        self._prefix = PrefixCache(model.llm, learnt.prefix) if model.frozen else None
        self._packs = can_pack(model.llm) if self._prefix is None else self._prefix.packs
        if not self._packs and (reason := padding_refusal(model.llm)):
            kind = model.llm.config.model_type
            raise UsageError(f"llm is a {kind} model, which takes no batch of labels ({reason}): name another.")
        self._one_target = packing.pack if self._packs else packing.plain_batch

    @property
    def ids(self) -> Sequence[str]:
        """Of what is learnt: clips, or windows of clips."""
        return self.learnt.sounds

    @property
    def outer(self) -> list[nn.Parameter]:
        """The bridge's, see `Joined`."""
        return self.model.joined.outer

    def batch(self, clips: Sequence[int]) -> AudioBatch:
        """Prompts, frames and labels of these entries of what is learnt."""
        return self._batch(self.learnt, clips, one_target=self.loss_settings.over == "words")

    def items(self, batch: AudioBatch) -> float:
        """The sum of the weights, or the number of entries, or of the words' pieces, see `Loss`."""
        if self.loss_settings.over == "words":
            return len(batch.prompt.labels.pieces)
        return float(batch.weights.sum()) if self.loss_settings.mean == "weights" else len(batch.labels)

    def loss(self, batch: AudioBatch, items: float) -> Tensor:
        """Cross-entropy, see `Loss`; with the auxiliary task's, in this batch's share of the update."""
        among_labels = self.loss_settings.over == "labels"
        targets, speech = self.model.losses(batch, self._states(), among_labels)
        if not among_labels:
            total = label_loss(targets, batch.prompt.labels, items)
        else:
            losses = -targets.gather(1, batch.labels[:, None])[:, 0]
            total = (losses * batch.weights.to(losses)).sum() / items
        return total if speech is None else total + self.speech_weight * speech * self.items(batch) / items

    @torch.no_grad()
    def scores(self) -> Tensor:
        """Log-probabilities of the held-out clips; windows of one clip are averaged as probabilities."""
        entries = range(len(self.held_out.rests))
        parts = [entries[start : start + self.batch_size] for start in range(0, len(entries), self.batch_size)]
        # An adapter changes with every step, so its prefix is run anew here, once for all batches.
        prefix = self._prefix or PrefixCache(self.model.llm, self.held_out.prefix)
        scores = torch.cat([self.scores_of(part, prefix) for part in parts])
        clips = torch.tensor(self.held_out.clips, device=scores.device)
        windows = [scores[clips == clip] for clip in range(int(clips.max()) + 1)]
        # Not by way of the probabilities: what is 104 nats behind would be 0, and its log no number.
        return torch.stack([each.logsumexp(dim=0) - math.log(len(each)) for each in windows])

    @torch.no_grad()
    def scores_of(self, entries: Sequence[int], prefix: PrefixCache | None = None) -> Tensor:
        """Log-probabilities of these held-out entries, run as one batch, [entries, labels].

        Args:
            entries: which.
            prefix: of the held-out prompts, as the model stands; by default run anew.

        Raises:
            DataError: the model's numbers overflow.
        """
        prefix = prefix or self._prefix or PrefixCache(self.model.llm, self.held_out.prefix)
        scores = self.model(self._batch(self.held_out, entries).to(self.model.llm.device), self._copy(prefix))
        return check_finite(scores, [self.held_out.sounds[entry] for entry in entries])

    @torch.no_grad()
    def embedded(self, entries: Sequence[int]) -> list[Tensor]:
        """What the model reads of these held-out clips before it answers: the whole prompt of each, [T, width]."""
        sound, counts = self._sound(self.held_out, entries)
        rests = [_fill(self.held_out.rests[entry], count) for entry, count in zip(entries, counts, strict=True)]
        prompts = packing.plain_batch(self.held_out.prefix, rests).to(self.model.llm.device)
        embeddings = self.model.read(prompts, self.model.heard(sound.to(self.model.llm.device)))
        return [row[:length] for row, length in zip(embeddings, prompts.attention_mask.sum(dim=1), strict=True)]

    def _states(self) -> "Cache | None":
        return None if self._prefix is None else self._copy(self._prefix)

    def _copy(self, prefix: PrefixCache) -> "Cache | None":
        return prefix.states() if prefix.packs and prefix.prefix else None

    def _batch(self, heard: AudioExamples, entries: Sequence[int], one_target: bool = False) -> AudioBatch:
        sound, counts = self._sound(heard, entries)
        rests = [_fill(heard.rests[entry], count) for entry, count in zip(entries, counts, strict=True)]
        labels = torch.tensor([heard.labels[entry] for entry in entries] if heard.labels else [], dtype=torch.long)
        if one_target:
            prompt = self._one_target(heard.prefix, rests, [self.words[i] for i in labels.tolist()])
        else:
            make = packing.pack_choices if self._packs else packing.plain_choices
            prompt = make(heard.prefix, rests, self.words)
        return AudioBatch(prompt, sound, labels, self.weights[labels], *self._speech(heard, entries, counts))

    def _sound(self, heard: AudioExamples, entries: Sequence[int]) -> tuple[Frames | Sound, list[int]]:
        """What is heard of these entries, and how many places each takes."""
        keys = [heard.sounds[entry] for entry in entries]
        if self.features is not None:
            sound: Frames | Sound = self.features.batch(keys)
            lengths = sound.lengths.tolist()  # type: ignore[union-attr]
        else:
            assert self.waveform is not None and self.model.encoder is not None
            sound = Sound(tuple(self.waveform(key) for key in keys))
            lengths = [self.model.encoder.frames_of(len(waveform)) for waveform in sound.waveforms]
            if self.model.encoder.context == "batch":
                lengths = [max(lengths)] * len(lengths)
        return sound, [places(self.model.declared, length) for length in lengths]

    def _speech(
        self, heard: AudioExamples, entries: Sequence[int], counts: Sequence[int]
    ) -> "tuple[Batch, Tensor] | tuple[None, None]":
        spoken = [i for i, entry in enumerate(entries) if heard.spoken and heard.spoken[entry]]
        if self.speech is None or not spoken:
            return None, None
        targets = [heard.spoken[entries[i]] for i in spoken]
        rests = [_fill(self.speech, counts[i]) for i in spoken]
        return self._one_target([], rests, targets), torch.tensor(spoken)


def _fill(rest: Sequence[int], count: int) -> list[int]:
    """The rest with a place for each embedding of the audio, if it has one."""
    if AUDIO not in rest:
        return list(rest)
    place = list(rest).index(AUDIO)
    return [*rest[:place], *[AUDIO] * count, *rest[place + 1 :]]
