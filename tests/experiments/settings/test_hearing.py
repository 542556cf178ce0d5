"""What the chapters on systems that hear can be told."""

from pathlib import Path

import pytest

from emoser_lib.errors import UsageError
from emoser_lib.experiments import AuditSettings, WhisperGemmaSettings
from emoser_lib.experiments.runs.parameters import parameters_of


@pytest.mark.parametrize(
    ("arm", "context", "hears"),
    [("published", "arm", "clip"), ("released", "arm", "batch"), ("published", "window", "window")],
)
def test_the_encoder_hears_what_the_arm_says_or_what_it_is_told(arm: str, context: str, hears: str, root: Path) -> None:
    parameters = parameters_of(root / "notebooks/08-whisper-gemma.ipynb")
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    assert WhisperGemmaSettings.check(**defaults | {"arm": arm, "context": context}).hears == hears


def audit(root: Path, **changed: object) -> AuditSettings:
    parameters = parameters_of(root / "notebooks/12-audit.ipynb")
    return AuditSettings.check(**{name: parameter.default for name, parameter in parameters.items()} | changed)


def test_an_audit_changes_one_thing_at_a_time(root: Path) -> None:
    changes = audit(root, arms_of="whisper-gemma", encoder="emoser/demo-whisper").changes()
    (heard, published), *others = changes.values()
    assert heard == "clip"
    assert published == audit(root, arms_of="whisper-gemma", encoder="emoser/demo-whisper").changes()["published"][1]
    assert {name: of.encoding for name, (_, of) in changes.items()} == {
        "published": "cached",
        "Whisper encoder: released": "trained",
        "what the encoder hears: released": "live",  # the cache keeps a clip's own frames only
        "weights of the labels: corrected": "cached",
        "optimiser: released": "cached",
        "order of the training clips: released": "cached",
    }
    assert changes["what the encoder hears: released"][0] == "batch"
    for _, of in others:
        told = {name: value for name, value in vars(of).items() if value != getattr(published, name)}
        assert len(told) == 1, "one part of the system is another one"


def test_an_audit_that_cannot_train_every_change_says_so_at_once(root: Path) -> None:
    with pytest.raises(UsageError, match="an arm of whisper-gemma trains the encoder: name one layer"):
        audit(root, arms_of="whisper-gemma", encoder="emoser/demo-whisper", layer="weighted")
    assert audit(root, layer="weighted").layer == "weighted"  # emotion2vec is never trained along
