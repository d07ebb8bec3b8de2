"""Model: a system with its tokens and pixels; built, saved as a folder, resized. `pairloom.weights.load` reads any."""

from pairloom.model.build import at_size, build
from pairloom.model.folder import MARK, claim, read_json, save
from pairloom.model.model import Model

__all__ = ["MARK", "Model", "at_size", "build", "claim", "read_json", "save"]
