"""What videos give away: against a calculation written a second time, on drawn corpora and on the real tables."""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold

from emoser_lib.cli import emoser
from emoser_lib.corpora import LABELS, Corpus, load_corpus
from emoser_lib.corpora.corpus import build_frame
from emoser_lib.errors import DataError
from emoser_lib.experiments import folds
from emoser_lib.reporting.audit.leakage import leakage, video_majority
from emoser_lib.reporting.tables import shared_by_splits

Clip = tuple[str, str]
"""Video and label."""


def by_hand(train: Sequence[Clip], videos: Sequence[str]) -> list[set[str]]:
    """The labels that the rule may give, each video apart; more than one where the rule leaves it open."""

    def most(labels: Sequence[str], among: Sequence[str]) -> set[str]:
        largest = max(labels.count(label) for label in among)
        return {label for label in among if labels.count(label) == largest}

    everything = [label for _, label in train]
    found = []
    for video in videos:
        own = [label for name, label in train if name == video and name]
        best = most(own, sorted(set(own))) if own else set(everything)
        found.append(most(everything, sorted(best)))
    return found


@given(
    train=st.lists(st.tuples(st.sampled_from(["", "v", "w", "x"]), st.sampled_from(LABELS)), min_size=1, max_size=14),
    held=st.lists(st.sampled_from(["", "v", "w", "x", "y"]), min_size=1, max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_the_rule_is_the_videos_most_frequent_training_label(train: list[Clip], held: list[str]) -> None:
    videos = [*(video for video, _ in train), *held]
    frame = build_frame(
        {
            "id": [str(number) for number in range(len(videos))],
            "video": videos,
            "label": [*(label for _, label in train), *["" for _ in held]],
            "split": ["train"] * len(train) + ["test"] * len(held),
        }
    )
    ids = list(frame["id"])
    found = video_majority(Corpus("drawn", frame), ids[: len(train)], ids[len(train) :])
    assert list(found.index) == ids[len(train) :]
    assert all(label in allowed for label, allowed in zip(found, by_hand(train, held), strict=True))


def test_the_demo_leaks_as_its_tables_say_and_its_video_folds_do_not() -> None:
    demo = load_corpus("demo")
    found = leakage(demo)
    assert found.test is not None
    assert found.test.clips_sharing_video == shared_by_splits(demo).loc["test", "video in train"]
    assert [one.share for one in found.folds["video"]] == [0.0] * 5
    assert all(one.share > 0.3 for one in found.folds["paper"])
    paper, video = ([one.macro_f1 for one in found.folds[scheme]] for scheme in ("paper", "video"))
    assert min(paper) > max(video)


def test_only_the_given_clips_are_learnt_from() -> None:
    """The validation part of a fold is training data of the corpus; the rule must not see its labels."""
    demo = load_corpus("demo")
    cut = folds(demo, "video")[0]
    assert video_majority(demo, cut.train, cut.validation).nunique() == 1


def test_without_videos_speakers_are_counted_and_without_both_nothing_leaks(tmp_path: Path) -> None:
    """Each speaker has one label only, so whoever knows the speaker knows it, unless whole speakers are held out."""
    table = pd.DataFrame({"label": ["joy"] * 12 + ["fear"] * 12, "speaker": [f"s{n // 6}" for n in range(24)]})
    table.insert(0, "audio", [f"{n}.wav" for n in range(24)])
    table.assign(video=["v"] * 12 + [""] * 12).to_csv(tmp_path / "metadata.csv", index=False)
    found = leakage(load_corpus("folder", root=tmp_path))
    assert (found.unit, list(found.folds)) == ("speaker", ["paper", "speaker"])
    assert all((one.share, one.macro_f1) == (1, 1) for one in found.folds["paper"])
    assert all(one.share == 0 for one in found.folds["speaker"])
    done = CliRunner().invoke(emoser, ["audit", "leakage", "--corpus", "folder", "--root", str(tmp_path), "--json"])
    assert json.loads(done.output)["unit"] == "speaker"

    table.drop(columns="speaker").to_csv(tmp_path / "metadata.csv", index=False)
    nothing = leakage(load_corpus("folder", root=tmp_path))
    assert (nothing.unit, list(nothing.folds)) == ("id", ["paper"])
    assert all(one.share == 0 and one.macro_f1 < 0.5 for one in nothing.folds["paper"])
    refused = CliRunner().invoke(emoser, ["audit", "leakage", "--corpus", "folder", "--root", str(tmp_path)])
    assert "fill the column video or speaker (--column speaker=" in str(refused.exception)


def test_a_corpus_without_a_test_split_has_folds_only() -> None:
    rows = 30
    frame = build_frame(
        {
            "id": [str(n) for n in range(rows)],
            "label": [LABELS[n % 3] for n in range(rows)],
            "video": [f"v{n % 10}" for n in range(rows)],
        }
    )
    found = leakage(Corpus("mine", frame))
    assert found.test is None
    assert len(found.folds["paper"]) == len(found.folds["video"]) == 5


def rows_of(path: Path) -> list[Mapping[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.needs_data
def test_the_real_tables_read_and_counted_a_second_time() -> None:
    """Nothing of the library but the command: csv, dictionaries, scikit-learn."""
    folder = Path(os.environ["EMOSER_DATA"]) / "meacorpus"
    public = rows_of(folder / "spanish-meacorpus-2023-dataset.csv")
    keys = rows_of(folder / "dataset-with-video-keys.csv")
    video = {one["filename"]: two["youtube_key"] for one, two in zip(public, keys, strict=True)}
    label = {one["filename"]: one["label"] for one in public}
    train = [row["id"] for row in rows_of(folder / "EmoSPeech_phase_2_train.csv")]
    test = [row["id"] for row in rows_of(folder / "EmoSPeech_phase_2_test_public.csv")]

    def rule(learnt: Sequence[str], asked: Sequence[str]) -> list[str]:
        totals: dict[str, int] = defaultdict(int)
        counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for clip in learnt:
            totals[label[clip]] += 1
            counts[video[clip]][label[clip]] += 1
        return [
            max(counts[video[clip]] or totals, key=lambda one: (counts[video[clip]].get(one, 0), totals[one]))
            for clip in asked
        ]

    def macro(asked: Sequence[str], said: Sequence[str]) -> float:
        return f1_score([label[clip] for clip in asked], said, labels=LABELS, average="macro", zero_division=0)

    done = CliRunner().invoke(emoser, ["audit", "leakage", "--corpus", "emospeech", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    said, seen = rule(train, test), {video[clip] for clip in train}
    assert found["test"]["clips"] == 750
    assert found["test"]["clips_sharing_video"] == sum(video[clip] in seen for clip in test)
    scores = found["test"]["video_majority"]
    assert scores["macro_f1"] == pytest.approx(macro(test, said))
    assert scores["accuracy"] == pytest.approx(accuracy_score([label[clip] for clip in test], said))
    assert list(scores["per_class"]) == list(LABELS)
    assert scores["per_class"]["fear"]["n"] == 6
    cuts = StratifiedKFold(5, shuffle=True, random_state=42).split(train, [label[clip] for clip in train])
    for (learnt, held), fold in zip(cuts, found["folds"]["paper"], strict=True):
        known, asked = [train[i] for i in learnt], [train[i] for i in held]
        videos = {video[clip] for clip in known}
        assert fold["share"] == pytest.approx(sum(video[clip] in videos for clip in asked) / len(asked))
        assert fold["macro_f1"] == pytest.approx(macro(asked, rule(known, asked)))
    assert [fold["share"] for fold in found["folds"]["video"]] == [0.0] * 5


def test_without_the_corpus_the_command_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSER_DATA", str(tmp_path))
    done = CliRunner().invoke(emoser, ["audit", "leakage"])
    assert isinstance(done.exception, DataError)
    assert "emoser corpus fetch emospeech" in str(done.exception)


def test_the_command_tells_it_in_sentences_too() -> None:
    done = CliRunner().invoke(emoser, ["audit", "leakage", "--corpus", "demo"])
    assert done.exit_code == 0
    assert "52 of 100 clips share a video" in done.output
