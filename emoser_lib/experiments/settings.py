"""What each chapter can be told, with ranges: the cell after the parameters turns them into one of these."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from emoser_lib.corpora import SOURCES, Corpus, absolute, check_options, load_corpus
from emoser_lib.errors import UsageError, did_you_mean
from emoser_lib.experiments.folds import N_FOLDS, SCHEMES
from emoser_lib.systems.catalogue import Kind
from emoser_lib.systems.checkpoints import local_checkpoint
from emoser_lib.systems.classical import BASELINES
from emoser_lib.systems.prompts import CHATS, PROMPTS
from emoser_lib.systems.verbaliser import WORDS

if TYPE_CHECKING:
    from emoser_lib.experiments.training import TextSystem


def one_of(known: Mapping[str, object] | tuple[str, ...], what: str) -> Any:
    """A validator for names: refuses others, with the nearest known one."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(
                f"there is no {what} '{name}'{did_you_mean(name, list(known))}: known are {', '.join(known)}"
            )
        return name

    return AfterValidator(check)


def known_checkpoint(name: str, kind: Kind = "llm") -> str:
    """A validator for checkpoints: one that is here must be whole, one that is not is downloaded when it is loaded."""
    try:
        local_checkpoint(name, kind)
    except UsageError as error:
        raise ValueError(str(error).rstrip(".")) from None
    return name


CorpusName = Annotated[str, one_of(SOURCES, "corpus")]
SchemeName = Annotated[str, one_of(SCHEMES, "fold scheme")]
BaselineName = Annotated[str, one_of(BASELINES, "baseline")]
CheckpointName = Annotated[str, AfterValidator(lambda name: known_checkpoint(name))]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Settings(BaseModel):
    """Parameters that every chapter has: the corpus and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    corpus: CorpusName
    corpus_options: dict[str, Any] = Field(default_factory=dict)
    seed: Seed

    @classmethod
    def check(cls, **values: Any) -> Self:
        """Validate a chapter's parameters.

        Raises:
            UsageError: one sentence for the first value that is wrong.

        >>> CorpusSettings.check(corpus="demo", seed=0).corpus
        'demo'
        """
        try:
            settings = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            reason = first["msg"].removeprefix("Value error, ")
            reason = f"{reason[0].lower()}{reason[1:]}"
            said = f"parameter '{name}' is {first['input']!r}: {reason}" if name else f"these parameters: {reason}"
            raise UsageError(f"{said}.") from None
        check_options(settings.corpus, settings.corpus_options)
        return settings

    @classmethod
    def of(cls, variables: Mapping[str, Any]) -> Self:
        """Pick a chapter's parameters out of a notebook's variables, ``globals()``, and `check` them.

        >>> corpus, seed = "demo", 1
        >>> CorpusSettings.of({**globals(), "corpus_options": {}}).seed
        1
        """
        return cls.check(**{name: variables[name] for name in cls.model_fields})

    @staticmethod
    def absolute(values: Mapping[str, Any]) -> dict[str, Any]:
        """The values with the folder that ``corpus_options`` names, and the file that ``predictions`` names, absolute:
        a kernel works in the notebook's folder.

        >>> CorpusSettings.absolute({"seed": 0, "corpus_options": {"root": "/own/../mine"}})
        {'seed': 0, 'corpus_options': {'root': '/mine'}}
        """
        found, options = dict(values), values.get("corpus_options", {})
        if "root" in options:
            found["corpus_options"] = {**options, "root": str(absolute(options["root"]))}
        if found.get("predictions"):
            found["predictions"] = str(absolute(found["predictions"]))
        return found

    def load(self) -> Corpus:
        """The corpus that the parameters name."""
        return load_corpus(self.corpus, **self.corpus_options)


class CorpusSettings(Settings):
    """01-corpus."""


class ScoringSettings(Settings):
    """02-scoring."""

    system: BaselineName
    resamples: int = Field(ge=100, le=100_000)


class ClassicalSettings(Settings):
    """03-classical."""

    baselines: list[BaselineName]
    """None named: all of them."""
    scheme: SchemeName
    evaluate: Literal["folds", "test"]
    resamples: int = Field(ge=100, le=100_000)


class TextSettings(Settings):
    """What the chapters on language models that read have in common."""

    llm: CheckpointName
    """A name or a folder; one that is here must be whole, one that is not is downloaded when it is loaded."""
    dtype: Literal["float32", "bfloat16", "float16"]
    prompt: Annotated[str, one_of(PROMPTS, "prompt")]
    chat: Annotated[str, one_of(CHATS, "chat format")]
    words: Annotated[str, one_of(WORDS, "word set")]
    resamples: int = Field(ge=100, le=100_000)


class GemmaZeroShotSettings(TextSettings):
    """04-gemma-zero-shot."""

    split: Literal["test", "train"]
    calibrate: bool
    variants: list[Annotated[str, one_of(PROMPTS, "prompt")]]
    """Prompts that are compared; none named: none are."""
    batch_size: int = Field(ge=1, le=1024)
    max_new_tokens: int = Field(ge=1, le=256)

    def clips(self, corpus: Corpus) -> pd.DataFrame:
        """The rows that are predicted.

        Raises:
            UsageError: the corpus has no test split.
        """
        rows = corpus.test() if self.split == "test" else corpus.training()
        if rows.empty:
            raise UsageError(f"corpus '{corpus.name}' has no test split: set split to 'train' (nothing is trained).")
        return rows


class AdapterGridSettings(Settings):
    """What the chapters that train adapters have in common: a grid of ranks and alphas, folds that choose, a refit."""

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


class GemmaLoraSettings(TextSettings, AdapterGridSettings):
    """05-gemma-lora."""

    end: bool
    targets: Literal["all-linear", "q,v"]

    def system(self, rank: int | None = None, alpha: int | None = None) -> "TextSystem":
        """The system that the parameters declare; by default with the first rank and alpha."""
        # peft and the Trainer take seconds to import, and the command checks parameters without them.
        from emoser_lib.experiments.training import TextSystem
        from emoser_lib.systems.fitting import Training
        from emoser_lib.systems.lora import Lora

        given = self.model_dump()
        training = {field.name: given[field.name] for field in fields(Training) if field.name in given}
        lora = {"rank": rank or self.ranks[0], "alpha": alpha or self.alphas[0]}
        return TextSystem(
            **{name: given[name] for name in ("prompt", "chat", "words", "end")},
            lora=Lora(**lora, targets=given["targets"], dropout=self.dropout),
            training=Training(**training),
        )

    def grid(self) -> "list[TextSystem]":
        """One system a pair of rank and alpha."""
        return [self.system(rank, alpha) for rank in self.ranks for alpha in self.alphas]
