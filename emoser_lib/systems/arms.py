"""Published, released, corrected: where the paper and the authors' code disagree, as data.

Source of what was released: GitHub ``jaimebs2/IberLEF_2024_SER`` at commit c806a13, read for its facts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from emoser_lib.errors import UsageError, did_you_mean

Arm = Literal["published", "released", "corrected"]

ARMS: tuple[Arm, ...] = ("published", "released", "corrected")


@dataclass(frozen=True)
class ArmDifference:
    """One thing that the arms do differently.

    Attributes:
        what: in a few words.
        published, released, corrected: what each does.
        source: of the published and the released way.
        reason: for the corrected one.
        values: parameter -> its value in each arm, in the order of `ARMS`; empty where it is told but not run.
    """

    what: str
    published: str
    released: str
    corrected: str
    source: str
    reason: str
    values: Mapping[str, tuple[Any, Any, Any]]


def _difference(what: str, ways: tuple[str, str, str], source: str, reason: str, **values: Any) -> ArmDifference:
    return ArmDifference(what, *ways, source, reason, MappingProxyType(values))


_LOSS = _difference(
    "weights of the labels",
    (
        "weighted cross-entropy; which weights, it does not say",
        "N / n of the label, a batch divided by the sum of its weights",
        "N / n / number of labels, a batch divided by its number of clips",
    ),
    "paper: section 3.3; code: alm.py, CrossEntropyLoss(weight)",
    "divided by its own weights, a batch of one label is not weighted at all, and one clip of fear is nearly the whole "
    "of its batch",
    weights=("inverse", "inverse", "normalised"),
    mean=("weights", "weights", "clips"),
)

_OPTIMISER = _difference(
    "optimiser",
    (
        "batch size and learning rate only (Table 2)",
        "AdamW with betas .9 and .98, epsilon 1e-5, weight decay .01 on all that is trained; the rate falls to a tenth "
        "in 5 epochs, once an epoch; 8 epochs at most; gradients of any size",
        "Adam with a rate that falls to 0 and gradients of norm 1 at most, as for the paper's other systems",
    ),
    "paper: section 4.2 and Table 2; code: config.json, alm.py, train.py (its Trainer is not told to clip)",
    "one schedule for all systems, and no more choices than needed",
    betas=((0.9, 0.999), (0.9, 0.98), (0.9, 0.999)),
    epsilon=(1e-8, 1e-5, 1e-8),
    weight_decay=(0.0, 0.01, 0.0),
    final_rate=(0.0, 0.1, 0.0),
    decay_epochs=(0, 5, 0),
    by_epoch=(False, True, False),
    clip=(1.0, 0.0, 1.0),
)

_ORDER = _difference(
    "order of the training clips",
    ("not said", "the same in each epoch: not shuffled", "drawn anew each epoch"),
    "code: config.json, shuffle",
    "the usual way; neighbours in the file then do not always share a batch",
    shuffle=(True, False, True),
)

_EPOCH = _difference(
    "which epoch is reported",
    ("not said", "the best of the fold that is reported, looked at each half epoch", "the last"),
    "code: train.py, EarlyStopping on val/f1",
    "a maximum over looks at the same clips is too high",
)

_CLASS_WORDS = _difference(
    "words of the labels",
    ("each emotion's token; which, it does not say", "neutral, disgust, angry, happy, sad, fear", "the same"),
    "paper: section 3.3; code: alm.py, space_indices (an older file gives joy and fear the same token)",
    "six tokens, no two the same: the verbaliser makes sure",
)

_DEVICES = _difference(
    "devices",
    (
        "one GPU of 40 GB",
        "two GPUs in half precision; the batch size is that of each",
        "one device; the batch size is an update's",
    ),
    "paper: section 4.2; code: train.py, devices and precision",
    "a batch size should mean one thing",
)

_FOLD_SCORE = _difference(
    "score of a fold",
    ("macro-F1 of the fold", "the mean of macro-F1 of its two halves, one a GPU", "macro-F1 of the fold"),
    "code: train.py, two devices, sync_dist",
    "macro-F1 is not a mean over clips: halves give another number",
)

DIFFERENCES: Mapping[str, Sequence[ArmDifference]] = MappingProxyType(
    {
        "whisper-gemma": (
            _difference(
                "Whisper encoder",
                ("frozen", "trained along", "frozen, run once a clip"),
                "paper: section 3.3; code: run.py puts the encoder among the trained layers by default",
                "the paper's claim is a small trained part; the frames are then constants",
                encoding=("cached", "trained", "cached"),
            ),
            _difference(
                "what the encoder hears",
                ("not said", "the batch: clips cut to the longest of it, padding unmasked", "the clip, no padding"),
                "code: alm.py, _pad_audio and an attention mask of ones",
                "a clip's frames should not depend on its neighbours",
                context=("clip", "batch", "clip"),
            ),
            _CLASS_WORDS,
            _LOSS,
            _OPTIMISER,
            _ORDER,
            _EPOCH,
            _FOLD_SCORE,
            _DEVICES,
        ),
        "emotion2vec-gemma": (
            _difference(
                "padding mask",
                (
                    "not said",
                    "inverted: true where there is sound, and the model takes true for padding",
                    "none needed",
                ),
                "code: data_module.py and FunASR's Emotion2vec",
                "the clips are encoded one by one",
                encoding=("cached", "live", "cached"),
                context=("clip", "batch", "clip"),
            ),
            _difference(
                "normalisation of the waveform",
                ("not said", "over the padded batch", "over the clip"),
                "code: emotion2vec.py, layer_norm(input, input.shape)",
                "emotion2vec was trained on normalised clips",
            ),
            _CLASS_WORDS,
            _LOSS,
            _OPTIMISER,
            _ORDER,
            _EPOCH,
            _FOLD_SCORE,
            _DEVICES,
        ),
    }
)
"""By system, what its arms do differently. The published arm follows the paper, and where that is silent, us."""


def arm_values(system: str, arm: str) -> dict[str, Any]:
    """Parameter -> value of one arm.

    Raises:
        UsageError: there is no such arm.

    >>> arm_values("whisper-gemma", "released")["encoding"]
    'trained'
    """
    if arm not in ARMS:
        raise UsageError(f"There is no arm '{arm}'{did_you_mean(arm, list(ARMS))}: use one of {', '.join(ARMS)}.")
    which = ARMS.index(arm)
    return {name: of[which] for difference in DIFFERENCES[system] for name, of in difference.values.items()}


def single_differences(system: str) -> list[tuple[str, Arm, dict[str, Any]]]:
    """Every way in which the released or the corrected arm differs from the published one, alone.

    Returns:
        What it is, the arm, and parameter -> its value there. Differences that are told and not run are left out.

    >>> [(what, arm) for what, arm, _ in single_differences("emotion2vec-gemma")][:2]
    [('padding mask', 'released'), ('weights of the labels', 'corrected')]
    """
    return [
        (difference.what, arm, {name: of[which] for name, of in difference.values.items()})
        for difference in DIFFERENCES[system]
        for which, arm in enumerate(ARMS)
        if any(of[which] != of[0] for of in difference.values.values())
    ]


def arms_table(system: str) -> pd.DataFrame:
    """What the arms of a system do differently, one row a difference, with sources and reasons."""
    rows = [
        {"what": d.what, **{arm: getattr(d, arm) for arm in ARMS}, "source": d.source, "why corrected": d.reason}
        for d in DIFFERENCES[system]
    ]
    return pd.DataFrame(rows).set_index("what")
