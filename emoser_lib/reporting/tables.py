"""The chapters' tables about corpora, baselines, the papers' numbers and the committed records."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from IPython.display import HTML
from sklearn.feature_extraction.text import CountVectorizer

from emoser_lib.corpora import LABELS, Corpus, check, clip_seconds
from emoser_lib.corpora.describe import Description
from emoser_lib.experiments import Record, paper_interval, published_records
from emoser_lib.experiments.runs.records import NOT_RECORDED
from emoser_lib.systems.classical.baselines import BASELINES

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


def lengths(corpus: Corpus) -> pd.DataFrame:
    """Mean, median and longest of the clips' seconds and words; what the corpus does not know is left out."""
    words = [len(text.split()) for text in corpus.frame["transcription"] if text]
    rows = {
        name: {"mean": np.mean(n), "median": np.median(n), "longest": np.max(n)}
        for name, n in (("seconds", clip_seconds(corpus)), ("words", words))
        if n
    }
    return pd.DataFrame(rows).T.astype(float)


def shared_by_splits(corpus: Corpus) -> pd.DataFrame:
    """Clips outside the training split that share a video or, word for word, a transcription with it.

    A column that the corpus does not know is left out.
    """
    frame = corpus.frame
    training, others = frame[frame["split"] == "train"], frame[~frame["split"].isin(["train", ""])]
    rows: dict[str, dict[str, float]] = {}
    for name, rest in others.groupby("split"):
        rows[str(name)] = {"clips": len(rest)}
        for column in (c for c in ("video", "transcription") if (frame[c] != "").any()):
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

    Ranked by the odds ratio of a clip holding the word, smoothed by one clip; words of one clip are left out.
    """
    rows = corpus.training()
    words_of, clips = CountVectorizer().build_analyzer(), rows["label"].value_counts()
    words = rows.set_index("label")["transcription"].map(lambda text: sorted(set(words_of(text)))).explode().dropna()
    holding = pd.crosstab(words, words.index)
    holding = holding[holding.sum(axis=1) > 1].reindex(columns=list(corpus.labels), fill_value=0)
    best = {}
    for label in corpus.labels:
        inside, outside = holding[label], holding.sum(axis=1) - holding[label]
        odds = (inside + 1) / (clips.get(label, 0) - inside + 1)
        elsewhere = (outside + 1) / (len(rows) - clips.get(label, 0) - outside + 1)
        best[label] = ", ".join((odds / elsewhere).sort_values(ascending=False, kind="stable").index[:n])
    return pd.DataFrame({"typical words": best}) if len(holding) else pd.DataFrame()


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
    table.index = _systems(rows)
    return table.astype(float)


def paper_scores(claims: pd.DataFrame) -> pd.DataFrame:
    """Table 3 of seed 1 as printed."""
    rows = claims[claims.index.str.startswith(TABLE_3)]
    table = pd.DataFrame(
        {"macro-F1": rows["printed"], "±": rows["interval"].map("{:.4f}".format), "place": rows["place"]}
    )
    table.index = _systems(rows)
    return table


def recorded_scores(notebook: str) -> pd.DataFrame:
    """Scores by system of a chapter's committed records, with where they come from."""
    rows = [
        {
            "system": system,
            "run": record.run,
            "macro-F1": scored["macro_f1"],
            "low": scored["low"],
            "high": scored["high"],
            "UAR": scored["uar"],
            "UAR low": scored.get("uar_low"),
            "UAR high": scored.get("uar_high"),
            "accuracy": scored["accuracy"],
            "n": scored["n"],
            "evaluated on": evaluated_on(record),
        }
        for record in published_records(notebook)
        for system, scored in sorted(record.metrics.get("scores", {}).items(), key=lambda of: -of[1]["macro_f1"])
    ]
    # A test before the folds that chose for it, and what was scored on more clips before what was on fewer.
    rows.sort(key=lambda row: (row["evaluated on"].endswith("test"), row["n"]), reverse=True)
    table = pd.DataFrame(rows).set_index("system") if rows else pd.DataFrame()
    return table.dropna(axis=1, how="all")  # older records have no interval of the UAR


