"""Every figure of the library, with data as they come and with many long names: what a reader sees of it."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

import emoser_lib.reporting
from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.experiments import score
from emoser_lib.reporting import figures, pictures
from emoser_lib.reporting.audit import audit_tables
from emoser_lib.reporting.diagrams import Arrow, Box
from emoser_lib.reporting.robustness import robustness_figures
from emoser_lib.systems.prompts.text import AUDIO

INCH = 96
"""Pixels of a screen."""

TELEPHONE = 358
"""Pixels that a figure is shown in, at most, on a page 390 wide."""

SMALLEST_PANEL, SMALLEST_LETTERS = 150, 8
"""Pixels, of a panel on a wide page and of letters on a telephone (issue 22)."""

MAPS = {"viridis", "magma", "Blues", "Greys"}
"""Each gets lighter or darker all the way, so it needs no colour to be read."""

DEMO = load_corpus("demo")
RNG = np.random.default_rng(0)
LONG = [f"a system of a very long name indeed, number {n}" for n in range(12)]
LABELS = tuple(f"a feeling of many words {n}" for n in range(9))


def renamed(corpus: Corpus) -> Corpus:
    """The same clips with long labels, each a third as often as the one before, and more genders."""
    labels = RNG.choice(LABELS, len(corpus), p=3.0 ** -np.arange(9) / sum(3.0 ** -np.arange(9)))
    genders = RNG.choice(["a gender of its own", "another gender", "female", "male", ""], len(corpus))
    return replace(
        corpus, frame=corpus.frame.assign(label=labels, gender=genders, split="train"), labels=LABELS, held_out={}
    )


HARD = renamed(DEMO)


def scored(names: list[str]) -> pd.DataFrame:
    middle = RNG.uniform(0.2, 0.8, len(names))
    return pd.DataFrame({"macro_f1": middle, "low": middle - 0.1, "high": middle + 0.1}, index=names)


def costs(names: list[str], panels: list[str]) -> pd.DataFrame:
    n = len(names)
    given = {"evaluated on": [panels[i % len(panels)] for i in range(n)], "source": "recorded, small"}
    return scored(names).assign(**given, **{"GFLOP a clip": np.geomspace(1, 9e4, n)})


def learnt(columns: dict[str, list[object]], epochs: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    systems = [dict(zip(columns, values, strict=True)) for values in product(*columns.values())]
    rows = [
        {**of, "fold": 0, "epoch": 1 + e, "macro_f1": RNG.uniform(), "loss": RNG.uniform(0, 3)}
        for of in systems
        for e in range(epochs)
    ]
    table = pd.DataFrame(rows)
    return table.drop(columns="macro_f1"), table.drop(columns="loss")


def changed(systems: list[str], conditions: list[str]) -> pd.DataFrame:
    rows = [
        {"system": s, "condition": c, "changed": 3, "change": -0.1, "low": -0.3, "high": 0.02}
        for s in systems
        for c in conditions
    ]
    return pd.DataFrame(rows)


def strengths(systems: list[str], kinds: dict[str, int]) -> pd.DataFrame:
    rows = [
        {"kind": k, "strength": f"{n * 10}" if n else "clean", "system": s, "macro_f1": RNG.uniform()}
        for s in systems
        for k, count in kinds.items()
        for n in range(count)
    ]
    return pd.DataFrame(rows)


def lines_of(column: str, names: list[str], **of: tuple[float, float]) -> pd.DataFrame:
    rows = [
        {column: name, "clips": 20, **{k: RNG.uniform(*ends) for k, ends in of.items()}}
        for name in names
        for _ in range(9)
    ]
    return pd.DataFrame(rows)


def grid(ranks: list[int], alphas: list[int]) -> pd.DataFrame:
    return pd.DataFrame([{"rank": r, "alpha": a, "macro_f1": RNG.uniform()} for r in ranks for a in alphas])


def boxes(columns: int) -> tuple[list[Box], list[Arrow]]:
    first = [Box(f"b{n}", "Prompt and\ntranscription", "frozen", 0, n) for n in range(columns)]
    last = [Box(f"last {n}", "Transformer encoder, 12 layers", "trained", n, 0, columns) for n in (1, 2)]
    arrows = [Arrow(box.name, "last 1", "frames\n1,500 × 1,280") for box in first]
    return [*first, *last], [*arrows, Arrow("last 1", "last 2", "32 × 3,072, the queries' of 1,532")]


def tokens(before: int, after: int) -> pd.DataFrame:
    ids, texts = [1] * before + [AUDIO] + [2] * after, ["incomprehensible"] * before + ["<audio>"] + ["\n"] * after
    return pd.DataFrame({"id": ids, "text": texts})


def shares(labels: list[str], ways: list[str]) -> pd.DataFrame:
    return pd.DataFrame(RNG.dirichlet(np.ones(len(labels)), len(ways)).T, index=labels, columns=ways)


def right(labels: tuple[str, ...], n: int) -> Figure:
    gold = list(RNG.choice(labels, n))
    return figures.confusion(score(gold, list(RNG.permutation(gold)), labels))


CLIP = DEMO.waveform(DEMO.frame["id"].iloc[0])
SOUNDS = list(DEMO.frame["id"].iloc[:5])
FEW, KINDS = ["text-svm", "whisper-gemma", "late-fusion"], {"noise, dB": 4, "seconds heard": 3, "words deleted": 3}


def reach(systems: int, clips: tuple[int, ...]) -> pd.DataFrame:
    names = [f"{LONG[0]} {number}"[-24:] for number in range(systems)]
    index = pd.MultiIndex.from_product([names, clips], names=["system", "clips"])
    value = np.linspace(0.1, 0.9, len(index))
    return pd.DataFrame({"macro_f1": value, "low": value - 0.1, "high": value + 0.1}, index=index)


CASES: dict[str, tuple[Callable[[], Figure], ...]] = {
    "adapter_curves": (
        lambda: figures.adapter_curves(*learnt({"rank": [4, 16], "alpha": [8, 32, 512]}, 3)),
        lambda: figures.adapter_curves(*learnt({"system": LONG}, 20)),
    ),
    "attention_map": (
        lambda: pictures.attention_map(CLIP, RNG.uniform(size=(8, 120))),
        lambda: pictures.attention_map(CLIP[:2000], RNG.uniform(size=(64, 6))),
    ),
    "bare_figure": (),
    "bars": (
        lambda: figures.bars({"a rule": 0.84, "the paper's best": 0.8248}, "macro-F1"),
        lambda: figures.bars(dict.fromkeys(LONG, 12_345), "clips"),
    ),
    "block_diagram": (lambda: figures.block_diagram(*boxes(2)), lambda: figures.block_diagram(*boxes(3))),
    "changes": (
        lambda: robustness_figures.changes(changed(FEW, ["noise 20 dB", "noise 10 dB", "telephone"])),
        lambda: robustness_figures.changes(changed(LONG, ["a telephone in a place with a lot of noise", "clean"])),
        lambda: robustness_figures.changes(changed(["one"], ["noise 20 dB"])),
    ),
    "compare_intervals": (
        lambda: figures.compare_intervals(scored(["the paper's", "bootstrap"])),
        lambda: figures.compare_intervals(scored(LONG)),
    ),
    "confusion": (lambda: right(DEMO.labels, 750), lambda: right(LABELS, 9999)),
    "durations_and_words": (lambda: figures.durations_and_words(DEMO), lambda: figures.durations_and_words(HARD)),
    "frame_distances": (
        lambda: figures.frame_distances(lines_of("way", FEW, seconds=(0, 3), distance=(0, 1))),
        lambda: figures.frame_distances(lines_of("way", LONG[:5], seconds=(0, 30), distance=(0, 1))),
    ),
    "gender_by_label": (lambda: figures.gender_by_label(DEMO), lambda: figures.gender_by_label(HARD)),
    "grid_heat_map": (
        lambda: figures.grid_heat_map(grid([4, 16], [8, 32, 512])),
        lambda: figures.grid_heat_map(grid([2**n for n in range(1, 9)], [2**n for n in range(3, 12)])),
        lambda: figures.grid_heat_map(grid([4], [8])),
    ),
    "label_bias": (
        lambda: figures.label_bias(shares(list(DEMO.labels), ["gold", "probability, no content", "answers"])),
        lambda: figures.label_bias(shares(list(LABELS), LONG[:5])),
    ),
    "label_counts": (lambda: figures.label_counts(DEMO), lambda: figures.label_counts(HARD)),
    "line": (
        lambda: figures.line(pd.Series(np.linspace(0.5, 0.6, 7), name="macro_f1"), "clips of fear answered right"),
        lambda: figures.line(pd.Series(np.linspace(0, 1, 900), name="macro_f1"), LONG[0]),
    ),
    "lora_layer": (
        lambda: pictures.lora_layer(2048, 2048, 32, 32),
        lambda: pictures.lora_layer(152_064, 28_672, 1024, 2048),
    ),
    "no_figure": (),
    "one_clip": (lambda: figures.one_clip(CLIP), lambda: figures.one_clip(CLIP[:1600])),
    "packed_mask": (
        lambda: figures.packed_mask(np.tri(80, dtype=bool), 40),
        lambda: figures.packed_mask(np.tri(3000, dtype=bool), 12),
    ),
    "reach_curves": (
        lambda: figures.reach_curves(reach(2, (16, 32, 48)), 0.2),
        lambda: figures.reach_curves(reach(4, (8, 12, 16, 24, 32, 48, 160)), 0.2),
    ),
    "reliability_figure": (
        lambda: robustness_figures.reliability_figure(lines_of("way", FEW, confidence=(0, 1), accuracy=(0, 1))),
        lambda: robustness_figures.reliability_figure(lines_of("way", LONG, confidence=(0, 1), accuracy=(0, 1))),
    ),
    "risk_coverage_figure": (
        lambda: robustness_figures.risk_coverage_figure(lines_of("system", FEW, coverage=(0, 1), risk=(0, 1))),
        lambda: robustness_figures.risk_coverage_figure(lines_of("system", LONG, coverage=(0, 1), risk=(0, 1))),
    ),
    "score_by_cost": (
        lambda: figures.score_by_cost(costs(FEW, ["emospeech, test"]), {"emospeech, test": {"best of task 1": 0.67}}),
        lambda: figures.score_by_cost(costs(LONG, ["emospeech, test", "elicited_es, 5 folds, speaker", LONG[0] * 2])),
    ),
    "score_curves": (
        lambda: robustness_figures.score_curves(strengths(FEW, KINDS)),
        lambda: robustness_figures.score_curves(strengths(LONG, dict.fromkeys(["noise", "speed", "words"], 6))),
        lambda: robustness_figures.score_curves(strengths(FEW, {"noise": 3})),
    ),
    "score_intervals": (
        lambda: figures.score_intervals(scored(FEW), {"best from the words": 0.61, "best from sound": 0.9}),
        lambda: figures.score_intervals(scored(LONG), dict.fromkeys(LONG[:4], 0.5)),
        lambda: figures.score_intervals(scored(["one"])),
        lambda: figures.score_intervals(scored(LONG), dict.fromkeys(LONG[:3], 0.5), beside="high"),
    ),
    "sides": (
        lambda: figures.sides(audit_tables.videos_by_side(DEMO)),
        lambda: figures.sides(pd.DataFrame({LONG[0]: range(900), LONG[1]: range(900, 0, -1)})),
    ),
    "slopes": (
        lambda: figures.slopes(pd.DataFrame({"five folds": [0.66, 0.81], "official test": [0.6, 0.82]}, index=FEW[:2])),
        lambda: figures.slopes(pd.DataFrame(RNG.uniform(size=(12, 2)), index=LONG, columns=LONG[:2])),
    ),
    "spectrograms": (lambda: figures.spectrograms(DEMO, SOUNDS), lambda: figures.spectrograms(HARD, SOUNDS[:1])),
    "splice": (
        lambda: pictures.splice(tokens(120, 60), 57, 2048),
        lambda: pictures.splice(tokens(0, 1), 1500, 16_384),
    ),
}  # fmt: skip
"""By name, every function that gives a figure: data as they come, then hard ones. Two of them only begin others."""


def drawing_functions() -> set[str]:
    found = set()
    for module in pkgutil.walk_packages(emoser_lib.reporting.__path__, "emoser_lib.reporting."):
        for name, function in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction):
            returned = str(inspect.signature(function, eval_str=False).return_annotation)
            if "Figure" in returned and "None" not in returned and not name.startswith("_"):
                found.add(name)
    return found


def test_every_figure_is_looked_at() -> None:
    assert set(CASES) == drawing_functions()


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


class Seen:
    """A figure as it is drawn: its size in pixels, and the texts with their places."""

    def __init__(self, figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
        figure.set_dpi(INCH)
        canvas, texts = FigureCanvasAgg(figure), []
        draw = Text.draw
        with monkeypatch.context() as patch:
            patch.setattr(Text, "draw", lambda self, renderer: (texts.append(self), draw(self, renderer))[1])
            canvas.draw()
        renderer = canvas.get_renderer()
        box = figure.get_tightbbox(renderer)
        self.figure, self.width = figure, box.width * INCH
        drawn = {id(text): text for text in texts if text.get_text().strip() and text.get_visible()}.values()
        self.texts = [(text, text.get_window_extent(renderer)) for text in drawn]

    def panels(self) -> list[Axes]:
        hidden = [axes for axes in self.figure.axes if not axes.axison and not axes.patches and not axes.texts]
        return [axes for axes in self.figure.axes if axes not in hidden]


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, drawn in CASES.items() for number in range(len(drawn))]
)
def test_a_figure_can_be_read(name: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(CASES[name][number](), monkeypatch)
    assert small_panels(seen) == []
    assert overlapping(seen) == []
    assert without_a_unit(seen) == []
    shown = min(1, TELEPHONE / seen.width)
    assert [t.get_text() for t, _ in seen.texts if t.get_fontsize() / 72 * INCH * shown < SMALLEST_LETTERS] == []
    assert unsafe_colours(seen) == []
    assert alike(seen) == []


def small_panels(seen: Seen) -> list[str]:
    sizes = [(axes.get_window_extent().width, axes.get_window_extent().height) for axes in seen.panels()]
    return [f"{width:.0f} × {height:.0f}" for width, height in sizes if min(width, height) < SMALLEST_PANEL]


def overlapping(seen: Seen) -> list[str]:
    """Pairs of texts that share more than a hair's breadth, and texts that are cut off."""
    found = []
    for (one, box), (other, place) in combinations(seen.texts, 2):
        wide = min(box.x1, place.x1) - max(box.x0, place.x0)
        high = min(box.y1, place.y1) - max(box.y0, place.y0)
        if wide > 1 and high > 1:
            found.append(f"{one.get_text()!r} over {other.get_text()!r}")
    return found


