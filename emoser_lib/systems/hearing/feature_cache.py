"""Each clip is encoded once, ever: frames of frozen encoders on disk, whole or not at all, read without loading them.

``$EMOSER_CACHE/features/<encoder key>/<aa>/<sha256 of the audio>.safetensors``, and an ``encoder.json`` a folder that
says in words what made them.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from stat import S_ISREG
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from emoser_lib.errors import DataError, UsageError
from emoser_lib.files import locked, make_folder, remove, write_whole, writing
from emoser_lib.systems.declared import Layer
from emoser_lib.systems.device import enough_memory
from emoser_lib.systems.finite import check_finite
from emoser_lib.systems.hearing.cache_contents import features_home, lock_of
from emoser_lib.systems.hearing.encoders.encoder import Encoder, Frames
from emoser_lib.versions import versions_behind

LOOK_AHEAD = 4
"""Batches of clips held at once, so that clips of about the same length share one (our choice)."""

ENCODING = ("emoser_lib.systems.hearing.encoders.", "emoser_lib.systems.qwen_audio.")
"""The rooms whose modules make frames: of what an encoder's class imports, their versions are in the key."""


class Features:
    """The frames of some clips, by clip id: what training reads. Nothing is in memory until it is asked for.

    Attributes:
        audio: clip id -> sha256 of its waveform.
        lengths: clip id -> frames.
        layers, width: of each clip's frames.
    """

    def __init__(self, folder: Path, audio: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.audio = dict(audio)
        self.lengths = {clip: shapes[clip][1] for clip in audio}
        self.layers, self.width = next(((s[0], s[2]) for s in shapes.values()), (0, 0))
        self._folder, self._shapes = folder, shapes

    def __getitem__(self, clip: str) -> Tensor:
        """One clip's frames, [layers, frames, width], mapped from its file: only what is used of it is read.

        Raises:
            KeyError: no such clip was added.
            DataError: its file was removed or damaged since.
        """
        path = _entry(self._folder, self.audio[clip])
        try:
            _shape(path)
            with safe_open(path, framework="pt") as file:
                return file.get_tensor("frames")
        except (Damaged, SafetensorError, OSError) as error:
            raise DataError(
                f"the frames of clip {clip} were changed while they were in use ({error}): start again, they are "
                "then made again."
            ) from None

    def batch(self, clips: Sequence[str]) -> Frames:
        """Several clips' frames in memory, padded with zeros at the end.

        Raises:
            DataError: see ``features[clip]``.
        """
        lengths = torch.tensor([self.lengths[clip] for clip in clips])
        values: Tensor | None = None
        for row, clip in enumerate(clips):
            frames = self[clip]
            if values is None:
                values = frames.new_zeros(len(clips), self.layers, int(lengths.max()), self.width)
            values[row, :, : frames.shape[1]] = frames
        if values is None:
            raise UsageError("a batch of no clips has no frames: name at least one.")
        return Frames(values, lengths)

    def of(self, clips: Iterable[str]) -> Self:
        """The same for fewer clips, in this order."""
        return type(self)(self._folder, {clip: self.audio[clip] for clip in clips}, self._shapes)

    @property
    def digest(self) -> str:
        """Identity of all these frames in their order, for the key of a training: encoder key and audio."""
        return hashlib.sha256(json.dumps([self._folder.name, *self.audio.values()]).encode()).hexdigest()


class FeatureCache:
    """Where the frames of one encoder and layer are kept.

    Several processes may add to it at once: one works, the others wait and find the work done.

    Args:
        encoder: from `load_encoder`.
        layer: whose output, or "all".
        home: default ``features`` in the cache folder (`cache_home`).
        batch_size: clips encoded at once, of about the same length.

    Raises:
        UsageError: there is no such layer or batch size, or the encoder is being trained.
    """

    def __init__(self, encoder: Encoder, layer: Layer = -1, home: Path | None = None, batch_size: int = 1) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}: at least one clip is encoded at once.")
        if encoder.training or any(parameter.requires_grad for parameter in encoder.parameters()):
            raise UsageError(
                f"{encoder.name} is being trained, its frames change: call it without a cache, or freeze it."
            )
        self.encoder, self.layer, self.batch_size = encoder, layer, batch_size
        self._facts = frames_depend_on(encoder, layer)
        self.key = hashlib.sha256(json.dumps(self._facts, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = (home or features_home()) / self.key
        self._swept = False

    def add(self, clips: Iterable[tuple[str, np.ndarray]]) -> Features:
        """Have the frames of these clips: those that are not here, or are damaged, are made.

        Args:
            clips: id and float32 waveform [samples] at 16 kHz of each, such as
                ``zip(ids, corpus.waveforms(ids))``; read one by one, a few batches are held at once.

        Raises:
            DataError: a clip is too short or too long for the encoder, or the disk is full; what is here already stays.
            UsageError: two clips have the same id.
        """
        audio: dict[str, str] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        waiting: dict[str, np.ndarray] = {}  # by clip; the same sound twice is encoded once
        for clip, given in clips:
            waveform = np.ascontiguousarray(given, dtype=np.float32)
            if clip in audio:
                raise UsageError(f"clip {clip} is there twice: give every clip an id of its own.")
            audio[clip] = hashlib.sha256(waveform.data).hexdigest()
            try:
                shapes[clip] = _shape(self._path(audio[clip]))
            except (Damaged, FileNotFoundError):
                self.encoder.check(waveform, f"clip {clip}")
                waiting[clip] = waveform
            if len(waiting) == LOOK_AHEAD * self.batch_size:
                self._make(waiting, audio, shapes)
        self._make(waiting, audio, shapes)
        with suppress(OSError):  # a folder that may only be read is as good
            os.utime(self.folder / "encoder.json")
        return Features(self.folder, audio, shapes)

    def _make(
        self, waiting: dict[str, np.ndarray], audio: Mapping[str, str], shapes: dict[str, tuple[int, ...]]
    ) -> None:
        """Encode what is waiting, longest first: a batch that is too big for the memory fails at once."""
        order = sorted(waiting, key=lambda clip: len(waiting[clip]), reverse=True)
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            shorter = "cut its clips shorter, or take the CPU (device)"
            with self._locked(), enough_memory(self.encoder.device, f"{self.encoder.name}'s frames", shorter):
                missing = self._missing(batch, audio)
                frames = (
                    self.encoder.encode([waiting[clip] for clip in missing.values()], self.layer) if missing else []
                )
                for (digest, clip), values in zip(missing.items(), frames, strict=True):
                    self._write(digest, check_finite(values[None], [clip], "frames")[0])
                shapes |= {clip: _shape(self._path(audio[clip])) for clip in batch}
        waiting.clear()

    def _missing(self, batch: Sequence[str], audio: Mapping[str, str]) -> dict[str, str]:
        """Audio -> clip of those another process has not made meanwhile; a damaged entry is named."""
        missing: dict[str, str] = {}
        for clip in batch:
            path = self._path(audio[clip])
            try:
                _shape(path)
            except FileNotFoundError:
                missing[audio[clip]] = clip
            except Damaged as error:
                warnings.warn(f"{path} is damaged ({error}): the frames of clip {clip} are made again", stacklevel=4)
                remove(path)
                missing[audio[clip]] = clip
        return missing

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with writing(self.folder), locked(lock_of(self.folder)):
            make_folder(self.folder, self.folder.parent)
            if not self._swept:  # whoever writes holds the lock: these are of writers that were killed
                for partial in self.folder.glob("**/.*.partial"):
                    remove(partial)
                self._swept = True
            words = {"encoder": self.encoder.title, "name": self.encoder.name} | self._facts
            text, path = json.dumps(words, indent=2, ensure_ascii=False) + "\n", self.folder / "encoder.json"
            if not path.is_file() or path.read_bytes() != text.encode():
                remove(path)
                write_whole(path, text)
            yield

    def _write(self, digest: str, frames: Tensor) -> None:
        tensor = frames.cpu().contiguous()
        facts = {"audio": digest, "encoder": self.key, "sha256": _sha256(tensor)}
        make_folder(self._path(digest).parent, self.folder)
        write_whole(self._path(digest), save({"frames": tensor}, facts))

    def _path(self, digest: str) -> Path:
        return _entry(self.folder, digest)


class Damaged(Exception):
    """An entry is not what was written under its name."""


def frames_depend_on(encoder: Encoder, layer: Layer) -> dict[str, object]:
    """All that frames depend on besides the audio, as JSON can write it."""
    encoder.check_layer(layer)
    numbers = versions_behind(*(of.__module__ for of in type(encoder).__mro__))
    return {
        "weights": encoder.sha256,
        "configuration": encoder.configuration,
        "layer": layer if layer == "all" else layer % encoder.layers,
        "how": encoder.how,
        "versions": {name: metadata.version(name) for name in encoder.packages},
        "code": {name: number for name, number in numbers.items() if name.startswith(ENCODING)},
    }


def _entry(folder: Path, digest: str) -> Path:
    return folder / digest[:2] / f"{digest}.safetensors"


def _shape(path: Path) -> tuple[int, ...]:
    """The shape of an entry's frames; its content is verified once a process.

    Raises:
        FileNotFoundError: there is no such entry.
        Damaged: its content is not what was written, or it is no file.
    """
    try:
        stat = path.stat()
        if not S_ISREG(stat.st_mode):
            raise Damaged("it is no file")
    except FileNotFoundError:
        if path.is_symlink():
            raise Damaged("it is a link to nothing") from None
        raise
    except OSError as error:  # a link without end, a file in the place of its folder
        raise Damaged(error.strerror or str(error)) from None
    return _verified(path, stat.st_ino, stat.st_mtime_ns, stat.st_size)


@cache
def _verified(path: Path, *_identity: int) -> tuple[int, ...]:
    try:
        with safe_open(path, framework="pt") as file:
            facts, frames = file.metadata() or {}, file.get_tensor("frames")
    except (SafetensorError, OSError) as error:
        raise Damaged(str(error)) from None
    if (facts.get("audio"), facts.get("encoder")) != (path.stem, path.parent.parent.name):
        raise Damaged("it belongs to another clip or encoder")
    if facts.get("sha256") != _sha256(frames):
        raise Damaged("its checksum does not fit")
    return tuple(frames.shape)


def _sha256(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.view(torch.uint8).numpy().data).hexdigest()
