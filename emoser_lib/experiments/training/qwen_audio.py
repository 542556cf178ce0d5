"""Qwen-Audio asked as it is: what it answers, and how likely it finds each label's word. Kept clip by clip."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from emoser_lib.corpora import Corpus
from emoser_lib.experiments.training.kept_lines import kept_lines
from emoser_lib.systems.declared import AudioSystem
from emoser_lib.systems.device import enough_memory
from emoser_lib.systems.hearing import audio_answers
from emoser_lib.systems.hearing.audio_llm import AudioLLM
from emoser_lib.systems.hearing.audio_task import AudioExamples, AudioTask, audio_examples
from emoser_lib.systems.hearing.encoding import hear
from emoser_lib.systems.hearing.feature_cache import frames_depend_on
from emoser_lib.systems.prompts.audio import audio_prompt
from emoser_lib.systems.qwen_audio import QwenAudio
from emoser_lib.systems.qwen_audio.tokens import END_OF_TEXT
from emoser_lib.systems.reading.zero_shot import Decoding


def qwen_answers(
    qwen: QwenAudio,
    system: AudioSystem,
    corpus: Corpus,
    ids: Sequence[str],
    decoding: Decoding,
    batch_size: int = 8,
    home: Path | None = None,
) -> pd.Series:
    """What the model answers about each clip.

    A run that was stopped goes on after the last batch that it wrote down.

    Args:
        qwen: from `qwen_audio.load`.
        system: its prompt.
        corpus: has the clips.
        ids: of those that are asked about.
        decoding: how it answers.
        batch_size: clips run at once (our choice); the answers do not depend on it.
        home: default ``runs`` in the cache folder.

    Raises:
        DataError: a clip has no audio, or too little.
    """
    asked = _Asked(qwen, system, corpus, ids)
    tokenizer, end = qwen.llm.tokenizer, END_OF_TEXT

    def run(task: AudioTask, entries: list[int]) -> list[str]:
        return audio_answers.generate_audio_answers(task, tokenizer, end, entries, decoding)

    said = asked.kept({"decoding": decoding.identity, "end": end}, run, batch_size, home)
    return pd.Series(said, name="answer").reindex(list(ids)).rename_axis("id")


def qwen_label_scores(
    qwen: QwenAudio,
    system: AudioSystem,
    corpus: Corpus,
    ids: Sequence[str],
    batch_size: int = 8,
    home: Path | None = None,
) -> pd.DataFrame:
    """How likely the model finds each label's word as its answer, with the token that ends it.

    Nothing is generated and nothing parsed, so there is an answer for each clip. Arguments and errors as
    `qwen_answers`.

    Returns:
        Log-probabilities, normalised over the labels: one row a clip, one column a label.
    """
    asked = _Asked(qwen, system, corpus, ids)

    def run(task: AudioTask, entries: list[int]) -> list[list[float]]:
        return task.scores_of(entries).cpu().double().tolist()

    scores = asked.kept({"words": [asked.words.labels, asked.words.ids]}, run, batch_size, home)
    rows = [scores[clip] for clip in ids]
    return pd.DataFrame(rows, index=pd.Index(ids, name="id"), columns=list(asked.words.labels))


class _Asked:
    """The clips' prompts and frames, ready to be run."""

    def __init__(self, qwen: QwenAudio, system: AudioSystem, corpus: Corpus, ids: Sequence[str]) -> None:
        frozen = replace(system, ears=None, encoding="cached")  # an adapter that is not trained yet changes nothing
        self.hearing = hear(qwen.encoder, frozen, corpus, ids)
        _, self.heard, self.words, _ = audio_examples(qwen.llm, system, self.hearing, (), ids)
        model = AudioLLM(qwen.language.requires_grad_(False).eval(), system.bridge, qwen.encoder.width)
        nothing = AudioExamples(self.heard.prefix, (), (), ())
        self.task = AudioTask(
            model, self.words.ids, system.loss, [], nothing, self.heard, self.hearing.features, self.hearing.waveform
        )
        words = dict(zip(self.words.labels, self.words.words, strict=True))
        self.identity = {
            "sha256": qwen.llm.sha256,
            "dtype": str(qwen.language.dtype),
            "prompt": audio_prompt(system.prompt).listing(words).template,
        }

    def kept(
        self, more: dict[str, Any], run: Callable[[AudioTask, list[int]], list[Any]], size: int, home: Path | None
    ) -> dict[str, Any]:
        """What ``run`` gives for each clip, those of like length together; what is on disk is not run again."""
        heard, features = self.heard, self.hearing.features
        assert features is not None

        def content(entry: int) -> str:
            told = [features.audio[heard.sounds[entry]], *heard.prefix, *heard.rests[entry]]
            return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24]

        keys = [content(entry) for entry in range(len(heard.sounds))]
        entries = {key: entry for entry, key in enumerate(keys)}  # clips that are alike are asked once
        order = sorted(entries, key=lambda key: (features.lengths[heard.sounds[entries[key]]], key))
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        identity = {**self.identity, **more, "frames": frames_depend_on(self.hearing.encoder, -1)}
        with enough_memory(self.task.model.llm.device, f"{size} clips at once", "lower batch_size"):
            found = kept_lines(
                identity, __name__, batches, lambda some: run(self.task, [entries[k] for k in some]), home
            )
        return {clip: found[key] for clip, key in zip(heard.sounds, keys, strict=True)}
