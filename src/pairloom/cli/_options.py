"""Options that several commands share, with the same help text everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Device = Annotated[str, Option(help="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one.")]
Format = Annotated[str | None, Option(help="The set's format, where it is not recognised.")]
ImageColumn = Annotated[str, Option(help="Column or field of the pictures, where it is not known.")]
Json = Annotated[bool, Option("--json", help="Machine-readable output.")]
LinesOut = Annotated[Path | None, Option(help="A .jsonl file; standard output without it.")]
Pairs = Annotated[Path, Argument(help="A folder, tar shards, COCO JSON, parquet, ...")]
Sets = Annotated[
    list[Path], Argument(help="A folder, tars, COCO JSON, parquet ...; of files also several, or a pattern.")
]
Pictures = Annotated[
    Path,
    Argument(
        help="A picture, any set that pairloom reads, or - for file names, one a line, from standard input."
    ),
]
Regions = Annotated[Path | None, Option(help="The pictures' regions, where it reads those: docs/regions.md.")]
ReplaceOut = Annotated[bool, Option("--restart", help="Replace an earlier --out.")]
Restart = Annotated[bool, Option("--restart", help="Forget what is done and begin anew.")]
TextColumn = Annotated[str, Option(help="Column or field of the texts, where it is not known.")]
Speed = Annotated[
    str,
    Option(
        help="exact: fp32, the same tokens; fast: products in bf16; int8: image towers in int8 (docs/speed.md)."
    ),
]
Workers = Annotated[int, Option(help="Processes; 0: one for each core.", min=0)]
