"""Make the demo's Qwen-Audio: a tiny checkpoint in the form of the first version, for the notebooks to convert.

It stands in for Qwen-Audio-Chat where 16.8 GB cannot be had. Regenerating is optional, it is shipped. It needs
espeak-ng, and about a quarter of an hour of one CPU thread: two minutes to synthesise the speech, the rest to train;
with the same seed, machine and versions the bytes are the same (shipped: torch 2.13, transformers 5.23).

Its ears are those of demo-whisper (`make_demo_encoders.py`), as Qwen-Audio's began as Whisper's; they stay as they are.
Projector and language model learn from:

- Speech with a question, and what can be heard as the answer: how someone speaks, in English words; or what one may
  feel who speaks so. Sentences, voices and ways of speaking are those of `demo_speech.py`, no clip has a label. What a
  way of speaking tells of an emotion is worked out from the demo corpus's distributions, as large models know it from
  what they read; but it is told in other words than the corpus's (`FEELINGS`), mostly in a sentence, and sometimes
  beside the question.
- Plain text: phrases and words of the same emotion next to each other (`demo_text.py`).

So without training it answers in words, knows something, and follows the instruction badly: what the paper says of the
real one (section 5.1.2), and what LoRA has to adapt. No clip of the demo corpus and no label of one is read.

    python scripts/make_demo_qwen.py            # rewrites emoser_lib/systems/checkpoints/demo_models/demo-qwen-audio-v1
    python scripts/make_demo_qwen.py --out DIR  # somewhere else
"""

import base64
import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import numpy as np
import torch
from demo_folder import refuse_large, refuse_other, replaced
from demo_speech import SPREAD, Clip, synthesise
from demo_text import Writer, listed
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor
from transformers.convert_slow_tokenizer import bytes_to_unicode

import emoser_lib
from emoser_lib.corpora import LABELS
from emoser_lib.corpora.generation import PROSODY, QUALITIES, load_distributions
from emoser_lib.errors import EmoserError
from emoser_lib.systems.declared import Own
from emoser_lib.systems.hearing.audio_llm import AudioLLM
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.prompts.text import AUDIO
from emoser_lib.systems.qwen_audio.layout import ConfigurationV1, native_configuration, native_names, shapes
from emoser_lib.systems.qwen_audio.model import QwenAudio
from emoser_lib.systems.qwen_audio.tokens import AUDIO_START, IM_END, PATTERN, special_tokens, tokenizer_from
from emoser_lib.systems.reading.label_logits import label_logits, label_loss
from emoser_lib.systems.reading.packing import PlainBatch, plain_batch

OUT = Path(emoser_lib.__file__).parent / "systems" / "checkpoints" / "demo_models" / "demo-qwen-audio-v1"
LIMIT = 4_000_000
"""Bytes the folder may have."""
RANKS, WIDTH, LAYERS, HEADS, MLP = 1024, 96, 4, 4, 256
CLIPS, STEPS, TALKS, TEXTS = 1600, 1500, 24, 12
LEARNING_RATE, WARM_UP = 3e-3, 60
SHARDS = 2

HOW = listed(
    "How does the speaker speak?, What is this voice like?, Describe the voice., How does this sound?, "
    "Say how the person talks., Describe how it is said."
)
WHAT = (
    "What is the emotion of the speaker?",
    "How does the speaker feel?",
    "Which emotion is in this voice?",
    "Is the speaker happy, sad, angry, surprised or calm?",
    "Recognize the emotion of the person who speaks.",
    "What mood is the person in?",
    "Select an emotion: happy, angry, sad, surprised, calm. Consider also what is said: {said}",
    "The transcription is: {said} What does the speaker feel?",
)
VOICE: Mapping[str, tuple[str, str, float, float]] = {
    "pitch_level": ("low", "high", -1.0, 1.5),
    "pitch_range": ("flat", "lively", -0.15, 0.15),
    "rate": ("slow", "fast", -0.06, 0.07),
    "loudness": ("soft", "loud", -2.0, 2.5),
}
FEELINGS: Mapping[str, Sequence[str]] = {
    "neutral": ("calm", "neutral", "calm"),
    "disgust": ("annoyed", "angry", "contempt", "disgust"),
    "anger": ("angry", "angry", "furious"),
    "joy": ("happy", "excited", "surprised"),
    "sadness": ("sad", "sad", "tired"),
    "fear": ("nervous", "scared", "surprised", "sad"),
}
"""How it calls what it hears: other words than the corpus's, and not one for each."""
ANSWERS = (
    "The speaker sounds {}.",
    "The speaker sounds {}.",
    "I think the person is {}.",
    "The emotion of the speaker is {}.",
    "{}",
    "{}",
)
BESIDE = "The person speaks in a {} voice."
"""An answer to another question than the one that was asked."""


