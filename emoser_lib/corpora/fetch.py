"""Get what is public of a corpus, and say exactly what a user has to do for the rest."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pooch
import requests

from emoser_lib.corpora.loaders import CHALLENGE_TEST, CHALLENGE_TRAIN, PUBLIC_TABLE, SOURCES, VIDEO_KEYS, data_home
from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.files import locked
from emoser_lib.values import Immutable

TRIES = 4
"""Requests for one file before giving up; what has arrived is kept for the next call."""

FIRST_WAIT_SECONDS = 0.5
"""Pause before the second request; it doubles each time."""

TIMEOUT_SECONDS = (10, 30)
"""To connect, and between two pieces of an answer."""

LOCK_SECONDS = 600
"""How long a fetch waits for another one into the same folder."""

PIECE_BYTES = 1 << 13

PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers of a server that is only busy: ask again."""


@dataclass(frozen=True)
class PublicFile:
    """A file at a published address, in one version.

    Attributes:
        name: name below the corpus's folder.
        url: address of exactly this version.
        sha256: of its content, in hexadecimal.
    """

    name: str
    url: str
    sha256: str


_GITHUB = "https://raw.githubusercontent.com"

_MEACORPUS = f"{_GITHUB}/NLP-UMUTeam/Spanish-MEACorpus-2023"

_CHALLENGE = f"{_GITHUB}/marccasals98/BSC-UPC_EmoSPeech/7f21ae2fd0791e255c14cc8a8d945bba35352751/labels"

MEACORPUS_FILES = (
    PublicFile(
        PUBLIC_TABLE,
        f"{_MEACORPUS}/2242d0dc24308f7665518d830e7befb387576c7a/output/spanish-meacorpus-2023-dataset.csv",
        "9fb08af92e892a8aa16bfaf87cecbb28f87afccbb0f40b35f999825f39a6a33c",
    ),
    PublicFile(
        VIDEO_KEYS,
        f"{_MEACORPUS}/be5ce5bc223a4075934630ed98b5ef9e976d850a/output/dataset.csv",
        "4d000064676d73baecff3f95f894d2f7e0d1dc8719f2215f7864bb4cab8445f5",
    ),
    PublicFile(
        CHALLENGE_TRAIN,
        f"{_CHALLENGE}/EmoSPeech_phase_2_train.csv",
        "d09b0c6cf4473778999e15ebf75f1f0bd5804e56899901f7bdbcdee697f31dd0",
    ),
    PublicFile(
        CHALLENGE_TEST,
        f"{_CHALLENGE}/EmoSPeech_phase_2_test_public.csv",
        "3fd7f86fc4575c722e9663bf216a0813b451b28577fbfccc8ed964818fb30d6c",
    ),
)
"""Tables of Spanish MEACorpus 2023 (DOI 10.5281/zenodo.18606423) and of the EmoSPeech 2024 challenge."""

THAU_SUBMISSION = PublicFile(
    "results.csv",
    f"{_GITHUB}/jaimebs2/IberLEF_2024_SER/c806a1369b5b3be58f9188c8845c5bc45de4793d/results.csv",
    "852358add343c85be44c9238636f5d2360ec70585798ff7066339fdce31ac523",
)
"""A results file in the public repository of THAU-UPM's authors. No licence is stated: for local use only."""

PUBLIC_FILES: Mapping[str, tuple[PublicFile, ...]] = {
    "emospeech": MEACORPUS_FILES,
    "meacorpus": MEACORPUS_FILES,
    "thau-submission": (THAU_SUBMISSION,),
}
"""Name -> what can be downloaded of it. `emospeech` and `meacorpus` share a folder and its files."""

FETCHED: Mapping[str, tuple[str, str]] = {
    **{name: (source.folder or name, source.licence) for name, source in SOURCES.items()},
    "thau-submission": ("thau_submission", "none is stated: for local use only"),
}
"""Name -> folder below the data, and licence: the corpora, and a results file that chapter 12 scores."""

_MEACORPUS_AUDIO = """\
The tables are public ({licence}: use them with attribution and not commercially). The audio is not:
1. Ask the organisers of EmoSPeech 2024 (UMUTeam, University of Murcia; the challenge's page at IberLEF 2024) for the
   challenge's audio or an API key. Or cut the clips from the videos yourself where the law and the videos' terms let
   you: row n of {keys} (youtube_key, start_time and end_time in ms) is row n of
   {table} (filename); for one clip
     ffmpeg -i VIDEO -ss START_SECONDS -to END_SECONDS -vn "{folder}/audio/FILENAME"
2. Put each file at {folder}/audio/<id>, for example {folder}/audio/0c148b8d-212547c5.mp3.
   Without audio the corpus loads all the same, as text."""

