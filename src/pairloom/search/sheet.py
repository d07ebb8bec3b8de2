"""Contact sheet: search results as one HTML file with embedded thumbnails, for offline use, light and dark. The same results
and pictures give the same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import jinja2
from PIL import Image

from pairloom.data.disk import atomic_write
from pairloom.data.pixels import Unreadable, open_image
from pairloom.search.index import EVEN, Found, SearchResults

SIDE = 480  # pixels of a thumbnail's longer side: sharp at 240 on a dense screen
TEXTS = 3  # texts of a picture that are shown


def write_sheet(path: Path, answer: SearchResults, bytes_of: Callable[[Found], bytes | None]) -> None:
    """Write a contact sheet; an earlier sheet is replaced. bytes_of: the encoded picture of an answer, or None.

    Mistake where `path` is another file than a sheet, or cannot be written.
    """
    with atomic_write(path, replace=_is_sheet(path)) as file:
        file.write(render(answer, bytes_of).encode())


def render(answer: SearchResults, bytes_of: Callable[[Found], bytes | None]) -> str:
    """The HTML page. Names and texts are escaped."""
    page = files("pairloom.search") / "page"
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    cards = [
        {
            "found": one,
            "picture": thumbnail(bytes_of(one)),
            "texts": one.texts[:TEXTS],
            "more": max(0, len(one.texts) - TEXTS),
            "good": one.p is None or one.p >= EVEN,
        }
        for one in answer.results
    ]
    return environment.from_string((page / "sheet.html.jinja").read_text("utf-8")).render(
        answer=answer, cards=cards, style=(page / "sheet.css").read_text("utf-8"), sentence=sentence(answer)
    )


def sentence(answer: SearchResults) -> str:
    """One-sentence summary of search results."""
    among = f"among {answer.pictures:,} picture{'s' * (answer.pictures != 1)}"
    if not answer.results:
        return f"Nothing found {among}"
    if answer.good is False:
        return f"No good match {among}"
    likely = [one for one in answer.results if one.p is not None and one.p >= EVEN]
    count = len(likely) if likely else len(answer.results)
    return f"{count} {'good match' if likely else 'answer'}{('es' if likely else 's') * (count != 1)} {among}"


def thumbnail(data: bytes | None) -> dict[str, object] | None:
    """Thumbnail of an encoded picture as {data: a data URL, width, height}; None where there is no picture."""
    try:
        image = open_image(data, shrink_to=SIDE) if data else None
    except Unreadable:
        image = None
    if image is None:
        return None
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "JPEG", quality=84)
    coded = base64.b64encode(file.getvalue()).decode("ascii")
    return {"data": f"data:image/jpeg;base64,{coded}", "width": image.width, "height": image.height}


def _is_sheet(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return b"pairloom search" in file.read(400)
    except OSError:
        return False
