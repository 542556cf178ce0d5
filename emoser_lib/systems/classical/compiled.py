"""Librosa, whose functions numba compiles once a machine and keeps in the cache."""

import functools
import os
from importlib import import_module
from pathlib import Path
from types import ModuleType

from emoser_lib.corpora.loaders import cache_home
from emoser_lib.files import locked

COMPILED_ON_IMPORT = ("librosa.util.utils", "librosa.core.audio", "librosa.core.pitch")
"""Modules that compile what we use when they are imported, some 30 seconds where nothing is kept."""


@functools.cache
def load_librosa() -> ModuleType:
    """Load librosa while no other process compiles it, and return it.

    Two processes that compile at once can leave a kernel and a wrapper of different compilations in numba's cache,
    which then ends every later process with a segmentation fault (https://github.com/numba/numba/issues/10128).

    Raises:
        DataError: the folder of the compiled functions (``$NUMBA_CACHE_DIR``, default ``compiled`` in `cache_home`)
            cannot be written, or has no locks.

    >>> load_librosa().hz_to_midi(440.0).item()
    69.0
    """
    # By default numba keeps them beside librosa or in the home folder, which a compute node may only read. Its setting
    # is written, as the environment's variable counts only where nothing (FunASR does) has imported numba before.
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or cache_home() / "compiled")
    with locked(folder / ".lock"):
        import_module("numba").config.CACHE_DIR = str(folder)
        for module in COMPILED_ON_IMPORT:
            import_module(module)
    return import_module("librosa")
