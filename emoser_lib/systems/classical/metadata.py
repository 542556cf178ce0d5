"""Systems that neither read nor hear: what is known about a clip, without the clip."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from emoser_lib.corpora import Corpus, clip_seconds

METADATA: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gender": ("gender",),
        "clips of the video": ("clips",),
        "length": ("seconds", "words"),
        "all three": ("gender", "clips", "seconds", "words"),
    }
)
"""What is known -> the columns of `metadata` that say it."""


def metadata(corpus: Corpus) -> pd.DataFrame:
    """Tabulate what is known about each clip besides its words and its sound.

    Returns:
        By id: gender; clips, how many the clip's video gives to the whole corpus (0: video not known); seconds (0: not
        known); words, how many its transcription has.
    """
    frame = corpus.frame.set_index("id")
    seconds = clip_seconds(corpus)
    return pd.DataFrame(
        {
            "gender": frame["gender"],
            "clips": frame["video"].map(frame["video"][frame["video"] != ""].value_counts()).fillna(0).astype(int),
            "seconds": [0.0] * len(frame) if seconds is None else seconds,
            "words": [len(text.split()) for text in frame["transcription"]],
        },
        index=frame.index,
    )


def metadata_forest(columns: Sequence[str], random_state: int = 0) -> Pipeline:
    """Build an unfitted random forest on some columns of `metadata`; labels weigh the same (all our choice)."""
    others = [column for column in columns if column != "gender"]
    named = [column for column in columns if column == "gender"]
    return make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), named), ("passthrough", others)),
        RandomForestClassifier(200, min_samples_leaf=5, class_weight="balanced", random_state=random_state),
    )


def known_metadata(corpus: Corpus) -> tuple[str, ...]:
    """List which of `METADATA` the corpus knows of at least one training clip.

    >>> from emoser_lib.corpora import load_corpus
    >>> known_metadata(load_corpus("demo"))
    ('gender', 'clips of the video', 'length', 'all three')
    """
    table = metadata(corpus).loc[corpus.training()["id"]]
    return tuple(name for name, columns in METADATA.items() if not table[list(columns)].isin(["", 0]).all(axis=None))


def predict_from_metadata(
    corpus: Corpus, known: str, train: Sequence[str], held_out: Sequence[str], random_state: int = 0
) -> pd.Series:
    """Predict labels of held-out clips by id, from what is known about them alone.

    Args:
        corpus: has the clips.
        known: one of `known_metadata`.
        train, held_out: ids.
        random_state: of the forest.

    >>> from emoser_lib.corpora import load_corpus
    >>> demo = load_corpus("demo")
    >>> ids = list(demo.training()["id"])
    >>> predict_from_metadata(demo, "length", ids[:300], ids[300:]).isin(demo.labels).all().item()
    True
    """
    table = metadata(corpus)[list(METADATA[known])]
    labels = corpus.training().set_index("id")["label"].loc[list(train)]
    forest = metadata_forest(METADATA[known], random_state).fit(table.loc[list(train)], labels)
    return pd.Series(forest.predict(table.loc[list(held_out)]), index=pd.Index(held_out, name="id"), name="predicted")
