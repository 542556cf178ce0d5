"""What planned runs need, without weights: parameters, memory, download and licences.

Models are built on torch's meta device, which has shapes but no numbers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import yaml
from huggingface_hub import auth_check, errors, get_token

from emoser_lib.environment import shipped_files
from emoser_lib.experiments.planning.hearing import (
    CLIP_SECONDS,
    EncoderNeeds,
    PlannedTraining,
    SystemNeeds,
    recordings,
    system_needs,
    trained_systems,
)
from emoser_lib.experiments.planning.hours import hours_of
from emoser_lib.experiments.planning.memory import Adapter, Memory, adapter_needs, number_bytes
from emoser_lib.experiments.planning.meta_models import meta_encoder, meta_model
from emoser_lib.experiments.planning.qwen_audio import qwen_needs
from emoser_lib.experiments.runs.profiles import PlannedRun, settings_of
from emoser_lib.experiments.runs.records import Record
from emoser_lib.experiments.settings.hearing import AudioSettings
from emoser_lib.experiments.settings.qwen_audio import QwenAudioSettings
from emoser_lib.systems.checkpoints.catalogue import CHECKPOINTS, CheckpointKind
from emoser_lib.systems.checkpoints.folders import DTYPES, gate_sentence, local_checkpoint
from emoser_lib.systems.checkpoints.loading import told_in_a_sentence
from emoser_lib.systems.declared import Lora
from emoser_lib.values import Immutable

STATED = {("openai/whisper-large-v3", "google/gemma-2b"): "thau-whisper-gemma-parameters"}
"""Encoder and language model -> the claim that says how many parameters they have together, in billions."""

GATE = {
    "here": "",
    "accepted": ", accepted",
    "refused": ", not accepted or not logged in",
    "unknown": ", the hub did not answer",
}
"""How access to a gated checkpoint is told."""

Access = Literal["here", "open", "by hand", "accepted", "refused", "unknown"]


class RunNeeds(Immutable):
    """Needs of one run. ``None`` and 0 where it needs no checkpoint.

    Attributes:
        notebook, run, key: which run, see `PlannedRun`.
        checkpoint: its name.
        licence: short name of the checkpoint's licence; ``None`` for a folder of your own.
        gated: whether the licence must be accepted on the hub.
        access: ``here``: the files are on this machine; ``open``: anyone may download them; ``by hand``: anyone, but
            the hub has no safetensors, so that they must be converted; ``accepted`` or ``refused``: what the hub says
            of a gated one to whoever is logged in; ``unknown``: it did not answer.
        parameters: of the model, without adapter.
        read: parameters of the checkpoint as it is published, where conversion makes fewer of them (Qwen-Audio).
        weights_bytes: of the model in the run's dtype: what zero-shot needs, besides a batch.
        download_bytes: of the weights as the hub stores them, 0 if they are here; the tokenizer adds up to 40 MB.
        adapters: one for each rank of the grid.
        encoders: audio encoders.
        systems: what is trained with them.
        trainings: of all adapters and systems: a grid by folds, the refit, arms, ablations.
        hours: after the records of this machine (`hours_of`); ``None``: not known.
    """

    notebook: str
    run: str
    key: str
    checkpoint: str | None = None
    licence: str | None = None
    gated: bool = False
    access: Access | None = None
    parameters: int = 0
    read: int = 0
    weights_bytes: int = 0
    download_bytes: int = 0
    adapters: tuple[Adapter, ...] = ()
    encoders: tuple[EncoderNeeds, ...] = ()
    systems: tuple[SystemNeeds, ...] = ()
    trainings: int = 0
    hours: float | None = None

    @property
    def memory(self) -> int:
        """Bytes: of what needs most."""
        memories = [*(one.memory for one in self.adapters), *(one.memory for one in self.systems)]
        return max([self.weights_bytes, *(memory.total for memory in memories)])

    @property
    def downloads(self) -> dict[str, int]:
        """Checkpoint -> bytes."""
        own = {self.checkpoint: self.download_bytes} if self.checkpoint else {}
        return own | {encoder.checkpoint: encoder.download_bytes for encoder in self.encoders}


class DryRun(Immutable):
    """Needs of the runs of a profile, one by one and together.

    Attributes:
        profile: its name.
        runs: in the order of the notebooks.
        download_bytes: each checkpoint once.
        cache_bytes: of the encoders' frames, each encoder and corpus once, as far as the clips are known.
        memory_bytes: of the run that needs most.
        trainings: of all runs.
        refused: one sentence for each checkpoint whose licence was not accepted.
    """

    profile: str
    runs: tuple[RunNeeds, ...]
    download_bytes: int
    cache_bytes: int
    memory_bytes: int
    trainings: int
    refused: tuple[str, ...]


def dry_run(planned: Sequence[PlannedRun], profile: str, records: Sequence[Record] = ()) -> DryRun:
    """Work out what planned runs need; no weights are read, none are downloaded.

    A run with a parameter ``llm`` needs that checkpoint, in its ``dtype``; with ``ranks`` it trains adapters as
    `GemmaLoraSettings` says, with ``encoder`` systems that hear, as `audio_plan.trained_systems` says.

    Raises:
        UsageError: a checkpoint is not known.
        DataError: a checkpoint's folder is not whole.
    """
    adapter = cache(_adapter)  # runs of a profile often share theirs
    runs = tuple(_needs(run, adapter).model_copy(update={"hours": hours_of(run, records)}) for run in planned)
    downloads = {name: size for need in runs for name, size in need.downloads.items()}
    cached = {
        (encoder.checkpoint, str(run.parameters.get("corpus")), encoder.recordings.clip_bytes): encoder.recordings.bytes
        for run, need in zip(planned, runs, strict=True)
        for encoder in need.encoders
    }
    refused = dict.fromkeys(need.checkpoint for need in runs if need.access == "refused")
    return DryRun(
        profile=profile,
        runs=runs,
        download_bytes=sum(downloads.values()),
        cache_bytes=sum(size or 0 for size in cached.values()),
        memory_bytes=max((need.memory for need in runs), default=0),
        trainings=sum(need.trainings for need in runs),
        refused=tuple(gate_sentence(name) for name in refused if name),
    )


def describe_plan(done: DryRun) -> str:
    """Write a dry run in lines for people.

    >>> print(describe_plan(dry_run([], "demo")))
    together: 0 trainings, 0 MB of memory at most, 0 MB to download
    """
    lines = [line for need in done.runs for line in _lines(need)]
    memory, download = _size(done.memory_bytes), _size(done.download_bytes)
    cached = f", {_size(done.cache_bytes)} of disk for the frames of encoders" if done.cache_bytes else ""
    return "\n".join(
        [*lines, f"together: {_trainings(done.trainings)}, {memory} of memory at most, {download} to download{cached}"]
    )


def _lines(need: RunNeeds) -> Iterator[str]:
    name = f"{need.notebook} ({need.run})"
    if need.checkpoint is None:
        yield f"{name}: no checkpoint"
        return
    yield f"{name}: {need.checkpoint}, {_parameters(need)}, {_size(need.weights_bytes)} of memory; {_files(need)}"
    for adapter in need.adapters:
        yield (
            f"  rank {adapter.rank}, {adapter.targets}: {adapter.trainable:,} trainable; "
            f"{_memory(adapter.memory, 'adapter')}"
        )
    for encoder in need.encoders:
        stated = "" if encoder.counted else " as its authors state them (install FunASR to count them)"
        if encoder.checkpoint == need.checkpoint:
            yield f"  of them {encoder.parameters:,} are its ears: encoder and projection layer"
        else:
            yield f"  {encoder.checkpoint}, {encoder.parameters:,} parameters{stated}; {_files(encoder)}"
        yield f"    {_frames(encoder)}"
    for system in need.systems:
        yield f"  {system.name}: {_parts(system)}"
        yield f"    {_memory(system.memory, 'trained parts')}"
        yield f"    {_trainings(system.trainings)}"
    if need.trainings:
        yield f"  {_trainings(need.trainings)}{' together' if need.systems else ''}, {_hours(need.hours)}"


def _parameters(need: RunNeeds) -> str:
    if not need.read:
        return f"{need.parameters:,} parameters"
    return f"{need.read:,} parameters read, {need.parameters:,} after conversion"


def _files(need: RunNeeds | EncoderNeeds) -> str:
    """How the files of a checkpoint are got, and its licence."""
    gate = f"; gated{GATE[need.access]}" if need.gated and need.access else ""
    facts = CHECKPOINTS.get(need.checkpoint or "")
    group = "qwen-audio" if facts and facts.kind == "audio llm" else "checkpoint"
    by_hand = f" by hand (`emoser {group} convert`)" if need.access == "by hand" else ""
    files = "here" if need.access == "here" else f"{_size(need.download_bytes)} to download{by_hand}"
    return f"{files} ({need.licence or 'licence not known'}{gate})"


def _frames(encoder: EncoderNeeds) -> str:
    made = encoder.recordings
    if not made.clip_bytes:
        return "it runs at each step: nothing is kept"
    each = f"{made.frames} frames for a clip of {CLIP_SECONDS:g} s"
    if made.clips is None:
        return f"frames kept: {_size(1000 * made.clip_bytes)} for each 1,000 clips, {each}; the corpus is not here"
    return f"frames kept: {_size(made.bytes or 0)} for {made.clips:,} clips, {each}"


def _parts(system: SystemNeeds) -> str:
    parts = f"bridge {system.bridge:,} trained"
    parts += f" + adapter {system.adapter:,} trained" if system.adapter else ""
    parts += f" + encoder {system.encoder_trained:,} trained along" if system.encoder_trained else ""
    said = f"{parts}; {system.parameters:,} parameters in all"
    if system.stated is None:
        return said
    more = system.parameters - system.stated
    how = f"{abs(more):,} {'more' if more > 0 else 'fewer'}" if more else "the same"
    return f"{said}, where the paper says {system.stated / 1e9:g} billion: {how}"


def _memory(held: Memory, what: str) -> str:
    trained = _size(held.trained + held.gradients + held.optimiser)
    return (
        f"{_size(held.total)} of memory = weights {_size(held.weights)} + {what}, gradients and optimiser {trained} + "
        f"activations {_size(held.activations)}"
    )


def _trainings(number: int) -> str:
    return "1 training" if number == 1 else f"{number} trainings"


def _hours(hours: float | None) -> str:
    if hours is None:
        return "hours unknown: this machine has no record of such a run"
    return f"about {hours:.1f} h here" if hours >= 0.1 else "minutes here"


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _needs(planned: PlannedRun, adapter: Callable[..., Adapter]) -> RunNeeds:
    needs = partial(RunNeeds, notebook=planned.chapter, run=planned.name, key=planned.key)
    given = planned.parameters
    if "checkpoint" in given:
        settings = settings_of(planned)
        assert isinstance(settings, QwenAudioSettings)
        qwen = qwen_needs(settings)
        got = _got(settings.checkpoint, qwen.read, "audio llm")
        ears = EncoderNeeds(checkpoint=settings.checkpoint, **qwen.ears, **got)
        return needs(checkpoint=settings.checkpoint, encoders=(ears,), read=qwen.read, **qwen.whole, **got)
    if "llm" not in given:
        return needs()
    name, dtype = given["llm"], given.get("dtype", DTYPES[0])
    more: dict[str, Any] = {}
    # A folder of the user's may hold a model that cannot be computed with.
    with nullcontext() if name in CHECKPOINTS else told_in_a_sentence(local_checkpoint(name) or Path(name)):
        parameters = meta_model(name).num_parameters()
        if "ranks" in given:
            more = _sweep(name, dtype, given, adapter)
        if "encoder" in given:
            settings = settings_of(planned)
            assert isinstance(settings, AudioSettings)
            more = _hears(name, settings)
    return needs(
        checkpoint=name,
        parameters=parameters,
        weights_bytes=parameters * number_bytes(dtype),
        **_got(name, parameters),
        **more,
    )


def _got(name: str, parameters: int, kind: CheckpointKind = "llm") -> dict[str, Any]:
    """What must be done to have a checkpoint: licence, gate, download."""
    here, facts = local_checkpoint(name, kind) is not None, CHECKPOINTS.get(name)
    return {
        "licence": facts.licence if facts else None,
        "gated": bool(facts and facts.gated),
        "access": "here" if here else _access(name),
        "download_bytes": 0 if here or not facts else parameters * number_bytes(facts.dtype),
    }


def _hears(llm: str, settings: AudioSettings) -> dict[str, Any]:
    """Encoders and systems of a run that hears."""
    systems = trained_systems(settings)
    fresh = partial(meta_model, llm, settings.dtype)
    return {
        "encoders": tuple(
            _encoder(name, settings, systems) for name in dict.fromkeys(trained.encoder for trained in systems)
        ),
        "systems": tuple(system_needs(trained, settings, fresh, _stated(trained.encoder, llm)) for trained in systems),
        "trainings": sum(trained.trainings for trained in systems),
    }


def _encoder(name: str, settings: AudioSettings, systems: Iterable[PlannedTraining]) -> EncoderNeeds:
    made = meta_encoder(name)
    return EncoderNeeds(
        checkpoint=name,
        parameters=made.parameters,
        counted=made.model is not None,
        recordings=recordings(settings, list(systems), name),
        **_got(name, made.whole, "encoder"),
    )


@cache
def _stated(encoder: str, llm: str) -> int | None:
    """What the paper says of the parameters of both together; ``None`` where it does not, or the book is not here."""
    path = shipped_files() / "book" / "claims.yaml"
    if (encoder, llm) not in STATED or not path.is_file():
        return None
    claims = {claim["id"]: claim for claim in yaml.safe_load(path.read_text(encoding="utf-8"))}
    return round(claims[STATED[encoder, llm]]["value"] * 1e9)


def _sweep(name: str, dtype: str, given: Mapping[str, Any], adapter: Callable[..., Adapter]) -> dict[str, Any]:
    how = dtype, given["batch_size"], given["activation_checkpointing"]
    loras = [Lora(rank, rank, given["targets"], given["dropout"]) for rank in given["ranks"]]
    return {
        "adapters": tuple(adapter(name, lora, *how) for lora in loras),
        "trainings": len(given["ranks"]) * len(given["alphas"]) * len(given["folds"]) + given["refit"],
    }


def _access(name: str) -> Access:
    """Whether the hub would give us the files of a checkpoint that is not here."""

    if not CHECKPOINTS[name].gated:
        return "open" if CHECKPOINTS[name].revision else "by hand"
    if get_token() is None:
        return "refused"
    try:
        auth_check(name)
    except errors.HfHubHTTPError as error:
        return "refused" if error.response.status_code in (401, 403) else "unknown"
    except (errors.HTTPError, OSError):
        return "unknown"
    return "accepted"


def _adapter(name: str, lora: Lora, dtype: str, batch_size: int, checkpointing: bool) -> Adapter:
    return adapter_needs(meta_model(name, dtype), lora, batch_size, checkpointing)
