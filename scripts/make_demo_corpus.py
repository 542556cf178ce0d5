"""Make the `demo` corpus: draw its tables, speak its clips with espeak-ng.

Regenerating is optional, the corpus is shipped. It needs espeak-ng (`apt-get install espeak-ng` or
`brew install espeak-ng`). What is drawn (everything but end_ms) depends on distributions.yaml alone. The bytes
of the audio, and end_ms by a few milliseconds, also depend on the versions of espeak-ng (shipped: 1.51) and
of libsndfile with its MP3 encoder (shipped: 1.2.2).

    python scripts/make_demo_corpus.py            # rewrites emoser_lib/corpora/demo_data
    python scripts/make_demo_corpus.py --out DIR  # somewhere else
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import click
import numpy as np
import pandas as pd
import soundfile
import soxr

from emoser_lib.corpora.audio import SAMPLE_RATE, read_waveform
from emoser_lib.corpora.corpus import COLUMNS
from emoser_lib.corpora.generation import (
    DEMO_DATA,
    PROSODY,
    Duration,
    Voice,
    draw_clips,
    estimate_seconds,
    load_distributions,
)
from emoser_lib.errors import DataError, EmoserError

OWN_SPEAKERS = ("alba", "carla", "dario", "hugo", "irene")
"""Who is in the folder of one's own; all others are in the one that it is tested on."""

OWN_LABELS = {"joy": "Alegría", "anger": "Ira", "neutral": "Calma"}

ESPEAK_RATE = 22_050
WORDS_A_MINUTE = 225
"""Speaking rate at a rate factor of 1."""
SWING = 0.40
"""Width of the pitch range relative to the voice's pitch at a range factor of 1."""
LEVEL_DB = -31.0
"""Root mean square of the speech, dB of full scale, at loudness 0."""
MARGIN_S = 0.06
"""Silence before and after the speech."""


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DEMO_DATA,
    help="Folder to write; it must hold distributions.yaml.",
)
def main(out: Path) -> None:
    """Write metadata.csv, latents.csv, own.csv, theirs.csv and audio/*.mp3."""
    if shutil.which("espeak-ng") is None:
        raise DataError("espeak-ng is not installed: `apt-get install espeak-ng` or `brew install espeak-ng`.")
    distributions = load_distributions(out / "distributions.yaml")
    voices = {voice.name: voice for voice in distributions.voices}
    clips = draw_clips(distributions)
    with tempfile.TemporaryDirectory(dir=out) as unfinished:
        audio = Path(unfinished) / "audio"
        audio.mkdir()
        lengths = []
        for number in range(len(clips)):
            clip = clips.iloc[number]
            noise = np.random.default_rng([distributions.seed, number])
            speech = voiced(speak(clip, voices[clip["speaker"]]), clip["quality"], noise)
            write_mp3(audio / clip["id"], at_level(speech, clip["loudness"]))
            lengths.append(checked_length(audio / clip["id"], distributions.duration))
        shutil.rmtree(out / "audio", ignore_errors=True)
        audio.rename(out / "audio")
    clips["end_ms"] = clips["start_ms"] + np.round(1000 * np.array(lengths)).astype(int)
    clips[list(COLUMNS)].to_csv(out / "metadata.csv", index=False, lineterminator="\n")
    clips[["id", "cue", *PROSODY, "quality"]].to_csv(out / "latents.csv", index=False, lineterminator="\n")
    write_own_tables(clips, out)
    report(clips, np.array(lengths), out)


def write_own_tables(clips: pd.DataFrame, out: Path) -> None:
    """Write own.csv and theirs.csv: some of the clips as two people would bring them, no speaker in both."""
    own = clips[clips["speaker"].isin(OWN_SPEAKERS) & clips["label"].isin(OWN_LABELS)]
    turn = own.groupby(["speaker", "label"]).cumcount()  # as many clips of each speaker as there are
    own = own.loc[turn.sort_values(kind="stable").index].groupby("label").head(20).sort_values("speaker", kind="stable")
    spanish = {"audio": "archivo", "transcription": "texto", "label": "emoción", "speaker": "hablante"}
    table = own.assign(label=own["label"].map(OWN_LABELS))[list(spanish)].rename(columns=spanish)
    table.to_csv(out / "own.csv", index=False, sep=";", lineterminator="\n")
    theirs = clips[~clips["speaker"].isin(OWN_SPEAKERS)]
    theirs = pd.concat([theirs[theirs["label"] == label].head(15) for label in (*OWN_LABELS, "sadness")])
    theirs.assign(label=theirs["label"].replace({"neutral": "calm"}))[list(spanish)].to_csv(
        out / "theirs.csv", index=False, lineterminator="\n"
    )


