"""`export_system`: a trained system as a folder that stands alone, with a model card. Nothing is sent anywhere."""

import json
import shutil
import tempfile
from pathlib import Path

from emoser_lib.corpora import absolute
from emoser_lib.errors import UsageError
from emoser_lib.experiments.predicting.cards import model_card, use_script
from emoser_lib.experiments.predicting.kept import SYSTEM_FILE, KeptSystem, read_kept
from emoser_lib.experiments.predicting.loading import System
from emoser_lib.files import write_whole


def export_system(system: System, folder: str | Path) -> Path:
    """Write a system into a new folder, whole or not at all.

    It holds ``system.json`` (declaration, label words, prompt, the corpus's sha256, scores with intervals), the files
    of what was trained, ``README.md`` (a model card as the Hugging Face hub has them) and ``use.py``. No transcription,
    no file name and no speaker is in it; but a classifier of words knows the words that it learnt from.

    Args:
        system: from `load_system`.
        folder: a new one.

    Raises:
        UsageError: the folder is there already.
        DataError: see `load_system`.
    """
    folder = absolute(folder)
    if folder.exists():
        raise UsageError(f"{folder} is there already: name a new folder.")
    source = system.folder
    kept = _without_paths(read_kept(source))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        partial = Path(name) / folder.name
        shutil.copytree(source, partial)
        write_whole(partial / SYSTEM_FILE, kept.model_dump_json(indent=2) + "\n")
        if (adapter := partial / "adapter_config.json").is_file():
            told = json.loads(adapter.read_text(encoding="utf-8"))
            told["base_model_name_or_path"] = kept.checkpoints[0].name if len(kept.checkpoints) == 1 else _llm(kept)
            write_whole(adapter, json.dumps(told, indent=2, sort_keys=True) + "\n")
        write_whole(partial / "README.md", model_card(kept))
        write_whole(partial / "use.py", use_script(kept))
        partial.rename(folder)
    return folder


def _llm(kept: KeptSystem) -> str:
    return kept.checkpoint("llm").name


def _without_paths(kept: KeptSystem) -> KeptSystem:
    """A checkpoint that was named by its folder's path is called by the folder's name."""
    named = [
        used.model_copy(update={"name": Path(used.name).name}) if used.name.startswith(("/", "~")) else used
        for used in kept.checkpoints
    ]
    return kept.model_copy(update={"checkpoints": tuple(named)})
