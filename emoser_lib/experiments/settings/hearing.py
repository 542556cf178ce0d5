"""What the chapters on systems that hear can be told, with ranges; as `settings` for the others."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from emoser_lib.corpora import Corpus
from emoser_lib.corpora.check import EMPTY_SECONDS
from emoser_lib.experiments.settings.base import (
    CheckpointName,
    ModelSettings,
    ResultsFile,
    SchemeName,
    known_checkpoint,
    one_of,
    unit_of,
)
from emoser_lib.experiments.training.evaluation import evaluation_folds
from emoser_lib.experiments.training.folds import N_FOLDS, Fold, check_speakers, chosen_folds
from emoser_lib.systems.arms import ARMS, arm_values
from emoser_lib.systems.declared import AudioSystem, Linear, Lora, Loss, Queries, TextSystem, Training
from emoser_lib.systems.prompts.text import CHATS
from emoser_lib.systems.prompts.words import WORDS

if TYPE_CHECKING:
    from emoser_lib.systems.declared import AudioSystem, Context, Lora, TextSystem
from emoser_lib.systems.declared import LabelWeights

EncoderName = Annotated[str, AfterValidator(lambda name: known_checkpoint(name, "encoder"))]

ArmName = Annotated[str, one_of(ARMS, "arm")]


def _layer(text: str) -> str:
    if text not in ("last", "weighted") and not text.isdecimal():
        raise ValueError("a layer is 'last', 'weighted' (a learnt sum of all) or a number such as '4'")
    return text


class AudioSettings(ModelSettings):
    """Settings that the chapters that train systems that hear have in common."""

    llm: CheckpointName
    encoder: EncoderName
    chat: Annotated[str, one_of(CHATS, "chat format")]
    words: Annotated[str, one_of(WORDS, "word set")]
    transcript: bool
    """Whether the prompt has the transcription too."""
    layer: Annotated[str, AfterValidator(_layer)]
    epochs: int = Field(ge=1, le=100)
    accumulation: int = Field(ge=1, le=1024)
    scheme: SchemeName
    folds: list[Annotated[int, Field(ge=0, lt=N_FOLDS)]]
    """None named: no cross-validation."""
    train_clips: int = Field(ge=0)
    """0: all."""
    resamples: int = Field(ge=100, le=100_000)

    @model_validator(mode="after")
    def _no_fold_twice(self) -> Self:
        if len(set(self.folds)) < len(self.folds):
            raise ValueError(f"folds has a value twice: {self.folds}")
        return self

    @property
    def hears(self) -> "Context":
        """What the encoder hears besides a clip."""
        return "clip"

    @property
    def layer_number(self) -> int | str:
        """The layer as `AudioSystem` takes it."""
        if self.layer == "last":
            return -1
        return self.layer if self.layer == "weighted" else int(self.layer)

    def cuts(self, corpus: Corpus) -> list[Fold]:
        """Cut the folds that choose, each with as many training clips as asked for."""

        return chosen_folds(corpus, self.scheme, self.folds, self.train_clips)

    def _declared(self, arm: Mapping[str, Any], training: Mapping[str, Any], **own: Any) -> "AudioSystem":
        """An arm's values, the chapter's own, and those that all chapters have."""

        given = {"epochs": self.epochs, "accumulation": self.accumulation, "seed": self.seed, **arm, **training}
        loss = Loss(**{name: given[name] for name in ("weights", "mean") if name in given})
        return AudioSystem(
            chat=self.chat,
            words=self.words,
            layer=self.layer_number,  # type: ignore[arg-type]
            encoding=arm.get("encoding", "cached"),
            loss=loss,
            training=Training(**{f.name: given[f.name] for f in fields(Training) if f.name in given}),
            **own,
        )


class RefitSettings(AudioSettings):
    """Settings for folds that choose, then a training on all training clips."""

    refit: bool

    @property
    def drawn(self) -> str:
        """What the bootstrap draws, see `unit_of`."""
        return unit_of(self.scheme, not self.refit)

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if not self.folds and not self.refit:
            raise ValueError("nothing is trained: name at least one fold or set refit")
        return self

    def final_cut(self, corpus: Corpus) -> Fold:
        """Return all training clips and the test split; without ``refit``, the first fold.

        Raises:
            UsageError: ``refit`` is set and the corpus has no test split.
        """

        return evaluation_folds(corpus, "test")[0] if self.refit else self.cuts(corpus)[0]


class SubmittedSettings(RefitSettings):
    """Settings of a refit whose predictions may become a submission."""

    predictions: ResultsFile
    """Empty: none are written."""


class ProjectorSettings(AudioSettings):
    """Settings that Whisper-Gemma and emotion2vec-Gemma have in common: a linear projector, frozen language model."""

    stack: int = Field(ge=1, le=64)
    pool: int = Field(ge=1, le=1500)
    scaled: bool

    @model_validator(mode="after")
    def _one_way_to_shorten(self) -> Self:
        if self.stack > 1 and self.pool > 1:
            raise ValueError("stack and pool are both above 1: set one of them")
        return self

    def of_arm(self, system: str, arm: str, batch_size: int, learning_rate: float, **own: Any) -> "AudioSystem":
        """Declare the system of one arm."""

        values = {**arm_values(system, arm), **own}
        return self._declared(
            values,
            {"batch_size": batch_size, "learning_rate": learning_rate},
            prompt="whisper-gemma" if self.transcript else "whisper-gemma-no-text",
            bridge=Linear(self.stack, self.pool),
            scaled=self.scaled,
        )


class WhisperSettings(ProjectorSettings, RefitSettings):
    """Settings that the chapters on Whisper-Gemma have in common."""

    arm: ArmName
    context: Literal["arm", "clip", "window", "batch"]

    @property
    def hears(self) -> "Context":
        """What the encoder hears besides a clip: as the arm says, or as told."""
        return arm_values("whisper-gemma", self.arm)["context"] if self.context == "arm" else self.context


class WhisperGemmaSettings(WhisperSettings, SubmittedSettings):
    """Settings of 08-whisper-gemma."""

    compared = ("text-svm", "audio-svm", "majority")

    batch_sizes: list[Annotated[int, Field(ge=1, le=1024)]] = Field(min_length=1)
    learning_rates: list[Annotated[float, Field(gt=0, le=1)]] = Field(min_length=1)
    weights: list[LabelWeights]
    """Loss weights that are compared; none named: none are."""
    normalised_by: Literal["", "speaker"] = ""
    """Whose frames are brought to mean 0 and standard deviation 1. Records that are older than it do not name it."""

    def load(self) -> Corpus:
        """Load the corpus that the parameters name.

        Raises:
            DataError: frames are to be normalised by speaker, and a clip has none.
        """
        corpus = super().load()
        if self.normalised_by:
            check_speakers(corpus)
        return corpus

    def system(self, batch_size: int | None = None, learning_rate: float | None = None, **own: Any) -> "AudioSystem":
        """Declare the system of the parameters; by default with the first batch size and learning rate.

        Args:
            batch_size, learning_rate: others.
            own: values instead of the arm's, such as ``weights="none"``.
        """
        batch, rate = batch_size or self.batch_sizes[0], learning_rate or self.learning_rates[0]
        return self.of_arm("whisper-gemma", self.arm, batch, rate, **own)

    def grid(self) -> "list[AudioSystem]":
        """Declare one system per pair of batch size and learning rate (Table 2)."""
        return [self.system(batch, rate) for batch in self.batch_sizes for rate in self.learning_rates]

    @model_validator(mode="after")
    def _folds_choose(self) -> Self:
        cells = len(self.batch_sizes) * len(self.learning_rates)
        if not self.folds and cells > 1:
            raise ValueError(f"which of {cells} cells is the best is found on folds: name at least one fold")
        return self

    @model_validator(mode="after")
    def _normalised_frames_stay(self) -> Self:
        if self.normalised_by and arm_values("whisper-gemma", self.arm)["encoding"] != "cached":
            raise ValueError(f"normalised_by is set, and the arm '{self.arm}' trains the encoder: leave it empty")
        return self


class Emotion2vecGemmaSettings(ProjectorSettings, SubmittedSettings):
    """Settings of 09-emotion2vec-gemma."""

    compared = ("text-svm", "audio-svm", "majority")

    arms: list[ArmName] = Field(min_length=1)
    batch_size: int = Field(ge=1, le=1024)
    learning_rate: float = Field(gt=0, le=1)

    def system(self, arm: str) -> "AudioSystem":
        """Declare the system of one arm."""
        return self.of_arm("emotion2vec-gemma", arm, self.batch_size, self.learning_rate)


class EmosllmSettings(SubmittedSettings):
    """Settings of 10-emosllm."""

    compared = ("audio-svm",)

    context: Literal["clip", "window"]
    scaled: bool
    queries: list[Annotated[int, Field(ge=1, le=1024)]] = Field(min_length=1)
    """The first is the system's, the others are an ablation."""
    other_encoders: list[EncoderName]
    """As an ablation; none named: none are."""
    mapper_layers: int = Field(ge=1, le=48)
    mapper_heads: int = Field(ge=1, le=64)
    mapper_width: int = Field(ge=8, le=8192)
    mapper_mlp: int = Field(ge=8, le=32_768)
    mapper_dropout: float = Field(ge=0, lt=1)
    norm: Literal["pre", "post"]
    positions: Literal["none", "sinusoidal"]
    rank: int = Field(ge=1, le=4096)
    alpha: int = Field(ge=1, le=65_536)
    targets: Literal["all-linear", "q,v"]
    dropout: float = Field(ge=0, lt=1)
    window_seconds: float = Field(ge=0, le=30)
    """0: whole clips."""
    speech_weights: list[Annotated[float, Field(ge=0, le=10)]] = Field(min_length=1)
    """The first is the system's, the others are an ablation."""
    weights: LabelWeights
    batch_size: int = Field(ge=1, le=1024)
    learning_rate: float = Field(gt=0, le=1)
    outer_rate: float = Field(gt=0, le=1000)
    """Of what stands next to the frozen encoder and before the language model, in learning rates."""

    @model_validator(mode="after")
    def _no_value_twice(self) -> Self:
        for name in ("queries", "other_encoders", "speech_weights"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} has a value twice: {values}")
        if self.context == "window" and self.other_encoders:
            raise ValueError("context is 'window', which only Whisper has: name no other_encoders")
        if self.encoder in self.other_encoders:
            raise ValueError(f"other_encoders names the system's own encoder {self.encoder}: name others only")
        if 0 < self.window_seconds < EMPTY_SECONDS:
            raise ValueError(f"window_seconds is {self.window_seconds}: set it to 0 or at least {EMPTY_SECONDS}")
        if self.mapper_width % self.mapper_heads or self.mapper_width % 2:
            raise ValueError(f"mapper_width is {self.mapper_width}: an even multiple of mapper_heads is needed")
        return self

    @property
    def hears(self) -> "Context":
        """As told."""
        return self.context

    def system(self, queries: int | None = None, transcript: bool | None = None, **own: Any) -> "AudioSystem":
        """Declare the system of the parameters.

        Args:
            queries: another number of them.
            transcript: with or without the transcription, whatever the parameter says.
            own: other values of `AudioSystem`, such as ``speech_weight=0.1``.
        """

        bridge = Queries(
            queries or self.queries[0],
            self.mapper_layers,
            self.mapper_heads,
            self.mapper_width,
            self.mapper_mlp,
            self.mapper_dropout,
            self.norm,
            self.positions,
        )
        reads = self.transcript if transcript is None else transcript
        values = {
            "prompt": "emosllm" if reads else "emosllm-no-text",
            "bridge": bridge,
            "scaled": self.scaled,
            "adaptation": self._lora(),
            "window_seconds": self.window_seconds,
            "speech_weight": self.speech_weights[0],
            **own,
        }
        arm = {"weights": self.weights, "mean": "clips"}
        names = ("batch_size", "learning_rate", "outer_rate")
        return self._declared(arm, {name: getattr(self, name) for name in names}, **values)

    def ablations(self) -> "dict[str, tuple[str, AudioSystem]]":
        """Declare what is compared: name -> encoder and system; the system as it is first, then with one change
        each."""
        as_it_is = self.system()
        return {
            "as it is": (self.encoder, as_it_is),
            **{f"{n} queries": (self.encoder, self.system(queries=n)) for n in self.queries[1:]},
            **{f"encoder {name.rpartition('/')[2]}": (name, as_it_is) for name in self.other_encoders},
            **{f"speech weight {w:g}": (self.encoder, self.system(speech_weight=w)) for w in self.speech_weights[1:]},
        }

    def text_system(self) -> "TextSystem":
        """Declare the same language model with the same adapter and training, that only reads."""

        given = self.model_dump()
        training = {field.name: given[field.name] for field in fields(Training) if field.name in given}
        return TextSystem("qwen-audio", self.chat, self.words, lora=self._lora(), training=Training(**training))

    def _lora(self) -> "Lora":

        return Lora(self.rank, self.alpha, self.targets, self.dropout)
