"""Draw pictures of texts with a diffusion model: one PNG for each text and seed."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

import typer


def command(
    texts: Annotated[list[str], typer.Argument(help="One or more texts.")],
    model: Annotated[Path, typer.Option(help="A model that draws; a diffusers folder, say.")],
    out: Annotated[Path, typer.Option(help="A folder for the pictures.")],
    several: Annotated[int, typer.Option(help="Pictures of each text.")] = 1,
    steps: Annotated[int, typer.Option(help="Steps of the sampler.", max=1000)] = 50,
    guidance: Annotated[float, typer.Option(help="How much the text is stressed; 1: not.")] = 7.5,
    seed: Annotated[int, typer.Option(help="Of the noise that pictures begin as.")] = 0,
    group: Annotated[int, typer.Option(help="Pictures that are drawn together.")] = 4,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    import pairloom
    from pairloom.cli import _show
    from pairloom.data.disk import atomic_write, unwritable
    from pairloom.data.pair import content_hash, seed_of
    from pairloom.errors import Mistake
    from pairloom.verbs import demand

    if min(several, steps, group) < 1:
        raise Mistake("These options do not fit.", "--several, --steps and --group must be above 0.")
    asked = pairloom.load(model).eval()
    demand(asked.system, "draw")
    long = [text for text in texts if asked.tokens.too_long(text, asked.config.length)]
    if long:
        raise Mistake(
            f"'{long[0]}' is longer than the model reads.",
            f"It reads {asked.config.length} tokens, two of them the ends.",
            "Shorten it.",
        )
    about = repr((str(model), steps, guidance, seed)).encode()  # what makes another picture gets another name
    wanted = [
        (text, at, out / f"{content_hash(text.encode(), about)[:12]}-{at}.png")
        for text in dict.fromkeys(texts)
        for at in range(several)
    ]
    options = {"steps": steps, "guidance": guidance}
    known = inspect.signature(asked.system.draw).parameters
    options = {name: value for name, value in options.items() if name in known}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error
    left = [one for one in wanted if not one[2].exists()]
    with _show.progress("drawing", len(wanted), quiet=json) as bar:
        if len(left) < len(wanted):
            _show.console.print(
                f"{len(wanted) - len(left)} of {len(wanted)} already done in {out}", markup=False
            )
            bar.step(len(wanted) - len(left))
        for first in range(0, len(left), group):
            part = left[first : first + group]
            seeds = [seed_of(text, "draw", seed, at) for text, at, _ in part]
            drawn = asked.system.draw(
                asked.batch(texts=[text for text, _, _ in part]), seeds=seeds, **options
            )
            for picture, (_, _, file) in zip(drawn, part):
                with atomic_write(file) as stream:
                    _image(picture).save(stream, "PNG")
            bar.step(len(part))
    if json:
        _show.say_json([{"text": text, "number": at, "picture": str(file)} for text, at, file in wanted])
    else:
        _show.table("Drawn", ["text", "picture"], [[text, str(file)] for text, _, file in wanted])


def _image(picture):  # type: ignore[no-untyped-def]
    """[3 H W] in [-1, 1] as a PIL image."""
    from PIL import Image

    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels)