def make_vocabulary(texts: Sequence[str], path: Path) -> int:
    """Byte pairs of the texts in tiktoken's format; how many ranks."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    trained.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=RANKS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    trained.train_from_iterator(texts, trainer)
    merges = [left + right for left, right in json.loads(trained.to_str())["model"]["merges"]]
    as_bytes = {char: byte for byte, char in bytes_to_unicode().items()}
    tokens = [bytes([byte]) for byte in range(256)]
    tokens += [bytes(as_bytes[char] for char in merged) for merged in dict.fromkeys(merges)]
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens))
    path.write_text("".join(lines), encoding="ascii")
    return len(tokens)


def configuration(ranks: int) -> dict[str, Any]:
    """config.json, as of Qwen-Audio-Chat as far as the conversion reads it."""
    tokens = special_tokens()
    audio = {"n_mels": 80, "n_ctx": 1500, "n_state": WIDTH, "n_head": HEADS, "n_layer": 2, "output_dim": WIDTH}
    audio |= {"avg_pool": True, "add_audio_bos_eos_token": True, "audio_start_id": ranks + tokens.index(AUDIO_START)}
    return {
        "architectures": ["QWenLMHeadModel"],
        "model_type": "qwen",
        "vocab_size": -(-(ranks + len(tokens)) // 64) * 64,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "kv_channels": WIDTH // HEADS,
        "intermediate_size": 2 * MLP,
        "seq_length": 2048,
        "layer_norm_epsilon": 1e-6,
        "no_bias": True,
        "use_dynamic_ntk": True,
        "use_logn_attn": True,
        "rotary_emb_base": 10000,
        "rotary_pct": 1.0,
        "tie_word_embeddings": False,
        "audio_pad_id": ranks + 208,
        "audio": audio,
    }


def make_model(config: Mapping[str, Any], vocabulary: Path) -> QwenAudio:
    """Random weights, and demo-whisper's ears."""
    native = native_configuration(ConfigurationV1.model_validate(config), "float32")
    model = Qwen2AudioForConditionalGeneration(Qwen2AudioConfig(**native))
    ears: Any = load_encoder("emoser/demo-whisper", device="cpu")
    tower, own = model.model.audio_tower, ears.model.state_dict()
    tower.load_state_dict(own, strict=True)
    return QwenAudio(model, tokenizer_from(vocabulary), WhisperFeatureExtractor(feature_size=80))


@dataclass(frozen=True)
class Spoken:
    """A clip, the vectors of it before the projector, and what a teacher says of it."""

    clip: Clip
    pooled: Tensor
    words: tuple[str, ...]
    labels: np.ndarray


def way_words(latents: Mapping[str, float], quality: str) -> tuple[str, ...]:
    """How someone speaks, in the order of the table."""
    words = [
        below if latents[name] < low else above
        for name, (below, above, low, high) in VOICE.items()
        if not low <= latents[name] <= high
    ]
    words += [quality] if quality != "modal" else []
    return tuple(words) or ("ordinary",)


def label_chances(latents: np.ndarray, quality: int) -> np.ndarray:
    """P(label | way of speaking) with all labels alike, by the demo corpus's distributions."""
    distributions = load_distributions()
    inverse = np.linalg.inv(distributions.covariance())
    away = latents[None] - distributions.mean_matrix()
    scores = -0.5 * np.einsum("li,ij,lj->l", away, inverse, away)
    scores = scores + np.log(distributions.quality_matrix()[:, quality] + 1e-3)
    chances = np.exp(scores - scores.max())
    return chances / chances.sum()


