"""Put the system that a run chose on disk, trained on all labelled clips: by the functions of its chapter."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from skops import io as skops

from emoser_lib.corpora import SOURCES, Corpus
from emoser_lib.environment import versions
from emoser_lib.errors import DataError
from emoser_lib.experiments.predicting.chosen import Chosen, needs_of, scores_of
from emoser_lib.experiments.predicting.kept import (
    BRIDGE_WEIGHTS,
    CLASSICAL_FILE,
    SYSTEM_FILE,
    Execution,
    KeptSystem,
    UsedCheckpoint,
    declared_fields,
    prompt_of,
)
from emoser_lib.experiments.predicting.parts import LoadedParts, load_parts
from emoser_lib.experiments.settings.base import Settings
from emoser_lib.experiments.training.audio import train_audio_cell, trained_system
from emoser_lib.experiments.training.cells import weights_of
from emoser_lib.experiments.training.evaluation import evaluation_folds, fit_on
from emoser_lib.experiments.training.folds import Fold
from emoser_lib.experiments.training.text import train_cell
from emoser_lib.files import write_whole
from emoser_lib.systems.checkpoints.catalogue import CHECKPOINTS
from emoser_lib.systems.classical.baselines import parts_of
from emoser_lib.systems.classical.clips import Clips
from emoser_lib.systems.classical.estimators import baseline
from emoser_lib.systems.declared import AudioSystem, TextSystem
from emoser_lib.systems.fitting import trained_parameters
from emoser_lib.systems.hearing.encoding import hear
from emoser_lib.systems.prompts.words import words_for

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""PEFT's own layout."""


def keep_system(record: Execution, settings: Settings, chosen: Chosen, folder: Path, device: str = "auto") -> None:
    """Write a run's chosen system into a folder, whole or not at all; what the run trained itself is in the cell cache.

    After folds only, it is trained now.

    Args:
        record: of the run, or one that still goes on.
        settings: its own.
        chosen: what it chose.
        folder: a new one, or one that is replaced.
        device: where models compute.

    Raises:
        DataError: corpus or checkpoint are not those of the run.
    """
    corpus = settings.load()
    assert record.corpus is not None
    if corpus.sha256 != record.corpus.sha256:
        raise DataError(f"corpus '{corpus.name}' is not what the run learnt from (its sha256 differs): repeat the run.")
    parts = load_parts(chosen.checkpoints, device, getattr(settings, "dtype", "float32"), chosen.context)
    recorded = {used.sha256 for used in record.checkpoints}
    used = [
        UsedCheckpoint.model_validate(
            {"role": role, "name": name, "sha256": parts.sha256(role), "licence": _licence(name)}
        )
        for role, name in chosen.checkpoints.items()
    ]
    if other := [one.name for one in used if one.sha256 not in recorded]:
        raise DataError(
            f"checkpoint {other[0]} has other weights than in the run (its sha256 differs): repeat the run."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as name:
        partial = Path(name) / folder.name
        partial.mkdir()
        learnt = _write_trained(settings, chosen, corpus, parts, partial)
        kept = _described(record, settings, chosen, corpus, used, learnt)
        write_whole(partial / SYSTEM_FILE, kept.model_dump_json(indent=2) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)


def whole_cut(corpus: Corpus) -> Fold:
    """Cut all labelled training clips to learn from; what is scored meanwhile decides nothing.

    It is the cut of a chapter's refit where the corpus has a test split, so that the same cell serves both.

    >>> from emoser_lib.corpora import load_corpus
    >>> len(whole_cut(load_corpus("demo")).train)
    400
    """
    if len(corpus.test()):
        return evaluation_folds(corpus, "test")[0]
    ids = tuple(corpus.training()["id"])
    return Fold(0, ids, ids[:1])


def _licence(name: str) -> str:
    return CHECKPOINTS[name].licence if name in CHECKPOINTS else ""


def _write_trained(settings: Settings, chosen: Chosen, corpus: Corpus, parts: LoadedParts, folder: Path) -> int:
    """Write what is trained; return how many clips it learnt from."""
    if not chosen.trained:
        return 0
    cut = whole_cut(corpus)
    system = chosen.declared
    if isinstance(system, TextSystem):
        cell = train_cell(parts.llm, system, corpus, cut, with_weights=True)
        _copy_adapter(weights_of(cell, "adapter"), folder)
    elif isinstance(system, AudioSystem):
        hearing = hear(parts.encoder, system, corpus, [*cut.train, *cut.validation])
        cell = train_audio_cell(parts.llm, system, hearing, cut, with_weights=True)
        with trained_system(parts.llm, system, hearing, cell) as model:
            if system.adaptation is not None:
                model.llm.save_pretrained(str(folder / "peft"))
                _copy_adapter(folder / "peft", folder)
                shutil.rmtree(folder / "peft")
            beside = {name: value for name, value in trained_parameters(model).items() if not name.startswith("llm.")}
            if beside:
                save_file(beside, folder / BRIDGE_WEIGHTS)
    else:
        clips = Clips.from_corpus(corpus, cut.train, **parts_of([system]))
        skops.dump(fit_on(baseline(system, settings.seed), corpus, clips, cut.train), folder / CLASSICAL_FILE)
    return len(cut.train)


def _copy_adapter(source: Path, folder: Path) -> None:
    for name in ADAPTER_FILES:
        if not (source / name).is_file():
            raise DataError(f"{source / name} is not there: delete {source.parent}, the cell is then trained again.")
        shutil.copy(source / name, folder / name)


def _described(
    record: Execution, settings: Settings, chosen: Chosen, corpus: Corpus, used: list[UsedCheckpoint], learnt: int
) -> KeptSystem:
    system = chosen.declared
    assert record.corpus is not None
    told: Mapping[str, object]
    needs = needs_of(chosen, corpus)
    if isinstance(system, str):
        told = {"kind": "classical", "declared": {"baseline": system, "seed": settings.seed}}
    else:
        words = words_for(corpus.labels, system.words)
        told = {
            "kind": "audio" if isinstance(system, AudioSystem) else "text",
            "declared": declared_fields(system),
            "words": words,
            "prompt": prompt_of(system).listing(words).template,
        }
    return KeptSystem.model_validate(
        {
            "name": chosen.name,
            "chapter": record.notebook,
            "run": record.key,
            "recorded": record.date,
            "trained": chosen.trained,
            "calibrated": chosen.calibrated,
            "labels": needs.labels,
            "hears": needs.hears,
            "reads": needs.reads,
            "context": chosen.context,
            "dtype": getattr(settings, "dtype", "float32"),
            "checkpoints": used,
            "corpus": record.corpus,
            "corpus_licence": SOURCES[settings.corpus].licence,
            "clips": learnt,
            "judged": chosen.judged,
            "scores": scores_of(record, chosen),
            "versions": versions(),
            **told,
        }
    )
