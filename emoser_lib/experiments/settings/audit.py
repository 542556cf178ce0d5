"""Settings of the chapter on the audit."""

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from emoser_lib.experiments.settings.base import BaselineName, CorpusName, one_of
from emoser_lib.systems.arms import DIFFERENCES, arm_values, single_differences
from emoser_lib.systems.prompts.text import PROMPTS

if TYPE_CHECKING:
    from emoser_lib.systems.declared import AudioSystem, Context
from emoser_lib.experiments.settings.hearing import ProjectorSettings


class AuditSettings(ProjectorSettings):
    """Settings of 12-audit."""

    reads = True
    counts_leaks = True

    system: BaselineName
    prompt: Annotated[str, one_of(PROMPTS, "prompt")]
    max_new_tokens: int = Field(ge=1, le=256)
    heard: CorpusName
    """The corpus on which the arms are trained; that of the tables may have no sound."""
    arms_of: Annotated[str, one_of(DIFFERENCES, "system with arms")]
    batch_size: int = Field(ge=1, le=1024)
    learning_rate: float = Field(gt=0, le=1)
    draws: int = Field(ge=100, le=100_000)

    @model_validator(mode="after")
    def _every_change_can_be_trained(self) -> Self:
        trains = [what for what, _, values in single_differences(self.arms_of) if values.get("encoding") == "trained"]
        if trains and self.layer == "weighted":
            raise ValueError(f"layer is 'weighted', and an arm of {self.arms_of} trains the encoder: name one layer")
        return self

    def changes(self) -> "dict[str, tuple[Context, AudioSystem]]":
        """Return the published arm and each of its single differences: name -> what the encoder hears, and system.

        Where a clip is heard with its batch, the encoder runs at each step: its frames are then not the clip's own.
        """
        published = arm_values(self.arms_of, "published")
        ways: dict[str, dict[str, Any]] = {"published": {}}
        ways |= {f"{what}: {arm}": values for what, arm, values in single_differences(self.arms_of)}
        made = {}
        for name, values in ways.items():
            own = {**published, **values}
            if own["context"] == "batch" and own["encoding"] == "cached":
                own["encoding"] = "live"
            system = self.of_arm(self.arms_of, "published", self.batch_size, self.learning_rate, **own)
            made[name] = (own["context"], system)
        return made
