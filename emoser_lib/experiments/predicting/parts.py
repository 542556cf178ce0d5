"""The checkpoints that a system stands on, loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from emoser_lib.systems import qwen_audio
from emoser_lib.systems.declared import Context
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.qwen_audio import QwenAudio
from emoser_lib.systems.reading.llm import LLM, load_llm


@dataclass(frozen=True)
class LoadedParts:
    """Those that a system has: a language model, an encoder, or Qwen-Audio, which is both."""

    of: Mapping[str, LLM | Encoder | QwenAudio]

    @cached_property
    def llm(self) -> LLM:
        """The language model."""
        found = self.of.get("llm") or self.of["audio llm"]
        return found.llm if isinstance(found, QwenAudio) else found  # type: ignore[return-value]

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder."""
        found = self.of.get("encoder") or self.of["audio llm"]
        return found.encoder if isinstance(found, QwenAudio) else found  # type: ignore[return-value]

    def sha256(self, role: str) -> str:
        """Return the sha256 of a checkpoint's weights."""
        return self.encoder.sha256 if role == "encoder" else self.llm.sha256


def load_parts(names: Mapping[str, str], device: str, dtype: str, context: Context) -> LoadedParts:
    """Load checkpoints.

    Args:
        names: role ("llm", "encoder", "audio llm") -> name or folder.
        device, dtype: see `load_llm`.
        context: what an encoder hears besides a clip.

    Raises:
        UsageError: there is no such checkpoint, device or dtype.
        DataError: a checkpoint is not whole.
    """
    loaded: dict[str, LLM | Encoder | QwenAudio] = {}
    for role, name in names.items():
        if role == "llm":
            loaded[role] = load_llm(name, device=device, dtype=dtype)
        elif role == "encoder":
            loaded[role] = load_encoder(name, device=device, dtype=dtype, context=context)
        else:
            loaded[role] = qwen_audio.load(qwen_audio.converted(name), device=device, dtype=dtype, name=name)
    return LoadedParts(loaded)
