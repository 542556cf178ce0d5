"""A language model that hears: an encoder's frames, through a bridge, at the marked place of the prompt.

The label is read off the logits of its word at the last position; the loss is a weighted cross-entropy over the labels.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from emoser_lib.systems.declared import Bridge, Layer
from emoser_lib.systems.hearing.bridges import Joined
from emoser_lib.systems.hearing.encoders.encoder import Encoder, Frames
from emoser_lib.systems.prompts.text import AUDIO
from emoser_lib.systems.reading.label_logits import label_logits, label_loss, target_log_probabilities
from emoser_lib.systems.reading.packing import Movable

if TYPE_CHECKING:
    from transformers import Cache

    from emoser_lib.systems.reading.label_logits import Batch, CausalLM


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
            root of its width). Gemma's code did so with all it was given when THAU-UPM was written.
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
        """Return the log-probabilities of the labels, normalised over them, float32 [entries, labels].

        Args:
            batch: on the model's device.
            prefix: keys and values of the prompt's beginning, free to be written to.
        """
        return self._over_labels(batch.prompt, self.heard(batch.sound), prefix)

    def losses(
        self, batch: AudioBatch, prefix: "Cache | None" = None, among_labels: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the loss is made of, and the mean loss of the auxiliary task where the batch has it.

        Args:
            batch, prefix: as for `forward`.
            among_labels: return the labels' log-probabilities, as `forward` does; else the logits where targets are
                predicted.
        """
        sound = self.heard(batch.sound)
        targets = (self._over_labels if among_labels else self._logits)(batch.prompt, sound, prefix)
        if batch.speech is None:
            return targets, None
        said = (sound[0][batch.spoken], sound[1].to(sound[0].device)[batch.spoken])
        logits = label_logits(self.llm, batch.speech, embeddings=self.read(batch.speech, said))
        return targets, label_loss(logits, batch.speech.labels)

    def _over_labels(self, prompt: "Batch", sound: tuple[Tensor, Tensor], prefix: "Cache | None") -> Tensor:
        words, vocabulary = prompt.labels, None
        if len(words.pieces) == words.targets:  # one piece each: the rest of the vocabulary is the same for all labels
            vocabulary, pieces = words.pieces.unique(return_inverse=True)
            words = replace(words, pieces=pieces)
        scores = target_log_probabilities(self._logits(prompt, sound, prefix, vocabulary), words)
        return scores.view(len(sound[0]), -1).log_softmax(dim=1)

    def _logits(
        self, prompt: "Batch", sound: tuple[Tensor, Tensor], prefix: "Cache | None", vocabulary: Tensor | None = None
    ) -> Tensor:
        start = 0 if prefix is None else getattr(prompt, "prefix_length", 0)
        return label_logits(self.llm, prompt, prefix, self.read(prompt, sound, start), vocabulary)
