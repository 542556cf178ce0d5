"""The page that asks trained systems about a clip, in a real browser, with files and with its fake microphone."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from emoser_lib.doctor import find_browser
from emoser_lib.errors import UsageError
from emoser_lib.experiments.predicting import System, load_system
from emoser_lib.reporting.page import SENTENCES, answers_of, look, served
from tests.book.test_book import SWITCHES
from tests.command import emoser
from tests.finished import LABELS, finished_run, own_recordings

MICROPHONE = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]

CONNECTED: list[object] = []
"""Where this process connects to, while a page is served; an audit hook cannot be taken away again."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with baselines that read and that hear."""
    place = tmp_path_factory.mktemp("page")
    return finished_run(place / "runs", own_recordings(place / "own"), "03-classical")


@pytest.fixture(scope="module")
def systems(runs: Path) -> list[System]:
    return [load_system(runs, name).load() for name in ("audio-svm", "text-svm", "late-fusion")]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips as people have them."""
    folder = tmp_path_factory.mktemp("sounds")
    time = np.arange(48_000) / 48_000
    stereo = np.stack([np.sin(2 * np.pi * 220 * time), np.sin(2 * np.pi * 330 * time)]) * 0.3
    soundfile.write(folder / "stereo.wav", stereo.T, 48_000)
    soundfile.write(folder / "long.wav", np.tile(stereo[0], 31), 48_000)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "short.wav", np.zeros(160), 16_000)
    (folder / "page.wav").write_text("<html>")
    for name, codec in (("phone.m4a", "aac"), ("browser.webm", "libopus")):
        with av.open(str(folder / name), "w") as file:
            stream = file.add_stream(codec, rate=48_000, layout="stereo")
            frame = av.AudioFrame.from_ndarray(stereo.astype(np.float32), format="fltp", layout="stereo")
            frame.sample_rate = 48_000
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                file.mux(packet)
    return folder


@pytest.mark.parametrize("name", ["stereo.wav", "long.wav", "silent.wav", "phone.m4a", "browser.webm"])
def test_what_people_record_is_answered(name: str, systems: list[System], sounds: Path) -> None:
    found, sentences = answers_of(systems, str(sounds / name), "tengo miedo", "en")
    assert not sentences
    assert all(answer and set(answer) == set(LABELS) and abs(sum(answer.values()) - 1) < 1e-6 for answer in found)
    figure, known = look(str(sounds / name), "es")
    assert figure is not None
    expected = {"long.wav": ["El clip dura 31 s"], "silent.wav": ["El clip está en silencio"]}.get(name, [])
    assert len(known) == len(expected) and all(map(str.startswith, known, expected))


def test_what_cannot_be_answered_is_one_sentence(systems: list[System], sounds: Path) -> None:
    assert answers_of(systems, None, " ", "es") == ([None] * 3, [SENTENCES["es"]["none"]])
    found, sentences = answers_of(systems, None, "tengo miedo", "en")
    assert [answer is None for answer in found] == [True, False, True]
    assert sentences == [f"{name} hears: record a clip or choose a file." for name in ("audio-svm", "late-fusion")]
    found, sentences = answers_of(systems, str(sounds / "stereo.wav"), "", "es")
    assert [answer is None for answer in found] == [False, True, True]
    assert sentences[0] == "text-svm lee: escribe lo que se dice."
    for name in ("short.wav", "page.wav"):
        figure, known = look(str(sounds / name), "en")
        assert figure is None and len(known) == 1
        assert str(sounds) not in known[0]
    found, sentences = answers_of(systems, str(sounds / "page.wav"), "tengo miedo", "en")
    assert [answer is None for answer in found] == [True, False, True]
    assert len(sentences) == 1 and "page.wav cannot be read as audio (it is a web page)" in sentences[0]


def test_errors_are_in_the_page_s_language(systems: list[System], runs: Path, sounds: Path) -> None:
    """What the library says in English stands in brackets; what the page can say by itself, it does."""
    found, [unread] = answers_of(systems, str(sounds / "page.wav"), "tengo miedo", "es")
    assert [answer is None for answer in found] == [True, False, True]
    assert unread.startswith("page.wav no se puede leer como sonido: graba otro clip") and "it is a web page" in unread
    assert look(str(sounds / "page.wav"), "es") == (None, [unread])
    hears = load_system(finished_run(runs.parents[1], runs.parents[2] / "own", "08-whisper-gemma")).load()
    expected = "whisper-gemma no oye tanto de una vez: graba un clip de menos de 30 s."
    assert answers_of([hears], str(sounds / "long.wav"), "tengo miedo", "es") == ([None], [expected])
    assert "hears 30 s at once" in answers_of([hears], str(sounds / "long.wav"), "tengo miedo", "en")[1][0]
    assert look(str(sounds / "short.wav"), "es")[1] == ["El clip dura 10 ms; hacen falta al menos 30 ms."]


def test_the_command_is_refused_in_one_sentence(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SENTENCES["en"].keys() == SENTENCES["es"].keys()
    monkeypatch.setitem(sys.modules, "gradio", None)
    refused = emoser("app", str(runs), "--system", "majority")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "pip install 'emoser[app]'" in refused.stderr
    assert "--system belongs to one run" in emoser("app", str(runs), str(runs), "--system", "majority").stderr
    system = load_system(runs, "majority")
    with pytest.raises(UsageError, match="one to 4 systems, not 5"), served([("", system)] * 5):
        pass


@pytest.fixture(scope="module")
def address(systems: list[System]) -> Iterator[str]:
    pytest.importorskip("gradio", reason="needs gradio, which no other part needs: pip install 'emoser[app]'")
    sys.addaudithook(lambda event, arguments: CONNECTED.append(arguments[1]) if event == "socket.connect" else None)
    CONNECTED.clear()
    with served([(system.needs.name, system) for system in systems]) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=[*SWITCHES, *MICROPHONE])
        yield browser
        browser.close()


@pytest.mark.needs_browser
@pytest.mark.slow
@pytest.mark.parametrize(
    ("locale", "width", "how"),
    [
        ("en-GB", 1400, "phone.m4a"),
        ("es-ES", 390, "microphone"),
        ("en-GB", 390, "page.wav"),
        ("es-ES", 1400, "browser.webm"),
    ],
)
def test_the_page_answers_and_asks_nobody_else(
    locale: str, width: int, how: str, address: str, browser: Any, sounds: Path
) -> None:
    say = SENTENCES[locale[:2]]
    requests: list[str] = []
    errors: list[str] = []
    with browser.new_context(
        locale=locale, viewport={"width": width, "height": 900}, permissions=["microphone"]
    ) as context:
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.get_by_role("button", name=say["ask"], exact=True).wait_for()
        if how == "microphone":
            page.locator("#clip .record-button").click()
            page.wait_for_timeout(1500)
            page.locator("#clip .stop-button").click()
        else:
            page.locator("#clip [data-testid=source-select] button").first.click()
            place = "input[type=file][accept*='.webm']" if how == "browser.webm" else "#clip input[type=file]"
            page.locator(place).set_input_files(sounds / how)
        if how == "page.wav":
            page.get_by_text("page.wav cannot be read as audio").wait_for()
        else:
            page.locator("#seen img").wait_for()
            assert page.get_by_text(say["seen"]).is_visible()
            page.get_by_role("button", name=say["ask"], exact=True).click()
            page.get_by_text(say["reads"].format(system="text-svm")).wait_for()
        page.get_by_label(say["said"]).fill("tengo miedo")
        page.get_by_role("button", name=say["ask"], exact=True).click()
        page.locator("#system-1").get_by_text(re.compile(r"\d+%")).first.wait_for()
        shown = [page.locator(f"#system-{number}").inner_text() for number in range(3)]
        assert all(label in shown[1] for label in LABELS)
        assert how == "page.wav" or all("%" in one for one in shown)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert not errors
    outside = [url for url in requests if not url.startswith((address, "data:", "blob:"))]
    assert not outside, "the page asks somebody else"
    places = [place[0] for place in CONNECTED if isinstance(place, tuple)]
    assert set(places) <= {"127.0.0.1", "localhost", "::1"}, "so does the program behind it"
