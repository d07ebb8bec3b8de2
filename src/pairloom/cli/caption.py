"""Write captions for a picture, a folder of pictures or a set, as JSON lines; goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

GROUP = 32  # pictures written about together


def command(
    pictures: Annotated[Path, typer.Argument(help="A picture, or any set that pairloom reads.")],
    model: Annotated[Path, typer.Option(help="A model folder (models/captioner of a clean run, say).")],
    out: Annotated[Path | None, typer.Option(help="A .jsonl file; standard output without it.")] = None,
    way: Annotated[str, typer.Option(help="greedy, beam or nucleus.")] = "beam",
    beams: Annotated[int, typer.Option(help="Width of the beam.")] = 3,
    top_p: Annotated[float, typer.Option(help="Mass that nucleus sampling draws from.")] = 0.9,
    several: Annotated[int, typer.Option(help="Captions for each picture.")] = 1,
    prompt: Annotated[str, typer.Option(help="The words that every caption begins with.")] = "",
    max_length: Annotated[
        int, typer.Option(help="Most tokens, the prompt among them; 0: as the model learnt.")
    ] = 0,
    min_length: Annotated[int, typer.Option(help="Fewest tokens.")] = 3,
    seed: Annotated[int, typer.Option(help="Of nucleus sampling.")] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Replace an earlier --out.")] = False,
) -> None:
    import json

    import pairloom
    from pairloom.cli import _show
    from pairloom.errors import Mistake
    from pairloom.tasks.decode import Writing
    from pairloom.verbs import Writes

    asked = pairloom.load(model).eval()
    if not isinstance(asked.system, Writes):
        raise Mistake(f"{model} cannot write texts.", "Its system has no writer.", "See: pairloom systems")
    try:
        length = max_length or asked.config.length
        writing = Writing(way, beams, length, min_length, top_p=top_p, several=several)  # type: ignore[arg-type]
    except ValueError as error:
        raise Mistake("These options do not fit.", str(error)) from error
    done = _done(out, restart)
    with _show.progress("captioning", None, quiet=out is None) as bar:
        if done:
            _show.console.print(f"{len(done)} already done in {out}", markup=False)
        for line in _lines(asked, pictures, writing, prompt, seed, done):
            text = json.dumps(line, ensure_ascii=False) + "\n"
            if out is None:
                _show.sys.stdout.write(text)
            else:
                with open(out, "a", encoding="utf-8") as file:
                    file.write(text)
            bar.step(1, bad=int("problem" in line))


def _done(out: Path | None, restart: bool) -> set[str]:
    """Names already captioned; a line that a kill cut off is taken out again."""
    import json

    from pairloom.errors import Mistake

    if out is None or not out.exists():
        return set()
    if restart:
        out.unlink()
        return set()
    data = out.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    try:
        names = {json.loads(line)["name"] for line in whole.splitlines()}
    except (ValueError, KeyError, TypeError) as error:
        raise Mistake(
            f"{out} holds something else than captions.",
            "Nothing of yours is overwritten.",
            "Name another --out.",
        ) from error
    if len(whole) < len(data):
        out.write_bytes(whole)
    return names


def _lines(
    asked: Any, pictures: Path, writing: Any, prompt: str, seed: int, done: set[str]
) -> Iterator[dict[str, Any]]:
    from pairloom.data.pair import seed_of
    from pairloom.data.pixels import Unreadable, open_image
    from pairloom.tasks.caption import caption

    waiting: list[tuple[str, str, Any]] = []

    def write() -> Iterator[dict[str, Any]]:
        if not waiting:
            return
        images = asked.pictures([image for _, _, image in waiting])
        seeds = [seed_of(key, "caption", seed) for _, key, _ in waiting]
        for (name, _, _), found in zip(
            waiting, caption(asked.system, asked.tokens, images, writing, prompt, seeds)
        ):
            yield {
                "name": name,
                "captions": [
                    {"text": one.text, "log_probability": one.log_probability, "per_token": one.per_token}
                    for one in found
                ],
            }
        waiting.clear()

    for name, key, data in _pictures(pictures):
        if name in done:
            continue
        try:
            waiting.append((name, key, open_image(data())))
        except (OSError, Unreadable) as error:
            yield {"name": name, "captions": [], "problem": str(error)}
        if len(waiting) == GROUP:
            yield from write()
    yield from write()


def _pictures(where: Path) -> Iterator[tuple[str, str, Any]]:
    """(name, key, bytes when asked) of one picture file, or of every pair of a set."""
    from pairloom.data.pair import content_hash
    from pairloom.data.shards import open_set

    if where.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"):
        yield where.name, content_hash(where.read_bytes()) if where.is_file() else "", where.read_bytes
        return
    for pair in open_set(where).pairs():
        yield pair.name, pair.image_key, pair.image.read
