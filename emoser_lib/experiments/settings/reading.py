"""Settings of the chapters on language models that read."""

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from emoser_lib.corpora import Corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments.training.folds import N_FOLDS
from emoser_lib.systems.declared import Lora, TextSystem, Training
from emoser_lib.systems.prompts.text import CHATS, PROMPTS
from emoser_lib.systems.prompts.words import WORDS

if TYPE_CHECKING:
    from emoser_lib.systems.declared import TextSystem
from emoser_lib.experiments.settings.base import (
    CheckpointName,
    ModelSettings,
    ResultsFile,
    SchemeName,
    Settings,
    one_of,
    unit_of,
)


class TextSettings(ModelSettings):
    """Settings that the chapters on language models that read have in common."""

    reads = True

    llm: CheckpointName
    """A name or a folder; one that is here must be whole, one that is not is downloaded when it is loaded."""
    prompt: Annotated[str, one_of(PROMPTS, "prompt")]
    chat: Annotated[str, one_of(CHATS, "chat format")]
    words: Annotated[str, one_of(WORDS, "word set")]
    resamples: int = Field(ge=100, le=100_000)


class GemmaZeroShotSettings(TextSettings):
    """Settings of 04-gemma-zero-shot."""

    trains = False

    split: Literal["test", "train"]
    calibrate: bool
    variants: list[Annotated[str, one_of(PROMPTS, "prompt")]]
    """Prompts that are compared; none named: none are."""
    batch_size: int = Field(ge=1, le=1024)
    max_new_tokens: int = Field(ge=1, le=256)

    def clips(self, corpus: Corpus) -> pd.DataFrame:
        """Return the rows that are predicted.

        Raises:
            UsageError: the corpus has no labelled test split.
        """
        rows = corpus.labelled_test() if self.split == "test" else corpus.training()
        if rows.empty:
            raise UsageError(
                f"corpus '{corpus.name}' has no labelled test split: set split to 'train' (nothing is trained)."
            )
        return rows


class AdapterGridSettings(Settings):
    """Settings of chapters that train adapters: a grid of ranks and alphas, folds that choose, a refit."""

    ranks: list[Annotated[int, Field(ge=1, le=4096)]] = Field(min_length=1)
    alphas: list[Annotated[int, Field(ge=1, le=65_536)]] = Field(min_length=1)
    dropout: float = Field(ge=0, lt=1)
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
    predictions: ResultsFile
    """Empty: none are written."""

    @property
    def drawn(self) -> str:
        """What the bootstrap draws, see `unit_of`."""
        return unit_of(self.scheme, not self.refit)

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


class GemmaLoraSettings(TextSettings, AdapterGridSettings):
    """Settings of 05-gemma-lora."""

    compared = ("text-svm", "majority")

    end: bool
    targets: Literal["all-linear", "q,v"]

    def system(self, rank: int | None = None, alpha: int | None = None) -> "TextSystem":
        """Declare the system of the parameters; by default with the first rank and alpha."""

        given = self.model_dump()
        training = {field.name: given[field.name] for field in fields(Training) if field.name in given}
        lora = {"rank": rank or self.ranks[0], "alpha": alpha or self.alphas[0]}
        return TextSystem(
            **{name: given[name] for name in ("prompt", "chat", "words", "end")},
            lora=Lora(**lora, targets=given["targets"], dropout=self.dropout),
            training=Training(**training),
        )

    def grid(self) -> "list[TextSystem]":
        """Declare one system per pair of rank and alpha."""
        return [self.system(rank, alpha) for rank in self.ranks for alpha in self.alphas]
