"""Which column of a user's table is which of ours: as it was told, and as the names suggest where it was not."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

LOOK_ALIKE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "label": (
            *("label", "emotion", "emocion", "etiqueta", "class", "clase", "category", "categoria", "feeling"),
            *("emozione", "etichetta", "emocio", "emocao", "rotulo", "etiquette", "gefuhl", "emozioa"),
        ),
        "transcription": (
            *("transcription", "transcript", "transcripcion", "text", "texto", "sentence", "frase", "utterance"),
            *("oracion", "words", "palabras", "trascrizione", "testo", "transcripcio", "transcricao", "texte"),
            *("phrase", "transkription", "satz"),
        ),
        "audio": (
            *("audio", "file", "filename", "archivo", "fichero", "path", "filepath", "ruta", "wav", "recording"),
            *("grabacion", "sonido", "sound", "percorso", "registrazione", "fitxer", "enregistrament", "arquivo"),
            *("ficheiro", "gravacao", "fichier", "chemin", "datei", "pfad", "aufnahme"),
        ),
        "speaker": (
            *("speaker", "hablante", "locutor", "locutora", "actor", "actriz", "actress", "voice", "voz", "subject"),
            *("sujeto", "participant", "participante", "informante", "persona", "person", "parlante", "soggetto"),
            *("parlant", "locuteur", "falante", "sprecher", "sprecherin"),
        ),
        "split": ("split", "subset", "partition", "particion", "conjunto"),
        "gender": ("gender", "genero", "sex", "sexo", "sesso", "genere", "sexe", "genre", "geschlecht"),
        "video": ("video", "youtube"),
        "id": ("id", "identificador", "identifier", "clip"),
        "start_ms": ("start", "inicio", "comienzo", "onset", "begin"),
        "end_ms": ("end", "fin", "final", "offset"),
    }
)
"""Our column -> what people call it in English, Spanish and languages near to them (our choice), without accents."""


@dataclass(frozen=True)
class TableMapping:
    """How a user's table became a corpus.

    Attributes:
        columns: our column -> the table's.
        unused: the table's columns that none of ours is.
        empty: those of ours that were named and have no cell that is filled.
        labels: the table's label -> ours, where it was told to be another.
        unused_labels: those that were told and occur in no row.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    unused_labels: tuple[str, ...] = ()

    @property
    def proposed(self) -> dict[str, str]:
        """Our column -> an unused one of the table that looks like it."""
        return likely_columns(self.unused, besides=self.columns)

    def option(self, ours: str) -> str:
        """Return the option that says which column is ours, with the likely one where there is one.

        >>> TableMapping(unused=("emoción",)).option("label"), TableMapping().option("label")
        ('--column label=emoción', '--column label=…')
        """
        return f"--column {ours}={self.proposed.get(ours, '…')}"


def likely_columns(theirs: Iterable[str], besides: Iterable[str] = ()) -> dict[str, str]:
    """Guess which of a table's columns are ours, from their names: whole, or a word of them.

    Args:
        theirs: the table's columns, each for one of ours at most.
        besides: columns of ours that are known.

    Returns:
        Our column -> the table's.

    >>> likely_columns(["Archivo", "texto", "emoción", "hablante_id", "edad"])
    {'label': 'emoción', 'transcription': 'texto', 'audio': 'Archivo', 'speaker': 'hablante_id'}
    """
    words = {name: _words(name) for name in theirs}
    found: dict[str, str] = {}
    for whole in (True, False):
        for ours, names in LOOK_ALIKE.items():
            free = {name: said for name, said in words.items() if name not in found.values()}
            alike = [name for name, said in free.items() if ("".join(said) in names if whole else {*said} & {*names})]
            if alike and ours not in found and ours not in set(besides):
                found[ours] = alike[0]
    return {ours: found[ours] for ours in LOOK_ALIKE if ours in found}


def _words(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-zß-ÿ])(?=[A-Z])", " ", unicodedata.normalize("NFC", name))
    plain = "".join(char for char in unicodedata.normalize("NFD", apart) if not unicodedata.combining(char))
    return re.findall(r"[^\W_]+", plain.casefold())
