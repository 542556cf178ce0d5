"""A system on disk: ``system.json``, which says what it is, and beside it the files of what was trained.

A run keeps its systems so, and an exported folder is the same with a card: both are opened by the same code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from pydantic import Field, TypeAdapter, ValidationError

from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.records import Checkpoint, CorpusUsed
from emoser_lib.systems.declared import AudioSystem, Bridge, Context, Linear, Own, Queries, TextSystem
from emoser_lib.systems.prompts.audio import audio_prompt
from emoser_lib.systems.prompts.text import Prompt, prompt_named
from emoser_lib.values import Immutable

SYSTEM_FILE = "system.json"

BRIDGE_WEIGHTS = "bridge.safetensors"
"""What was trained outside the language model: projector or mapper, and what of the encoder was trained."""

CLASSICAL_FILE = "classifier.skops"

BRIDGES: Mapping[str, type[Bridge]] = MappingProxyType({kind.__name__: kind for kind in (Linear, Queries, Own)})


class Execution(Protocol):
    """What is asked of the execution that a system is from: a `Record`, or one that still goes on."""

    @property
    def notebook(self) -> str: ...

    @property
    def key(self) -> str: ...

    @property
    def date(self) -> str: ...

    @property
    def corpus(self) -> CorpusUsed | None: ...

    @property
    def checkpoints(self) -> Sequence[Checkpoint]: ...

    @property
    def metrics(self) -> Mapping[str, Any]: ...


class UsedCheckpoint(Immutable):
    """A checkpoint that a system stands on; other bytes are another model.

    Attributes:
        role: which part it is.
        name: as the run named it.
        sha256: of its weights.
        licence: short name; empty where unknown.
    """

    role: Literal["llm", "encoder", "audio llm"]
    name: str
    sha256: str
    licence: str


class KeptSystem(Immutable):
    """What ``system.json`` says. It holds no transcription, no file name and no speaker.

    Attributes:
        name: of the system, as the record's scores call it.
        chapter, run, recorded: the notebook, the run's key, and the date of its record.
        kind: "text" reads, "audio" hears, "classical" is a scikit-learn estimator.
        declared: the declaration's fields; of a baseline its name.
        trained: whether there are files of what was trained; without, it is the base model as it is.
        calibrated: contextual calibration, see `calibrated`.
        labels, words: the words that stand for them; none in a classical system.
        prompt: its text.
        hears, reads: what it needs of a clip.
        context: what the encoder hears besides a clip.
        dtype: of the checkpoints.
        checkpoints: those it stands on.
        corpus: what it learnt from; `corpus_licence` is that of its clips.
        clips: how many of them it learnt from.
        judged: on which clips the scores were measured.
        scores: those of the record, with their intervals.
        versions: of the packages.
    """

    schema_version: Literal[1] = 1
    name: str
    chapter: str
    run: str
    recorded: str
    kind: Literal["text", "audio", "classical"]
    declared: dict[str, Any]
    trained: bool
    calibrated: bool = False
    labels: tuple[str, ...]
    words: dict[str, str] = Field(default_factory=dict)
    prompt: str = ""
    hears: bool
    reads: bool
    context: Context = "clip"
    dtype: str = "float32"
    checkpoints: tuple[UsedCheckpoint, ...] = ()
    corpus: CorpusUsed
    corpus_licence: str
    clips: int
    judged: str
    scores: dict[str, float | None]
    versions: dict[str, str]

    def checkpoint(self, role: str) -> UsedCheckpoint:
        """Return the checkpoint of a role."""
        return next(one for one in self.checkpoints if one.role == role)

    @property
    def text_system(self) -> TextSystem:
        """The declaration of a system that reads."""
        return TypeAdapter(TextSystem).validate_python(self.declared)

    @property
    def audio_system(self) -> AudioSystem:
        """The declaration of a system that hears."""
        bridge = dict(self.declared["bridge"])
        made = BRIDGES[bridge.pop("type")](**bridge)
        return TypeAdapter(AudioSystem).validate_python({**self.declared, "bridge": made})


def declared_fields(system: TextSystem | AudioSystem) -> dict[str, Any]:
    """Return a declaration's fields as JSON can write them.

    >>> declared_fields(AudioSystem())["bridge"]
    {'stack': 1, 'pool': 1, 'type': 'Linear'}
    """
    found = asdict(system)
    if isinstance(system, AudioSystem):
        found["bridge"]["type"] = type(system.bridge).__name__
    return found


def prompt_of(system: TextSystem | AudioSystem) -> Prompt:
    """Return the prompt that a declaration names."""
    return (audio_prompt if isinstance(system, AudioSystem) else prompt_named)(system.prompt)


def read_kept(folder: Path) -> KeptSystem:
    """Read what a folder says of its system.

    Raises:
        DataError: its ``system.json`` is missing or damaged, or was written for other prompts than this version has.
    """
    path = folder / SYSTEM_FILE
    try:
        kept = KeptSystem.model_validate_json(path.read_text(encoding="utf-8"))
        declared = None if kept.kind == "classical" else getattr(kept, f"{kept.kind}_system")
    except FileNotFoundError:
        raise DataError(f"{path} is not there: export the system again.") from None
    except (ValidationError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged ({str(error).splitlines()[0]}): export the system again.") from None
    if declared is not None and prompt_of(declared).listing(kept.words).template != kept.prompt:
        raise DataError(f"{path} has another prompt than this version of emoser: use the version that wrote it.")
    return kept
