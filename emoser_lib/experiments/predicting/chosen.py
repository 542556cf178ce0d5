"""What a run chose: the system, declared, that its record says is the best one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from emoser_lib.corpora import Corpus
from emoser_lib.errors import UsageError, did_you_mean
from emoser_lib.experiments.predicting.asked import Needs
from emoser_lib.experiments.predicting.kept import Execution, prompt_of
from emoser_lib.experiments.runs.records import Record
from emoser_lib.experiments.settings.base import ClassicalSettings, Settings
from emoser_lib.experiments.settings.chapters import CHAPTERS
from emoser_lib.experiments.settings.hearing import EmosllmSettings, Emotion2vecGemmaSettings, WhisperGemmaSettings
from emoser_lib.experiments.settings.own import OwnSettings
from emoser_lib.experiments.settings.prepare import prepare
from emoser_lib.experiments.settings.qwen_audio import QwenLoraSettings, QwenZeroShotSettings
from emoser_lib.experiments.settings.reading import GemmaLoraSettings, GemmaZeroShotSettings
from emoser_lib.systems.arms import arm_values
from emoser_lib.systems.classical.baselines import BASELINES
from emoser_lib.systems.declared import AudioSystem, Context, TextSystem


@dataclass(frozen=True)
class Chosen:
    """The system that a run chose.

    Attributes:
        name: as the record's scores call it.
        declared: the declaration; of a baseline its name.
        summary: what was chosen, in words.
        checkpoints: role -> name.
        trained: whether something of it is trained; without, it is the base model as it is.
        refitted: whether the run itself trained it on all training clips; folds only judge.
        judged: the clips on which the record's scores were measured.
        context: what the encoder hears besides a clip.
        calibrated: see `calibrated`.
    """

    name: str
    declared: TextSystem | AudioSystem | str
    summary: str
    checkpoints: Mapping[str, str]
    trained: bool
    refitted: bool
    judged: str
    context: Context = "clip"
    calibrated: bool = False


def _folds(settings: Any) -> str:
    return f"{len(settings.folds)} of 5 folds ({settings.scheme})"


def _judged(settings: Any) -> str:
    return "the test split" if settings.refit else _folds(settings)


def _classical(settings: ClassicalSettings, metrics: Mapping[str, Any], name: str) -> Chosen:
    judged = "the test split" if settings.evaluate == "test" else f"5 folds ({settings.scheme})"
    return Chosen(name, name, "as the run set it", {}, True, settings.evaluate == "test", judged)


def _gemma_zero_shot(settings: GemmaZeroShotSettings, metrics: Mapping[str, Any], name: str) -> Chosen:
    system = TextSystem(settings.prompt, settings.chat, settings.words)
    judged = f"the {settings.split} split"
    return Chosen(name, system, "", {"llm": settings.llm}, False, True, judged, calibrated=settings.calibrate)


def _gemma_lora(settings: GemmaLoraSettings, metrics: Mapping[str, Any], name: str) -> Chosen:
    rank, alpha = int(metrics["best_rank"]), int(metrics["best_alpha"])
    chosen, used = f"rank {rank}, alpha {alpha}", {"llm": settings.llm}
    return Chosen(name, settings.system(rank, alpha), chosen, used, True, settings.refit, _judged(settings))


def _qwen_zero_shot(settings: QwenZeroShotSettings, metrics: Mapping[str, Any], name: str) -> Chosen:
    used, judged = {"audio llm": settings.checkpoint}, f"clips of the {settings.split} split"
    return Chosen(name, settings.system(), "", used, False, True, judged)


def _qwen_lora(settings: QwenLoraSettings, metrics: Mapping[str, Any], name: str) -> Chosen:
    rank, alpha = int(metrics["best_rank"]), int(metrics["best_alpha"])
    chosen, used = f"rank {rank}, alpha {alpha}", {"audio llm": settings.checkpoint}
    return Chosen(name, settings.system(rank, alpha), chosen, used, True, settings.refit, _judged(settings))


def _whisper_gemma(settings: WhisperGemmaSettings, metrics: Mapping[str, Any], name: str) -> Chosen:
    if settings.normalised_by:
        raise UsageError(
            "the run's normalised_by is 'speaker', which takes a voice out with the help of the speaker's other clips, "
            "so its system answers about no single clip: repeat the run with normalised_by empty."
        )
    size, rate = int(metrics["best_batch_size"]), float(metrics["best_learning_rate"])
    chosen, system = f"batch size {size}, learning rate {rate:g}", settings.system(size, rate)
    return Chosen(
        name, system, chosen, _ears_and_llm(settings), True, settings.refit, _judged(settings), settings.hears
    )


def _emotion2vec_gemma(settings: Emotion2vecGemmaSettings, metrics: Mapping[str, Any], name: str) -> Chosen:
    arm = str(metrics["best_arm"])
    context, used = arm_values("emotion2vec-gemma", arm)["context"], _ears_and_llm(settings)
    judged = _folds(settings) if settings.folds else "the test split"
    return Chosen(name, settings.system(arm), f"arm {arm}", used, True, settings.refit, judged, context)


def _own(settings: OwnSettings, metrics: Mapping[str, Any], name: str) -> Chosen:
    judged, whisper = _folds(settings), settings.system()
    if name in BASELINES:
        return Chosen(name, name, "as the run set it", {}, True, False, judged)
    return Chosen(name, whisper, "as the run set it", _ears_and_llm(settings), True, False, judged, settings.hears)


def _emosllm(settings: EmosllmSettings, metrics: Mapping[str, Any], name: str) -> Chosen:
    used, judged = _ears_and_llm(settings), _judged(settings)
    return Chosen(name, settings.system(), "", used, True, settings.refit, judged, settings.hears)


def _ears_and_llm(settings: Any) -> Mapping[str, str]:
    return {"encoder": settings.encoder, "llm": settings.llm}


CHOOSE: Mapping[type[Settings], tuple[str, Callable[[Any, Mapping[str, Any], str], Chosen]]] = MappingProxyType(
    {
        ClassicalSettings: ("", _classical),
        GemmaZeroShotSettings: ("gemma-zero-shot", _gemma_zero_shot),
        GemmaLoraSettings: ("gemma-lora", _gemma_lora),
        QwenZeroShotSettings: ("qwen-audio-zero-shot", _qwen_zero_shot),
        QwenLoraSettings: ("qwen-audio-lora", _qwen_lora),
        WhisperGemmaSettings: ("whisper-gemma", _whisper_gemma),
        Emotion2vecGemmaSettings: ("emotion2vec-gemma", _emotion2vec_gemma),
        EmosllmSettings: ("emosllm", _emosllm),
        OwnSettings: ("", _own),
    }
)
"""Settings of the chapters with a system that answers -> its name (of several: as the record has them), and what
finds its declaration."""


def _settings_class(record: Record) -> type[Settings] | None:
    """By the parameters, since a copy of a notebook has another name."""
    given = record.parameters.keys()
    for known in CHAPTERS.values():
        needed = {name for name, field in known.model_fields.items() if field.is_required()}
        if needed <= given <= known.model_fields.keys():
            return known
    return None


def chosen_name(record: Record, system: str | None = None) -> str:
    """Return the name of the system that a run is asked for; by default its best.

    Raises:
        UsageError: the chapter trains no system, or the run has none of this name.
    """
    known = _settings_class(record)
    if known is None or known not in CHOOSE:
        raise UsageError(
            f"{record.notebook} leaves no system that answers about clips: name a run of a chapter from 03 to 10, "
            "or of 14."
        )
    own = CHOOSE[known][0]
    names = [own] if own else list(record.metrics["scores"])
    if system is not None and system not in names:
        raise UsageError(
            f"the run has no system '{system}'{did_you_mean(system, names)}: it has {', '.join(names)} (--system)."
        )
    return system or own or str(record.metrics["best"])


def chosen(record: Record, name: str, parameters: Mapping[str, Any]) -> tuple[Settings, Chosen]:
    """Return a run's settings, checked against its corpus again, and what it chose.

    Args:
        record: of an ok run.
        name: from `chosen_name`.
        parameters: the record's, with the paths of this machine.

    Raises:
        UsageError: the parameters are not right any more, such as a folder that is gone.
        DataError: neither is the corpus.
    """
    known = _settings_class(record)
    assert known is not None
    settings = prepare(known.check(**parameters)).settings  # refit is false where there was no test split
    return settings, CHOOSE[known][1](settings, record.metrics, name)


def needs_of(chosen: Chosen, corpus: Corpus) -> Needs:
    """Return what a run's system is asked with; where no clip of its corpus had a transcription, it does without."""
    system = chosen.declared
    if isinstance(system, str):
        parts = BASELINES[system].parts
        return Needs(chosen.name, corpus.labels, bool({"audio", "log_mel"} & set(parts)), "text" in parts)
    reads = prompt_of(system).reads and bool((corpus.frame["transcription"] != "").any())
    return Needs(chosen.name, corpus.labels, isinstance(system, AudioSystem), reads)


SCORE_NAMES: Sequence[str] = ("macro_f1", "low", "high", "paper_low", "paper_high", "uar", "uar_low", "uar_high")
"""Of the record's scores, those that an export tells, with ``accuracy`` and ``n``."""


def scores_of(record: Execution, chosen: Chosen) -> dict[str, float | None]:
    """Return the record's scores of the system that was chosen, with their intervals."""
    table = record.metrics.get("scores", {})
    likelihood = "label likelihood" + (", calibrated" if chosen.calibrated else "")
    found: Mapping[str, Any] = next(
        (table[key] for key in (chosen.name, likelihood, record.metrics.get("best_arm")) if key in table), {}
    )
    told = found or record.metrics
    return {name: told[name] for name in (*SCORE_NAMES, "accuracy", "n") if name in told}
