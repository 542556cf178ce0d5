"""Which device is meant: a parameter, the environment, or the best there is."""

import pytest
import torch

from emoser_lib.errors import UsageError
from emoser_lib.systems.device import declared_device


def machine(monkeypatch: pytest.MonkeyPatch, gpus: int, mps: bool = False) -> None:
    """A machine with these accelerators, as torch tells of it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.delenv("EMOSER_DEVICE", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)


@pytest.mark.parametrize(
    ("gpus", "mps", "name", "meant"),
    [
        (0, False, "auto", "cpu"),
        (0, True, "auto", "mps"),
        (2, True, "auto", "cuda:0"),
        (2, False, "cuda", "cuda:0"),
        (2, False, "cuda:1", "cuda:1"),
        (2, False, "cpu", "cpu"),
    ],
)
def test_the_best_device_or_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch, gpus: int, mps: bool, name: str, meant: str
) -> None:
    machine(monkeypatch, gpus, mps)
    assert str(declared_device(name)) == meant


def test_the_environment_declares_what_auto_is_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, gpus=2)
    monkeypatch.setenv("EMOSER_DEVICE", "cpu")
    assert str(declared_device()) == "cpu"
    assert str(declared_device("cuda:1")) == "cuda:1"


def test_under_torchrun_each_process_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, gpus=2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert str(declared_device()) == "cuda:1"


def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, gpus=1)
    with pytest.raises(UsageError, match="there is no device 'cuda:1' on this machine: use cuda, cuda:0, cpu, auto"):
        declared_device("cuda:1")
    monkeypatch.setenv("EMOSER_DEVICE", "gpu")
    with pytest.raises(UsageError, match=r"there is no device 'gpu' \(EMOSER_DEVICE\)"):
        declared_device()
