"""A kept system, loaded: what it answers about clips, as probabilities of its labels."""

import tempfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from peft import set_peft_model_state_dict
from peft.utils import load_peft_weights
from safetensors.torch import load_file
from scipy.special import softmax
from skops import io as skops

from emoser_lib.corpora import Corpus
from emoser_lib.errors import DataError
from emoser_lib.experiments.predicting.kept import BRIDGE_WEIGHTS, CLASSICAL_FILE, KeptSystem
from emoser_lib.experiments.predicting.parts import LoadedParts, load_parts
from emoser_lib.systems.classical.baselines import parts_of
from emoser_lib.systems.classical.clips import Clips
from emoser_lib.systems.hearing.assembly import assemble
from emoser_lib.systems.hearing.audio_task import AudioExamples, AudioTask, audio_examples
from emoser_lib.systems.hearing.encoding import hear
from emoser_lib.systems.prompts.text import prompt_named
from emoser_lib.systems.prompts.words import words_for
from emoser_lib.systems.reading.lora import add_lora
from emoser_lib.systems.reading.prefix_cache import PrefixCache
from emoser_lib.systems.reading.text_task import text_examples
from emoser_lib.systems.reading.verbaliser import Verbaliser
from emoser_lib.systems.reading.zero_shot import CONTENT_FREE, calibrated, label_scores, posterior

TRUSTED = ("emoser_lib.systems.classical.", "sklearn.utils._bunch.Bunch")
"""Types that a classical system may hold besides those that skops trusts; others in a file are not loaded."""

FRAMES_AT_ONCE = 16
"""Clips whose frames are on disk at once (our choice)."""


