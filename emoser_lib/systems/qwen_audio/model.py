"""Qwen-Audio on transformers' own classes: what it finds likely, what it answers."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2AudioForConditionalGeneration,
    Qwen2ForCausalLM,
    WhisperFeatureExtractor,
)

from emoser_lib.corpora import absolute
from emoser_lib.errors import UsageError
from emoser_lib.systems.checkpoints.folders import note_of, weights_sha256
from emoser_lib.systems.checkpoints.loading import load_weights, placement, told_in_a_sentence
from emoser_lib.systems.finite import check_finite
from emoser_lib.systems.hearing.encoders.encoder import configuration_sha256
from emoser_lib.systems.prompts.words import NOUNS
from emoser_lib.systems.qwen_audio.chat import prompt_ids
from emoser_lib.systems.qwen_audio.conversion import check_converted
from emoser_lib.systems.qwen_audio.frames import QwenFrames
from emoser_lib.systems.qwen_audio.tokens import END_OF_TEXT
from emoser_lib.systems.reading.label_logits import label_logits, target_log_probabilities
from emoser_lib.systems.reading.llm import LLM
from emoser_lib.systems.reading.packed_attention import attend_by_clip
from emoser_lib.systems.reading.packing import pack_choices
from emoser_lib.systems.reading.verbaliser import Verbaliser
from emoser_lib.systems.reading.zero_shot import Decoding, answer_ends


class QwenAudio:
    """A converted checkpoint, loaded. Made with `load`.

    Attributes:
        encoder: its ears, with its own bridge: frames that the language model reads.
        language: its language model, sharing the checkpoint's parameters.
        tokenizer: ``None`` where the checkpoint has none.
        placeholder: the token id that stands for one vector of audio.
        longest: tokens it can read; beyond, v1 would change its attention, which the native classes do not.
    """

    def __init__(
        self,
        model: Qwen2AudioForConditionalGeneration,
        tokenizer: PreTrainedTokenizerFast | None,
        extractor: WhisperFeatureExtractor,
        name: str = "",
        sha256: str = "",
    ) -> None:
        text: Any = model.config.text_config
        with torch.device("meta"):
            self.language = Qwen2ForCausalLM(text)
        self.language.model, self.language.lm_head = model.model.language_model, model.lm_head
        self.language.generation_config = GenerationConfig(do_sample=False)
        attend_by_clip(self.language).eval()
        self.encoder = QwenFrames(model.model.audio_tower, model.model.multi_modal_projector, extractor)
        self.encoder.requires_grad_(False).eval()
        self.encoder.name, self.encoder.sha256, self.encoder.note = name, sha256, note_of(name, sha256)
        self.tokenizer = tokenizer
        self.placeholder: int = model.config.audio_token_index
        self.tags: tuple[int, int] = (text.audio_start_id, text.audio_start_id + 1)
        self.longest: int = text.max_position_embeddings

    @property
    def llm(self) -> LLM:
        """Its language model as the other systems have theirs.

        Raises:
            UsageError: the checkpoint has no tokenizer.
        """
        name, sha256 = self.encoder.name, self.encoder.sha256
        return LLM(name, self.language, self._tokenizer(), sha256, self.encoder.note)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.language.device

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
            return self.language(inputs_embeds=self.embeddings(waveforms, input_ids), use_cache=False).logits

    def embeddings(self, waveforms: Sequence[np.ndarray], input_ids: Tensor) -> Tensor:
        """Token ids with the recordings in their places, [batch, T, width]; arguments and errors as `logits`."""
        if input_ids.shape[1] > self.longest:
            raise ValueError(f"A prompt has {input_ids.shape[1]} tokens, the model reads {self.longest}: cut it.")
        runs = self._runs(input_ids.tolist(), self._counts(waveforms))
        table: Any = self.language.get_input_embeddings()
        embeddings = table(input_ids.clamp(0, table.num_embeddings - 1).to(self.device)).clone()
        heard = self.encoder.encode(waveforms) if waveforms else []
        for (row, start), [vectors] in zip(runs, heard, strict=True):
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
        return torch.tensor([prompt_ids(self._tokenizer(), text, self._counts(waveforms))])

    def answer(self, text: str, waveform: np.ndarray | None = None, max_new_tokens: int = 32) -> str:
        """What the model answers to a question about a recording: the likeliest token each time.

        Args:
            text: what is asked.
            waveform: float32 [samples], 16 kHz; ``None``: there is no recording.
            max_new_tokens: of the answer at most (our choice: a word is asked for).
        """
        tokenizer, waveforms = self._tokenizer(), [] if waveform is None else [waveform]
        ids = self.encode_prompt(text, waveforms)
        greedy = Decoding(max_new_tokens).config(answer_ends(tokenizer, END_OF_TEXT))
        with torch.no_grad():
            embeddings = self.embeddings(waveforms, ids)
            mask = torch.ones(embeddings.shape[:2], dtype=torch.long, device=self.device)
            written = self.language.generate(  # type: ignore[misc]  # its self is typed as a protocol
                inputs_embeds=embeddings, attention_mask=mask, generation_config=greedy
            )
        return str(tokenizer.decode(written[0], skip_special_tokens=True)).strip()

    @torch.no_grad()
    def label_scores(
        self, text: str, waveform: np.ndarray | None = None, words: Mapping[str, str] = NOUNS
    ) -> dict[str, float]:
        """How likely the model finds each label's word, and the token that ends it, as its whole answer.

        For many clips see `experiments.qwen_zero_shot`.

        Args:
            text, waveform: see `answer`.
            words: label -> its word.

        Returns:
            Label -> log-probability, over all that the model can write.
        """
        tokenizer, waveforms = self._tokenizer(), [] if waveform is None else [waveform]
        ids = self.encode_prompt(text, waveforms)
        verbaliser = Verbaliser.build(tokenizer, words, after="assistant\n", end=str(tokenizer.eos_token))
        batch = pack_choices([], ids.tolist(), verbaliser.ids).to(self.device)
        embeddings: Tensor = self.language.get_input_embeddings()(batch.input_ids)
        embeddings[:, : ids.shape[1]] = self.embeddings(waveforms, ids)
        logits = label_logits(self.language, batch, embeddings=embeddings)
        scores = check_finite(target_log_probabilities(logits, batch.labels)[None], ["1"])[0]
        return dict(zip(verbaliser.labels, scores.tolist(), strict=True))

    def _tokenizer(self) -> PreTrainedTokenizerFast:
        if self.tokenizer is None:
            raise UsageError("This checkpoint has no tokenizer: convert one that has its qwen.tiktoken.")
        return self.tokenizer

    def _counts(self, waveforms: Sequence[np.ndarray]) -> list[int]:
        for number, waveform in enumerate(waveforms, start=1):
            self.encoder.check(waveform, f"recording {number}")
        return [self.encoder.frames_of(len(waveform)) for waveform in waveforms]

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
            f"{counts}: give one recording for each run, and to each run the length that `encoder.frames_of` says."
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


def load(path: str | Path, dtype: str | torch.dtype = "float32", device: str = "auto", name: str = "") -> QwenAudio:
    """Load what `convert_checkpoint` wrote.

    Args:
        path: the folder.
        dtype: of the weights: "float32" or "bfloat16".
        device: see `load_llm`.
        name: for records and pages; by default the folder.

    Raises:
        UsageError: there is no such folder, dtype or device.
        DataError: the folder is not a whole converted checkpoint.
    """
    placed = placement(device, str(dtype).removeprefix("torch."))
    folder = absolute(path)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: name one that `emoser qwen-audio convert` has written.")
    check_converted(folder)
    with told_in_a_sentence(folder):
        extractor = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
    model = load_weights(Qwen2AudioForConditionalGeneration, folder, *placed)
    tokenizer: Any = None
    if (folder / "tokenizer.json").is_file():
        with told_in_a_sentence(folder):
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    loaded = QwenAudio(model, tokenizer, extractor, name or str(path), weights_sha256(folder))
    loaded.encoder.configuration = configuration_sha256(folder)
    return loaded