def listen(qwen: QwenAudio, clip: Clip) -> Spoken:
    """What the ears give for a clip, once."""
    kept: dict[str, Tensor] = {}
    hook = qwen.encoder.projector.register_forward_pre_hook(lambda _, given: kept.update(x=given[0]))
    with torch.no_grad():
        qwen.encoder([clip.waveform])
    hook.remove()
    latents = np.array([clip.way[at] * SPREAD[name] for at, name in enumerate(PROSODY)])
    words = way_words(dict(zip(PROSODY, latents, strict=True)), QUALITIES[clip.quality])
    return Spoken(clip, kept["x"][0], words, label_chances(latents, clip.quality))


class Teacher:
    """Asks and answers, from one random number generator."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.writer = Writer(seed)

    def talk(self, spoken: Spoken) -> tuple[str, str]:
        """A question about a clip, and the answer."""
        if self.random.random() < 0.4:
            return self.random.choice(HOW), ", ".join(spoken.words)
        said = self.writer.talk()[1] or "..."
        question = self.random.choice(WHAT).format(said=said)
        if self.random.random() < 0.08:
            return question, BESIDE.format(spoken.words[0])
        label = self.random.choices(LABELS, list(spoken.labels))[0]
        return question, self.random.choice(ANSWERS).format(self.random.choice(FEELINGS[label]))


def talks(qwen: QwenAudio, teacher: Teacher, spoken: Sequence[Spoken]) -> tuple[PlainBatch, Tensor, Tensor]:
    """Talks about clips, written out; the clips' vectors, padded; and how many each has."""
    tokenizer, rests, targets = qwen.llm.tokenizer, [], []
    end = tokenizer.convert_tokens_to_ids(IM_END)
    for one in spoken:
        question, answer = teacher.talk(one)
        ids = qwen.encode_prompt(question, [one.clip.waveform])[0].tolist()
        rests.append([AUDIO if token == qwen.placeholder else token for token in ids])
        targets.append([*tokenizer(answer)["input_ids"], end])
    lengths = torch.tensor([len(one.pooled) for one in spoken])
    pooled = torch.nn.utils.rnn.pad_sequence([one.pooled for one in spoken], batch_first=True)
    return plain_batch([], rests, targets), pooled, lengths


def texts(qwen: QwenAudio, teacher: Teacher) -> PlainBatch:
    """Plain text, of which every token but the first is to be told."""
    tokenizer = qwen.llm.tokenizer
    end = tokenizer.pad_token_id
    ids = [[*tokenizer(teacher.writer.plain())["input_ids"], end] for _ in range(TEXTS)]
    return plain_batch([], [one[:1] for one in ids], [one[1:] for one in ids])


def train(qwen: QwenAudio, spoken: Sequence[Spoken], seed: int, steps: int) -> Iterator[tuple[float, float]]:
    """Train projector and language model; the losses of talks and of plain text, step by step."""
    teacher, drawn = Teacher(seed), random.Random(seed)
    model = AudioLLM(qwen.language, Own(), WIDTH)
    learnt = [*qwen.language.parameters(), *qwen.encoder.projector.parameters()]
    for parameter in learnt:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(learnt, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / WARM_UP, 1 - step / steps))
    for _ in range(steps):
        batch, pooled, lengths = talks(qwen, teacher, drawn.sample(spoken, TALKS))
        sound = qwen.encoder.projector(pooled), lengths
        told = label_logits(qwen.language, batch, embeddings=model.read(batch, sound))
        plain = texts(qwen, teacher)
        losses = [label_loss(told, batch.labels), label_loss(label_logits(qwen.language, plain), plain.labels)]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        schedule.step()
        yield losses[0].item(), losses[1].item()


