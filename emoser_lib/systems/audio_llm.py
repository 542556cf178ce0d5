"""A language model that hears: an encoder's frames, through a bridge, at the marked place of the prompt.

The label is read off the logits of its word at the last position; the loss is a weighted cross-entropy over the labels.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from emoser_lib.errors import UsageError
from emoser_lib.systems import packing
from emoser_lib.systems.bridges import Bridge, Joined, places
from emoser_lib.systems.encoders import Encoder, Frames, Layer
from emoser_lib.systems.label_logits import can_pack, label_logits, label_loss, target_log_probabilities
from emoser_lib.systems.packing import Labels, Movable
from emoser_lib.systems.prefix_cache import PrefixCache
from emoser_lib.systems.prompts import AUDIO

if TYPE_CHECKING:
    from transformers import Cache

    from emoser_lib.systems.feature_cache import Features
    from emoser_lib.systems.label_logits import Batch, CausalLM

Weights = Literal["none", "inverse", "normalised", "sqrt"]
Mean = Literal["weights", "clips"]


@dataclass(frozen=True)
class Loss:
    """Cross-entropy over the labels, a clip's loss counted by the weight of its label.

    Attributes:
        weights: "none"; "inverse": N / n of the label's n clips among N (released code of seed 1; with its 3,000 clips
            fear weighs 130); "normalised": that divided by the number of labels, so that the mean weight of a clip is
            1; "sqrt": the square root of "inverse".
        mean: what the sum of a batch is divided by: the sum of its "weights", as torch's CrossEntropyLoss does and so
            the released code, or its number of "clips". Divided by the weights, a factor common to them all is gone:
            "inverse" and "normalised" are then one, and a batch of one label is not weighted at all.
        over: what the right answer is likely among: the "labels", or all that a model can write ("words"): the mean
            over the pieces of the label's word and of the token that ends the answer, as language models are trained.

    Raises:
        UsageError: weights of labels, for a loss over words.
    """

    weights: Weights = "inverse"
    mean: Mean = "weights"
    over: Literal["labels", "words"] = "labels"

    def __post_init__(self) -> None:
        if self.over == "words" and self.weights != "none":
            raise UsageError(f"weights is '{self.weights}', but a loss over words weighs no labels: set it to none.")

    def of(self, labels: Sequence[str], order: Sequence[str]) -> list[float]:
        """The weight of each label.

        >>> Loss("inverse").of(["joy", "joy", "joy", "fear"], ["joy", "fear"])
        [1.3333333333333333, 4.0]
        >>> Loss("normalised").of(["joy", "joy", "joy", "fear"], ["joy", "fear"])
        [0.6666666666666666, 2.0]
        """
        counts = Counter(labels)
        inverse = [len(labels) / counts[label] if counts[label] else 0.0 for label in order]
        each: dict[str, Callable[[float], float]] = {
            "none": lambda weight: 1.0,
            "inverse": lambda weight: weight,
            "normalised": lambda weight: weight / len(order),
            "sqrt": lambda weight: weight**0.5,
        }
        return [each[self.weights](weight) for weight in inverse]


@dataclass(frozen=True)
class Heard:
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


@dataclass(frozen=True)
class Sound(Movable):
    """Waveforms, where the encoder runs at each step and its frames are not kept."""

    waveforms: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class AudioBatch(Movable):
    """Prompts with the audio that belongs in them.

    Args:
        prompt: every label's word as a choice for each entry; its ids are `AUDIO` where frames go.
        sound: frames from the cache, or waveforms.
        labels: int64 [entries]; empty where they are not known.
        weights: float [entries], of the labels.
        speech: prompts and targets of the auxiliary task, of the entries that ``spoken`` names.
        spoken: int64, which entries these are.
    """

    prompt: "Batch"
    sound: Frames | Sound
    labels: Tensor
    weights: Tensor
    speech: "Batch | None" = None
    spoken: Tensor | None = None


class AudioLLM(nn.Module):
    """Encoder, bridge and language model as one.

    Args:
        llm: frozen, or with an adapter.
        bridge: its declaration; made here, so draw the seed before.
        width: of the frames.
        layers: of the frames: 1, or as many as a learnt sum weighs.
        encoder: where it runs at each step; ``None``: frames come from the cache. What of it requires gradients is
            trained along.
        layer: of that encoder.
        scaled: multiply what the bridge gives by the language model's own scale of its embeddings (Gemma: the square
            root of its width). Gemma's code did so with all it was given when seed 1 was written.
    """

    def __init__(
        self,
        llm: "CausalLM",
        bridge: Bridge,
        width: int,
        layers: int = 1,
        encoder: Encoder | None = None,
        layer: Layer = -1,
        scaled: bool = True,
    ) -> None:
        super().__init__()
        embedding: Any = llm.get_input_embeddings()
        self.llm, self.encoder, self.layer, self.declared = llm, encoder, layer, bridge
        self.joined = Joined(bridge, layers, width, embedding.weight.shape[1]).to(llm.device)
        self.scale = float(getattr(embedding, "embed_scale", 1.0)) if scaled else 1.0
        self.frozen = not any(p.requires_grad for p in llm.parameters())
        self.train_encoder = encoder is not None and any(p.requires_grad for p in encoder.parameters())

    def train(self, mode: bool = True) -> Self:
        """What is frozen stays in evaluation mode: its dropout is not part of the training."""
        super().train(mode)
        if self.frozen:
            self.llm.eval()
        if self.encoder is not None and not self.train_encoder:
            self.encoder.eval()
        return self

    def gradient_checkpointing_enable(self, **given: Any) -> None:
        """Of the language model, for the Trainer."""
        self.llm.gradient_checkpointing_enable(**given)
        self.llm.enable_input_require_grads()

    def heard(self, sound: Frames | Sound) -> tuple[Tensor, Tensor]:
        """What the bridge makes of the audio: embeddings [entries, N, width] and how many each entry has."""
        if isinstance(sound, Sound):
            assert self.encoder is not None
            with torch.set_grad_enabled(self.train_encoder and torch.is_grad_enabled()):
                sound = self.encoder(sound.waveforms, self.layer)
        embeddings, lengths = self.joined(sound)
        return embeddings * self.scale, lengths

    def read(self, prompt: "Batch", sound: tuple[Tensor, Tensor], start: int = 0) -> Tensor:
        """The embeddings of a prompt from ``start`` on: the text's own, and the audio's in its places."""
        ids = prompt.input_ids[:, start:]
        place = ids == AUDIO
        text = self.llm.get_input_embeddings()(ids.masked_fill(place, 0))
        if not place.any():
            return text
        embeddings, lengths = sound
        there = torch.arange(embeddings.shape[1]) < lengths.cpu()[:, None]
        # In a plain batch an entry has a row for each beginning of a label.
        rows = max(1, len(ids) // len(embeddings))
        filling = embeddings.repeat_interleave(rows, dim=0)[there.repeat_interleave(rows, dim=0)]
        return text.index_put((place,), filling.to(text.dtype))

    def forward(self, batch: AudioBatch, prefix: "Cache | None" = None) -> Tensor:
        """Log-probabilities of the labels, normalised over them, float32 [entries, labels].

        Args:
            batch: on the model's device.
            prefix: keys and values of the prompt's beginning, free to be written to.
        """
        sound = self.heard(batch.sound)
        return over_labels(self._logits(batch.prompt, sound, prefix), batch.prompt.labels, len(sound[0]))

    def losses(self, batch: AudioBatch, prefix: "Cache | None" = None) -> tuple[Tensor, Tensor | None]:
        """The logits where targets are predicted, and the mean loss of the auxiliary task where the batch has it."""
        sound = self.heard(batch.sound)
        targets = self._logits(batch.prompt, sound, prefix)
        if batch.speech is None:
            return targets, None
        said = (sound[0][batch.spoken], sound[1].to(sound[0].device)[batch.spoken])
        logits = label_logits(self.llm, batch.speech, embeddings=self.read(batch.speech, said))
        return targets, label_loss(logits, batch.speech.labels)

    def _logits(self, prompt: "Batch", sound: tuple[Tensor, Tensor], prefix: "Cache | None") -> Tensor:
        start = 0 if prefix is None else getattr(prompt, "prefix_length", 0)
        return label_logits(self.llm, prompt, prefix, self.read(prompt, sound, start))


def over_labels(logits: Tensor, words: Labels, entries: int) -> Tensor:
    """Log-probabilities of the labels from the logits of their words, normalised over them, [entries, labels]."""
    return target_log_probabilities(logits, words).view(entries, -1).log_softmax(dim=1)


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
        learnt: Heard,
        held_out: Heard,
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
        self._one_target = packing.pack if self._packs else packing.plain_batch

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
        logits, speech = self.model.losses(batch, self._states())
        if self.loss_settings.over == "words":
            total = label_loss(logits, batch.prompt.labels, items)
        else:
            scores = over_labels(logits, batch.prompt.labels, len(batch.labels))
            losses = -scores.gather(1, batch.labels[:, None])[:, 0]
            total = (losses * batch.weights.to(losses)).sum() / items
        return total if speech is None else total + self.speech_weight * speech * self.items(batch) / items

    @torch.no_grad()
    def scores(self) -> Tensor:
        """Log-probabilities of the held-out clips; windows of one clip are averaged as probabilities."""
        entries = range(len(self.held_out.rests))
        parts = [entries[start : start + self.batch_size] for start in range(0, len(entries), self.batch_size)]
        # An adapter changes with every step, so its prefix is run anew here, once for all batches.
        prefix = self._prefix or PrefixCache(self.model.llm, self.held_out.prefix)
        scores = torch.cat([self.scores_of(part, prefix) for part in parts]).exp()
        clips = torch.tensor(self.held_out.clips, device=scores.device)
        sums = scores.new_zeros(int(clips.max()) + 1, scores.shape[1]).index_add(0, clips, scores)
        return (sums / torch.bincount(clips)[:, None]).log()

    @torch.no_grad()
    def scores_of(self, entries: Sequence[int], prefix: PrefixCache | None = None) -> Tensor:
        """Log-probabilities of these held-out entries, run as one batch, [entries, labels].

        Args:
            entries: which.
            prefix: of the held-out prompts, as the model stands; by default run anew.
        """
        prefix = prefix or self._prefix or PrefixCache(self.model.llm, self.held_out.prefix)
        return self.model(self._batch(self.held_out, entries).to(self.model.llm.device), self._copy(prefix))

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

    def _batch(self, heard: Heard, entries: Sequence[int], one_target: bool = False) -> AudioBatch:
        sound, counts = self._sound(heard, entries)
        rests = [_fill(heard.rests[entry], count) for entry, count in zip(entries, counts, strict=True)]
        labels = torch.tensor([heard.labels[entry] for entry in entries] if heard.labels else [], dtype=torch.long)
        if one_target:
            prompt = self._one_target(heard.prefix, rests, [self.words[i] for i in labels.tolist()])
        else:
            make = packing.pack_choices if self._packs else packing.plain_choices
            prompt = make(heard.prefix, rests, self.words)
        return AudioBatch(prompt, sound, labels, self.weights[labels], *self._speech(heard, entries, counts))

    def _sound(self, heard: Heard, entries: Sequence[int]) -> tuple[Frames | Sound, list[int]]:
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
        self, heard: Heard, entries: Sequence[int], counts: Sequence[int]
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