class Answering(Protocol):
    """A loaded system."""

    def answers(self, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of each clip's label, and float64 [clips, labels], the labels' probabilities."""


def open_system(folder: Path, kept: KeptSystem, names: dict[str, str], device: str) -> Answering:
    """Load a kept system.

    Args:
        folder: where its files are.
        kept: what it is.
        names: role -> where that checkpoint is.
        device: where models compute.

    Raises:
        UsageError: there is no such checkpoint or device.
        DataError: a checkpoint is not the one that the system was trained on, or a file is damaged.
    """
    if kept.kind == "classical":
        return _Classical(folder, kept)
    parts = load_parts(names, device, kept.dtype, kept.context)
    for used in kept.checkpoints:
        if (found := parts.sha256(used.role)) != used.sha256:
            raise DataError(
                f"{kept.name} was trained on {used.name} with weights of sha256 {used.sha256[:12]}, {names[used.role]} "
                f"has {found[:12]}: name the same checkpoint ({'--encoder' if used.role == 'encoder' else '--llm'})."
            )
    return (_Reading if kept.kind == "text" else _Hearing)(folder, kept, parts)


class _LLM:
    """What systems with a language model share: the likeliest label is the answer."""

    def answers(self, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
        found = self.probabilities(corpus)
        return found.argmax(axis=1), found

    def probabilities(self, corpus: Corpus) -> np.ndarray:
        raise NotImplementedError


class _Reading(_LLM):
    """A language model that reads, with its adapter."""

    def __init__(self, folder: Path, kept: KeptSystem, parts: LoadedParts) -> None:
        self.kept, self.llm, self.system = kept, parts.llm, kept.text_system
        if kept.trained:
            self.model = add_lora(self.llm.model, self.system.lora)
            _load_adapter(self.model, folder)
            self.model.requires_grad_(False).eval()

    def probabilities(self, corpus: Corpus) -> np.ndarray:
        ids = list(corpus.frame["id"])
        if not self.kept.trained:
            return self._untrained(corpus, ids)
        _, asked, verbaliser = text_examples(self.llm, self.system, corpus, (), ids)
        cache = PrefixCache(self.model, asked.prefix)
        return posterior(cache.log_probabilities(asked.rests, verbaliser.ids, clips=ids).cpu().double().numpy())

    def _untrained(self, corpus: Corpus, ids: list[str]) -> np.ndarray:
        """As chapter 4: the prompts of clips and of inputs without content, encoded together."""
        texts = [*corpus.frame["transcription"], *CONTENT_FREE]
        words = words_for(corpus.labels, self.system.words)
        asked = prompt_named(self.system.prompt).listing(words).encode(self.llm.tokenizer, texts, self.system.chat)
        verbaliser = Verbaliser.build(self.llm.tokenizer, words, after=asked.tail)
        scores = label_scores(self.llm.model, asked, verbaliser, clips=ids)
        of_clips, of_nothing = scores[: len(ids)], scores[len(ids) :]
        return calibrated(of_clips, of_nothing) if self.kept.calibrated else posterior(of_clips)


class _Hearing(_LLM):
    """A language model that hears: its bridge, its adapter, and what of the encoder was trained."""

    def __init__(self, folder: Path, kept: KeptSystem, parts: LoadedParts) -> None:
        self.kept, self.parts, self.system = kept, parts, kept.audio_system
        self.model = assemble(parts.llm, self.system, parts.encoder)
        if self.system.adaptation is not None:
            _load_adapter(self.model.llm, folder)
        own = {name: p for name, p in self.model.named_parameters() if p.requires_grad and not name.startswith("llm.")}
        stored = load_file(folder / BRIDGE_WEIGHTS) if own else {}
        if stored.keys() != own.keys():
            raise DataError(f"{folder / BRIDGE_WEIGHTS} holds the parameters of another system: export it again.")
        for name, parameter in own.items():
            parameter.data.copy_(stored[name])
        self.model.requires_grad_(False).eval()
        self.model.frozen, self.model.train_encoder = True, False

    def probabilities(self, corpus: Corpus) -> np.ndarray:
        ids = list(corpus.frame["id"])
        parts = [
            self._some(corpus, ids[start : start + FRAMES_AT_ONCE]) for start in range(0, len(ids), FRAMES_AT_ONCE)
        ]
        return np.concatenate(parts)

    def _some(self, corpus: Corpus, ids: list[str]) -> np.ndarray:
        with tempfile.TemporaryDirectory(prefix="emoser-") as place:  # frames of new clips are not kept
            hearing = hear(self.parts.encoder, self.system, corpus, ids, home=Path(place))
            _, asked, verbaliser, _ = audio_examples(self.parts.llm, self.system, hearing, (), ids)
            task = AudioTask(
                self.model,
                verbaliser.ids,
                self.system.loss,
                [],
                AudioExamples(asked.prefix, (), (), ()),
                asked,
                hearing.features,
                hearing.waveform,
                # Heard with its batch, a clip is heard alone: an answer about it depends on no other one.
                batch_size=1 if self.kept.context == "batch" else 4,
            )
            return posterior(task.scores().cpu().double().numpy())


def _load_adapter(model: Any, folder: Path) -> None:
    try:
        stored = load_peft_weights(str(folder), device="cpu")
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} has no adapter that can be read ({error}): export the system again.") from None
    loaded: Any = set_peft_model_state_dict(model, stored)
    if found := loaded.unexpected_keys:
        raise DataError(f"the adapter in {folder} is of another model ({found[0]}): export the system again.")


class _Classical:
    """A scikit-learn estimator."""

    def __init__(self, folder: Path, kept: KeptSystem) -> None:
        self.kept, path = kept, folder / CLASSICAL_FILE
        try:
            foreign = [name for name in skops.get_untrusted_types(file=path) if not name.startswith(TRUSTED)]
            if foreign:
                raise DataError(f"{path} holds objects of {foreign[0]}, which are not loaded: export the system again.")
            self.model = skops.load(path, trusted=skops.get_untrusted_types(file=path))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} cannot be read ({error}): export the system again.") from None

    def answers(self, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
        name = self.kept.declared["baseline"]
        if not (self.kept.hears or self.kept.reads):  # `majority` reads nothing
            clips = Clips(text=list(corpus.frame["transcription"]))
        else:
            clips = Clips.from_corpus(corpus, corpus.frame["id"], **parts_of([name]))
        found = np.zeros((len(clips), len(corpus.labels)))
        found[:, [corpus.labels.index(label) for label in self.model.classes_]] = _of_classes(self.model, clips)
        answers = np.array([corpus.labels.index(label) for label in self.model.predict(clips)])
        # A support vector machine counts votes, its values break ties: its own answer gets the higher value.
        rows, best = np.arange(len(found)), found.argmax(axis=1)
        found[rows, best], found[rows, answers] = found[rows, answers].copy(), found[rows, best].copy()
        return answers, found


def _of_classes(model: Any, clips: Clips) -> np.ndarray:
    """Its probabilities; of a classifier without any, its decision values put through softmax, or 1 for its answer."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba(clips)
    if hasattr(model, "decision_function"):
        values = model.decision_function(clips)
        return softmax(np.column_stack([np.zeros(len(values)), values]) if values.ndim == 1 else values, axis=1)
    return (np.asarray(model.predict(clips))[:, None] == np.asarray(model.classes_)).astype(float)
