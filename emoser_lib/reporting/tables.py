"""The chapters' tables about corpora, baselines, the papers' numbers and the committed records."""

import re
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from IPython.display import HTML
from sklearn.feature_extraction.text import CountVectorizer

from emoser_lib.corpora import Corpus, check, clip_seconds
from emoser_lib.corpora.describe import Description
from emoser_lib.experiments import paper_interval
from emoser_lib.reporting.escaping import as_text
from emoser_lib.systems.classical.baselines import BASELINES

TABLE_3 = "thau-table3-"
"""How the ids of the claims of THAU-UPM's Table 3 begin."""


def splits(description: Description) -> pd.DataFrame:
    """Tabulate clips, hours, videos, speakers and labels of every split; what is not known is empty."""
    rows = {
        name: counted.model_dump(exclude={"labels"}) | counted.labels for name, counted in description.splits.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("split")


def lengths(corpus: Corpus) -> pd.DataFrame:
    """Tabulate mean, median and longest of the clips' seconds and words; what is not known is left out."""
    words = [len(text.split()) for text in corpus.frame["transcription"] if text]
    rows = {
        name: {"mean": np.mean(n), "median": np.median(n), "longest": np.max(n)}
        for name, n in (("seconds", clip_seconds(corpus)), ("words", words))
        if n
    }
    return pd.DataFrame(rows).T.astype(float)


def shared_by_splits(corpus: Corpus) -> pd.DataFrame:
    """Count the clips outside the training split that share a video or a transcription with it.

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
    """Count what `check` finds by kind, with one clip as an example."""
    found = pd.DataFrame([{"finding": f.kind, "example": f.clip, "what": f.message} for f in check(corpus)])
    if found.empty:
        return found
    counted = found.groupby("finding", sort=False)
    return counted.first().drop(columns="what").assign(clips=counted.size())[["clips", "example"]]


def speakers(corpus: Corpus) -> pd.DataFrame:
    """Count the clips of each speaker by label; empty where the corpus does not know who speaks."""
    rows = corpus.frame[(corpus.frame["speaker"] != "") & (corpus.frame["label"] != "")]
    counts = pd.crosstab(rows["speaker"], rows["label"]).reindex(columns=list(corpus.labels), fill_value=0)
    gender = rows.groupby("speaker")["gender"].first()
    table = counts.assign(gender=gender)[["gender", *corpus.labels]].rename_axis(columns="label")
    return table if len(counts) else pd.DataFrame()


def typical_words(corpus: Corpus, n: int = 6) -> pd.DataFrame:
    """Find the words that set each label's training clips apart from the others.

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
    """Tabulate what each baseline reads and how it decides."""
    rows = {name: {"reads": BASELINES[name].reads, "what it is": BASELINES[name].summary} for name in names}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("baseline")


def paper_intervals(claims: pd.DataFrame) -> pd.DataFrame:
    """Compare the printed ± of THAU-UPM's Table 3 with the one rebuilt from the score and n = 750."""
    rows = claims[claims.index.str.startswith(TABLE_3)]
    n = int(claims.value["thau-clips-test"])
    rebuilt = [paper_interval(value, n)[1] - value for value in rows["value"]]
    table = pd.DataFrame({"macro-F1": rows["value"], "printed ±": rows["interval"], "rebuilt ±": rebuilt})
    table["difference"] = table["rebuilt ±"] - table["printed ±"]
    table.index = _systems(rows)
    return table.astype(float)


def paper_scores(claims: pd.DataFrame) -> pd.DataFrame:
    """Tabulate THAU-UPM's Table 3 as printed."""
    rows = claims[claims.index.str.startswith(TABLE_3)]
    table = pd.DataFrame(
        {"macro-F1": rows["printed"], "±": rows["interval"].map("{:.4f}".format), "place": rows["place"]}
    )
    table.index = _systems(rows)
    return table


def _systems(claims: pd.DataFrame) -> pd.Index:
    """Names of the systems that claims are about: what stands before the colon, short enough for a table."""
    return pd.Index(claims["text"].str.split(":").str[0].str.replace(" with LoRA", ""), name="system")


def show(table: pd.DataFrame | pd.Series, digits: int = 3) -> HTML:
    """Render a table for a page: rounded, nothing cut off, text escaped, with a box to scroll in where it is wide.

    What all rows have in common, and the whole names of models, stand in its caption.

    Args:
        table: its index becomes the first column, if it has a name or is not just numbers.
        digits: decimal places of fractional columns; whole numbers have none, what is not known is empty.

    >>> "0.50" in show(pd.DataFrame({"F1": [0.5]}, index=["joy"]), digits=2).data
    True
    >>> "In all rows: run a." in show(pd.DataFrame({"run": ["a", "a"], "F1": [0.5, 0.6]})).data
    True
    """
    frame = (table.to_frame() if isinstance(table, pd.Series) else table).replace({None: np.nan})
    if frame.empty:
        return HTML("<p>Nothing to show for this corpus, or nothing recorded yet.</p>")
    frame, same = _without_constants(frame)
    frame, whole = _short_models(frame)
    said = " ".join([f"In all rows: {' · '.join(same)}."] * bool(same) + [f"{', '.join(whole)}."] * bool(whole))
    with pd.option_context("display.max_colwidth", None):
        html = (
            frame.rename(index=_shown, columns=_shown)
            .to_html(
                formatters=[_format_of(frame.iloc[:, n], digits) for n in range(frame.shape[1])],
                escape=False,
                index=not isinstance(frame.index, pd.RangeIndex),
                index_names=False,
                na_rep="",
                border=0,
                justify="left",
                classes=["table", "emoser-table"],
            )
            .replace("<thead>", f"<caption>{said}</caption><thead>" if said else "<thead>", 1)
        )
    return HTML(f"<div class='emoser-table-scroll' tabindex='0' role='region' aria-label='Table'>{html}</div>")


NOTHING = ("", "nan", "–")
"""What an empty cell says."""


def _without_constants(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Take out what is the same in all rows, and say it; a fraction, which was measured, stays where it is.

    Where rows were named by such a value, the next column names them. Columns that have a name together are values of
    one thing, such as labels: all of them stay.
    """
    if frame.columns.name:
        return frame, []
    index = frame.index
    if len(frame) > 1 and index.name and index.nunique() == 1 and isinstance(frame.iloc[0, 0], str):
        frame = frame.reset_index().set_index(str(frame.columns[0]))
    columns = [frame.iloc[:, n] for n in range(frame.shape[1])]
    same = [len(frame) > 1 and column.map(str).nunique() == 1 and not _measured(column) for column in columns]
    if all(same):
        return frame, []
    said = [column for column, one in zip(columns, same, strict=True) if one and str(column.iloc[0]) not in NOTHING]
    told = [f"{_shown(column.name)} {_format_of(column, 0)(column.iloc[0])}" for column in said]
    return frame.loc[:, np.logical_not(same)], told


def _measured(column: pd.Series) -> bool:
    return pd.api.types.is_float_dtype(column) and bool((column.dropna() % 1).any())


MODEL = re.compile(r"[\w.-]+/([\w.-]+)(?: \([^()]*\))?")
"""A checkpoint as records name it: whose it is, its name, and a note."""


def _short_models(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leave of models their own name, and say each whole; where two have the same, all stay as they are."""
    named = [column for column in ("model", "models") if column in frame]
    texts = [str(text) for column in named for text in frame[column]]
    if frame.index.name == "model":
        texts += [str(text) for text in frame.index]
    whole = {found[0]: found[1] for text in texts for found in MODEL.finditer(text)}
    if len(set(whole.values())) < len(whole):
        return frame, []

    def short(text: object) -> str:
        return MODEL.sub(r"\1", str(text))

    frame = frame.assign(**{column: frame[column].map(short) for column in named})
    if frame.index.name == "model":
        frame = frame.rename(index=short)
    return frame, [as_text(f"{name} is {said}") for said, name in whole.items()]


NAMES = {"macro_f1": "macro-F1", "uar": "UAR", "uar_low": "UAR low", "uar_high": "UAR high", "f1": "F1"}
"""How a page calls what code calls otherwise."""


def _shown(name: object) -> object:
    return as_text(NAMES.get(name, name)) if isinstance(name, str) else name


def _format_of(column: pd.Series, digits: int) -> Callable[[object], str]:
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return as_text
    whole = (column.dropna() % 1 == 0).all()
    return ("{:,.0f}" if whole else f"{{:.{digits}f}}").format
