"""Write captions for a picture, a folder of pictures or a set, as JSON lines; goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pairloom.cli._lines import Pictures
from pairloom.cli._speed import Speed, at_speed

WAYS = "greedy", "beam", "nucleus"


def command(
    pictures: Pictures,
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
    speed: Speed = "exact",
    restart: Annotated[bool, typer.Option("--restart", help="Replace an earlier --out.")] = False,
) -> None:
    import pairloom
    from pairloom.cli._lines import answer_all
    from pairloom.data.pair import seed_of
    from pairloom.errors import Mistake, nearest
    from pairloom.tasks.caption import caption
    from pairloom.tasks.decode import Writing
    from pairloom.verbs import demand

    if way not in WAYS:
        raise Mistake(f"There is no way of writing '{way}'.", "", nearest(way, WAYS))
    asked = pairloom.load(model).eval()
    demand(asked.system, "caption")
    longest = getattr(asked.config, "positions", asked.config.length)
    if max_length > longest:
        raise Mistake(
            f"--max-length {max_length} is longer than the model writes.",
            f"It writes at most {longest} tokens.",
            "Give less, or 0 for what it learnt.",
        )
    try:
        length = max_length or asked.config.length
        writing = Writing(way, beams, length, min_length, top_p=top_p, several=several)  # type: ignore[arg-type]
    except ValueError as error:
        raise Mistake("These options do not fit.", str(error)) from error

    if asked.tokens.too_long(prompt, length):
        raise Mistake(
            f"{length} tokens leave nothing to write.",
            "max_length counts the first token and those of the prompt.",
            "Shorten --prompt, or give more --max-length.",
        )
    asked = at_speed(asked, speed)

    def answer(images: list[Any], keys: list[str]) -> list[dict[str, Any]]:
        seeds = [seed_of(key, "caption", seed) for key in keys]
        said = caption(asked.system, asked.tokens, asked.pictures(images), writing, prompt, seeds)
        return [{"captions": [_entry(one) for one in found]} for found in said]

    answer_all(
        pictures,
        out,
        restart,
        "captioning",
        {"captions": []},
        answer,
        lambda data: asked.pixels.read(data, scaled=speed == "fast"),
        about={"model": model, **vars(writing), "prompt": prompt, "seed": seed, "speed": speed},
    )


def _entry(one: Any) -> dict[str, Any]:
    return {"text": one.text, "log_probability": one.log_probability, "per_token": one.per_token}
