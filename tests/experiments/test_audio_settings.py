"""What the chapters on systems that hear can be told."""

from pathlib import Path

import pytest

from emoser_lib.experiments import WhisperGemmaSettings
from emoser_lib.experiments.parameters import parameters_of


@pytest.mark.parametrize(
    ("arm", "context", "hears"),
    [("published", "arm", "clip"), ("released", "arm", "batch"), ("published", "window", "window")],
)
def test_the_encoder_hears_what_the_arm_says_or_what_it_is_told(arm: str, context: str, hears: str, root: Path) -> None:
    parameters = parameters_of(root / "notebooks/08-whisper-gemma.ipynb")
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    assert WhisperGemmaSettings.check(**defaults | {"arm": arm, "context": context}).hears == hears
