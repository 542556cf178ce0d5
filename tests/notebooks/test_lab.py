"""JupyterLab as a classroom: a student reads words, runs all, does a task, and sees its check pass."""

import importlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Locator, Page, expect, sync_playwright

from emoser_lib.doctor import find_browser
from emoser_lib.teaching.editions import BuiltBook, Edition, copy_notebooks

pytestmark = [pytest.mark.needs_browser, pytest.mark.slow, pytest.mark.timeout(300)]

WAIT = 120_000
"""Milliseconds: on a busy machine a kernel takes its time."""

ASSIGNMENT = "a2-honest-scores.ipynb"


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (root / "book" / "_build" / "source" / "index.md").is_file():
        pytest.fail("there is no built book: run `make book`", pytrace=False)
    folder = tmp_path_factory.mktemp("work")
    copy_notebooks(BuiltBook(root).lab_notebooks(Edition.STUDENT), folder)
    return folder


@pytest.fixture(scope="module")
def address(root: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root / "scripts"))
        options = ["--no-browser", "--allow-root", "--port=0", "--ServerApp.token=here", "--LabApp.news_url=None"]
        command, environment = importlib.import_module("lab").lab(folder, options)
    assert shutil.which("emoser", path=environment["PATH"]), "its terminals have no emoser"
    own = tmp_path_factory.mktemp("jupyter")
    places = {f"JUPYTER_{what}_DIR": str(own / what) for what in ("RUNTIME", "CONFIG")}
    settings = {"JUPYTERLAB_SETTINGS_DIR": str(own / "s"), "JUPYTERLAB_WORKSPACES_DIR": str(own / "w")}
    with subprocess.Popen(
        command, env=environment | places | settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            while not (said := list((own / "RUNTIME").glob("jpserver-*.json"))):
                assert server.poll() is None, "JupyterLab has ended"
                time.sleep(0.2)
            url = json.loads(said[0].read_text())["url"]
            assert requests.get(f"{url}api/status?token=here", timeout=30).ok
            yield url
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(
            viewport={"width": 1400, "height": 6000}
        )  # all cells on the screen: Lab draws no others
        page.set_default_timeout(WAIT)
        yield page
        browser.close()


def opened(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}lab/tree/{name}?token=here&reset")
    page.locator(".jp-Notebook .jp-MarkdownOutput h1").first.wait_for()
    page.locator("[data-status='idle'].jp-Notebook-ExecutionIndicator").wait_for()


def cell(page: Page, holding: str) -> Locator:
    return page.locator(".jp-CodeCell", has_text=holding).first


def test_a_chapter_reads_as_words(page: Page, address: str) -> None:
    opened(page, address, "05-gemma-lora.ipynb")
    text = page.locator(".jp-Notebook")
    expect(text).to_contain_text("Esteban-Romero et al. (2024)", timeout=WAIT)
    expect(text).to_contain_text("after a small adapter has been trained on 3,000 clips")
    assert "{claim}" not in text.inner_text() and "{term}" not in text.inner_text()


def test_a_task_is_done_and_its_check_passes(page: Page, address: str, root: Path) -> None:
    opened(page, address, ASSIGNMENT)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    last = cell(page, "bins are weighed by their answers")
    expect(last.locator(".jp-OutputArea-output")).to_contain_text(
        "write your code here", timeout=WAIT
    )  # it ran to the end
    expect(page.locator(".jp-Notebook")).not_to_contain_text("IProgress")

    task = cell(page, "def bootstrap(")
    source = json.loads((root / "notebooks" / "assignments" / ASSIGNMENT).read_text())
    solved = next(text for of in source["cells"] if "def bootstrap(" in (text := "".join(of["source"])))
    task.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(solved)
    page.keyboard.press("Shift+Enter")
    check = cell(page, "what is always right stays right")
    check.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    expect(check.locator(".jp-OutputArea-output")).to_have_text("✓ a clip is drawn with its answer\n", timeout=WAIT)
