"""What the chapters on Qwen-Audio can be told, with ranges; as `settings` for the others."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import pandas as pd
from pydantic import AfterValidator, Field, model_validator

from emoser_lib.corpora import Corpus, absolute
from emoser_lib.errors import UsageError
from emoser_lib.experiments.folds import N_FOLDS, Fold
from emoser_lib.experiments.settings import SchemeName, Settings, known_checkpoint, one_of
from emoser_lib.systems.verbaliser import WORDS

if TYPE_CHECKING:
    from emoser_lib.experiments.audio_training import AudioSystem


class QwenAudioSettings(Settings):
    """What the chapters on Qwen-Audio have in common."""

    checkpoint: Annotated[str, AfterValidator(lambda name: known_checkpoint(name, "audio llm"))]
    """As published or as converted."""
    dtype: Literal["float32", "bfloat16", "float16"]
    transcript: bool
    """Whether the prompt has the transcription too."""
    words: Annotated[str, one_of(WORDS, "word set")]
    resamples: int = Field(ge=100, le=100_000)

    def _declared(self, **own: Any) -> "AudioSystem":
        # torch takes seconds to import, and the command checks parameters without it.
        from emoser_lib.experiments.audio_training import AudioSystem
        from emoser_lib.systems.audio_llm import Loss
        from emoser_lib.systems.bridges import Own

        prompt = "qwen-audio" if self.transcript else "qwen-audio-no-text"
        loss = Loss("none", mean="clips", over="words")
        return AudioSystem(prompt, chat="own", words=self.words, bridge=Own(), loss=loss, **own)


class QwenZeroShotSettings(QwenAudioSettings):
    """06-qwen-audio-zero-shot."""

    split: Literal["train", "test"]
    clips: int = Field(ge=0)
    """0: all of the split."""
    batch_size: int = Field(ge=1, le=1024)
    max_new_tokens: int = Field(ge=1, le=256)

    def rows(self, corpus: Corpus) -> pd.DataFrame:
        """The rows that are asked about: all of the split, or so many of it, drawn with the seed.

        Raises:
            UsageError: the corpus has no test split.
        """
        rows = corpus.test() if self.split == "test" else corpus.training()
        if rows.empty:
            raise UsageError(f"corpus '{corpus.name}' has no test split: set split to 'train' (nothing is trained).")
        if not self.clips or self.clips >= len(rows):
            return rows
        return rows.sample(self.clips, random_state=self.seed).sort_index()

    def system(self) -> "AudioSystem":
        """The system that the parameters declare."""
        return self._declared()


class QwenLoraSettings(QwenAudioSettings):
    """07-qwen-audio-lora."""

    ranks: list[Annotated[int, Field(ge=1, le=4096)]] = Field(min_length=1)
    alphas: list[Annotated[int, Field(ge=1, le=65_536)]] = Field(min_length=1)
    targets: Literal["c_attn", "q,k,v", "all-linear"]
    dropout: float = Field(ge=0, lt=1)
    ears_rank: int = Field(ge=0, le=4096)
    """0: no adapter in the encoder."""
    epochs: int = Field(ge=1, le=100)
    batch_size: int = Field(ge=1, le=1024)
    accumulation: int = Field(ge=1, le=1024)
    learning_rate: float = Field(gt=0, le=1)
    warmup: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0, le=1)
    clip: float = Field(gt=0)
    activation_checkpointing: bool
    scheme: SchemeName
    folds: list[Annotated[int, Field(ge=0, lt=N_FOLDS)]]
    """None named: no cross-validation."""
    train_clips: int = Field(ge=0)
    """0: all."""
    refit: bool
    predictions: str
    """Empty: none are written."""

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        cells = len(self.ranks) * len(self.alphas)
        if not self.folds and not self.refit:
            raise ValueError("nothing is trained: name at least one fold or set refit")
        if not self.folds and cells > 1:
            raise ValueError(f"which of {cells} adapters is the best is found on folds: name at least one fold")
        for name in ("ranks", "alphas", "folds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} has a value twice: {values}")
        return self

    @staticmethod
    def absolute(values: Mapping[str, Any]) -> dict[str, Any]:
        """As in the other chapters, and the file that ``predictions`` names."""
        values = Settings.absolute(values)
        return {**values, "predictions": str(absolute(values["predictions"]))} if values.get("predictions") else values

    def system(self, rank: int | None = None, alpha: int | None = None, **own: Any) -> "AudioSystem":
        """The system that the parameters declare; by default with the first rank and alpha.

        Args:
            rank, alpha: others.
            own: other values of `AudioSystem`.
        """
        from emoser_lib.systems.fitting import Training
        from emoser_lib.systems.lora import Lora

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
        """One system a pair of rank and alpha (Figure 5)."""
        return [self.system(rank, alpha) for rank in self.ranks for alpha in self.alphas]

    def cuts(self, corpus: Corpus) -> list[Fold]:
        """The folds that choose, each with as many training clips as asked for."""
        from emoser_lib.experiments.training import chosen_folds

        return chosen_folds(corpus, self.scheme, self.folds, self.train_clips)
