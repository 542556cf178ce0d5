"""One job a GPU: each run takes one that no other has."""

import os
from pathlib import Path

import pytest

from emoser_lib.cli.gpus import own_gpu
from emoser_lib.errors import UsageError


def test_runs_side_by_side_take_a_gpu_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with own_gpu():
        assert "CUDA_VISIBLE_DEVICES" not in os.environ, "nobody numbered any"
    monkeypatch.setenv("EMOSER_GPUS", "2, 5")
    with own_gpu():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
        with own_gpu():
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
            with pytest.raises(UsageError, match=r"EMOSER_GPUS names \(2, 5\) are taken"), own_gpu():
                pass
        with own_gpu():
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "5", "it was given back"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
