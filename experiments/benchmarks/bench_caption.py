"""Captioning with BLIP base at 384 px, 20 tokens, against transformers' generate, in fp32 and under bf16 autocast.

    python experiments/benchmarks/bench_caption.py --batches 1,8,16 --beams 1,3 --threads 2
    python experiments/benchmarks/bench_caption.py --model MODELS/captioner --set PAIRS     # agreement of a trained captioner

The weights are random and the same on all sides; the end token is suppressed, so that all write 20 tokens. Printed are
times, ratios, and whether the tokens are the same. With a trained model instead: on how many pictures of a set the exact and
the fast engine write the same caption as the model itself.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from published import END, pair
from rounds import autocast, prepare, timed
from torch import Tensor

import pairloom
from pairloom.data.batch import Batch
from pairloom.data.pixels import open_image
from pairloom.data.shards import open_set
from pairloom.runtime.engine import engine
from pairloom.tasks.caption import caption
from pairloom.tasks.decode import Writing, decode


def theirs(model: Any, images: Tensor, beams: int, length: int) -> list[list[int]]:
    generated = model.generate(
        pixel_values=images, max_length=length, min_length=length, num_beams=beams, do_sample=False
    )
    return [row[1:] for row in generated.tolist()]


def ours(system: Any, images: Tensor, beams: int, length: int) -> list[list[int]]:
    way = Writing("beam" if beams > 1 else "greedy", beams, length, length)
    return [list(texts[0].tokens) for texts in decode(system, Batch(images=images[:, None]), way)]


def speed(batches: list[int], beams: list[int], rounds: int, length: int) -> None:
    model, plain = pair("caption")
    for bias in (model.text_decoder.cls.predictions.bias, plain.head.bias):
        bias[END] = -30.0
    systems = {"unchanged": plain, "exact": engine(plain, "exact"), "fast": engine(plain, "fast")}
    for count in batches:
        images = torch.randn(count, 3, 384, 384, generator=torch.Generator().manual_seed(2))
        for width in beams:
            race(model, systems, images, width, length, rounds)


def race(model: Any, systems: dict[str, Any], images: Tensor, beams: int, length: int, rounds: int) -> None:
    """Time both sides on the same pictures, and count the texts with the same tokens as transformers' in fp32."""
    count = len(images)
    print(f"{count} pictures, {f'beam {beams}' if beams > 1 else 'greedy'}, {length} tokens")
    rival = partial(theirs, model, images, beams, length)
    ways: dict[str, Any] = {"transformers fp32": rival, "transformers, autocast": autocast(rival)}
    for name, system in systems.items():
        ways[f"pairloom {name}"] = partial(ours, system, images, beams, length)
    first, *others = timed(ways, count, rounds).items()
    for name, texts in others:
        same = sum(one[: len(other)] == other for one, other in zip(first[1], texts))
        print(f"  {name:34s} the same tokens for {same} of {count}")


def agreement(model: str, where: Path, most: int) -> None:
    """Agreement of a trained captioner's engines: equal captions, and the largest difference of their log-probabilities."""
    trained = pairloom.load(model).eval()
    images = []
    for entry in open_set(where).pairs():
        if not entry.problem and len(images) < most:
            images.append(open_image(entry.image.read()))
    pixels = trained.pictures(images)
    for way in (
        Writing("greedy", max_length=trained.config.length),
        Writing("beam", 3, trained.config.length),
    ):
        captions = [
            [texts[0] for texts in caption(writer, pixels, way)]
            for writer in (trained, trained.at_speed("exact"), trained.at_speed("fast"))
        ]
        for name, texts in zip(("exact", "fast"), captions[1:]):
            same = sum(one.text == other.text for one, other in zip(captions[0], texts))
            apart = max(
                abs(one.per_token - other.per_token)
                for one, other in zip(captions[0], texts)
                if one.text == other.text
            )
            print(f"{way.way:8s}{name:7s}{same} of {len(images)} captions the same; their log-probability a token differs "
                  f"by at most {apart:.1e}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", default="1,8,16")
    parser.add_argument("--beams", default="1,3")
    parser.add_argument("--model")
    parser.add_argument("--set", type=Path)
    for name, value in dict(rounds=3, threads=2, length=20, most=500).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    prepare(args.threads)
    if args.model:
        agreement(args.model, args.set, args.most)
        return
    counts, widths = (
        [int(number) for number in listing.split(",")] for listing in (args.batches, args.beams)
    )
    speed(counts, widths, args.rounds, args.length)


if __name__ == "__main__":
    main()
