"""What the chapters on Qwen-Audio can be told, with ranges; as `settings` for the others."""

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pandas as pd
from pydantic import AfterValidator, Field

from emoser_lib.corpora import Corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments.settings.base import ModelSettings, known_checkpoint, one_of
from emoser_lib.experiments.settings.reading import AdapterGridSettings
from emoser_lib.experiments.training.folds import Fold, chosen_folds
from emoser_lib.systems.declared import AudioSystem, Lora, Loss, Own, Training
from emoser_lib.systems.prompts.words import WORDS

if TYPE_CHECKING:
    from emoser_lib.systems.declared import AudioSystem


class QwenAudioSettings(ModelSettings):
    """Settings that the chapters on Qwen-Audio have in common."""

    checkpoint: Annotated[str, AfterValidator(lambda name: known_checkpoint(name, "audio llm"))]
    """As published or as converted."""
    transcript: bool
    """Whether the prompt has the transcription too."""
    words: Annotated[str, one_of(WORDS, "word set")]
    resamples: int = Field(ge=100, le=100_000)

    def _declared(self, **own: Any) -> "AudioSystem":

        prompt = "qwen-audio" if self.transcript else "qwen-audio-no-text"
        loss = Loss("none", mean="clips", over="words")
        return AudioSystem(prompt, chat="own", words=self.words, bridge=Own(), loss=loss, **own)


class QwenZeroShotSettings(QwenAudioSettings):
    """Settings of 06-qwen-audio-zero-shot."""

    trains = False

    split: Literal["train", "test"]
    clips: int = Field(ge=0)
    """0: all of the split."""
    batch_size: int = Field(ge=1, le=1024)
    max_new_tokens: int = Field(ge=1, le=256)

    def rows(self, corpus: Corpus) -> pd.DataFrame:
        """Return the rows that are asked about: all of the split, or so many of it, drawn with the seed.

        Raises:
            UsageError: the corpus has no labelled test split.
        """
        rows = corpus.labelled_test() if self.split == "test" else corpus.training()
        if rows.empty:
            raise UsageError(
                f"corpus '{corpus.name}' has no labelled test split: set split to 'train' (nothing is trained)."
            )
        if not self.clips or self.clips >= len(rows):
            return rows
        return rows.sample(self.clips, random_state=self.seed).sort_index()

    def system(self) -> "AudioSystem":
        """Declare the system of the parameters."""
        return self._declared()


class QwenLoraSettings(QwenAudioSettings, AdapterGridSettings):
    """Settings of 07-qwen-audio-lora."""

    compared = ("text-svm", "majority")

    targets: Literal["c_attn", "q,k,v", "all-linear"]
    ears_rank: int = Field(ge=0, le=4096)
    """0: no adapter in the encoder."""
    max_new_tokens: int = Field(default=32, ge=1, le=256)
    """Records that are older than it do not name it."""

    def system(self, rank: int | None = None, alpha: int | None = None, **own: Any) -> "AudioSystem":
        """Declare the system of the parameters; by default with the first rank and alpha.

        Args:
            rank, alpha: others.
            own: other values of `AudioSystem`.
        """

        given = self.model_dump()
        adapter = Lora(rank or self.ranks[0], alpha or self.alphas[0], self.targets, self.dropout)
        ears = Lora(self.ears_rank, 2 * self.ears_rank, "all-linear", self.dropout) if self.ears_rank else None
        values = {
            "adaptation": adapter,
            "ears": ears,
            "encoding": "live" if ears else "cached",
            "training": Training(**{f.name: given[f.name] for f in fields(Training) if f.name in given}),
            **own,
        }
        return self._declared(**values)

    def grid(self) -> "list[AudioSystem]":
        """Declare one system per pair of rank and alpha (Figure 5)."""
        return [self.system(rank, alpha) for rank in self.ranks for alpha in self.alphas]

    def cuts(self, corpus: Corpus) -> list[Fold]:
        """Cut the folds that choose, each with as many training clips as asked for."""

        return chosen_folds(corpus, self.scheme, self.folds, self.train_clips)
