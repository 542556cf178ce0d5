"""What the audit takes from the committed records."""

import pandas as pd

from emoser_lib.errors import DataError
from emoser_lib.experiments import published_records
from emoser_lib.experiments.judging.simulations import selection_optimism
from emoser_lib.reporting.audit.audit_tables import GRIDS

AUDIT = "12-audit"

CHOICES = (
    ("rank and alpha of Gemma", "five folds", "nothing else is said", "section 5.1.1"),
    ("rank 32 for the official entry of task 1", "not said", "the folds' best is another rank", "Table 3"),
    ("rank 128 for the score in the abstract", "five folds", "tested after the evaluation had closed", "Table 3"),
    ("Whisper or emotion2vec", "the official test", "only the better one was then tuned", "section 5.1.2"),
    ("batch size and learning rate of Whisper-Gemma", "five folds", "of the encoder that the test chose", "Table 2"),
    ("rank and alpha of Qwen-Audio", "five folds", "they choose rank 64, alpha 1,024", "section 5.1.2"),
    (
        "which Qwen-Audio is the result",
        "the official test",
        "the better of two entries; not the folds' choice",
        "section 5.2",
    ),
)
"""What THAU-UPM chose, on which clips as far as is said, and what follows."""


def paper_choices() -> pd.DataFrame:
    """Tabulate what THAU-UPM chose on which clips."""
    return pd.DataFrame(CHOICES, columns=["choice", "looked at", "note", "place"]).set_index("choice")


def official_test() -> dict[str, int]:
    """Count the clips of each label in the challenge's test, from a committed record that scored it.

    Raises:
        DataError: there is none.
    """
    for record in published_records("04-gemma-zero-shot"):
        if record.parameters["corpus"] == "emospeech" and record.parameters["split"] == "test":
            return {label: int(of["n"]) for label, of in record.metrics["per_label"].items()}
    raise DataError("book/records has no zero-shot run on the test of emospeech: work in a checkout of the project.")


def recorded_noise(draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Tabulate how much recorded scores vary over the folds, and what choosing the best of such systems adds.

    What the folds have in common is not known of them, so half of the variance is taken for it (our choice).
    """
    rows = {}
    for record in published_records():
        for cell in record.metrics.get("grid") or []:
            if cell.get("sd") is not None:
                rows[f"{record.notebook}, {record.run}"] = {
                    "folds": cell["folds"],
                    "mean macro-F1": cell["macro_f1"],
                    "sd": cell["sd"],
                    **{
                        f"best of {cells}": selection_optimism(cell["sd"], 0.5, cells, cell["folds"], draws, seed)
                        for cells in GRIDS
                    },
                }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")
