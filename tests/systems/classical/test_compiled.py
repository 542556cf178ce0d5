"""Two processes never compile librosa's functions at once: what they keep would end every later one."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numba
import pytest

from emoser_lib.files import locked
from emoser_lib.systems.classical import compiled


class _Busy(Exception):
    pass


def test_librosa_compiles_behind_the_lock_of_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules that compile are loaded while the lock is held and into its folder, though numba was there before."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "elsewhere")
    loaded = []

    def load(module: str) -> ModuleType:
        if module in compiled.COMPILED_ON_IMPORT:
            assert str(tmp_path / "compiled") == numba.config.CACHE_DIR
            with pytest.raises(_Busy), locked(tmp_path / "compiled" / ".lock", busy=_Busy()):
                pass
        loaded.append(module)
        return numba

    monkeypatch.setattr(compiled, "import_module", load)
    compiled.load_librosa.__wrapped__()
    assert loaded == ["numba", *compiled.COMPILED_ON_IMPORT, "librosa"]
    assert "NUMBA_CACHE_DIR" not in os.environ, "another process has its own folder"


def test_what_is_used_of_librosa_compiles_in_these_modules_only() -> None:
    """A function that another module compiled would be compiled without the lock."""
    code = """
import sys
import numba
import numpy as np
from emoser_lib.reporting.figures import one_clip
from emoser_lib.systems.classical.compiled import load_librosa
from emoser_lib.systems.classical.features import acoustic_statistics, log_mel

load_librosa()
outside = []

def watched(make):
    def decorate(*arguments, **keywords):
        outside.append(sys._getframe(1).f_globals["__name__"])
        return make(*arguments, **keywords)
    return decorate

numba.guvectorize, numba.vectorize = watched(numba.guvectorize), watched(numba.vectorize)
sound = np.random.default_rng(0).normal(size=16_000).astype("float32") / 10
acoustic_statistics(sound), log_mel(sound), one_clip(sound)
print(outside)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
