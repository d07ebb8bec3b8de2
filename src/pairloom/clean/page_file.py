"""File of a page: a template, its style, its scripts and a packed gallery in one HTML file that needs no network.

Does not know: what a page shows.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from pairloom.data.disk import atomic_write

PACKED = "-packed-gallery-"  # placeholder of the gallery in the page
CHUNK = 3 << 18  # bytes that are written as base64 at a time, a multiple of 3
PAGE = files("pairloom.clean") / "page"


def write_file(path: Path, text: str, packed: bytes) -> None:
    """Write a page to `path`, atomically, with the gallery in place of `PACKED`."""
    head, tail = text.split(PACKED)
    with atomic_write(path, replace=True) as file:
        file.write(head.encode("utf-8", "replace"))
        for start in range(0, len(packed), CHUNK):
            file.write(base64.b64encode(packed[start : start + CHUNK]))
        file.write(tail.encode("utf-8", "replace"))


def fill(
    template: str, scripts: Sequence[str], packed: str, data_name: str, values: Mapping[str, Any]
) -> str:
    """A template with its values. scripts: their names, in order; packed: base64 of the deflated gallery, or `PACKED`; data_name:
    hash of the gallery."""
    script = "\n".join((PAGE / f"{name}.js").read_text("utf-8") for name in scripts)
    script = f'(async function () {{\n"use strict";\n{script}\n}})();'
    return _template(template).render(
        style=(PAGE / "page.css").read_text("utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        packed=packed,
        data_name=data_name,
        **values,
    )


@cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: (PAGE / f"{name}.html.jinja").read_text("utf-8")),
    )  # fmt: skip
    environment.filters.update(count=count, share=share, number=number)
    return environment.get_template(name)


def count(value: float | int | None) -> str:
    """12345 -> 12,345; None -> a dash."""
    return "\u2013" if value is None else f"{int(value):,}"


def share(value: float | int | None, digits: int = 1) -> str:
    """0.2843 -> 28.4 %; None -> a dash."""
    return "\u2013" if value is None else f"{100 * value:.{digits}f}\u202f%"


def number(value: float | int | None, digits: int = 3) -> str:
    """0.96234 -> 0.962, with a true minus sign; None -> a dash."""
    return "\u2013" if value is None else f"{value:.{digits}f}".replace("-", "\u2212")
