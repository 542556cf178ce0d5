"""How much of what is heard is the voice: known speakers, new ones, and speaker normalisation.

An encoder hears who speaks as well as how. A system that has learnt from few voices may do worse on new ones for that
reason alone.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from sklearn.preprocessing import StandardScaler

from emoser_lib.corpora import Corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments.training.evaluation import predict_by_folds
from emoser_lib.experiments.training.folds import N_FOLDS, check_speakers, folds
from emoser_lib.systems.classical.clips import Clips
from emoser_lib.systems.classical.estimators import baseline
from emoser_lib.systems.hearing.encoding import Hearing
from emoser_lib.systems.hearing.speaker_normalisation import NormalisedFeatures


def normalised(hearing: Hearing, by: str = "speaker") -> Hearing:
    """What was heard, with each speaker's frames at mean 0 and standard deviation 1.

    No label is looked at. But of each speaker other clips are needed, those that are asked about among them; and if
    somebody speaks with one emotion only, it is taken out with the voice.

    Args:
        hearing: from `hear`, of an encoder that stays as it is.
        by: "speaker"; empty: the frames stay as they are.

    Raises:
        UsageError: the encoder is trained.
        DataError: see `check_speakers`.
    """
    if not by:
        return hearing
    if hearing.features is None:
        raise UsageError("the encoder is trained, so its frames do not stay: normalise those of a frozen one.")
    check_speakers(hearing.corpus)
    speaker = hearing.corpus.frame.set_index("id")["speaker"]
    speakers = {key: speaker[clip] for clip, keys in hearing.windows.items() for key in keys}
    return replace(hearing, features=NormalisedFeatures.measure(hearing.features, speakers))


def described(clips: Clips, hearing: Hearing) -> dict[str, np.ndarray]:
    """What the corpus's clips are described by, each [clips, columns] in the order of the corpus.

    Args:
        clips: all of them, with their acoustic statistics.
        hearing: of all of them: each clip's mean frame, of each layer. Not where the encoder is trained.
    """
    found = {"acoustic statistics": np.asarray(clips.audio)}
    if hearing.features is not None:
        means = [
            torch.cat([hearing.features[key] for key in hearing.windows[clip]], dim=1).double().mean(dim=1).flatten()
            for clip in hearing.corpus.frame["id"]
        ]
        found["mean frame"] = torch.stack(means).numpy()
    return found


def without_voice(values: np.ndarray, speakers: pd.Series) -> np.ndarray:
    """Each column at mean 0 and standard deviation 1 over each speaker's rows.

    Args:
        values: [clips, columns].
        speakers: of the clips, in the same order.

    >>> without_voice(np.array([[1.0], [3.0], [10.0], [30.0]]), pd.Series(["a", "a", "b", "b"])).tolist()
    [[-1.0], [1.0], [-1.0], [1.0]]
    """
    alike = np.empty(values.shape)
    for rows in pd.Series(speakers.to_numpy()).groupby(speakers.to_numpy()).indices.values():
        alike[rows] = StandardScaler().fit_transform(values[rows])
    return alike


def by_voice(corpus: Corpus, sources: Mapping[str, np.ndarray], seed: int = 0) -> dict[tuple[str, str], pd.Series]:
    """What the classifier of ``audio-svm`` answers where it knows the voices, where they are new, and without them.

    Args:
        corpus: gives the training labels and the speakers.
        sources: what clips are described by -> [clips, columns], in the order of the corpus.
        seed: of the classifier.

    Returns:
        Source and way -> predicted labels by clip id. "known voices": folds that deal out clips; "new voices": folds
        that deal out speakers; "new voices, normalised": the same, of `without_voice`. Nothing where the corpus does
        not say who speaks, or has fewer speakers than there are folds.
    """
    speakers = corpus.training()["speaker"]
    if (speakers == "").any() or speakers.nunique() < N_FOLDS:
        return {}
    known, new = folds(corpus, "paper"), folds(corpus, "speaker")
    told = {}
    for source, values in sources.items():
        alike = without_voice(values, corpus.frame["speaker"])
        for way, columns, cuts in (
            ("known voices", values, known),
            ("new voices", values, new),
            ("new voices, normalised", alike, new),
        ):
            told[source, way] = predict_by_folds(baseline("audio-svm", seed), corpus, Clips(audio=columns), cuts)
    return told
