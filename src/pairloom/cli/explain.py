"""Show which parts of a picture made each word of a text, or made the two belong together, and whether that is so.

Without a text the model writes one and explains its own words. The map is then tested on the model itself: its first
cells are painted over, and the score should fall further than when other cells are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pairloom.tasks.explain import Explanation, Faithfulness

COLUMNS = ["painted over", "the map's cells", "random cells", "sd", "random ones that left more"]


def command(
    picture: Annotated[Path, typer.Argument(help="A picture.")],
    text: Annotated[str, typer.Argument(help="A text; without it the model writes one.")] = "",
    *,
    model: Annotated[Path, typer.Option(help="A model that writes or judges.")],
    out: Annotated[
        Path | None, typer.Option(help="A .png or .html for the figure: one panel a word.")
    ] = None,
    way: Annotated[
        str, typer.Option(help="attention, gradient or occlusion; without it the best that the model can.")
    ] = "",
    by: Annotated[str, typer.Option(help="The score to explain: match, cosine or likelihood.")] = "",
    checks: Annotated[int, typer.Option(help="Random choices of cells to compare with; 0: no test.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the random cells.")] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Replace an earlier --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output, maps and all.")] = False,
) -> None:
    import pairloom
    from pairloom.data.pixels import Unreadable, open_image
    from pairloom.errors import Mistake
    from pairloom.tasks.explain import explain, faithfulness
    from pairloom.verbs import demand_way

    _check(picture, out, restart, checks)
    asked = pairloom.load(model).eval()
    best = demand_way(asked.system, by)
    by = best if by else ""
    try:
        image = open_image(picture.read_bytes())
    except (OSError, Unreadable) as error:
        raise Mistake(f"{picture} cannot be read.", str(error), "Give a picture file.") from error
    pixels = asked.pictures([image])[0]
    said = text or _written(asked, pixels, model)
    by = by or ("" if text else "likelihood")
    made = explain(asked.system, asked.tokens, pixels, said, way or None, by or None)
    tests = faithfulness(asked.system, pixels, made, times=checks, seed=seed) if checks else []
    if out is not None:
        _draw(out, asked.pixels.to_uint8(image), made, tests, restart)
    _say(made, tests, out, json)


def _check(picture: Path, out: Path | None, restart: bool, checks: int) -> None:
    from pairloom.errors import Mistake

    if out is not None and out.suffix.lower() not in (".png", ".html"):
        raise Mistake(
            f"{out} is neither a picture nor a page.", "", "Name a file that ends in .png or .html."
        )
    if out is not None and out.exists() and not restart:
        raise Mistake(f"{out} exists already.", "Nothing is overwritten.", "Name another file, or --restart.")
    if out is not None and out.resolve() == picture.resolve():
        raise Mistake(
            f"{out} is the picture itself.", "Nothing of yours is overwritten.", "Name another file."
        )
    if checks < 0:
        raise Mistake(f"--checks {checks} is no number of choices.", "", "Give 20, or 0 for no test.")


def _written(asked: Any, pixels: Any, model: Path) -> tuple[int, ...]:
    """The model's own caption, as the tokens it wrote."""
    from pairloom.data.batch import Batch
    from pairloom.errors import Mistake
    from pairloom.tasks.decode import Writing, decode
    from pairloom.verbs import able

    if able(asked.system, "caption") is None:
        raise Mistake(f"{model} cannot write.", "It only judges texts that are given.", "Give a text too.")
    writing = Writing(max_length=asked.config.length - 1)  # the end has a place of its own
    tokens = decode(asked.system, Batch(images=pixels[None, None]), writing)[0][0].tokens
    if not tokens:
        raise Mistake(f"{model} wrote nothing.", "Its likeliest caption has no words.", "Give a text.")
    return tokens


def _draw(out: Path, view: Any, made: Explanation, tests: list[Faithfulness], restart: bool) -> None:
    from pairloom.cli import _figure
    from pairloom.data.disk import atomic_write

    drawn = _figure.panels(view, made.words, made.maps.numpy(), made.whole.numpy())
    note = f"{made.by} {made.score:.4f}, explained by {made.way}"
    if out.suffix.lower() == ".png":
        data = _figure.png(_figure.sheet(drawn, f"{made.text}   [{note}]"))
    else:
        data = _figure.page(drawn, made.text, note, COLUMNS, _rows(tests)).encode()
    with atomic_write(out, replace=restart) as file:
        file.write(data)


def _rows(tests: list[Faithfulness]) -> list[list[str]]:
    return [
        [
            f"{one.share:.0%}",
            f"{one.first:.4f}",
            f"{one.random:.4f}",
            f"{one.deviation:.4f}",
            f"{one.rank:.0%}",
        ]
        for one in tests
    ]


def _say(made: Explanation, tests: list[Faithfulness], out: Path | None, json: bool) -> None:
    from pairloom.cli import _show

    if json:
        told = {
            "text": made.text,
            "way": made.way,
            "by": made.by,
            "score": made.score,
            "words": list(made.words),
        }
        maps = {"maps": made.maps.tolist(), "whole": made.whole.tolist()}
        _show.say_json(
            {**told, **maps, "faithfulness": [vars(one) for one in tests], "figure": str(out or "")}
        )
        return
    _show.out.print(f"{made.text}\n{made.by} {made.score:.4f}, explained by {made.way}", markup=False)
    if tests:
        _show.table(f"{made.by} after painting over cells", COLUMNS, _rows(tests))
    if out is not None:
        _show.out.print(f"figure: {out}", markup=False)
