"""Decoding with CoCa and Flamingo with and without key-value caches, and Flamingo's language model against transformers'.

    python experiments/benchmarks/bench_decode_writers.py --tokens 32 64 --rounds 3

Greedy texts of exactly that many tokens (64: the longest that CoCa writes). "uncached": all logits are computed again after
every token, with the pictures encoded once. "transformers": `generate` of the same GPT-2 weights on the same prompt without
pictures, against our decoding of the same model. Both sides of a ratio run in turn in one process; printed are medians over
the rounds and the ratio. The weights are random: the work is the same, and both sides must write the same tokens.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import torch

from pairloom.blocks.attention import KeyValue
from pairloom.blocks.library_language import LibraryModel
from pairloom.data.batch import Batch
from pairloom.systems import coca, flamingo
from pairloom.tasks.decode import Writing, decode

GPT2 = {
    "model_type": "gpt2",
    "n_embd": 256,
    "n_layer": 6,
    "n_head": 8,
    "vocab_size": 2000,
    "n_positions": 256,
}
SMALL_VIT = replace(flamingo.TINY.vision, image_size=64, image_width=128, image_depth=2, image_heads=4)


def writers() -> dict[str, Any]:
    """Writers of medium size: 6 layers or 3 + 3, width 256."""
    words = dict(vocabulary=2000, length=128)
    systems = {
        "coca": coca.System(
            replace(
                coca.TINY, image_size=64, queries=32, width=256, unimodal=3, multimodal=3, heads=8, pool_heads=8, **words
            )
        ),
        "flamingo": flamingo.System(
            replace(
                flamingo.TINY, vision=SMALL_VIT, width=256, depth=6, heads=8, positions=256, latents=32, resampler_width=128,
                resampler_inside=128, gate_heads=8, gate_inside=256, image_mark=1998, chunk_end=1999, **words,
            )
        ),
    }  # fmt: skip
    return {name: system.eval() for name, system in systems.items()}


@torch.no_grad()
def uncached(system: Any, images: torch.Tensor, count: int) -> list[tuple[int, ...]]:
    """Greedy decoding without a cache: every token costs a pass over the whole text."""
    batch = system.encode_image(Batch(images=images))
    tokens = torch.full((len(images), 1), system.config.cls)
    while tokens.shape[1] <= count:
        scores = system.logits(replace(batch, texts=replace(batch.texts, ids=tokens)))[:, -1]
        scores[:, system.last_token] = -1e9
        tokens = torch.cat([tokens, scores.argmax(1, keepdim=True)], 1)
    return [tuple(row[1:].tolist()) for row in tokens]


def cached(system: Any, images: torch.Tensor, count: int) -> list[tuple[int, ...]]:
    writing = Writing("greedy", max_length=count + 1, min_length=count + 1)
    return [texts[0].tokens for texts in decode(system, Batch(images=images), writing)]


def beside(one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """Time two functions in turn, after a warm-up. Their results must be equal."""
    assert one() == other(), "both sides write the same"
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, spent in zip((one, other), times):
            begun = time.process_time()
            call()
            spent.append(time.process_time() - begun)
    slow, fast = map(statistics.median, times)
    return {"seconds": [round(slow, 3), round(fast, 3)], "ratio": round(slow / fast, 2)}


@dataclass
class Past:
    """Decoding state of a language model alone: its key-value cache."""

    rows: int
    layers: list[KeyValue] | None = None

    def __len__(self) -> int:
        return self.rows

    def expand(self, times: int) -> Past:
        return self.select(torch.arange(self.rows).repeat_interleave(times))

    def select(self, rows: torch.Tensor) -> Past:
        return Past(len(rows), None if self.layers is None else [layer.select(rows) for layer in self.layers])


@dataclass
class Alone:
    """transformers' model as a writer: a Flamingo's frozen language model without its bridge."""

    model: LibraryModel
    first_token: int = 2
    last_token: int = 3

    def start(self, batch: Batch) -> Past:
        assert batch.image_of is not None
        return Past(len(batch.image_of))

    def read(self, state: Past, tokens: torch.Tensor) -> tuple[torch.Tensor, Past]:
        logits, _, layers = self.model.read(self.model.embed(tokens), state.layers)
        return logits[:, -1], Past(state.rows, layers)

    def step(self, state: Past, tokens: torch.Tensor) -> tuple[torch.Tensor, Past]:
        return self.read(state, tokens[:, None])

    def logits(self, batch: Batch) -> torch.Tensor:
        assert batch.texts is not None
        return self.model.read(self.model.embed(batch.texts.ids))[0]


def library(rows: int, count: int, rounds: int) -> dict[str, Any]:
    """Time transformers' generate against our decoding of the same model, after a prompt of 8 tokens."""
    writer = Alone(LibraryModel(json.dumps(GPT2)).eval())
    theirs, prompt = writer.model.model, torch.randint(5, 1900, (rows, 8))

    def generate() -> list[tuple[int, ...]]:
        with torch.no_grad():
            generated = theirs.generate(
                input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=count, min_new_tokens=count,
                do_sample=False, eos_token_id=writer.last_token, pad_token_id=0,
            )  # fmt: skip
        return [tuple(row[8:].tolist()) for row in generated]

    def ours() -> list[tuple[int, ...]]:
        writing = Writing("greedy", max_length=count + 8, min_length=count + 8)
        groups = decode(writer, Batch(image_of=torch.arange(rows)), writing, prompt)
        return [texts[0].tokens for texts in groups]

    return beside(generate, ours, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=(32, 64))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name, system in writers().items():
        size = system.config.image_size
        for rows, count in product((1, 32), args.tokens):
            images = torch.randn(rows, 1, 3, size, size)
            row = beside(*(partial(way, system, images, count) for way in (uncached, cached)), args.rounds)
            print(f"{name}, batch {rows}, {count} tokens: uncached / cached {row}", flush=True)
    for rows, count in product((1, 32), args.tokens):
        row = library(rows, count, args.rounds)
        print(f"GPT-2, batch {rows}, {count} tokens: transformers' generate / ours {row}", flush=True)


if __name__ == "__main__":
    main()
