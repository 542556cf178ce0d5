"""Systems that runs have trained, asked about new clips and exported; nothing heavy is imported before it is needed."""

from emoser_lib.experiments.predicting.asked import Clip
from emoser_lib.experiments.predicting.exporting import export_system
from emoser_lib.experiments.predicting.loading import System, load_system

__all__ = ["Clip", "System", "export_system", "load_system"]