def recorded_swings(notebook: str) -> pd.DataFrame:
    """What the rarest label alone can do to macro-F1, from a chapter's committed records."""
    rows = [
        {
            "corpus": record.corpus.name,
            "system": record.parameters["system"],
            "macro-F1": record.metrics["macro_f1"],
            "rarest label": record.metrics["rarest"],
            "its clips": record.metrics["rarest_n"],
            "none to all right": record.metrics["rarest_swing"],
        }
        for record in published_records(notebook)
        if record.corpus and "rarest_swing" in record.metrics
    ]
    return pd.DataFrame(rows).set_index("corpus") if rows else pd.DataFrame()


def recorded_intervals(notebook: str) -> pd.DataFrame:
    """Intervals of a chapter's committed records, the widest first."""
    rows = [
        {"corpus": record.corpus.name, "interval": name, "low": of["low"], "high": of["high"], "width": of["width"]}
        for record in published_records(notebook)
        if record.corpus
        for name, of in sorted(record.metrics.get("intervals", {}).items(), key=lambda named: -named[1]["width"])
    ]
    return pd.DataFrame(rows).set_index("corpus") if rows else pd.DataFrame()


def recorded_schemes(notebook: str) -> pd.DataFrame:
    """Scores by fold scheme of a chapter's committed records."""
    rows = [
        {"corpus": record.corpus.name, "scheme": name} | of
        for record in published_records(notebook)
        if record.corpus
        for name, of in record.metrics.get("schemes", {}).items()
    ]
    columns = ["corpus", "scheme", "macro_f1", "fold_mean", "fold_sd"]  # what follows is only where videos are known
    return pd.DataFrame(rows, columns=[*columns, "shares_video"]).set_index("corpus")


def recorded_splits(notebook: str) -> pd.DataFrame:
    """Splits of the corpora that a chapter's committed records describe."""
    rows = [
        {"corpus": record.corpus.name, "split": name, "clips": s["clips"], "hours": s["hours"]}
        | {label: s["labels"][label] for label in LABELS if label in s["labels"]}
        | {"video in train": record.metrics.get("shared", {}).get(name, {}).get("video in train")}
        for record in published_records(notebook)
        if record.corpus
        for name, s in sorted(record.metrics.get("splits", {}).items(), reverse=True)
    ]
    return pd.DataFrame(rows).set_index("corpus") if rows else pd.DataFrame()


def provenance(notebook: str) -> pd.DataFrame:
    """The command, commit, date, time, machine and device of a chapter's committed records."""
    rows = [
        {
            "command": record.command,
            "commit": record.commit or NOT_RECORDED,
            "date": record.date[:10],
            "time": f"{record.seconds:.0f} s, {record.hardware['cpu']}, {record.hardware['cores']} cores",
            "device and precision": record.devices,
            "accelerator": record.accelerator,
        }
        for record in published_records(notebook)
    ]
    return pd.DataFrame(rows)


def _systems(claims: pd.DataFrame) -> pd.Index:
    """Names of the systems that claims are about: what stands before the colon, short enough for a table."""
    return pd.Index(claims["text"].str.split(":").str[0].str.replace(" with LoRA", ""), name="system")


def evaluated_on(record: Record) -> str:
    """Which clips a record's scores are about: "emospeech, test", "elicited_es, 5 folds, speaker"; and whether other
    clips of their speakers were heard first."""
    asked = record.parameters
    if "refit" in asked:  # trained systems: the test, or the folds that chose the settings (of adapters the first)
        which = asked["folds"] if "encoder" in asked else asked["folds"][:1]
        named = f"fold {which[0]}" if len(which) == 1 else f"{len(which)} folds"
        how = "test" if asked["refit"] else f"{named}, {asked['scheme']}"
        how += ", normalised by speaker" if asked.get("normalised_by") else ""
    else:
        how = "test" if asked["evaluate"] == "test" else f"folds, {asked['scheme']}"
    return f"{asked['corpus']}, {how}"


def show(table: pd.DataFrame | pd.Series, digits: int = 3) -> HTML:
    """A table for a page: rounded, nothing cut off, text escaped, wide ones scroll inside their box.

    Args:
        table: its index becomes the first column, if it has a name or is not just numbers.
        digits: decimal places of fractional columns; whole numbers have none, what is not known is empty.

    >>> "0.50" in show(pd.DataFrame({"F1": [0.5]}, index=["joy"]), digits=2).data
    True
    """
    frame = (table.to_frame() if isinstance(table, pd.Series) else table).replace({None: np.nan})
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
