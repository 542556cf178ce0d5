"""Numbers on prose pages come from committed records, and the clips of the front page are what it says of them."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from emoser_lib.corpora import load_corpus
from emoser_lib.corpora.generation import DEMO_DATA
from emoser_lib.errors import DataError
from emoser_lib.experiments import published_records
from emoser_lib.reporting.book.recorded_numbers import recorded_number
from emoser_lib.reporting.ledger.verdicts import ledger, scores_measured

PUBLISHED = {record.name: record.metrics for record in published_records()}


def test_a_number_is_that_of_the_record() -> None:
    name = "08-whisper-gemma-small-speaker"
    right = PUBLISHED[name]["scores"]["whisper-gemma"]["uar"]
    assert recorded_number(f"{name}: scores/whisper-gemma/uar") == (f"{right:.3f}", f"record {name}")
    voices = PUBLISHED["08-whisper-gemma-small-normalised"]["voices"]
    right = next(row["uar"] for row in voices if (row["heard as"], row["voices"]) == ("mean frame", "new voices"))
    asked = "08-whisper-gemma-small-normalised: voices/heard as=mean frame&voices=new voices/uar"
    assert recorded_number(asked)[0] == f"{right:.3f}"


def test_several_records_become_one_number() -> None:
    names = [name for name in PUBLISHED if name.startswith("04-gemma-zero-shot-small-")]
    scores = [PUBLISHED[name]["macro_f1"] for name in names]
    asked = "04-gemma-zero-shot-small-*: macro_f1"
    assert recorded_number(f"mean {asked}")[0] == f"{sum(scores) / len(scores):.3f}"
    assert recorded_number(f"lowest {asked}")[0] == f"{min(scores):.3f}"
    assert recorded_number(f"highest {asked}")[0] == f"{max(scores):.3f}"
    assert recorded_number(f"runs {asked}") == ("two", ", ".join(names))


def test_a_mean_over_all_names_but_one() -> None:
    f1 = PUBLISHED["05-gemma-lora-small-test"]["per_label"]
    right = sum(of["f1"] for label, of in f1.items() if label != "fear") / (len(f1) - 1)
    assert recorded_number("05-gemma-lora-small-test: per_label/but fear/f1")[0] == f"{right:.3f}"


@pytest.mark.parametrize(
    "asked",
    [
        "05-gemma-lora-small-tset: macro_f1",
        "04-gemma-zero-shot-small-*: macro_f1",
        "median 04-gemma-zero-shot-small-*: macro_f1",
        "05-gemma-lora-small-test: per_label/but surprise/f1",
        "12-audit-small-emospeech: rules",
        "12-audit-small-emospeech: rule/macro_f1",
        "08-whisper-gemma-small-normalised: voices/heard as=nothing/uar",
    ],
)
def test_what_is_not_there_ends_the_build(asked: str) -> None:
    with pytest.raises(DataError):
        recorded_number(asked)


def test_one_clip_is_given_away_by_its_words_and_one_by_its_voice(root: Path) -> None:
    page = (root / "book" / "index.md").read_text()
    by_words, by_voice = re.findall(r"```{clip} (\S+)", page)
    corpus = load_corpus("demo")
    drawn = pd.read_csv(DEMO_DATA / "latents.csv").set_index("id")
    assert {corpus.row(clip)["label"] for clip in (by_words, by_voice)} == {"sadness"}
    assert drawn["cue"][[by_words, by_voice]].tolist() == ["sadness", "neutral"]
    assert drawn["quality"][[by_words, by_voice]].tolist() == ["modal", "breathy"]
    assert abs(drawn["loudness"][by_words]) < abs(drawn["loudness"][by_voice])


@pytest.mark.parametrize("name", ["README.md", "README.es.md"])
def test_the_readme_has_the_front_pages_numbers(root: Path, name: str) -> None:
    front = (root / "book" / "index.md").read_text()
    claims = {claim["id"]: claim["printed"] for claim in yaml.safe_load((root / "book" / "claims.yaml").read_text())}
    shown = [recorded_number(text)[0] for text in re.findall(r"{recorded}`([^`]+)`", front)]
    shown += [claims[claim] for claim in re.findall(r"{claim}`([^`]+)`", front)]
    typed = re.findall(r"\b0\.\d+", (root / name).read_text())
    assert sorted(typed) == sorted(number for number in shown if "." in number)


def test_the_readme_says_how_many_scores_were_measured(root: Path) -> None:
    measured, printed = scores_measured(ledger())
    english = f"Of the {printed} that they print, {measured} were measured again"
    spanish = f"De las {printed} que publican se han medido de nuevo, con sus modelos y datos, {measured}:"
    for name, told in {"README.md": english, "README.es.md": spanish}.items():
        assert told in " ".join((root / name).read_text().split())