def speak(clip: pd.Series, voice: Voice) -> np.ndarray:
    """Speech of a clip, float32 at espeak-ng's rate, without the silence around it.

    The voice file's pitch line is `lowest highest`: espeak-ng's contour runs from lowest - 9 Hz upwards, with its
    median 0.8 of the width above (measured), so both follow from the wanted median and width.
    """
    median = voice.pitch_hz * 2 ** (clip["pitch_level"] / 12)
    width = median * SWING * np.exp(clip["pitch_range"])
    lowest = median - 0.8 * width + 9
    lines = ["name demo", f"language {voice.language}", f"gender {voice.gender}"]
    lines += [f"pitch {lowest:.0f} {lowest + width:.0f}", *voice.timbre]
    speed = round(WORDS_A_MINUTE * np.exp(clip["rate"]))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "demo").write_text("\n".join(lines) + "\n", encoding="utf-8")
        wav = Path(folder) / "speech.wav"
        command = ["espeak-ng", "--load", "-v", "demo", "-s", str(speed), "-a", "50", "-z", "-w", wav.name]
        subprocess.run([*command, clip["transcription"]], cwd=folder, check=True, capture_output=True)
        speech, rate = soundfile.read(wav, dtype="float32")
    assert rate == ESPEAK_RATE, f"espeak-ng spoke at {rate} Hz"
    heard = np.flatnonzero(np.abs(speech) > 0.01 * np.abs(speech).max())
    return speech[heard[0] : heard[-1] + 1]


def voiced(speech: np.ndarray, quality: str, rng: np.random.Generator) -> np.ndarray:
    """Give speech a voice quality by its spectral slope (and breath noise), keeping its level.

    modal: as it is; tense: up to 10 dB more above about 1 kHz; breathy: up to 10 dB less there, plus noise above
    2 kHz that follows the speech's envelope, 16 dB below it.
    """
    if quality == "modal":
        return speech
    spectrum = np.fft.rfft(speech)
    hertz = np.fft.rfftfreq(len(speech), 1 / ESPEAK_RATE)
    shelf_db = 10 / (1 + (1_000 / np.maximum(hertz, 1)) ** 2)
    if quality == "tense":
        return np.fft.irfft(spectrum * 10 ** (shelf_db / 20), len(speech))
    soft = np.fft.irfft(spectrum * 10 ** (-shelf_db / 20), len(speech))
    window = np.hanning(441) / np.hanning(441).sum()  # 20 ms
    envelope = np.sqrt(np.convolve(soft**2, window, mode="same").clip(0))
    hiss = np.fft.rfft(rng.standard_normal(len(speech))) * (hertz > 2_000)
    breath = np.fft.irfft(hiss, len(speech))
    return soft + 10 ** (-16 / 20) * envelope * breath / breath.std()


def at_level(speech: np.ndarray, loudness_db: float) -> np.ndarray:
    """Resample to 16 kHz, set the level (never clipping: that is checked) and put silence around."""
    speech = soxr.resample(speech, ESPEAK_RATE, SAMPLE_RATE)
    gain = 10 ** ((LEVEL_DB + loudness_db) / 20) / np.sqrt(np.mean(speech**2))
    return np.pad(gain * speech, round(MARGIN_S * SAMPLE_RATE)).astype(np.float32)


def write_mp3(path: Path, waveform: np.ndarray) -> None:
    """Mono mp3 of about 23 kbit/s on average: at a constant rate libsndfile does not note the exact length."""
    soundfile.write(path, waveform, SAMPLE_RATE, format="MP3", bitrate_mode="AVERAGE", compression_level=0.94)


def checked_length(path: Path, duration: Duration) -> float:
    """Seconds of a written clip, read back as any reader of the corpus will.

    Raises:
        DataError: out of bounds, clipped or silent.
    """
    waveform = read_waveform(path)
    seconds, peak = len(waveform) / SAMPLE_RATE, float(np.abs(waveform).max())
    if not duration.seconds[0] <= seconds <= duration.seconds[1]:
        raise DataError(f"{path.name} lasts {seconds:.2f} s: narrow duration.estimate in distributions.yaml.")
    if not 0.01 <= peak < 0.98:
        raise DataError(f"{path.name} peaks at {peak:.3f}: change LEVEL_DB.")
    return seconds


def report(clips: pd.DataFrame, lengths: np.ndarray, out: Path) -> None:
    """Say what was made, and how good the estimate of the lengths is."""
    estimates = [estimate_seconds(t, r) for t, r in zip(clips["transcription"], clips["rate"], strict=True)]
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    in_train = clips["video"].isin(set(clips["video"][clips["split"] == "train"]))
    shared = (in_train & (clips["split"] == "test")).sum()
    print(
        f"{len(clips)} clips of {clips['video'].nunique()} videos, {lengths.min():.2f}-{lengths.max():.2f} s "
        f"(estimate off by {np.abs(lengths - estimates).max():.2f} s at most), {lengths.sum() / 60:.1f} min, "
        f"{size / 1e6:.2f} MB; {shared} test clips share a video with train."
    )


if __name__ == "__main__":
    try:
        main()
    except EmoserError as error:
        raise SystemExit(f"{error}") from None
