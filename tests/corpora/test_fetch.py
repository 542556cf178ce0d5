"""`fetch` against a real server on this machine that misbehaves in the ways servers do."""

import gzip
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from emoser_lib.corpora.fetch import FETCHED, PUBLIC_FILES, TRIES, FetchStatus, PublicFile, fetch, instructions
from emoser_lib.corpora.loaders import SOURCES
from emoser_lib.errors import DataError, UsageError

CONTENT = np.random.default_rng(0).bytes(200_000)


@dataclass
class Server:
    """What is served and how; ``asked`` is the log of the Range headers."""

    content: bytes = CONTENT
    status: int = 200
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    """After how many bytes the first, second … answer is cut."""
    asked: list[str | None] = field(default_factory=list)
    address: str = ""

    def files(self, sha256: str = hashlib.sha256(CONTENT).hexdigest()) -> dict[str, tuple[PublicFile, ...]]:
        return {"emospeech": (PublicFile("table.csv", f"{self.address}/table.csv", sha256),)}


def handler_of(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            server.asked.append(asked)
            if server.status != 200:
                self.send_error(server.status)
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
            zipped = "gzip" in self.headers.get("Accept-Encoding", "")
            content = gzip.compress(server.content) if zipped else server.content
            if start >= len(content):
                self.send_error(416)
                return
            body = content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if zipped:
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

        def log_message(self, *_: object) -> None: ...

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # The package hands on the function of the same name, so the module is asked for by its name.
    monkeypatch.setattr(sys.modules[fetch.__module__], "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(server)) as http:
        server.address = f"http://127.0.0.1:{http.server_port}"
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        http.shutdown()


def seen(folder: Path) -> list[str]:
    """What lies in the corpus's folder for a reader of it: names that are not hidden."""
    return sorted(path.name for path in (folder / "meacorpus").glob("*") if not path.name.startswith("."))


def test_a_good_file_arrives_under_its_name_and_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    first = fetch("emospeech", tmp_path, files=server.files())
    assert first.files[0].path == tmp_path / "meacorpus" / "table.csv"
    assert first.files[0].path.read_bytes() == CONTENT
    assert [first.files[0].status, first.licence] == [FetchStatus.DOWNLOADED, "CC BY-NC 4.0"]
    assert fetch("emospeech", tmp_path, files=server.files()).files[0].status is FetchStatus.PRESENT
    assert (len(server.asked), seen(tmp_path)) == (1, ["table.csv"])


def test_a_wrong_checksum_leaves_nothing_and_says_what_was_expected_and_found(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        fetch("emospeech", tmp_path, files=server.files(sha256="0" * 64))
    for part in (f"{server.address}/table.csv", "0" * 64, hashlib.sha256(CONTENT).hexdigest()):
        assert part in str(error.value)
    assert seen(tmp_path) == []
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, TRIES)])
def test_a_refusal_is_one_sentence_and_only_a_busy_server_is_asked_again(
    server: Server, tmp_path: Path, status: int, requests: int
) -> None:
    server.status = status
    with pytest.raises(DataError, match=rf"{server.address}/table.csv answers {status} .*table.csv by hand\.$"):
        fetch("emospeech", tmp_path, files=server.files())
    assert (len(server.asked), seen(tmp_path)) == (requests, [])


def test_a_cut_connection_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.cuts = [50_000, 50_000]
    assert fetch("emospeech", tmp_path, files=server.files()).files[0].path.read_bytes() == CONTENT
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in server.asked if asked]
    assert len(server.asked) == 3
    assert 40_000 < starts[0] <= 50_000 < 90_000 < starts[1] <= 100_000


def test_a_second_call_asks_only_for_the_rest(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000] + [0] * (TRIES - 1)
    with pytest.raises(DataError, match="breaks off, 4 times: fetch again later"):
        fetch("emospeech", tmp_path, files=server.files())
    assert seen(tmp_path) == []
    server.asked.clear()
    assert fetch("emospeech", tmp_path, files=server.files()).files[0].path.read_bytes() == CONTENT
    (asked,) = server.asked
    assert asked and 90_000 < int(asked.removeprefix("bytes=").removesuffix("-")) <= 100_000
    assert not list(tmp_path.rglob("*.part"))


def test_a_server_that_cannot_resume_is_asked_for_the_whole_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [50_000]
    assert fetch("emospeech", tmp_path, files=server.files()).files[0].path.read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize("kept", [CONTENT, CONTENT + b"more"])
def test_a_part_that_is_already_whole_or_too_long_is_begun_again(server: Server, tmp_path: Path, kept: bytes) -> None:
    file = server.files()["emospeech"][0]
    (tmp_path / "meacorpus").mkdir()
    (tmp_path / "meacorpus" / f".table.csv.{file.sha256[:12]}.part").write_bytes(kept)
    assert fetch("emospeech", tmp_path, files=server.files()).files[0].path.read_bytes() == CONTENT


def test_what_was_kept_of_a_damaged_part_is_gone_after_one_failure(server: Server, tmp_path: Path) -> None:
    file = server.files()["emospeech"][0]
    (tmp_path / "meacorpus").mkdir()
    (tmp_path / "meacorpus" / f".table.csv.{file.sha256[:12]}.part").write_bytes(b"x" * 1000)
    with pytest.raises(DataError, match="another content than expected"):
        fetch("emospeech", tmp_path, files=server.files())
    assert fetch("emospeech", tmp_path, files=server.files()).files[0].path.read_bytes() == CONTENT


