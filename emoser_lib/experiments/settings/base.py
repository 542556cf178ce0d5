"""What each chapter can be told, with ranges: the cell after the parameters turns them into one of these."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from emoser_lib.corpora import SOURCES, Corpus, absolute, check_options, load_corpus
from emoser_lib.errors import UsageError, did_you_mean
from emoser_lib.experiments.training.folds import SCHEMES
from emoser_lib.systems.checkpoints.catalogue import CheckpointKind
from emoser_lib.systems.checkpoints.folders import local_checkpoint
from emoser_lib.systems.classical.baselines import BASELINES
from emoser_lib.visible import shortened


def one_of(known: Mapping[str, object] | tuple[str, ...], what: str) -> Any:
    """Make a validator for names: it refuses others, with the nearest known one."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(
                f"there is no {what} '{name}'{did_you_mean(name, list(known))}: known are {', '.join(known)}"
            )
        return name

    return AfterValidator(check)


def known_checkpoint(name: str, kind: CheckpointKind = "llm") -> str:
    """Make a validator for checkpoints: one that is here must be whole, others are downloaded when loaded."""
    try:
        local_checkpoint(name, kind)
    except UsageError as error:
        raise ValueError(str(error).rstrip(".")) from None
    return name


def _device(name: str) -> str:
    """Whether this machine has it, torch says when a model is loaded."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("a device is auto, cpu, cuda, a GPU such as cuda:1, or mps")
    return name


def _results_file(path: str) -> str:
    """A profile may be a stranger's: it writes no other kind of file."""
    if path and not path.endswith(".csv"):
        raise ValueError("a results file has a name that ends with .csv, as results.csv")
    return path


ResultsFile = Annotated[str, AfterValidator(_results_file)]
"""Where predictions are written; empty: none are."""

CorpusName = Annotated[str, one_of(SOURCES, "corpus")]

SchemeName = Annotated[str, one_of(SCHEMES, "fold scheme")]

BaselineName = Annotated[str, one_of(BASELINES, "baseline")]

CheckpointName = Annotated[str, AfterValidator(lambda name: known_checkpoint(name))]

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Settings(BaseModel):
    """Parameters that every chapter has: the corpus and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    trains: ClassVar[bool] = True
    """Whether anything is trained on the corpus."""
    reads: ClassVar[bool] = False
    """Whether the chapter's own systems read transcriptions, whatever the parameters."""
    counts_leaks: ClassVar[bool] = False
    """Whether what videos or speakers give away is counted, on folds that no parameter names."""
    compared: ClassVar[tuple[str, ...]] = ()
    """The baselines that are trained beside the chapter's systems, where no parameter names them."""

    corpus: CorpusName
    corpus_options: dict[str, Any] = Field(default_factory=dict)
    seed: Seed

    @classmethod
    def check(cls, **values: Any) -> Self:
        """Validate a chapter's parameters.

        Raises:
            UsageError: one sentence for the first value that is wrong.

        >>> CorpusSettings.check(corpus="demo", seed=0).corpus
        'demo'
        """
        try:
            settings = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            reason = first["msg"].removeprefix("Value error, ")
            reason = f"{reason[0].lower()}{reason[1:]}"
            given = f"parameter '{name}' is {shortened(first['input'])}" if name else "these parameters"
            raise UsageError(f"{given}: {reason}.") from None
        check_options(settings.corpus, settings.corpus_options)
        return settings

    @classmethod
    def of(cls, variables: Mapping[str, Any]) -> Self:
        """Pick a chapter's parameters out of a notebook's variables, ``globals()``, and `check` them.

        >>> corpus, seed = "demo", 1
        >>> CorpusSettings.of({**globals(), "corpus_options": {}}).seed
        1
        """
        return cls.check(**{name: variables[name] for name in cls.model_fields})

    @staticmethod
    def absolute(values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values with ``corpus_options``' folder and ``predictions``' file absolute, as a kernel works in
        the notebook's folder.

        >>> CorpusSettings.absolute({"seed": 0, "corpus_options": {"root": "/own/../mine"}})
        {'seed': 0, 'corpus_options': {'root': '/mine'}}
        """
        found, options = dict(values), values.get("corpus_options", {})
        if "root" in options:
            found["corpus_options"] = {**options, "root": str(absolute(options["root"]))}
        if found.get("predictions"):
            found["predictions"] = str(absolute(found["predictions"]))
        return found

    def load(self) -> Corpus:
        """Load the corpus that the parameters name."""
        return load_corpus(self.corpus, **self.corpus_options)


class ModelSettings(Settings):
    """Parameters of the chapters that load checkpoints: in which precision, and where they compute."""

    dtype: Literal["float32", "bfloat16"]
    device: Annotated[str, AfterValidator(_device)] = "auto"
    """Records that are older than it do not name it."""

    @property
    def placement(self) -> dict[str, str]:
        """Both, as `load_llm` and the other functions that load take them."""
        return {"device": self.device, "dtype": self.dtype}


def unit_of(scheme: str, held_out: bool) -> str:
    """Return what a bootstrap draws: what the fold scheme deals out, as clips of one speaker or video are alike.

    Args:
        scheme: of the folds.
        held_out: whether what is scored are folds of it; the official test is drawn by clip.

    Returns:
        "speaker", "video", or empty for clips; as `score_table` takes it.

    >>> unit_of("speaker", True), unit_of("paper", True), unit_of("speaker", False)
    ('speaker', '', '')
    """
    return {"paper": "", "session": "speaker"}.get(scheme, scheme) if held_out else ""


class CorpusSettings(Settings):
    """Settings of 01-corpus."""

    trains = False


class ScoringSettings(Settings):
    """Settings of 02-scoring."""

    system: BaselineName
    resamples: int = Field(ge=100, le=100_000)


class ClassicalSettings(Settings):
    """Settings of 03-classical."""

    baselines: list[BaselineName]
    """None named: all of them."""
    scheme: SchemeName
    evaluate: Literal["folds", "test"]
    resamples: int = Field(ge=100, le=100_000)

    @property
    def drawn(self) -> str:
        """What the bootstrap draws, see `unit_of`."""
        return unit_of(self.scheme, self.evaluate == "folds")