def without_a_unit(seen: Seen) -> list[str]:
    """Axes with numbers and no word; names at the ticks speak for themselves."""
    found = []
    for axes in seen.panels():
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            said = [tick.get_text() for tick in axis.get_ticklabels() if tick.get_visible() and axis.get_visible()]
            counted = any(
                text.replace("−", "-").replace(",", "").strip("-").replace(".", "").isdigit() for text in said
            )
            twin = axis is axes.xaxis and any(
                o is not axes and o.bbox.bounds == axes.bbox.bounds for o in seen.figure.axes
            )
            shared = axis is axes.xaxis and axes.get_shared_x_axes().get_siblings(axes) != [axes]
            if counted and not axis.get_label_text() and not twin and not shared:
                found.append(f"{axis.axis_name}: {said}")
    return found


def unsafe_colours(seen: Seen) -> list[object]:
    """Colours that are no grey, of no palette made for colour-blind eyes, and of no diagram."""
    safe = [*sns.color_palette("colorblind"), *(c for pair in figures.STATES.values() for c in pair), "cyan"]
    known = {colors.to_hex(colour) for colour in safe}
    found: list[object] = []
    for axes in seen.figure.axes:
        images = [part for part in axes.get_children() if isinstance(part, AxesImage)]
        meshes = [part for part in axes.collections if part.get_array() is not None]
        found += [part.get_cmap().name for part in (*images, *meshes) if part.get_cmap().name not in MAPS]
        used = [part.get_color() for part in axes.get_children() if isinstance(part, Line2D)]
        used += [part.get_facecolor() for part in axes.patches if isinstance(part, Patch)]
        used += [
            c
            for part in axes.collections
            if isinstance(part, Collection) and part not in meshes
            for c in part.get_facecolor()
        ]
        for colour in map(colors.to_hex, used):
            red, green, blue = (colour[i : i + 2] for i in (1, 3, 5))
            if not red == green == blue and colour not in known:
                found.append(colour)
    return found


def alike(seen: Seen) -> list[str]:
    """Names that colour, marker and line do not tell apart, or that look different in another panel."""
    looks: dict[str, str] = {}
    found = []
    for axes in seen.figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            first = handle.lines[0] if hasattr(handle, "lines") else handle
            first = first[0] if hasattr(first, "patches") else first
            look = [getattr(first, f"get_{what}", str)() for what in ("color", "marker", "linestyle", "facecolor")]
            paths = [path.vertices.tolist() for path in first.get_paths()] if isinstance(first, Collection) else []
            if looks.setdefault(name, repr([look, paths])) != repr([look, paths]):
                found.append(f"{name} here and there")
    return found + [f"{one} and {other}" for one, other in combinations(looks, 2) if looks[one] == looks[other]]
