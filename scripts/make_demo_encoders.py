"""Make the demo encoders: a tiny Whisper, WavLM, wav2vec 2.0 and emotion2vec, trained on speech this script makes.

They stand in for the papers' encoders where no checkpoint can be had, so that the notebooks of the audio systems run
anywhere. Regenerating is optional, the encoders are shipped. It needs espeak-ng, and for emotion2vec FunASR (the
extra `emotion2vec`). It uses one CPU thread: five minutes to synthesise the speech, and three to eight to train each
encoder; with the same seed, machine and versions the bytes are the same (shipped: torch 2.13, espeak-ng 1.51).

What they hear in training:

- New sentences (`demo_speech.py`); none has a word cue of the demo corpus. espeak-ng speaks them as
  `make_demo_corpus.py` does, in the twelve voices of the demo corpus and in four more.
- A way of speaking (pitch level and range, rate, loudness, voice quality) drawn widely and independently of everything
  else. There is no label anywhere: what the labels of the demo corpus do to a voice is not looked at.

What they learn is what can be heard, in each 20 ms frame: the way of speaking relative to the voice, the voice, and
the moment's pitch, voicing and energy, read off by a linear layer that is thrown away. No clip of the demo corpus is
read. So a frame holds what a listener who knows the voices would notice, and a bridge can find it with few clips.

    python scripts/make_demo_encoders.py                  # rewrites emoser_lib/systems/checkpoints/demo_models/demo-*
    python scripts/make_demo_encoders.py --only whisper   # one of them
    python scripts/make_demo_encoders.py --out DIR        # somewhere else
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import numpy as np
import torch
from demo_folder import refuse_large, refuse_other, replaced
from demo_speech import Clip, synthesise, voices
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import emoser_lib
from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.corpora.generation import PROSODY, QUALITIES
from emoser_lib.errors import DataError, EmoserError
from emoser_lib.systems.checkpoints.catalogue import emotion2vec_configuration
from emoser_lib.systems.hearing.encoders.emotion2vec import Emotion2vecFrames
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoders.wav2vec import Wav2VecFrames
from emoser_lib.systems.hearing.encoders.whisper import WhisperFrames

OUT = Path(emoser_lib.__file__).parent / "systems" / "checkpoints" / "demo_models"
LIMIT = 1_500_000
"""Bytes a folder may have."""

CLIPS, HELD_OUT = 4000, 200
"""Clips that are synthesised, and how many of them are kept from training to see what was learnt."""
STEPS, BATCH = 1600, 16
"""Steps, and clips in each."""
WINDOW_EVERY = 25
"""In each of so many steps Whisper hears one clip in a full window of 30 s."""
LEARNING_RATE, WARM_UP = 3e-3, 60
GENTLER = {"emotion2vec": (1.5e-3, 100)}
"""For one that normalises after each block."""
WIDTH, FEED_FORWARD, HEADS, LAYERS = 96, 384, 4, 2
CONVOLUTIONS = ((256, 400, 320), (64, 1, 1))
"""Channels, kernel and stride, of those that hear samples. The real ones reach the same 25 ms every 20 ms in seven
layers, which takes hours to learn; here the first begins as a filter bank."""


def whisper() -> tuple[Encoder, Callable[[Path], None]]:
    """A Whisper with random weights. Its decoder, which is not trained, is as small as it can be."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    config = WhisperConfig(
        d_model=WIDTH,
        encoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        encoder_ffn_dim=FEED_FORWARD,
        decoder_layers=1,
        decoder_attention_heads=1,
        decoder_ffn_dim=8,
        vocab_size=8,
        max_target_positions=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
        begin_suppress_tokens=None,
    )
    model, extractor = WhisperModel(config), WhisperFeatureExtractor(feature_size=config.num_mel_bins)
    return WhisperFrames(model.get_encoder(), extractor), _saver(model, extractor)


