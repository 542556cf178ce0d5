"""The baselines learn, join their parts, and are scikit-learn estimators throughout."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import f1_score
from sklearn.utils.estimator_checks import check_estimator

from emoser_lib.corpora import load_corpus
from emoser_lib.corpora.corpus import Corpus, build_frame
from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.classical.baselines import BASELINES
from emoser_lib.systems.classical.clips import Clips
from emoser_lib.systems.classical.estimators import ClusterClassifier, baseline
from emoser_lib.systems.classical.features import ACOUSTIC_FEATURES, acoustic_statistics, log_mel

LABELS = np.array(["anger", "joy", "neutral", "sadness"])
WORDS = (("maldita", "rabia", "odio"), ("fiesta", "gracias", "feliz"))
COMMON = ("la", "casa", "es", "de", "mi", "tía", "que", "vino", "ayer")


def clips_and_labels(clips, seed, text_says=1.0, audio_says=1.0):
    """Four labels: the words tell which half, the sound which of the half; each as clearly as asked for."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(4, size=clips)
    halves = np.where(rng.random(clips) < text_says, targets // 2, rng.integers(2, size=clips))
    text = [" ".join(rng.permutation([*rng.choice(COMMON, 4), rng.choice(WORDS[half])])) for half in halves]
    audio = rng.normal(size=(clips, len(ACOUSTIC_FEATURES)))
    audio[:, :30] += audio_says * 2.0 * (targets % 2)[:, None]
    mels = np.zeros((clips, 20, 8), dtype=np.float32)
    mels[:, :15] = rng.uniform(20, 30, size=(clips, 15, 8))
    mels[:, :15, :4] += 20 * audio_says * (targets % 2)[:, None, None]
    return Clips(text=text, audio=audio, log_mel=mels), LABELS[targets]


def macro_f1(name, train, test):
    return f1_score(test[1], baseline(name).fit(*train).predict(test[0]), average="macro", zero_division=0)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_is_an_estimator(name):
    train, (test, gold) = clips_and_labels(80, seed=0), clips_and_labels(30, seed=1)
    model = clone(baseline(name, random_state=3))
    with pytest.raises(NotFittedError):
        model.predict(test)
    predicted = model.fit(*train).predict(test)
    assert predicted.shape == gold.shape
    assert set(predicted) <= set(LABELS)
    assert model.classes_.tolist() == sorted(LABELS)
    np.testing.assert_array_equal(clone(baseline(name, random_state=3)).fit(*train).predict(test), predicted)


@pytest.mark.parametrize("name", [n for n, b in BASELINES.items() if b.reads in ("audio", "log_mel", "text")])
def test_each_learns_its_half_and_chance_stays_chance(name):
    """A part tells two labels from two others: .5 is all there is to gain, .25 is chance."""
    train, test = clips_and_labels(240, seed=0), clips_and_labels(240, seed=1)
    learnt = macro_f1(name, train, test)
    shuffled = macro_f1(name, (train[0], np.random.default_rng(7).permutation(train[1])), test)
    assert learnt > 0.4
    assert shuffled < 0.36


@pytest.mark.parametrize("fusion", ["early-fusion", "late-fusion"])
def test_fusion_beats_either_part(fusion):
    train, test = clips_and_labels(300, seed=0, text_says=0.9), clips_and_labels(300, seed=1, text_says=0.9)
    alone = max(macro_f1("text-svm", train, test), macro_f1("audio-svm", train, test))
    assert macro_f1(fusion, train, test) > alone + 0.2


def test_majority_says_the_commonest():
    clips, _ = clips_and_labels(10, seed=0)
    labels = ["joy"] * 6 + ["fear"] * 4
    assert set(baseline("majority").fit(clips, labels).predict(clips[:3])) == {"joy"}


def test_clips_are_indexed_row_by_row():
    clips, _ = clips_and_labels(10, seed=0)
    mask = np.arange(10) % 2 == 1
    for rows, expected in [([7, 2], [7, 2]), (mask, [1, 3, 5, 7, 9]), (slice(2, 4), [2, 3]), (5, [5]), ([], [])]:
        some = clips[rows]
        assert len(some) == len(expected)
        assert some.text.tolist() == clips.text[expected].tolist()
        np.testing.assert_array_equal(some.audio, clips.audio[expected])
        np.testing.assert_array_equal(some.log_mel, clips.log_mel[expected])
    assert clips[[1]].text.tolist() == [clips.text[1]]
    assert Clips(text=["hola"])[[0]].audio is None


def test_clips_refuse_what_does_not_fit():
    with pytest.raises(UsageError, match="different lengths"):
        Clips(text=["a", "b"], audio=np.zeros((3, 2)))
    with pytest.raises(UsageError, match="at least one of text, audio, log_mel"):
        Clips()
    clips, labels = clips_and_labels(10, seed=0)
    with pytest.raises(UsageError, match="reads audio"):
        baseline("audio-svm").fit(Clips(text=clips.text), labels)
    with pytest.raises(UsageError, match="did you mean 'text-svm'"):
        baseline("text-svn")


def test_from_corpus_reads_the_parts_of_the_clips_asked_for():
    demo = load_corpus("demo")
    ids = demo.frame["id"].tolist()[5:2:-1]
    clips = Clips.from_corpus(demo, ids, text=True, audio=True, log_mel=True)
    assert clips.text.tolist() == [demo.row(clip)["transcription"] for clip in ids]
    np.testing.assert_array_equal(clips.audio[1], acoustic_statistics(demo.waveform(ids[1])))
    np.testing.assert_array_equal(clips.log_mel[2], log_mel(demo.waveform(ids[2])))
    only_text = Clips.from_corpus(demo, ids, text=True)
    assert (only_text.audio, only_text.log_mel) == (None, None)


def test_from_corpus_names_the_clip_it_cannot_use(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "blip.wav", np.zeros(160), 16_000)
    corpus = Corpus("mine", build_frame({"id": ["blip"], "audio": [str(tmp_path / "blip.wav")]}))
    with pytest.raises(DataError, match=r"clip 'blip' of corpus 'mine': the audio lasts 10 ms"):
        Clips.from_corpus(corpus, ["blip"], audio=True)


def test_demo_speech_carries_emotion_in_words_and_in_sound():
    """Real audio end to end: both parts are above chance for speech the baseline has not heard."""
    demo = load_corpus("demo")
    rows = demo.training().iloc[:160]
    clips = Clips.from_corpus(demo, rows["id"], text=True, audio=True)
    labels = rows["label"].to_numpy(str)
    train, test = (clips[:120], labels[:120]), (clips[120:], labels[120:])
    majority = macro_f1("majority", train, test)
    for name in ("text-svm", "audio-lda", "late-fusion"):
        assert macro_f1(name, train, test) > majority + 0.1


def test_cluster_classifier_passes_scikit_learns_own_checks():
    check_estimator(ClusterClassifier(n_clusters=3, random_state=0))


def test_clusters_are_found_without_labels_and_named_by_them():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [8, 0], [0, 8], [8, 8]])
    X = np.repeat(centres, 30, axis=0) + rng.normal(size=(120, 2))
    y = np.repeat(["joy", "fear", "joy", "anger"], 30)
    model = ClusterClassifier(n_clusters=4, random_state=0).fit(X, y)
    assert model.predict(centres).tolist() == ["joy", "fear", "joy", "anger"]


def test_clusters_are_no_more_than_the_clips() -> None:
    X = [[float(n)] for n in range(8)]
    fitted = ClusterClassifier(random_state=0).fit(X, ["sad", "glad"] * 4)
    assert list(fitted.predict([[2.0], [5.0]])) == ["sad", "glad"]


def test_a_corpus_without_transcriptions_is_one_sentence() -> None:
    silent = Corpus("mute", build_frame({"id": ["a", "b"], "label": ["joy", "fear"]}))
    with pytest.raises(DataError, match="has no transcriptions"):
        Clips.from_corpus(silent, ["a", "b"], text=True)
