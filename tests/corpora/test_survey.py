"""What a run asks of a corpus is worked out once, and again where the corpus is another."""

from pathlib import Path

import pytest
import soundfile

from emoser_lib.corpora import Corpus, survey
from emoser_lib.corpora.corpus import build_frame


def test_a_survey_is_kept_and_made_again_where_a_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "b.wav").write_text("<html>")

    def corpus(seconds: int) -> Corpus:
        soundfile.write(tmp_path / "a.wav", [0.1, -0.1] * 8000 * seconds, 16_000)
        paths = [str(tmp_path / f"{name}.wav") for name in "abc"]
        return Corpus("mine", build_frame({"id": list("abc"), "audio": paths, "label": ["joy", "fear", "joy"]}))

    made = survey(corpus(1))
    assert made.seconds == {"a": 1.0}
    assert "web page" in made.unreadable["b"]
    assert made.found == "no transcriptions (1), missing audio (1), unreadable audio (1)"
    [kept] = (tmp_path / "cache" / "surveys").iterdir()
    assert survey(corpus(1)) == made
    assert survey(corpus(2)).seconds == {"a": 2.0}
    kept.write_text("{")
    assert survey(corpus(1)) == made