_ELICITED_ES_AUDIO = """\
Nothing is downloaded: the recordings state no licence, so they are not redistributed. Where you may use them:
1. Get the recordings from GitHub, rcebrian/speech-emotion-recognition (a raw part of EmoMatchSpanishDB).
2. Put them into {folder}/audio as wav or flac, named <speaker>_<emotion>_<sentence>,
   for example S00_Alegria_1.flac.
3. Write {folder}/metadata.csv (UTF-8), one line per recording, with the columns
     file           path of the recording, for example audio/S00_Alegria_1.flac
     label          Neutro: neutral, Asco: disgust, Ira: anger, Alegria: joy, Tristeza: sadness, Miedo: fear;
                    empty for Sorpresa
     speaker        for example S00
     gender         F or M
     transcription  the sentence"""

_IEMOCAP = """\
Nothing is downloaded: IEMOCAP is given on request.
1. Ask for the licence at https://sail.usc.edu/iemocap/iemocap_release.htm (USC SAIL).
2. Unpack the release, so that these are there for every session 1 to 5 and every dialogue (Ses01F_impro01 …):
     {folder}/IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt
     {folder}/IEMOCAP_full_release/Session1/dialog/transcriptions/Ses01F_impro01.txt
     {folder}/IEMOCAP_full_release/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"""

_MELD = """\
Nothing is downloaded: the archive has about 10 GB of video (licence {licence}; scenes of a television series).
1. Get http://web.eecs.umich.edu/~mihalcea/downloads/MELD.Raw.tar.gz and unpack it (needs ffmpeg for step 2):
     mkdir -p "{folder}" && tar -xzf MELD.Raw.tar.gz -C "{folder}" && cd "{folder}/MELD.Raw"
     for split in train dev test; do mkdir -p $split && tar -xzf $split.tar.gz -C $split; done
2. Make a wav beside every mp4 (stays in that folder; a second call goes on where the first stopped):
     find . -name 'dia*_utt*.mp4' -exec sh -c \\
       'ffmpeg -nostdin -v error -n -i "$1" -vn -ac 1 -ar 16000 "${{1%.mp4}}.wav"' _ {{}} \\;
   ffmpeg complains about train dia125_utt3 (damaged), and dev dia110_utt7 is not in the archive.
3. These are then there, each below MELD.Raw or below a folder of it named train, dev or test:
     train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv
     train_splits/dia0_utt0.wav, dev_splits_complete/dia0_utt0.wav, output_repeated_splits_test/dia0_utt0.wav"""

_INSTRUCTIONS = {
    "demo": "Nothing to do: the demo corpus is shipped in the package.",
    **dict.fromkeys(("demo_own", "demo_theirs"), "Nothing to do: it is a part of the demo corpus."),
    "emospeech": _MEACORPUS_AUDIO,
    "meacorpus": _MEACORPUS_AUDIO,
    "elicited_es": _ELICITED_ES_AUDIO,
    "folder": "Nothing to fetch: the corpus is your own folder, named with --root.",
    "iemocap": _IEMOCAP,
    "meld": _MELD,
    "thau-submission": "Nothing more to do: chapter 12 scores the file, and `emoser submission score` does.",
}


class FetchStatus(StrEnum):
    """Way in which a file came to be there."""

    DOWNLOADED = "downloaded"
    PRESENT = "present"


class FetchedFile(Immutable):
    """A file that is there with the right checksum."""

    path: Path
    url: str
    sha256: str
    status: FetchStatus


class FetchResult(Immutable):
    """Outcome of a fetch: the files, and what is left to do by hand."""

    name: str
    licence: str
    files: tuple[FetchedFile, ...]
    instructions: str


def fetch(
    name: str, destination: str | Path | None = None, *, files: Mapping[str, tuple[PublicFile, ...]] = PUBLIC_FILES
) -> FetchResult:
    """Download public files of a corpus, or of a chapter, that are not there yet: each whole and of its version.

    What a broken connection left is kept in a hidden ``.part`` file, and the next try or call goes on from there. Two
    fetches into one folder take turns. A file of the user's is never overwritten.

    Args:
        name: see `FETCHED`.
        destination: the folder that holds the corpora; default ``data_home()``.
        files: what to download; the default is ``PUBLIC_FILES``.

    Returns:
        Files that are there, and what to do for the audio (`instructions`).

    Raises:
        UsageError: there is nothing of that name.
        DataError: an address does not answer or has another content, another version of a file is in the way, or the
            folder cannot be written to.

    >>> fetch("demo").instructions
    'Nothing to do: the demo corpus is shipped in the package.'
    """
    home = Path(destination).expanduser().resolve() if destination else data_home()
    todo = instructions(name, home)
    folder, licence = FETCHED[name]
    fetched = tuple(_fetch_file(file, home / folder) for file in files.get(name, ()))
    return FetchResult(name=name, licence=licence, files=fetched, instructions=todo)


