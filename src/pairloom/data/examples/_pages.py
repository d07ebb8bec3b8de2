"""Pages: from what a layout of interleaved documents gives, pieces in their order, to a Document.

Does not know: any one layout. A picture that is not on this disk is left out of its page, and its text stays: of a web
page some are always gone. A page that is left without any has a problem.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlparse

from pairloom.data.examples._notes import Album, seen
from pairloom.data.pair import Document


def page(
    name: str, pieces: Iterable[tuple[str, str]], album: Album, problem: str = "", **meta: Any
) -> Document:
    """pieces: ("text", words) and ("image", its name or address), in reading order."""
    texts, shown, gone = [""], [], []
    for kind, value in pieces:
        if kind == "text":
            texts[-1] = f"{texts[-1]} {value}".strip()
            continue
        blob, key, wrong = album.find([value, urlparse(value).path.rpartition("/")[2]])
        if wrong:
            gone.append(wrong)
            continue
        shown.append((blob, key, wrong))
        texts.append("")
    problem = problem or (gone[0] if gone and not shown else "")
    about = {**meta, "pictures left out": len(gone)} if gone else meta
    return Document(**seen(shown, *texts, problem=problem), name=name, texts=tuple(texts), meta=about)
