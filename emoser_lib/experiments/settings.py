"""What each chapter can be told, with ranges: the cell after the parameters turns them into one of these."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from emoser_lib.corpora import SOURCES, Corpus, absolute, check_options, load_corpus
from emoser_lib.errors import UsageError, did_you_mean
from emoser_lib.experiments.folds import SCHEMES
from emoser_lib.systems.classical import BASELINES


def _one_of(known: Mapping[str, object] | tuple[str, ...], what: str) -> Any:
    def check(name: str) -> str:
        if name not in known:
            raise ValueError(
                f"there is no {what} '{name}'{did_you_mean(name, list(known))}: known are {', '.join(known)}"
            )
        return name

    return AfterValidator(check)


CorpusName = Annotated[str, _one_of(SOURCES, "corpus")]
SchemeName = Annotated[str, _one_of(SCHEMES, "fold scheme")]
BaselineName = Annotated[str, _one_of(BASELINES, "baseline")]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Settings(BaseModel):
    """Parameters that every chapter has: the corpus and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

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
            raise UsageError(f"parameter '{name}' is {first['input']!r}: {reason[0].lower()}{reason[1:]}.") from None
        check_options(settings.corpus, settings.corpus_options)
        return settings

    @staticmethod
    def absolute(values: Mapping[str, Any]) -> dict[str, Any]:
        """The values with the folder that ``corpus_options`` names absolute: a kernel works in the notebook's folder.

        >>> CorpusSettings.absolute({"seed": 0, "corpus_options": {"root": "/own/../mine"}})
        {'seed': 0, 'corpus_options': {'root': '/mine'}}
        """
        options = values.get("corpus_options", {})
        if "root" not in options:
            return dict(values)
        return {**values, "corpus_options": {**options, "root": str(absolute(options["root"]))}}

    def load(self) -> Corpus:
        """The corpus that the parameters name."""
        return load_corpus(self.corpus, **self.corpus_options)


class CorpusSettings(Settings):
    """01-corpus."""


class ScoringSettings(Settings):
    """02-scoring."""

    system: BaselineName
    resamples: int = Field(ge=100, le=100_000)


class ClassicalSettings(Settings):
    """03-classical."""

    baselines: list[BaselineName]
    """None named: all of them."""
    scheme: SchemeName
    evaluate: Literal["folds", "test"]
    resamples: int = Field(ge=100, le=100_000)


CHAPTERS: dict[str, type[Settings]] = {s.__name__: s for s in (CorpusSettings, ScoringSettings, ClassicalSettings)}
"""By the name in a notebook's metadata, ``emoser.settings``."""
