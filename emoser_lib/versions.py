"""The number of every module whose results are kept: part of the key of cells, of cached frames and of kept answers.

Whoever changes what a module computes raises its number here, by hand; what was kept under the old one is then computed
anew. A change of words, messages or speed leaves it. ``tests/systems/test_versions.py`` runs a tiny training of every
kind: it fails where numbers moved and the key did not.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from emoser_lib.source import modules_behind

VERSIONS: Mapping[str, int] = MappingProxyType(
    {
        "emoser_lib.corpora.altered": 1,
        "emoser_lib.corpora.audio": 1,
        "emoser_lib.systems.declared": 1,
        "emoser_lib.systems.fitting": 1,
        "emoser_lib.systems.reading.label_logits": 2,
        "emoser_lib.systems.reading.llm": 1,
        "emoser_lib.systems.reading.lora": 1,
        "emoser_lib.systems.reading.packed_attention": 1,
        "emoser_lib.systems.reading.packing": 1,
        "emoser_lib.systems.reading.prefix_cache": 1,
        "emoser_lib.systems.reading.text_task": 1,
        "emoser_lib.systems.reading.zero_shot": 1,
        "emoser_lib.systems.hearing.assembly": 1,
        "emoser_lib.systems.hearing.audio_answers": 1,
        "emoser_lib.systems.hearing.audio_llm": 1,
        "emoser_lib.systems.hearing.audio_task": 1,
        "emoser_lib.systems.hearing.bridges": 1,
        "emoser_lib.systems.hearing.encoders.emotion2vec": 1,
        "emoser_lib.systems.hearing.encoders.encoder": 1,
        "emoser_lib.systems.hearing.encoders.wav2vec": 1,
        "emoser_lib.systems.hearing.encoders.whisper": 1,
        "emoser_lib.systems.hearing.encoding": 1,
        "emoser_lib.systems.hearing.feature_cache": 1,
        "emoser_lib.systems.hearing.speaker_normalisation": 1,
        "emoser_lib.systems.qwen_audio.frames": 1,
        "emoser_lib.systems.qwen_audio.model": 1,
        "emoser_lib.experiments.training.audio": 1,
        "emoser_lib.experiments.training.conditions": 1,
        "emoser_lib.experiments.training.qwen_audio": 1,
        "emoser_lib.experiments.training.text": 1,
        "emoser_lib.experiments.training.written": 1,
        "emoser_lib.experiments.training.written_by_qwen": 1,
    }
)


@cache
def versions_behind(*modules: str) -> Mapping[str, int]:
    """Return the numbers of modules and of all that they import, directly or not, by name.

    So a key that names the module that computes holds every module that computes for it, and none can be forgotten.

    Args:
        modules: dotted names, such as ``__name__``.

    >>> versions_behind("emoser_lib.corpora.altered").keys() >= {"emoser_lib.corpora.audio"}
    True
    """
    return {name: VERSIONS[name] for name in modules_behind(modules) if name in VERSIONS}
