"""A page on this machine that asks trained systems about a clip: record or choose it, see it, read what they answer.

Needs the extra ``emoser[app]``. Everything else of the library does without.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from matplotlib.figure import Figure

from emoser_lib.corpora import SAMPLE_RATE, read_waveform
from emoser_lib.corpora.check import EMPTY_SECONDS, LONGEST_SECONDS, SILENT_PEAK
from emoser_lib.errors import EmoserError, UsageError
from emoser_lib.experiments.predicting import Clip, System
from emoser_lib.reporting.escaping import as_text
from emoser_lib.reporting.figures import one_clip

MOST_SYSTEMS = 4
"""Side by side on one page (our choice)."""

SENTENCES = MappingProxyType(
    {
        "en": {
            "title": "# What do you hear?\nRecord a clip or choose a file. It stays on this machine.",
            "clip": "Clip",
            "film": "Or a file that calls itself a film (webm, mp4)",
            "said": "What is said",
            "hint": "Type it, for systems that read",
            "ask": "Ask",
            "seen": "Waveform, spectrogram and pitch (cyan)",
            "silent": "The clip is silent: what is answered says nothing.",
            "long": "The clip lasts {seconds:.0f} s, systems are made for up to {most:.0f} s.",
            "short": "The clip lasts {milliseconds:.0f} ms, at least {least:.0f} ms are needed.",
            "none": "Record a clip, choose a file, or type what is said.",
            "reads": "{system} reads: type what is said.",
            "hears": "{system} hears: record a clip or choose a file.",
            "unread": "{error}",
            "over": "{error}",
            "refused": "{error}",
        },
        "es": {
            "title": "# ¿Qué oyes?\nGraba un clip o elige un archivo. No sale de este ordenador.",
            "clip": "Clip",
            "film": "O un archivo que se presenta como vídeo (webm, mp4)",
            "said": "Lo que se dice",
            "hint": "Escríbelo, para los sistemas que leen",
            "ask": "Preguntar",
            "seen": "Forma de onda, espectrograma y tono (cian)",
            "silent": "El clip está en silencio: lo que se responda no dice nada.",
            "long": "El clip dura {seconds:.0f} s; los sistemas están hechos para {most:.0f} s como mucho.",
            "short": "El clip dura {milliseconds:.0f} ms; hacen falta al menos {least:.0f} ms.",
            "none": "Graba un clip, elige un archivo o escribe lo que se dice.",
            "reads": "{system} lee: escribe lo que se dice.",
            "hears": "{system} oye: graba un clip o elige un archivo.",
            "unread": "{name} no se puede leer como sonido: graba otro clip o elige otro archivo (en inglés: {error})",
            "over": "{system} no oye tanto de una vez: graba un clip de menos de {most:.0f} s.",
            "refused": "{system} no puede responder (en inglés: {error})",
        },
    }
)
"""Language -> what the page says. It speaks Spanish with a browser that asks for it, else English."""


def language_of(accepted: str) -> str:
    """Return the page's language for what a browser accepts.

    >>> language_of("es-MX,es;q=0.9,en;q=0.8"), language_of("de,es;q=0.5"), language_of("")
    ('es', 'en', 'en')
    """
    return "es" if accepted.strip().lower().startswith("es") else "en"


def look(path: str | None, language: str) -> tuple[Figure | None, list[str]]:
    """Return the figure of a clip and what is to be known about it.

    Args:
        path: of the audio file, if there is one.
        language: a key of `SENTENCES`.
    """
    if not path:
        return None, []
    say = SENTENCES[language]
    try:
        waveform = read_waveform(path)
    except EmoserError as error:
        return None, [say["unread"].format(**_error(error, path))]
    seconds = len(waveform) / SAMPLE_RATE
    if seconds < EMPTY_SECONDS:
        return None, [say["short"].format(milliseconds=1000 * seconds, least=1000 * EMPTY_SECONDS)]
    known = []
    if abs(waveform).max() < SILENT_PEAK:
        known.append(say["silent"])
    if seconds > LONGEST_SECONDS:
        known.append(say["long"].format(seconds=seconds, most=LONGEST_SECONDS))
    return one_clip(waveform), known


def answers_of(
    systems: Sequence[System], path: str | None, said: str, language: str
) -> tuple[list[dict[str, float] | None], list[str]]:
    """Ask systems about one clip.

    Args:
        systems: loaded.
        path: of the audio file, if there is one.
        said: the transcription, if there is one.
        language: a key of `SENTENCES`.

    Returns:
        For each system its labels' probabilities, or ``None`` where it cannot answer; and the sentences that say why.
    """
    say, found, sentences = SENTENCES[language], list[dict[str, float] | None](), []
    if not path and not said.strip():
        return [None for _ in systems], [say["none"]]
    for system in systems:
        needs, answer = system.needs, None
        if needs.reads and not said.strip():
            sentences.append(say["reads"].format(system=needs.name))
        elif needs.hears and not path:
            sentences.append(say["hears"].format(system=needs.name))
        else:
            try:
                seconds = len(read_waveform(path)) / SAMPLE_RATE if path and needs.hears else 0
                kind = "over" if seconds > LONGEST_SECONDS else "refused"
            except EmoserError:
                kind = "unread"
            try:
                [row] = system.predict_proba([Clip(path or "", said)])
                answer = dict(zip(system.labels, row.tolist(), strict=True))
            except EmoserError as error:
                told = say[kind].format(**_error(error, path), system=needs.name, most=LONGEST_SECONDS)
                sentences.append(told)
        found.append(answer)
    return found, list(dict.fromkeys(sentences))


def _error(error: EmoserError, path: str | None) -> dict[str, str]:
    """The library's sentence, and the file's name: not the path of the copy, which says nothing to who chose it."""
    name = Path(path).name if path else ""
    return {"error": str(error).replace(path, name) if path else str(error), "name": name}


@contextmanager
def served(systems: Sequence[tuple[str, System]], port: int | None = None) -> Iterator[str]:
    """Serve the page on 127.0.0.1 while the context lasts. Recordings are deleted when it ends.

    Args:
        systems: titles and systems, one to four.
        port: where; by default the first free one from 7860 on.

    Yields:
        The page's address.

    Raises:
        UsageError: there are too many systems, gradio is not installed, or the port is taken.
    """
    if not 1 <= len(systems) <= MOST_SYSTEMS:
        raise UsageError(f"the page shows one to {MOST_SYSTEMS} systems, not {len(systems)}: name fewer.")
    with tempfile.TemporaryDirectory(prefix="emoser-app-") as place:
        # Read when gradio is imported, or when a component is made: nothing is counted, recordings do not stay.
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": place, "HF_HUB_DISABLE_TELEMETRY": "1"}
        try:
            import gradio
        except ImportError:
            raise UsageError("the page needs gradio, which is not installed: pip install 'emoser[app]'.") from None
        page = _page(gradio, systems)
        try:
            _, address, _ = page.launch(
                server_name="127.0.0.1",
                server_port=port,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                footer_links=[],
                run_history=False,
                ssr_mode=False,
                mcp_server=False,
                max_file_size="100mb",
                i18n=gradio.I18n(**SENTENCES),
                theme=gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
            )
        except OSError as error:
            raise UsageError(f"port {port or 7860} cannot be used ({error}): name another one (--port).") from None
        try:
            yield address
        finally:
            page.close(verbose=False)


def _page(gradio: Any, systems: Sequence[tuple[str, System]]) -> Any:
    say: Callable[[str], Any] = gradio.I18n(**SENTENCES)

    def language(request: Any) -> str:
        return language_of(request.headers.get("accept-language", ""))

    def sentences(found: list[str]) -> str:
        return "".join(f"<p>{as_text(sentence)}</p>" for sentence in found)

    def looked(path: str | None, request: gradio.Request) -> tuple[Any, Figure | None, str]:
        figure, known = look(path, language(request))
        return gradio.Column(visible=figure is not None), figure, sentences(known)

    def asked(path: str | None, said: str, request: gradio.Request) -> list[Any]:
        found, why = answers_of([system for _, system in systems], path, said, language(request))
        _, known = look(path, language(request))
        return [*found, sentences([*why, *(one for one in known if one not in why)])]

    with gradio.Blocks(title="emoser", analytics_enabled=False) as page:
        gradio.Markdown(say("title"))
        with gradio.Row():
            with gradio.Column():
                clip = gradio.Audio(
                    sources=["microphone", "upload"],
                    type="filepath",
                    buttons=["download"],  # none that shares it
                    label=say("clip"),
                    elem_id="clip",
                )
                # The recorder's upload takes no webm from a disk: browsers call it a film.
                film = gradio.UploadButton(say("film"), file_types=[".webm", ".mp4"], size="sm", elem_id="film")
            with gradio.Column():
                said = gradio.Textbox(label=say("said"), placeholder=say("hint"), lines=3, elem_id="said")
                ask = gradio.Button(say("ask"), variant="primary", elem_id="ask")
        told = gradio.HTML(elem_id="told", padding=False)
        with gradio.Column(visible=False, elem_id="seen") as view:
            gradio.Markdown(say("seen"))
            seen = gradio.Plot(show_label=False, format="png")
        with gradio.Row():
            shown = [gradio.Label(label=title, elem_id=f"system-{n}") for n, (title, _) in enumerate(systems)]
        film.upload(lambda path: path, film, clip, api_visibility="private")
        gradio.on([clip.change], looked, [clip], [view, seen, told], api_visibility="private")
        gradio.on([ask.click, said.submit], asked, [clip, said], [*shown, told], api_visibility="private")
    return page
