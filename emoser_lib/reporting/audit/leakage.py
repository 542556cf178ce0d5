"""What the training clips give away of the clips that are scored, before any model: their videos."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from emoser_lib.corpora import Corpus
from emoser_lib.experiments import Fold, folds
from emoser_lib.experiments.judging.scoring import LabelScore
from emoser_lib.experiments.training.folds import alike_by, most_folds
from emoser_lib.reporting.scores import score_on, shares_video
from emoser_lib.values import Immutable


class VideoMajority(Immutable):
    """Scores of the rule without a model, see `video_majority`.

    Attributes:
        macro_f1, accuracy: over the corpus's label set, see `scoring.Score`.
        per_class: scores of each label.
    """

    macro_f1: float
    accuracy: float
    per_class: dict[str, LabelScore]


class TestLeakage(Immutable):
    """Leakage of the test split.

    Attributes:
        clips: of it.
        clips_sharing_video: those whose video gives training clips too.
        video_majority: what the rule scores on it, having seen all training clips.
    """

    __test__ = False  # for pytest the name looks like one

    clips: int
    clips_sharing_video: int
    video_majority: VideoMajority


class FoldLeakage(Immutable):
    """Leakage of one fold.

    Attributes:
        share: fraction of its validation clips whose video is in its training part.
        macro_f1: of the rule on its validation clips.
    """

    share: float
    macro_f1: float


class Leakage(Immutable):
    """Leakage of a corpus, see `leakage`.

    Attributes:
        unit: what is counted: "video", or what stands for it, see `alike_by`.
        test: the test split; ``None`` where there is none.
        folds: scheme -> its folds: ``paper``, that of the unit, and ``speaker`` where it is known who speaks.
    """

    unit: str = "video"

    test: TestLeakage | None
    folds: dict[str, tuple[FoldLeakage, ...]]


def majority(labels: Sequence[str], counts: Counter[str], order: Sequence[str]) -> str:
    """Return the most frequent label; ties go to the one more frequent in ``counts``, then to the first in ``order``.

    >>> majority(["joy", "fear", "fear", "joy"], Counter(joy=2, fear=9), ["joy", "fear"])
    'fear'
    """
    own = Counter(labels)
    return max(own, key=lambda label: (own[label], counts[label], -list(order).index(label)))


def video_majority(corpus: Corpus, train: Sequence[str], held_out: Sequence[str], unit: str = "video") -> pd.Series:
    """Predict the most frequent training label of the clip's video: a rule that neither reads nor hears.

    A clip whose video gives no training clip gets the most frequent label of all training clips. Ties go to the label
    more frequent in that training part.

    Args:
        corpus: knows the videos.
        train: ids of the training clips.
        held_out: ids of the clips to label.
        unit: "speaker" or "id" where videos are not known, see `alike_by`.

    Returns:
        A label for each held-out clip, by id.
    """
    rows = corpus.training().set_index("id", drop=False).loc[list(train)]
    counts = Counter(rows["label"])
    by_video = {
        video: majority(list(some), counts, corpus.labels)
        for video, some in rows.groupby(rows[unit].to_numpy())["label"]
        if video
    }
    most = majority(list(rows["label"]), counts, corpus.labels)
    videos = corpus.frame.set_index("id", drop=False)[unit].loc[list(held_out)]
    return pd.Series([by_video.get(video, most) for video in videos], index=videos.index, name="label")


def leakage(corpus: Corpus) -> Leakage:
    """Measure how much of test split and folds can be told from the training clips' videos alone.

    Where a corpus does not know its videos, its speakers are counted in their place; where it knows neither, each clip
    stands for itself, nothing is shared, and the rule is the majority.
    """
    unit = alike_by(corpus)
    speaks = (corpus.training()["speaker"] != "").all() and most_folds(corpus, "speaker") > 1
    schemes = dict.fromkeys(("paper", *((unit,) if unit != "id" else ()), *(("speaker",) if speaks else ())))
    return Leakage(
        unit=unit,
        test=_test(corpus, unit),
        folds={scheme: tuple(_fold(corpus, cut, unit) for cut in folds(corpus, scheme)) for scheme in schemes},
    )


def _test(corpus: Corpus, unit: str) -> TestLeakage | None:
    ids, train = list(corpus.labelled_test()["id"]), list(corpus.training()["id"])
    if not ids:
        return None
    scored = score_on(corpus, video_majority(corpus, train, ids, unit))
    return TestLeakage(
        clips=len(ids),
        clips_sharing_video=int(shares_video(corpus, train, ids, unit).sum()),
        video_majority=VideoMajority(
            macro_f1=scored.macro_f1, accuracy=scored.accuracy, per_class=dict(scored.per_class)
        ),
    )


def _fold(corpus: Corpus, cut: Fold, unit: str) -> FoldLeakage:
    return FoldLeakage(
        share=float(shares_video(corpus, cut.train, cut.validation, unit).mean()),
        macro_f1=score_on(corpus, video_majority(corpus, cut.train, cut.validation, unit)).macro_f1,
    )