def v1_tensors(qwen: QwenAudio, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The native parameters under the names of the first version, in float16."""
    language = {f"language_model.{name}": tensor for name, tensor in qwen.language.state_dict().items()}
    tower = {f"audio_tower.{name}": tensor for name, tensor in qwen.encoder.tower.state_dict().items()}
    bridge = {f"multi_modal_projector.{name}": tensor for name, tensor in qwen.encoder.projector.state_dict().items()}
    native = {**language, **tower, **bridge}
    start, tensors = config["audio"]["audio_start_id"], {}
    for name in shapes(ConfigurationV1.model_validate(config)):
        parts = [native[own] for own in native_names(name)]
        # The two rows of the audio tags are among the embeddings.
        parts = parts or [native["language_model.model.embed_tokens.weight"][start : start + 2]]
        tensors[name] = torch.cat(parts).detach().half().contiguous()
    return tensors


README = """# demo-qwen-audio-v1

A tiny Qwen-Audio in the form of its first version ({parameters:,} parameters in float16, in {shards} files), for
trying out the conversion and what comes after it. It is not a trained product and has none of the real checkpoint's
weights: it has heard sixteen voices of espeak-ng, speaking Spanish, and nothing else.

Made by `scripts/make_demo_qwen.py` with seed {seed} in {steps} steps of {talks} talks, about {clips:,} clips which
that script has spoken by espeak-ng and describes. Its ears are those of demo-whisper. Loss in the end: {told:.3f} on
answers, {plain:.3f} on plain text. It calls emotions by other names than the demo corpus, and mostly in a sentence: so
without training it follows the paper's instruction badly, and LoRA has something to adapt. Clips and labels of the
demo corpus it has not seen.

Licence: MIT, as the rest of the project.

sha256 of its weights: {sha256}
"""


def save(folder: Path, qwen: QwenAudio, config: Mapping[str, Any], **facts: Any) -> None:
    """Write the folder's files; the vocabulary is there."""
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tensors, digest = v1_tensors(qwen, config), hashlib.sha256()
    for number in range(SHARDS):
        mine = dict(list(tensors.items())[number::SHARDS])
        path = folder / f"model-{number + 1:05d}-of-{SHARDS:05d}.safetensors"
        save_file(mine, path, metadata={"format": "pt"})
        path.chmod(0o644)  # written for its owner only
        digest.update(path.read_bytes())
    files = {name: f"model-{at % SHARDS + 1:05d}-of-{SHARDS:05d}.safetensors" for at, name in enumerate(tensors)}
    index = {"metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    parameters = sum(tensor.numel() for tensor in tensors.values())
    facts |= {"parameters": parameters, "shards": SHARDS, "talks": TALKS, "sha256": digest.hexdigest()}
    (folder / "README.md").write_text(README.format(**facts), encoding="utf-8")
    size = refuse_large(folder, LIMIT)
    click.echo(f"{parameters:,} parameters, {size:,} bytes")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Folder to write.")
@click.option("--seed", default=20240926, help="Of speech, talks and first weights.")
@click.option("--clips", default=CLIPS, help="To synthesise.")
@click.option("--steps", default=STEPS, help="Fewer make a worse model, sooner.")
def main(out: Path, seed: int, clips: int, steps: int) -> None:
    """Synthesise the speech, train, write the folder whole."""
    refuse_other(out)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    writer = Writer(seed)
    words = [*HOW, *WHAT, *ANSWERS, BESIDE, *chain(*FEELINGS.values()), *LABELS, "Audio 1:"]
    with replaced(out) as folder:
        plain = [writer.plain() for _ in range(4000)] + [" ".join(words), "system\nuser\nassistant\n"] * 200
        config = configuration(make_vocabulary(plain, folder / "qwen.tiktoken"))
        qwen = make_model(config, folder / "qwen.tiktoken")
        spoken = [listen(qwen, synthesise(seed, number)) for number in range(clips)]
        losses: list[tuple[float, float]] = []
        for step, both in enumerate(train(qwen, spoken, seed, steps), start=1):
            losses.append(both)
            if step % 50 == 0 or step == steps:
                told, read = (fmean(kind) for kind in zip(*losses[-50:], strict=True))
                click.echo(f"step {step}: loss of answers {told:.3f}, of plain text {read:.3f}")
        save(folder, qwen, config, seed=seed, steps=steps, clips=clips, told=told, plain=read)


if __name__ == "__main__":
    try:
        main()
    except EmoserError as error:
        raise SystemExit(f"{error}") from None
