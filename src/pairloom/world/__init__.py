"""The drawn world: scenes, pictures and texts with known truth, deterministic by seed.

world = World(count=4000, seed=0, level="simple", size=64, styles=("terse", "full"), noise=0.3)
row = world.row(7)                  # Row(name, scene, text, truth)
pixels = draw(row.scene, 64)        # uint8 [64 64 3]; picture(...) gives a PIL image
caption(row.scene, "full")          # a true caption; STYLES, variant=0, 1, 2 ... word it differently
read(text, row.scene)               # Reading(stated=(Stated(sort, fact, true), ...), right=bool), for any text
write_folder(world, Path("set"))    # set/000000.jpg + .txt; the truth in set.truth.jsonl beside it
"""

from pairloom.world.draw import draw, picture
from pairloom.world.layout import sample
from pairloom.world.negatives import Negative, negative, negatives
from pairloom.world.noise import NOISES, SHARES, Truth, spoil, web_text
from pairloom.world.read import CaptionReading, parse, read
from pairloom.world.scene import Scene, Thing
from pairloom.world.words import STYLES, caption
from pairloom.world.world import Row, World, write_folder, write_tars

__all__ = [
    "NOISES", "SHARES", "STYLES", "Negative", "CaptionReading", "Row", "Scene", "Thing", "Truth", "World", "caption", "draw",
    "negative", "negatives", "parse", "picture", "read", "sample", "spoil", "web_text", "write_folder", "write_tars",
]  # fmt: skip
