"""Settings of the chapter on your own recordings."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from emoser_lib.corpora import SOURCES, Corpus, check_options, load_other
from emoser_lib.errors import UsageError
from emoser_lib.experiments.settings.base import BaselineName, Settings, one_of, unit_of
from emoser_lib.experiments.settings.hearing import ArmName, ProjectorSettings
from emoser_lib.experiments.training.folds import N_FOLDS
from emoser_lib.systems.arms import arm_values

if TYPE_CHECKING:
    from emoser_lib.systems.declared import AudioSystem, Context


class OwnSettings(ProjectorSettings):
    """Settings of 14-own-recordings."""

    baselines: list[BaselineName] = Field(min_length=1)
    """Whisper-Gemma is compared with the first that the corpus allows."""
    arm: ArmName
    batch_size: int = Field(ge=1, le=1024)
    learning_rate: float = Field(gt=0, le=1)
    folds: list[Annotated[int, Field(ge=0, lt=N_FOLDS)]] = Field(min_length=1)
    sizes: list[Annotated[int, Field(ge=2, le=100_000)]]
    """Training clips of the learning curve's points; its last point is all clips of a training part."""
    tested_on: Annotated[str, one_of(("", *SOURCES), "corpus")]
    """Another corpus, which nothing is learnt from; empty: none."""
    tested_on_options: dict[str, Any]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("baselines", "sizes"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} has a value twice: {values}")
        if self.tested_on:
            try:
                named = () if self.tested_on == "folder" else ("labels",)  # of any corpus, see `load_other`
                options = {name: of for name, of in self.tested_on_options.items() if name not in named}
                check_options(self.tested_on, options)
            except UsageError as error:
                raise ValueError(f"tested_on_options do not fit: {str(error).rstrip('.')}") from None
        elif self.tested_on_options:
            raise ValueError("tested_on_options are given and tested_on is empty: set tested_on to 'folder'")
        return self

    @staticmethod
    def absolute(values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values with the folders of both corpora absolute."""
        other = Settings.absolute({"corpus_options": values.get("tested_on_options", {})})["corpus_options"]
        return {**Settings.absolute(values), "tested_on_options": other}

    @property
    def drawn(self) -> str:
        """What the bootstrap draws, see `unit_of`."""
        return unit_of(self.scheme, True)

    @property
    def hears(self) -> "Context":
        """What the encoder hears besides a clip: as the arm says."""
        return arm_values("whisper-gemma", self.arm)["context"]

    def system(self) -> "AudioSystem":
        """Declare Whisper-Gemma with the parameters."""
        return self.of_arm("whisper-gemma", self.arm, self.batch_size, self.learning_rate)

    def other_corpus(self) -> Corpus | None:
        """Load the corpus that is only tested on, if one is named."""
        return load_other(self.tested_on, **self.tested_on_options) if self.tested_on else None
