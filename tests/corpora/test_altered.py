"""What is done to clips: exactly what was asked for, the same each time, and nothing where nothing was asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emoser_lib.corpora import SAMPLE_RATE, AlteredCorpus, Condition, Corpus, alter, load_corpus
from emoser_lib.corpora.altered import add_noise, change_speed, delete_words, first_seconds, first_words, telephone
from emoser_lib.errors import UsageError

sounds = arrays(np.float32, st.integers(1, 4000), elements=st.floats(-1, 1, width=32, allow_subnormal=False))
texts = st.text("aeñ' \n¿<", max_size=40)
noises = st.sampled_from(("white", "speech"))


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def decibels(signal: np.ndarray, noise: np.ndarray) -> float:
    return 10 * np.log10(np.mean(signal.astype(float) ** 2) / np.mean(noise.astype(float) ** 2))


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE).astype(np.float32)


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return load_corpus("demo")


@pytest.mark.parametrize("level", [20, 10, 0, -10])
@pytest.mark.parametrize("shape", ["white", "speech"])
def test_noise_is_as_far_below_the_clip_as_asked_for(demo: Corpus, level: int, shape: str) -> None:
    clip = demo.waveform(demo.frame["id"][0])
    noisy = add_noise(clip, level, rng(), shape)
    assert decibels(clip, noisy - clip) == pytest.approx(level, abs=0.01)


def test_shaped_noise_lies_where_the_clip_does() -> None:
    low = tone(300)
    spectrum = {shape: np.abs(np.fft.rfft(add_noise(low, 0, rng(), shape) - low)) ** 2 for shape in ("white", "speech")}
    shares = {shape: power[:1000].sum() / power.sum() for shape, power in spectrum.items()}
    assert shares["white"] < 0.2
    assert shares["speech"] > 0.99


@given(sounds, st.integers(-30, 60), noises)
def test_noise_keeps_length_and_is_finite_and_the_same_each_time(sound: np.ndarray, level: int, shape: str) -> None:
    noisy = add_noise(sound, level, rng(), shape)
    assert noisy.dtype == np.float32
    assert len(noisy) == len(sound)
    assert np.isfinite(noisy).all()
    assert np.array_equal(noisy, add_noise(sound, level, rng(), shape))


def test_the_same_noise_is_louder_at_a_lower_ratio() -> None:
    clip = tone(220)
    quiet, loud = (add_noise(clip, level, rng()) - clip for level in (20, 0))
    assert np.corrcoef(quiet, loud)[0, 1] > 0.999


@given(sounds)
def test_a_telephone_keeps_length_and_is_finite(sound: np.ndarray) -> None:
    heard = telephone(sound)
    assert heard.dtype == np.float32
    assert len(heard) == len(sound)
    assert np.isfinite(heard).all()


@pytest.mark.parametrize(("hertz", "stays"), [(80, False), (1000, True), (2500, True), (5000, False), (7000, False)])
def test_a_telephone_lets_its_band_through(hertz: float, stays: bool) -> None:
    middle = slice(4000, 12_000)
    loss = decibels(tone(hertz)[middle], telephone(tone(hertz))[middle])
    assert loss == pytest.approx(0, abs=1) if stays else loss > 30


@given(sounds, st.floats(0.5, 2))
def test_speed_changes_the_length(sound: np.ndarray, factor: float) -> None:
    played = change_speed(sound, factor)
    assert played.dtype == np.float32
    assert len(played) == pytest.approx(len(sound) / factor, abs=1)
    assert np.isfinite(played).all()


def test_speed_moves_the_pitch() -> None:
    played = change_speed(tone(1000, 2.0), 1.1)
    peak = np.abs(np.fft.rfft(played)).argmax() * SAMPLE_RATE / len(played)
    assert peak == pytest.approx(1100, abs=2)


@given(sounds)
def test_neutral_values_change_nothing(sound: np.ndarray) -> None:
    assert Condition().heard(sound, rng()) is sound
    assert np.array_equal(first_seconds(sound, 1.0), sound)
    assert change_speed(sound, 1.0) is sound


@given(texts)
def test_neutral_values_leave_a_text_as_it_is(text: str) -> None:
    assert delete_words(text, 0.0, rng()) == text
    assert first_words(text, 1.0) == text
    assert Condition(seconds=9).read(text, 3.0, rng()) == text


@given(texts, st.floats(0, 1), st.floats(0, 1))
def test_what_is_deleted_at_one_share_is_deleted_at_a_higher_one(text: str, one: float, other: float) -> None:
    few, many = (delete_words(text, share, rng()).split() for share in sorted((one, other)))
    left = iter(few)
    assert all(word in left for word in many)  # in their order
    assert delete_words(text, 1.0, rng()) == (text if not text.split() else "")


def test_so_many_words_are_deleted_as_asked_for() -> None:
    kept = delete_words("no " * 20_000, 0.3, rng()).split()
    assert len(kept) == pytest.approx(14_000, rel=0.02)


@given(texts, st.floats(0.01, 2))
def test_the_first_words_are_the_first(text: str, share: float) -> None:
    words, kept = text.split(), first_words(text, share).split()
    assert kept == words[: len(kept)]
    assert share * len(words) <= len(kept) or share > 1


@pytest.mark.parametrize(
    "condition", [Condition(snr_db=0), Condition(telephone=True), Condition(snr_db=0, noise="speech")]
)
def test_silence_stays_silence(condition: Condition) -> None:
    assert not condition.heard(np.zeros(1000, np.float32), rng()).any()


def test_without_audio_there_is_silence_of_the_clips_length() -> None:
    heard = Condition(audio=False).heard(tone(200), rng())
    assert len(heard) == SAMPLE_RATE
    assert not heard.any()


@pytest.mark.parametrize(
    "values", [{"seconds": 0.0}, {"speed": 0.0}, {"snr_db": float("nan")}, {"words_deleted": 1.1}, {"noise": "pink"}]
)
def test_a_condition_out_of_range_is_one_sentence(values: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(values))} of a condition is"):
        Condition(**values)


CONDITIONS = [
    Condition(),
    Condition(snr_db=10),
    Condition(snr_db=10, noise="speech"),
    Condition(telephone=True),
    Condition(speed=0.9),
    Condition(seconds=1),
    Condition(words_deleted=0.5),
    Condition(transcript=False),
    Condition(audio=False),
]


def test_an_altered_corpus_is_another_one_for_whoever_keeps_results(demo: Corpus) -> None:
    ids = {
        demo.sha256,
        *(alter(demo, condition).sha256 for condition in CONDITIONS),
        alter(demo, Condition(), 1).sha256,
    }
    assert len(ids) == len(CONDITIONS) + 2
    assert alter(demo, CONDITIONS[1]).sha256 == alter(demo, CONDITIONS[1]).sha256


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_a_corpus_is_altered_in_its_sound_and_words_only(demo: Corpus, condition: Condition) -> None:
    there, clip = alter(demo, condition), demo.frame["id"][7]
    same = [column for column in demo.frame if column != "transcription"]
    assert there.frame[same].equals(demo.frame[same])
    assert there.test().equals(there.frame[demo.frame["split"] == "test"])
    sound, words = demo.waveform(clip), demo.row(clip)["transcription"]
    assert np.array_equal(there.waveform(clip), sound) == (not condition.changes_sound)
    assert len(there.waveform(clip)) == (16_000 if condition.seconds else round(len(sound) / condition.speed))
    changes_words = condition.seconds or condition.words_deleted or not condition.transcript
    assert (there.row(clip)["transcription"] == words) == (not changes_words)


def test_a_clip_has_its_own_noise_whatever_else_is_heard(demo: Corpus) -> None:
    noisy, (first, second) = alter(demo, Condition(snr_db=0)), demo.frame["id"][:2]
    forwards = [noisy.waveform(clip) for clip in (first, second)]
    backwards = [noisy.waveform(clip) for clip in (second, first)]
    assert np.array_equal(forwards[0], backwards[1])
    noise = [noisy.waveform(clip) - demo.waveform(clip) for clip in (first, second)]
    shorter = min(map(len, noise))
    assert abs(np.corrcoef(noise[0][:shorter], noise[1][:shorter])[0, 1]) < 0.05
    assert not np.array_equal(forwards[0], alter(demo, Condition(snr_db=0), seed=1).waveform(first))


def test_the_words_that_are_read_are_those_said_until_the_cut(demo: Corpus) -> None:
    cut, clip = alter(demo, Condition(seconds=1)), demo.frame["id"][0]
    seconds, words = len(demo.waveform(clip)) / SAMPLE_RATE, demo.row(clip)["transcription"].split()
    read = cut.row(clip)["transcription"].split()
    assert read == words[: len(read)]
    assert 0 <= len(read) - len(words) / seconds < 1.01


def test_hidden_labels_stay_hidden_and_can_be_scored(demo: Corpus) -> None:
    hidden = Corpus("own", demo.frame.assign(label=""), demo.labels, dict.fromkeys(demo.test()["id"], "joy"))
    there = alter(hidden, Condition(snr_db=0))
    assert isinstance(there, AlteredCorpus)
    assert not (there.frame["label"] != "").any()
    assert there.gold_labels().equals(hidden.gold_labels())
