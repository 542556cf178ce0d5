"""What every run asks of a corpus before it starts, worked out once: its clips' lengths, and the count of findings."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping

from pydantic import ValidationError

from emoser_lib.corpora.check import FindingKind, check_and_measure
from emoser_lib.corpora.corpus import Corpus
from emoser_lib.corpora.loaders import cache_home
from emoser_lib.files import write_whole
from emoser_lib.source import code_sha256, file_of, modules_behind
from emoser_lib.values import Immutable


def counts_in_words(findings: Mapping[FindingKind, int]) -> str:
    """Name each kind of finding with its number.

    >>> counts_in_words({FindingKind.SILENT_AUDIO: 2})
    'silent audio (2)'
    """
    return ", ".join(f"{kind} ({number})" for kind, number in findings.items())


class Survey(Immutable):
    """A corpus in short.

    Attributes:
        seconds: by clip id, of what was decoded; clips without audio that can be read are left out.
        findings: kind -> number, in the order of `FindingKind`; those that `check` finds.
        unreadable: by clip id, why its audio cannot be read, where it is there.
    """

    seconds: dict[str, float]
    findings: dict[FindingKind, int]
    unreadable: dict[str, str]

    @property
    def found(self) -> str:
        """The findings in words, empty where there are none: "silent audio (2), duplicate transcription (12)"."""
        return counts_in_words(self.findings)


def survey(corpus: Corpus) -> Survey:
    """Decode each clip of a corpus and count what `check` finds, or read it from disk where the same corpus was seen.

    >>> from emoser_lib.corpora import load_corpus
    >>> survey(load_corpus("demo")).found
    'duplicate transcription (12), duplicate across splits (4)'
    """
    files = [file for module in modules_behind([__name__]) if (file := file_of(module))]
    told = [corpus.sha256, corpus.short_rows, repr(corpus.mapping), code_sha256(files)]
    key = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    path = cache_home() / "surveys" / f"{key}.json"
    try:
        return Survey.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):  # not there yet, or not whole: made again
        pass
    measured = check_and_measure(corpus)
    made = Survey(
        seconds=measured.seconds,
        findings=dict(Counter(finding.kind for finding in measured.findings)),
        unreadable={one.clip: one.message for one in measured.findings if one.kind == FindingKind.UNREADABLE_AUDIO},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, made.model_dump_json() + "\n")
    return made
