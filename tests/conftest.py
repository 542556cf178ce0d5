"""Tests see no settings of the user; a skip names its reason and, in CI, where it should have run, is a failure."""

import json
import os
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from emoser_lib.doctor import find_browser

if TYPE_CHECKING:
    from emoser_lib.systems.hearing.encoders.encoder import Encoder
    from emoser_lib.systems.reading.llm import LLM

ROOT = Path(__file__).parent.parent
"""The repository."""

SETTINGS = ("EMOSER_", "HF_", "HUGGING_FACE_", "TRANSFORMERS_")
"""What the library and those it loads models with read from the environment."""

OF_THE_MACHINE = ("EMOSER_DATA", "EMOSER_FIXTURES", "EMOSER_CACHE")
"""Where things lie, not how things work."""

# Before any test file is read: huggingface_hub looks once, when it is imported.
for _name in [name for name in os.environ if name.startswith(SETTINGS) and name not in OF_THE_MACHINE]:
    del os.environ[_name]

CORPORA = "a user gets them with `emoser corpus fetch emospeech` and `emoser corpus fetch elicited_es`"


def missing_need(item: pytest.Item) -> str | None:
    """Why this test cannot run here, if it cannot."""
    if item.get_closest_marker("needs_data") and not os.environ.get("EMOSER_DATA"):
        return f"needs the real corpora: set EMOSER_DATA to their folder; {CORPORA}"
    if item.get_closest_marker("needs_fixtures") and not os.environ.get("EMOSER_FIXTURES"):
        return "needs outputs of an original implementation, which are not part of the project: set EMOSER_FIXTURES"
    if item.get_closest_marker("needs_browser") and find_browser() is None:
        return "needs Chromium: run `make browser` as root, or `apt-get install chromium`"
    if item.get_closest_marker("needs_pinned"):
        pinned = json.loads((ROOT / "tests/systems/versions.json").read_text())["packages"]
        if any(metadata.version(name) != version for name, version in pinned.items()):
            told = ", ".join(f"{name} {version}" for name, version in pinned.items())
            return f"needs the versions under which its numbers were written ({told}): `make setup` installs them"
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    reason = missing_need(item)
    if reason is None:
        return
    own = {"needs_data": "EMOSER_DATA", "needs_fixtures": "EMOSER_FIXTURES"}
    lent = any(item.get_closest_marker(mark) and name not in os.environ for mark, name in own.items())
    if os.environ.get("CI") and not lent:
        pytest.fail(f"in CI this must run, but it {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


# transformers takes seconds to import, and most tests need none of it.


@pytest.fixture(scope="module")
def llm() -> "LLM":
    """The demo's language model. One a file: a test may leave an adapter's traces in it."""
    from emoser_lib.systems.reading.llm import load_llm

    return load_llm("emoser/demo-gemma")


@pytest.fixture(scope="module")
def encoder() -> "Encoder":
    """The demo's Whisper."""
    from emoser_lib.systems.hearing.encoders.loading import load_encoder

    return load_encoder("emoser/demo-whisper")


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny random encoder by its kind: do not change it, copy it."""
    import torch

    from tests import tiny

    @cache
    def make(kind: str) -> Path:
        folder = tmp_path_factory.mktemp("encoders") / kind
        torch.manual_seed(0)
        tiny.ENCODERS[kind](folder)
        return folder

    return make
