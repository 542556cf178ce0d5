"""Qwen-Audio on transformers' own classes: what it hears, what it finds likely, what it answers."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2AudioForConditionalGeneration,
    WhisperFeatureExtractor,
)

from emoser_lib.corpora import absolute
from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.checkpoints import configuration_of, load_weights
from emoser_lib.systems.qwen_audio.chat import prompt_ids

HOP = 160
"""Samples a mel frame."""
SHORTEST = 3 * HOP
"""Samples: fewer give no vector, since four mel frames begun make one."""


class QwenAudio:
    """A converted checkpoint, loaded. Made with `load`.

    Attributes:
        model: the native one, in eval mode.
        tokenizer: ``None`` where the checkpoint has none.
        longest: tokens it can read; beyond, v1 would change its attention, which the native classes do not.
    """

    def __init__(
        self,
        model: Qwen2AudioForConditionalGeneration,
        tokenizer: PreTrainedTokenizerFast | None,
        extractor: WhisperFeatureExtractor,
    ) -> None:
        self.model, self.tokenizer, self.extractor = model, tokenizer, extractor
        text: Any = model.config.text_config
        self.placeholder: int = model.config.audio_token_index
        self.tags: tuple[int, int] = (text.audio_start_id, text.audio_start_id + 1)
        self.longest: int = text.max_position_embeddings

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    def places(self, waveform: np.ndarray) -> int:
        """How many vectors a recording gives: one for each 40 ms, of 30 s at most.

        Raises:
            DataError: it is too short to give one.
        """
        frames = self._mel_frames(waveform)
        if frames < SHORTEST // HOP:
            raise DataError(
                f"a clip has {len(waveform) / SAMPLE_RATE:.3f} s of sound, Qwen-Audio needs {SHORTEST / SAMPLE_RATE} "
                "s: leave it out (`emoser corpus check` names such clips)."
            )
        return -(-frames // 2) // 2

    def heard(self, waveforms: Sequence[np.ndarray]) -> list[Tensor]:
        """Each recording as vectors the language model reads, [places, width].

        The native encoder wants thirty seconds and so hears what v1 never did: the silence after a clip. Here it runs
        over the clip's own frames, as in v1, each clip as if it were alone.

        Args:
            waveforms: float32 [samples] each, 16 kHz; what is beyond 30 s is not heard.
        """
        counts = [self.places(waveform) for waveform in waveforms]
        order = sorted(range(len(waveforms)), key=lambda clip: counts[clip])
        vectors: dict[int, Tensor] = {}
        for _, some in groupby(order, key=lambda clip: -(-self._mel_frames(waveforms[clip]) // 2)):
            clips = list(some)
            vectors |= dict(zip(clips, self._encoded([waveforms[clip] for clip in clips]), strict=True))
        return [vectors[clip] for clip in range(len(waveforms))]

    def logits(self, waveforms: Sequence[np.ndarray], input_ids: Tensor) -> Tensor:
        """What the model expects next after each token.

        Args:
            waveforms: float32 [samples] each, 16 kHz: one for each run of placeholders, row by row.
            input_ids: int64 [batch, T], each row padded on the right with anything.

        Returns:
            [batch, T, vocabulary]; at padding they mean nothing.

        Raises:
            ValueError: runs of placeholders and recordings do not match, or T is beyond ``longest``.
        """
        with torch.no_grad():
            return self.model(inputs_embeds=self.embeddings(waveforms, input_ids), use_cache=False).logits

    def embeddings(self, waveforms: Sequence[np.ndarray], input_ids: Tensor) -> Tensor:
        """Token ids with the recordings in their places, [batch, T, width]; arguments and errors as `logits`."""
        if input_ids.shape[1] > self.longest:
            raise ValueError(f"A prompt has {input_ids.shape[1]} tokens, the model reads {self.longest}: cut it.")
        counts = [self.places(waveform) for waveform in waveforms]
        runs = self._runs(input_ids.tolist(), counts)
        table: Any = self.model.get_input_embeddings()
        embeddings = table(input_ids.clamp(0, table.num_embeddings - 1).to(self.device)).clone()
        for (row, start), vectors in zip(runs, self.heard(waveforms), strict=True):
            embeddings[row, start : start + len(vectors)] = vectors.to(embeddings.dtype)
        return embeddings

    def encode_prompt(self, text: str, waveforms: Sequence[np.ndarray] = ()) -> Tensor:
        """A question about recordings as `logits` takes it, int64 [1, T], up to where the answer begins.

        Args:
            text: what is asked; control tokens in it are letters like any other, the two audio tags apart.
            waveforms: the recordings, which come first.

        Raises:
            UsageError: the checkpoint has no tokenizer.
        """
        return torch.tensor([prompt_ids(self._tokenizer(), text, [self.places(one) for one in waveforms])])

    def answer(self, text: str, waveform: np.ndarray | None = None, max_new_tokens: int = 32) -> str:
        """What the model answers to a question about a recording: the likeliest token each time.

        Args:
            text: what is asked.
            waveform: float32 [samples], 16 kHz; ``None``: there is no recording.
            max_new_tokens: of the answer at most (our choice: a word is asked for).
        """
        tokenizer, waveforms = self._tokenizer(), [] if waveform is None else [waveform]
        ids = self.encode_prompt(text, waveforms)
        ends = [tokenizer.eos_token_id, tokenizer.pad_token_id]
        greedy = GenerationConfig(
            max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=ends, pad_token_id=ends[1]
        )
        with torch.no_grad():
            embeddings = self.embeddings(waveforms, ids)
            mask = torch.ones(embeddings.shape[:2], dtype=torch.long, device=self.device)
            written = self.model.generate(  # type: ignore[misc]  # its self is typed as a protocol
                inputs_embeds=embeddings, attention_mask=mask, generation_config=greedy
            )
        return str(tokenizer.decode(written[0], skip_special_tokens=True)).strip()

    def _tokenizer(self) -> PreTrainedTokenizerFast:
        if self.tokenizer is None:
            raise UsageError("This checkpoint has no tokenizer: convert one that has its qwen.tiktoken.")
        return self.tokenizer

    def _mel_frames(self, waveform: np.ndarray) -> int:
        return min(len(waveform), self.extractor.n_samples) // HOP

    def _encoded(self, waveforms: Sequence[np.ndarray]) -> Tensor:
        """Recordings of the same length in frames, [clips, places, width]."""
        tower: Any = self.model.model.audio_tower
        frames = -(-self._mel_frames(waveforms[0]) // 2)
        mel = self.extractor(
            [np.asarray(one[: self.extractor.n_samples], np.float32) for one in waveforms],
            sampling_rate=SAMPLE_RATE,
            return_tensors="pt",
        )["input_features"][:, :, : 2 * frames]
        x = nn.functional.gelu(tower.conv1(mel.to(self.device, tower.conv1.weight.dtype)))
        x = nn.functional.gelu(tower.conv2(x)).transpose(1, 2) + tower.embed_positions.weight[:frames]
        for layer in tower.layers:
            x = layer(x, None)
        x = tower.avg_pooler(x.transpose(1, 2)).transpose(1, 2)
        return self.model.model.multi_modal_projector(tower.layer_norm(x))

    def _runs(self, rows: list[list[int]], counts: list[int]) -> list[tuple[int, int]]:
        """Row and place where each recording goes. Placeholders in the padding are known by the tags they lack."""
        found = [(row, start, stop) for row, ids in enumerate(rows) for start, stop in self._placeholders(ids)]
        tagged = [(row, *run) for row, *run in found if self._has_tags(rows[row], *run)]
        for runs in (tagged, found):
            if [stop - start for _, start, stop in runs] == counts:
                return [(row, start) for row, start, _ in runs]
        has = [stop - start for _, start, stop in tagged or found]
        raise ValueError(
            f"The prompts have {len(has)} runs of placeholders ({has}) for {len(counts)} recordings, which need "
            f"{counts}: give one recording for each run, and to each run the length that `places` says."
        )

    def _placeholders(self, ids: list[int]) -> list[tuple[int, int]]:
        runs = []
        for here, some in groupby(range(len(ids)), key=lambda at: ids[at] == self.placeholder):
            at = list(some)
            if here:
                runs.append((at[0], at[-1] + 1))
        return runs

    def _has_tags(self, ids: list[int], start: int, stop: int) -> bool:
        return (ids[start - 1] if start else None, ids[stop] if stop < len(ids) else None) == self.tags


def load(path: str | Path, dtype: str | torch.dtype = "float32", device: str = "auto") -> QwenAudio:
    """Load what `convert_checkpoint` wrote.

    Args:
        path: the folder.
        dtype: of the weights: "float32", "bfloat16" or "float16".
        device: see `load_llm`.

    Raises:
        UsageError: there is no such folder, dtype or device.
        DataError: the folder is not a whole converted checkpoint.
    """
    folder = absolute(path)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: name one that `emoser qwen-audio convert` has written.")
    if configuration_of(folder).get("model_type") != "qwen2_audio":
        raise DataError(f"{folder} is not a converted Qwen-Audio: convert it with `emoser qwen-audio convert`.")
    extractor = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
    model = load_weights(Qwen2AudioForConditionalGeneration, folder, device, str(dtype).removeprefix("torch."))
    tokenizer: Any = None
    if (folder / "tokenizer.json").is_file():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return QwenAudio(model, tokenizer, extractor)