def instructions(name: str, destination: str | Path = "$EMOSER_DATA") -> str:
    """Say what a user has to do for what cannot be downloaded: where to ask, and which file belongs where.

    Args:
        name: see `FETCHED`.
        destination: the folder that holds the corpora, as it shall appear in the text.

    Raises:
        UsageError: there is nothing of that name.

    >>> print(instructions("demo"))
    Nothing to do: the demo corpus is shipped in the package.
    """
    if name not in FETCHED:
        hint = did_you_mean(name, list(FETCHED))
        raise UsageError(f"there is no corpus '{name}'{hint}: known are {', '.join(FETCHED)}.")
    folder, licence = FETCHED[name]
    where = f"{destination}/{folder}"
    return _INSTRUCTIONS[name].format(folder=where, licence=licence, keys=VIDEO_KEYS, table=PUBLIC_TABLE)


def _fetch_file(file: PublicFile, folder: Path) -> FetchedFile:
    path = folder / file.name
    present = FetchedFile(path=path, url=file.url, sha256=file.sha256, status=FetchStatus.PRESENT)
    try:
        if _is_there(path, file):
            return present
        folder.mkdir(parents=True, exist_ok=True)
        busy = DataError(f"another fetch has been writing to {folder} for {LOCK_SECONDS} s: end it, or wait.")
        with locked(folder / ".fetch.lock", busy, LOCK_SECONDS):
            if _is_there(path, file):
                return present
            _download(path, file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path} cannot be written or read ({reason}): make room, or set EMOSER_DATA.") from None
    return present.model_copy(update={"status": FetchStatus.DOWNLOADED})


def _is_there(path: Path, file: PublicFile) -> bool:
    if not path.exists():
        return False
    found = _sha256(path)
    if found != file.sha256:
        raise DataError(
            f"{path} is there but is not the version that is used here (sha256 {found}, expected {file.sha256}): "
            "move it away, then fetch again."
        )
    return True


def _download(path: Path, file: PublicFile) -> None:
    """Through pooch, which checks the sum and renames; the checksum in the part's name keeps versions apart."""
    downloader = _ResumingDownloader(
        path.with_name(f".{file.name}.{file.sha256[:12]}.part"), by_hand=_by_hand(path, file)
    )
    try:
        pooch.retrieve(
            file.url, known_hash=f"sha256:{file.sha256}", fname=path.name, path=path.parent, downloader=downloader
        )
    except ValueError:
        raise DataError(
            f"{file.url} has another content than expected for {file.name} (sha256 {downloader.sha256}, expected "
            f"{file.sha256}): nothing was kept; fetch again, and if it stays so, {_by_hand(path, file)}."
        ) from None


def _by_hand(path: Path, file: PublicFile) -> str:
    return f"put the file (sha256 {file.sha256}) at {path} by hand"


class _ResumingDownloader:
    """What pooch calls to get an address into a file; unlike pooch's own it goes on where a connection was cut."""

    def __init__(self, part: Path, by_hand: str) -> None:
        self._part = part
        self._by_hand = by_hand
        self.sha256 = ""

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        reason = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
            try:
                self._receive(url)
                self.sha256 = _sha256(self._part)
                self._part.replace(output_file)
                return
            except requests.HTTPError as error:
                reason = f"answers {error.response.status_code} {error.response.reason}".rstrip()
                if error.response.status_code not in PASSING:
                    raise DataError(f"{url} {reason}: {self._by_hand}.") from None
            except requests.RequestException as error:
                reason = "breaks off" if self._part.is_file() else f"cannot be reached ({_cause(error)})"
        raise DataError(f"{url} {reason}, {TRIES} times: fetch again later, or {self._by_hand}.")

    def _receive(self, url: str) -> None:
        have = self._part.stat().st_size if self._part.is_file() else 0
        # identity: a Range counts bytes of what is sent, and those of a compressed answer are others.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
            if have and response.status_code == requests.codes.requested_range_not_satisfiable:
                self._part.unlink()
                return self._receive(url)
            response.raise_for_status()
            goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            with self._part.open("ab" if have and goes_on else "wb") as part:
                for piece in response.iter_content(PIECE_BYTES):
                    part.write(piece)


def _cause(error: Exception) -> str:
    """The innermost reason, which says more than the chain around it."""
    while cause := error.__cause__ or error.__context__:
        error = cause  # type: ignore[assignment]
    return getattr(error, "strerror", None) or type(error).__name__


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