def test_a_host_that_does_not_answer_is_one_sentence_with_the_way_by_hand(server: Server, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/table.csv"
    with pytest.raises(DataError) as error:
        fetch("emospeech", tmp_path, files={"emospeech": (PublicFile("table.csv", url, "ab" * 32),)})
    by_hand = f"put the file (sha256 {'ab' * 32}) at {tmp_path / 'meacorpus' / 'table.csv'} by hand."
    assert str(error.value) == f"{url} cannot be reached (Connection refused), 4 times: fetch again later, or {by_hand}"


def test_another_version_of_the_users_is_never_overwritten(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "meacorpus" / "table.csv"
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(DataError, match=r"table.csv is there but is not the version .* move it away"):
        fetch("emospeech", tmp_path, files=server.files())
    assert (path.read_text(), server.asked) == ("mine", [])


def test_fetches_at_once_take_turns_and_download_once(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(fetch, "emospeech", tmp_path, files=server.files()) for _ in range(4)]
        statuses = sorted(call.result().files[0].status for call in calls)
    assert statuses == ["downloaded", "present", "present", "present"]
    assert len(server.asked) == 1
    assert (tmp_path / "meacorpus" / "table.csv").read_bytes() == CONTENT


def test_a_folder_that_cannot_be_made_is_one_sentence(server: Server, tmp_path: Path) -> None:
    (tmp_path / "meacorpus").write_text("a file where the folder belongs")
    with pytest.raises(DataError, match=r"cannot be written or read \("):
        fetch("emospeech", tmp_path, files=server.files())


def test_every_corpus_has_instructions_that_name_the_folder_its_loader_reads(tmp_path: Path) -> None:
    for name, (folder, _) in FETCHED.items():
        text = instructions(name)
        assert "{folder}" not in text and "{{" not in text
        source = SOURCES.get(name)
        if source and source.folder:
            assert source.folder == folder
            assert f"$EMOSER_DATA/{source.folder}" in text
            assert f"{tmp_path}/{source.folder}" in instructions(name, tmp_path)
    assert fetch("meld", tmp_path).files == ()
    assert not list(tmp_path.iterdir())


def test_an_unknown_corpus_is_a_usage_error(tmp_path: Path) -> None:
    for call in (lambda: fetch("meacorpu", tmp_path), lambda: instructions("meacorpu")):
        with pytest.raises(UsageError, match="did you mean 'meacorpus'"):
            call()


def test_the_command_printed_for_meld_converts_every_annotated_clip_where_the_loader_looks(tmp_path: Path) -> None:
    """With a stand-in for ffmpeg that writes its last argument: what is tested is the command around it."""
    ffmpeg = tmp_path / "bin" / "ffmpeg"
    ffmpeg.parent.mkdir()
    ffmpeg.write_text('#!/bin/sh\nfor last; do :; done\necho made > "$last"\n')
    ffmpeg.chmod(0o755)
    clips = tmp_path / "MELD.Raw" / "train" / "train_splits"
    clips.mkdir(parents=True)
    for name in ("dia0_utt0.mp4", "dia1_utt12.mp4", "._dia0_utt0.mp4", "final_videos_testdia1_utt0.mp4"):
        (clips / name).touch()
    text = instructions("meld")
    command = text[text.index("find .") : text.index("\n   ffmpeg complains")]
    path = f"{ffmpeg.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", "-c", command], cwd=tmp_path / "MELD.Raw", env={"PATH": path}, check=True)
    assert sorted(path.name for path in clips.glob("*.wav")) == ["dia0_utt0.wav", "dia1_utt12.wav"]


@pytest.mark.needs_data
def test_the_pinned_checksums_are_those_of_the_tables_the_loaders_were_tested_with(tmp_path: Path) -> None:
    from emoser_lib.corpora import data_home, load_corpus

    folder = tmp_path / "meacorpus"
    folder.mkdir()
    for file in PUBLIC_FILES["emospeech"]:
        shutil.copy(data_home() / "meacorpus" / file.name, folder)
    result = fetch("emospeech", tmp_path)
    assert [file.status for file in result.files] == [FetchStatus.PRESENT] * 4
    assert load_corpus("emospeech").name == result.name


def test_the_authors_file_is_fetched_by_its_checksum(server: Server, tmp_path: Path) -> None:
    """It goes where chapter 12 looks for it; another content is refused."""
    (asked,) = PUBLIC_FILES["thau-submission"]
    here = PublicFile(asked.name, f"{server.address}/results.csv", hashlib.sha256(CONTENT).hexdigest())
    done = fetch("thau-submission", tmp_path, files={"thau-submission": (here,)})
    assert [file.path for file in done.files] == [tmp_path / "thau_submission" / "results.csv"]
    assert "licence" not in done.licence and "local use only" in done.licence
    with pytest.raises(DataError, match=r"has another content than expected for results\.csv"):
        wrong = PublicFile(asked.name, here.url, asked.sha256)
        fetch("thau-submission", tmp_path / "other", files={"thau-submission": (wrong,)})


@pytest.mark.needs_data
def test_the_authors_file_is_the_one_that_is_asked_for() -> None:
    (asked,) = PUBLIC_FILES["thau-submission"]
    content = (Path(os.environ["EMOSER_DATA"]) / "thau_submission" / asked.name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == asked.sha256