@torch.no_grad()
def filter_bank(weight: Tensor) -> None:
    """Set the weights [channels, 1, kernel] of a first convolution to waves in a Hann window.

    Each frequency has four channels, a quarter of a wave apart: what follows can rectify and add them to a magnitude.
    The frequencies lie on the mel scale; higher ones weigh more, as speech has less of them.
    """
    channels, _, kernel = weight.shape
    mels = torch.linspace(60, 2840, channels // 4)  # up to 8 kHz
    hertz = (700 * (10 ** (mels / 2595) - 1)).repeat_interleave(4)[:, None]
    phase = torch.pi / 2 * torch.arange(4).repeat(channels // 4)[:, None]
    time = torch.arange(kernel)[None] / SAMPLE_RATE
    waves = torch.cos(2 * torch.pi * hertz * time + phase) * torch.hann_window(kernel)
    weight.copy_((waves * (hertz / 1000 + 0.1) / kernel**0.5)[:, None])


def _wav2vec(kind: str) -> tuple[Encoder, Callable[[Path], None]]:
    """WavLM or wav2vec 2.0 with random weights, normalising as the large ones do: by layer, each clip to variance 1."""
    from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

    still = ("hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "layerdrop")
    config = AutoConfig.for_model(
        kind,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=FEED_FORWARD,
        conv_dim=[channels for channels, _, _ in CONVOLUTIONS],
        conv_kernel=[kernel for _, kernel, _ in CONVOLUTIONS],
        conv_stride=[stride for _, _, stride in CONVOLUTIONS],
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=4,
        apply_spec_augment=False,
        mask_time_prob=0.0,
        **dict.fromkeys(still, 0.0),
        **({"num_buckets": 64, "max_bucket_distance": 200} if kind == "wavlm" else {}),
    )
    model = AutoModel.from_config(config)
    filter_bank(model.feature_extractor.conv_layers[0].conv.weight)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    return Wav2VecFrames(model, extractor), _saver(model, extractor)


def _saver(model: Any, extractor: Any) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        model.half().save_pretrained(folder)
        extractor.save_pretrained(folder)

    return save


def emotion2vec_sizes() -> dict[str, Any]:
    """FunASR's configuration of the demo's: small, and without dropout."""
    sizes = emotion2vec_configuration(WIDTH, LAYERS, HEADS, prenet=1)
    still = ("encoder_dropout", "attention_dropout", "activation_dropout", "post_mlp_drop", "layerdrop")
    sizes |= dict.fromkeys(still, 0.0)
    audio = {"feature_encoder_spec": str(list(CONVOLUTIONS)), "prenet_layerdrop": 0.0, "prenet_dropout": 0.0}
    sizes["modalities"]["audio"] |= audio
    return sizes


def emotion2vec() -> tuple[Encoder, Callable[[Path], None]]:
    """An emotion2vec with random weights."""
    from funasr.models.emotion2vec.model import Emotion2vec

    model = Emotion2vec(model_conf=emotion2vec_sizes())
    filter_bank(model.modality_encoders["AUDIO"].local_encoder.conv_layers[0][0].weight)

    def save(folder: Path) -> None:
        weights = {name: tensor.contiguous() for name, tensor in model.half().state_dict().items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        config = {"model_type": "emotion2vec", "model_conf": emotion2vec_sizes()}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    return Emotion2vecFrames(model), save


MAKERS: Mapping[str, Callable[[], tuple[Encoder, Callable[[Path], None]]]] = {
    "whisper": whisper,
    "wavlm": lambda: _wav2vec("wavlm"),
    "wav2vec2": lambda: _wav2vec("wav2vec2"),
    "emotion2vec": emotion2vec,
}
"""Each gives an encoder with random weights and what writes its files."""


class Listener(nn.Linear):
    """Reads off a frame what can be heard; thrown away after the training.

    Args:
        hears_level: whether the encoder can hear how loud a clip is: all but Whisper set each clip to one level.
    """

    def __init__(self, hears_level: bool) -> None:
        self.sizes = (len(PROSODY) + 1, len(QUALITIES), len(voices()), 4)
        super().__init__(WIDTH, sum(self.sizes))
        self.heard = [i for i in range(self.sizes[0]) if hears_level or i != PROSODY.index("loudness")]

    def loss(self, frames: Tensor, clips: Sequence[Clip]) -> Tensor:
        """Of frames [clips, T, width]: each frame should tell of its clip, their mean even more, and of its moment."""
        read = self(frames)
        way, quality, voice, moment = read.split(self.sizes, dim=-1)
        wanted = torch.from_numpy(np.stack([clip.way for clip in clips]))[:, None]
        right = [torch.tensor([getattr(clip, name) for clip in clips]) for name in ("quality", "voice")]
        loss = frames.new_zeros(())
        for part in (1, frames.shape[1]):  # the mean of all frames; every frame
            told = [one if part > 1 else one.mean(dim=1, keepdim=True) for one in (way, quality, voice)]
            loss = loss + functional.mse_loss(told[0][..., self.heard], wanted[..., self.heard].expand(-1, part, -1))
            for logits, one in zip(told[1:], right, strict=True):
                every = one[:, None].expand(-1, part)
                loss = loss + 0.3 * functional.cross_entropy(logits.flatten(0, 1), every.flatten())
        length = min(moment.shape[1], *(len(clip.frames) for clip in clips))
        truth = torch.from_numpy(np.stack([clip.frames[:length] for clip in clips]))
        moment, sounds = moment[:, :length], truth[..., 1]
        away = 3 * (truth[..., 0] - wanted[..., -1]).abs()  # how far the pitch is from the clip's own: its range
        for told, true in ((moment[..., 0], truth[..., 0]), (moment[..., 3], away)):
            loss = loss + ((told - true) ** 2 * sounds).sum() / sounds.sum().clamp(min=1)
        loss = loss + 0.3 * functional.binary_cross_entropy_with_logits(moment[..., 1], sounds)
        return loss + 0.3 * functional.mse_loss(moment[..., 2], truth[..., 2])


def frames_of(encoder: Encoder, clips: Sequence[Clip]) -> Tensor:
    """Frames [clips, T, width] with gradients; the ends are cut to the shortest, so that nothing is padded."""
    length = min(len(clip.waveform) for clip in clips)
    waveforms = [clip.waveform[:length] for clip in clips]
    if isinstance(encoder, Emotion2vecFrames):  # takes one clip at a time, for the sake of padding
        return encoder.run(torch.from_numpy(np.stack(waveforms)))[0][-1]
    return encoder(waveforms).values[:, 0]


def batches(clips: Sequence[Clip], rng: np.random.Generator) -> Iterator[list[Clip]]:
    """Clips of about the same length, without end."""
    lengths = np.array([len(clip.waveform) for clip in clips])
    while True:
        order = np.argsort(lengths + rng.uniform(0, 0.05 * SAMPLE_RATE, len(clips)))
        starts = range(0, max(1, len(clips) - BATCH + 1), BATCH)
        for start in rng.permutation(starts):
            yield [clips[i] for i in order[start : start + BATCH]]


def train(
    encoder: Encoder, listener: Listener, clips: Sequence[Clip], seed: int, steps: int, rate: float, warm_up: int
) -> float:
    """Returns the mean loss of the last steps, at most 50."""
    encoder.eval()  # no dropout, no masking
    weights = [one for name, one in encoder.named_parameters() if "embed_positions" not in name]
    optimizer = torch.optim.AdamW([*weights, *listener.parameters()], lr=rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / warm_up, 1 - step / steps))
    losses: list[float] = []
    for step, batch in zip(range(1, steps + 1), batches(clips, np.random.default_rng(seed)), strict=False):
        if isinstance(encoder, WhisperFrames):
            encoder.context = "clip" if step % WINDOW_EVERY else "window"
            batch = batch if step % WINDOW_EVERY else batch[:1]
        loss = listener.loss(frames_of(encoder, batch), batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 0 or step == steps:
            click.echo(f"step {step}: loss {fmean(losses[-50:]):.3f}")
    return fmean(losses[-50:])


@torch.no_grad()
def heard(encoder: Encoder, listener: Listener, clips: Sequence[Clip]) -> dict[str, float]:
    """Of clips not trained on, by the mean frame: share of the variance explained, or of the clips told right."""
    if isinstance(encoder, WhisperFrames):
        encoder.context = "clip"
    read = torch.cat([listener(frames_of(encoder, [clip])).mean(dim=1) for clip in clips])
    way, quality, voice, _ = (part.numpy() for part in read.split(listener.sizes, dim=-1))
    truth = np.stack([clip.way for clip in clips])
    shares = 1 - ((way - truth) ** 2).mean(axis=0) / truth.var(axis=0)
    found = {name: float(shares[i]) for i, name in enumerate(PROSODY) if i in listener.heard}
    found["quality"] = float(np.mean([np.argmax(q) == clip.quality for q, clip in zip(quality, clips, strict=True)]))
    found["voice"] = float(np.mean([np.argmax(v) == clip.voice for v, clip in zip(voice, clips, strict=True)]))
    return found


README = """# demo-{kind}

A tiny audio encoder for trying things out: the architecture of {title} ({parameters:,} parameters; {layers} layers of
width {width}; 50 frames a second; weights in float16). It is not a trained product and has none of {title}'s weights:
it has heard sixteen voices of espeak-ng, speaking Spanish, and nothing else.
{smaller}

Made by `scripts/make_demo_encoders.py` with seed {seed} in {steps} steps of {batch} clips, on {clips:,} clips which
that script has spoken by espeak-ng and describes. Loss in the end: {loss:.3f}. It learnt what can be heard: the way of
speaking relative to the voice, the voice, and each moment's pitch, voicing and energy. It knows the voices of the demo
corpus; its clips and labels it has not seen.{level}

On {held_out} more clips made the same way, a linear layer on the mean frame tells:

{heard}

Licence: MIT, as the rest of the project.

sha256 of model.safetensors: {sha256}
"""
DECODER = "Its decoder is not trained."
FEWER = "Two convolutions, the first of 25 ms, take the place of seven."
LEVEL = "\nHow loud a clip is it cannot hear: as in {title}'s own pre-processing, each clip is set to one level."
TITLES = {"whisper": "Whisper", "wavlm": "WavLM", "wav2vec2": "wav2vec 2.0", "emotion2vec": "emotion2vec"}


def save(folder: Path, kind: str, write: Callable[[Path], None], told: Mapping[str, float], **facts: Any) -> None:
    """Write an encoder's files, for `load_encoder` to load."""
    write(folder)
    weights = folder / "model.safetensors"
    weights.chmod(0o644)  # written for its owner only
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    words = {name: "share of the variance" if name in PROSODY else "right" for name in told}
    lines = "\n".join(f"- {name.replace('_', ' ')}: {share:.2f} ({words[name]})" for name, share in told.items())
    level = "" if "loudness" in told else LEVEL.format(title=TITLES[kind])
    more = {"smaller": DECODER if kind == "whisper" else FEWER, "level": level, "heard": lines, "sha256": digest}
    text = README.format(kind=kind, title=TITLES[kind], layers=LAYERS, width=WIDTH, batch=BATCH, **more, **facts)
    (folder / "README.md").write_text(text, encoding="utf-8")
    size = refuse_large(folder, LIMIT)
    click.echo(f"demo-{kind}: {size:,} bytes; {', '.join(f'{name} {share:.2f}' for name, share in told.items())}")


def make(kind: str, out: Path, learn: Sequence[Clip], held_out: Sequence[Clip], seed: int, steps: int) -> None:
    """Train one encoder and write its folder whole."""
    torch.manual_seed(seed)
    encoder, write = MAKERS[kind]()
    listener = Listener(hears_level=kind == "whisper")
    loss = train(encoder, listener, learn, seed, steps, *GENTLER.get(kind, (LEARNING_RATE, WARM_UP)))
    facts = {"parameters": sum(one.numel() for one in encoder.parameters()), "loss": loss, "seed": seed, "steps": steps}
    told = heard(encoder, listener, held_out)
    with replaced(out) as folder:
        save(folder, kind, write, told, clips=len(learn), held_out=len(held_out), **facts)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Folder that gets the encoders' folders.")
@click.option("--only", type=click.Choice(list(MAKERS)), multiple=True, help="Make this one; may be given again.")
@click.option("--seed", default=20240926, help="Of the speech and of the first weights.")
@click.option("--clips", default=CLIPS, help=f"To synthesise; {HELD_OUT} or half of them are not trained on.")
@click.option("--steps", default=STEPS, help="Fewer make worse encoders, sooner.")
def main(out: Path, only: tuple[str, ...], seed: int, clips: int, steps: int) -> None:
    """Synthesise the speech, train the encoders, write each folder whole."""
    kinds = only or tuple(MAKERS)
    for kind in kinds:
        refuse_other(out / f"demo-{kind}")
    if shutil.which("espeak-ng") is None:
        raise DataError("espeak-ng is not installed: `apt-get install espeak-ng` or `brew install espeak-ng`.")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    spoken = [synthesise(seed, number) for number in range(clips)]
    kept = min(HELD_OUT, clips // 2)
    click.echo(f"{clips} clips, {sum(len(clip.waveform) for clip in spoken) / SAMPLE_RATE / 60:.1f} min")
    out.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        make(kind, out / f"demo-{kind}", spoken[kept:], spoken[:kept], seed, steps)


if __name__ == "__main__":
    try:
        main()
    except EmoserError as error:
        raise SystemExit(f"{error}") from None
