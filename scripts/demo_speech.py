"""The speech that the demo encoders are trained on: new sentences, spoken by espeak-ng in ways drawn at random.

Used by `make_demo_encoders.py`. No clip and no label of the demo corpus is read; of what the corpus is drawn from
(distributions.yaml) only its voices.
"""

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from demo_text import listed
from make_demo_corpus import at_level, speak, voiced, write_mp3

from emoser_lib.corpora.audio import SAMPLE_RATE, read_waveform
from emoser_lib.corpora.generation import PROSODY, QUALITIES, Voice, estimate_seconds, load_distributions
from emoser_lib.systems.hearing.encoders.encoder import FRAME_SAMPLES

SPREAD = {"pitch_level": 3.2, "pitch_range": 0.40, "rate": 0.15, "loudness": 5.0}
"""Standard deviations around 0 of the way of speaking, each wider than that of the whole demo corpus."""
SECONDS = (1.5, 3.8)
"""Bounds of a clip's estimated length."""

SUBJECTS = listed(
    "el médico, la cocinera, mi tía, tu padre, el ministro, la directora, el camarero, mi vecino, la presidenta, "
    "el alumno, la policía, el abogado, mi madre, el periodista, la actriz, el juez, la cajera, el hortelano, "
    "nuestro perro, la pintora, el fontanero, esa mujer, el chico rubio, la guía, un pescador, tu nieta"
)
PREDICATES = listed(
    "compra fruta, ha perdido el tren, habla con la prensa, vuelve a casa, ha vendido el coche, lee un libro, "
    "sube la cuesta, trabaja en el puerto, cierra la ventana, dibuja un mapa, espera al fontanero, ha ido al teatro, "
    "viaja a Bilbao, firma un recibo, corta leña, sale del museo, llama a su prima, guarda los platos, "
    "busca las llaves, pinta la valla, riega el huerto, arregla el grifo, cruza el río, juega al ajedrez"
)
ENDINGS = listed(
    "el martes por la tarde, con su hermano, desde hace un año, en la plaza mayor, antes de comer, "
    "cerca del puente nuevo, como su abuela, y luego descansa, bajo la lluvia, en pleno agosto, a las ocho y media, "
    "junto a la biblioteca, por segunda vez, sin abrigo, hasta el mediodía, después de clase, casi siempre solo, "
    "igual que tú, aunque hace frío, para su sobrina"
)


def _timbre(percent: int, *more: str) -> list[str]:
    return [*(f"formant {number} {percent} 100 100" for number in range(4)), *more]


OTHER_VOICES = (
    Voice(name="nora", gender="female", language="es", pitch_hz=262, timbre=_timbre(132)),
    Voice(name="oto", gender="male", language="es-419", pitch_hz=78, timbre=_timbre(88)),
    Voice(name="pilar", gender="female", language="es-419", pitch_hz=158, timbre=_timbre(106, "flutter 3")),
    Voice(name="quino", gender="male", language="es", pitch_hz=146, timbre=_timbre(91, "roughness 3")),
)
SEMITONES = 6.0
"""What the own pitch of a clip, in octaves from 150 Hz, is divided by: half an octave."""


@dataclass(frozen=True)
class Clip:
    """A clip and what can be heard in it.

    Args:
        waveform: float32 [samples], 16 kHz.
        way: float32 [5]; the four of `PROSODY` over their spread, and log pitch in half octaves from 150 Hz.
        quality, voice: which.
        frames: float32 [frames, 3]; log pitch as above, 1 where voiced, level over the clip's own in units of 10 dB.
    """

    waveform: np.ndarray
    way: np.ndarray
    quality: int
    voice: int
    frames: np.ndarray


@cache
def voices() -> tuple[Voice, ...]:
    """Those of the demo corpus, and the others."""
    return (*load_distributions().voices, *OTHER_VOICES)


def draw(rng: np.random.Generator) -> dict[str, Any]:
    """A sentence, a voice and a way of speaking."""
    while True:
        carrier = f"{rng.choice(SUBJECTS)} {rng.choice(PREDICATES)}"
        parts = [carrier, str(rng.choice(ENDINGS))]
        text = ", ".join(parts if rng.random() < 0.7 else parts[::-1]) + "."
        way = {name: spread * float(np.clip(rng.standard_normal(), -2.6, 2.6)) for name, spread in SPREAD.items()}
        if SECONDS[0] <= estimate_seconds(text, way["rate"]) <= SECONDS[1]:
            break
    said = {"transcription": text[0].upper() + text[1:], "voice": int(rng.integers(len(voices())))}
    return said | way | {"quality": str(rng.choice(QUALITIES))}


def synthesise(seed: int, number: int) -> Clip:
    """The clip of this number: spoken, and coded as mp3 like those of the demo corpus."""
    rng = np.random.default_rng([seed, number])
    drawn = draw(rng)
    voice = voices()[drawn["voice"]]
    speech = voiced(speak(pd.Series(drawn), voice), drawn["quality"], rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp3"
        write_mp3(path, at_level(speech, drawn["loudness"]).clip(-0.98, 0.98))
        waveform = read_waveform(path)
    hertz = voice.pitch_hz * 2 ** (drawn["pitch_level"] / 12)
    way = [*(drawn[name] / SPREAD[name] for name in PROSODY), 12 / SEMITONES * np.log2(hertz / 150)]
    quality = QUALITIES.index(drawn["quality"])
    return Clip(waveform, np.array(way, dtype=np.float32), quality, drawn["voice"], contour(waveform, hertz))


def contour(waveform: np.ndarray, hertz: float) -> np.ndarray:
    """Pitch, voicing and level every 20 ms, by autocorrelation around the known pitch; see `Clip`."""
    size = 1024
    padded = np.pad(waveform, (size // 2 - FRAME_SAMPLES // 2, size))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[::FRAME_SAMPLES][: len(waveform) // FRAME_SAMPLES]
    level = 10 * np.log10((windows**2).mean(axis=1) + 1e-9)
    taper = np.hanning(size)

    def correlation(x: np.ndarray) -> np.ndarray:
        return np.fft.irfft(np.abs(np.fft.rfft(x, 2 * size)) ** 2)[..., :size]

    peaks = correlation((windows - windows.mean(axis=1, keepdims=True)) * taper)
    shortest, longest = int(SAMPLE_RATE / (1.9 * hertz)), min(int(SAMPLE_RATE / (0.55 * hertz)), size // 2)
    peaks = peaks / (peaks[:, :1] + 1e-9) / (correlation(taper) / correlation(taper)[0])
    best = peaks[:, shortest:longest].argmax(axis=1)
    sounds = (peaks[np.arange(len(best)), shortest + best] > 0.5) & (level > level.max() - 30)
    pitch = 12 / SEMITONES * np.log2(SAMPLE_RATE / (shortest + best) / 150)
    own = 10 * np.log10((waveform**2).mean() + 1e-9)
    return np.stack([pitch, sounds, (level - own).clip(-40) / 10], axis=1).astype(np.float32)
