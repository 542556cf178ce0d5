"""The chapters' tables about corpora, baselines, the papers' numbers and the committed records."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from IPython.display import HTML
from sklearn.feature_extraction.text import CountVectorizer

from emoser_lib.corpora import Corpus, check
from emoser_lib.corpora.describe import Description
from emoser_lib.experiments import Record, paper_interval, published_records
from emoser_lib.systems import BASELINES

TABLE_3 = "thau-table3-"
"""How the ids of the claims of seed 1's Table 3 begin."""


ONE_LINE = 60
"""Characters: a table whose cells are no longer is not wrapped, it scrolls inside its box."""


def splits(description: Description) -> pd.DataFrame:
    """Clips, hours, videos, speakers and labels of every split; what is not known is empty."""
    rows = {
        name: counted.model_dump(exclude={"labels"}) | counted.labels for name, counted in description.splits.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("split")


def shared_by_splits(corpus: Corpus) -> pd.DataFrame:
    """Clips outside the training split that share a video or a transcription with it."""
    frame = corpus.frame
    training, others = frame[frame["split"] == "train"], frame[~frame["split"].isin(["train", ""])]
    rows: dict[str, dict[str, float]] = {}
    for name, rest in others.groupby("split"):
        rows[str(name)] = {"clips": len(rest)}
        for column in ("video", "transcription"):
            shared = rest[column].isin(set(training[column]) - {""})
            rows[str(name)] |= {f"{column} in train": int(shared.sum()), f"share by {column}": float(shared.mean())}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("split")


def findings(corpus: Corpus) -> pd.DataFrame:
    """What `check` finds, counted by kind, with one clip as an example."""
    found = pd.DataFrame([{"finding": f.kind, "example": f.clip, "what": f.message} for f in check(corpus)])
    if found.empty:
        return found
    counted = found.groupby("finding", sort=False)
    return counted.first().drop(columns="what").assign(clips=counted.size())[["clips", "example"]]


def speakers(corpus: Corpus) -> pd.DataFrame:
    """Clips of each speaker by label; empty where the corpus does not know who speaks."""
    rows = corpus.frame[(corpus.frame["speaker"] != "") & (corpus.frame["label"] != "")]
    counts = pd.crosstab(rows["speaker"], rows["label"]).reindex(columns=list(corpus.labels), fill_value=0)
    gender = rows.groupby("speaker")["gender"].first()
    return counts.assign(gender=gender)[["gender", *corpus.labels]] if len(counts) else pd.DataFrame()


def typical_words(corpus: Corpus, n: int = 6) -> pd.DataFrame:
    """The words that set each label's training clips apart from the others.

    Ranked by the log-odds of a clip holding the word, smoothed by one clip; words of one clip are left out.
    """
    rows = corpus.training()
    vectorizer = CountVectorizer(binary=True, min_df=2)
    holds = vectorizer.fit_transform(rows["transcription"]).toarray()
    words, best = vectorizer.get_feature_names_out(), {}
    for label in corpus.labels:
        inside = (rows["label"] == label).to_numpy()
        odds = [
            np.log((part.sum(axis=0) + 1) / (len(part) - part.sum(axis=0) + 1))
            for part in (holds[inside], holds[~inside])
        ]
        best[label] = ", ".join(words[np.argsort(odds[1] - odds[0], kind="stable")[:n]])
    return pd.DataFrame({"typical words": best})


def baselines(names: Iterable[str]) -> pd.DataFrame:
    """What each baseline reads and how it decides."""
    rows = {name: {"reads": BASELINES[name].reads, "what it is": BASELINES[name].summary} for name in names}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("baseline")


def paper_intervals(claims: pd.DataFrame) -> pd.DataFrame:
    """Table 3 of seed 1: the printed ± and the one rebuilt from the score and n = 750."""
    rows = claims[claims.index.str.startswith(TABLE_3)]
    n = int(claims.value["thau-clips-test"])
    rebuilt = [paper_interval(value, n)[1] - value for value in rows["value"]]
    table = pd.DataFrame({"macro-F1": rows["value"], "printed ±": rows["interval"], "rebuilt ±": rebuilt})
    table["difference"] = table["rebuilt ±"] - table["printed ±"]
    table.index = pd.Index(rows["text"].str.split(":").str[0], name="system")
    return table.astype(float)


def paper_scores(claims: pd.DataFrame) -> pd.DataFrame:
    """Table 3 of seed 1 as printed."""
    rows = claims[claims.index.str.startswith(TABLE_3)]
    table = pd.DataFrame(
        {"macro-F1": rows["printed"], "±": rows["interval"].map("{:.4f}".format), "place": rows["place"]}
    )
    table.index = pd.Index(rows["text"].str.split(":").str[0], name="system")
    return table


def recorded_scores(notebook: str) -> pd.DataFrame:
    """Scores by system of a chapter's committed records, with where they come from."""
    rows = [
        {
            "system": system,
            "macro-F1": scored["macro_f1"],
            "low": scored["low"],
            "high": scored["high"],
            "accuracy": scored["accuracy"],
            "n": scored["n"],
            "corpus": record.corpus.name if record.corpus else "",
            "evaluated on": _evaluated_on(record),
        }
        for record in published_records(notebook)
        for system, scored in sorted(record.metrics.get("scores", {}).items(), key=lambda of: -of[1]["macro_f1"])
    ]
    return pd.DataFrame(rows).set_index("system") if rows else pd.DataFrame()


def recorded_intervals(notebook: str) -> pd.DataFrame:
    """Intervals of a chapter's committed records."""
    rows = [
        {"corpus": record.corpus.name, "system": record.parameters["system"], "macro-F1": record.metrics["macro_f1"]}
        | {"interval": name, "low": of["low"], "high": of["high"]}
        for record in published_records(notebook)
        if record.corpus
        for name, of in record.metrics.get("intervals", {}).items()
    ]
    return pd.DataFrame(rows).set_index("corpus") if rows else pd.DataFrame()


def recorded_splits(notebook: str) -> pd.DataFrame:
    """Splits of the corpora that a chapter's committed records describe."""
    rows = [
        {"corpus": record.corpus.name, "split": name, "clips": s["clips"], "hours": s["hours"]} | s["labels"]
        for record in published_records(notebook)
        if record.corpus
        for name, s in record.metrics.get("splits", {}).items()
    ]
    return pd.DataFrame(rows).set_index("corpus") if rows else pd.DataFrame()


def provenance(notebook: str) -> pd.DataFrame:
    """The command, commit, date and machine of a chapter's committed records."""
    rows = [
        {
            "run": record.run,
            "command": record.command,
            "commit": record.commit,
            "date": record.date[:10],
            "seconds": round(record.seconds),
            "machine": f"{record.hardware['cpu']}, {record.hardware['cores']} cores",
        }
        for record in published_records(notebook)
    ]
    return pd.DataFrame(rows).set_index("run") if rows else pd.DataFrame()


def _evaluated_on(record: Record) -> str:
    return "test" if record.parameters["evaluate"] == "test" else f"five folds, scheme {record.parameters['scheme']}"


def show(table: pd.DataFrame | pd.Series, digits: int = 3) -> HTML:
    """A table for a page: rounded, nothing cut off, text escaped, wide ones scroll inside their box.

    Args:
        table: its index becomes the first column, if it has a name or is not just numbers.
        digits: decimal places of fractional columns; whole numbers have none, what is not known is empty.

    >>> "0.50" in show(pd.DataFrame({"F1": [0.5]}, index=["joy"]), digits=2).data
    True
    """
    frame = table.to_frame() if isinstance(table, pd.Series) else table
    if frame.empty:
        return HTML("<p>Nothing to show for this corpus, or nothing recorded yet.</p>")
    longest = max(len(str(cell)) for cell in [*frame.to_numpy().ravel(), *frame.index])
    with pd.option_context("display.max_colwidth", None):
        html = frame.to_html(
            formatters={column: _format_of(frame[column], digits) for column in frame.select_dtypes("number")},
            index=not isinstance(frame.index, pd.RangeIndex),
            index_names=False,
            na_rep="",
            border=0,
            justify="left",
            classes=["table", "emoser-table", *(["emoser-one-line"] if longest <= ONE_LINE else [])],
        )
    return HTML(f"<div class='emoser-table-scroll' tabindex='0' role='region' aria-label='Table'>{html}</div>")


def _format_of(column: pd.Series, digits: int) -> Callable[[object], str]:
    whole = (column.dropna() % 1 == 0).all()
    return ("{:,.0f}" if whole else f"{{:.{digits}f}}").format
