"""Cache folders of the Hugging Face hub: datasets--OWNER--NAME/snapshots/REVISION, whose files are links into blobs/.

Does not know: any one format.
"""

from __future__ import annotations

from pathlib import Path

from pairloom.data.disk import readable
from pairloom.errors import Mistake

CACHE = "datasets--"  # how names of caches of data sets begin


def snapshot(path: Path) -> Path:
    """The snapshot in a cache folder, or in a folder of one cache: the one that refs/main names, else the only one. Other paths as they
    are. Mistake where there are several."""
    if not path.is_dir():
        return path
    caches = sorted(one for one in path.glob(f"{CACHE}*") if (one / "snapshots").is_dir())
    if caches and not path.name.startswith(CACHE):
        return snapshot(_only(path, caches))
    if not path.name.startswith(CACHE) or not (path / "snapshots").is_dir():
        return path
    revisions = sorted(one for one in (path / "snapshots").iterdir() if one.is_dir())
    main = path / "refs" / "main"
    named = [one for one in revisions if main.is_file() and one.name == main.read_text("utf-8").strip()]
    return _only(path, named or revisions) if revisions else path


def _only(path: Path, places: list[Path]) -> Path:
    if len(places) > 1:
        shown = ", ".join(readable(place.name) for place in places[:6])
        raise Mistake(f"{path} holds several sets.", f"Seen there: {shown}.", f"Name one, say {places[0]}.")
    return places[0]
