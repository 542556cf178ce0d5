"""What the chapter on robustness can be told, with ranges; as `settings` for the others."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from emoser_lib.corpora import Condition
from emoser_lib.experiments.settings.base import BaselineName
from emoser_lib.experiments.settings.hearing import WhisperSettings
from emoser_lib.systems.classical.baselines import BASELINES

if TYPE_CHECKING:
    from emoser_lib.systems.declared import AudioSystem


class RobustnessSettings(WhisperSettings):
    """Settings of 13-robustness."""

    batch_size: int = Field(ge=1, le=1024)
    learning_rate: float = Field(gt=0, le=1)
    baselines: list[BaselineName] = Field(min_length=1)
    noise: Literal["white", "speech"]
    snr_db: list[Annotated[int, Field(ge=-30, le=60)]]
    speeds: list[Annotated[float, Field(ge=0.5, le=2)]]
    seconds: list[Annotated[int, Field(ge=1, le=30)]]
    words_deleted: list[Annotated[float, Field(gt=0, lt=1)]]
    bins: int = Field(ge=2, le=100)

    @model_validator(mode="after")
    def _one_cut_and_no_condition_twice(self) -> Self:
        if not self.refit and len(self.folds) > 1:
            raise ValueError(f"folds are {self.folds}: one system is trained, name one fold")
        for name in ("snr_db", "speeds", "seconds", "words_deleted", "baselines"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} has a value twice: {values}")
        if 1.0 in self.speeds:
            raise ValueError("speeds has 1.0, which changes nothing: leave it out")
        return self

    def system(self) -> "AudioSystem":
        """Declare the system of the parameters."""
        return self.of_arm("whisper-gemma", self.arm, self.batch_size, self.learning_rate)

    def conditions(self) -> list[Condition]:
        """List the conditions that the clips are tried under, in the order of the page; those of the words only where
        any system reads."""
        reads = self.transcript or any("text" in BASELINES[name].parts for name in self.baselines)
        return [
            *(Condition(snr_db=level, noise=self.noise) for level in self.snr_db),
            Condition(telephone=True),
            *(Condition(speed=factor) for factor in self.speeds),
            *(Condition(seconds=seconds) for seconds in self.seconds),
            *(Condition(words_deleted=share) for share in self.words_deleted if reads),
            *([Condition(transcript=False)] if reads else []),
            Condition(audio=False),
        ]
