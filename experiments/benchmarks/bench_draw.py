"""Drawing of codes from a cache, beside a loop without one and beside transformers' GPT-2 of equal size.

    python experiments/benchmarks/bench_draw.py --width 256 --depth 8

Random weights, 256 slots of a text and 32 x 32 codes as in the DALL-E paper. All sides in one run, by turns. The loop without a cache is
timed at a sample of its positions, whose mean is that of all. Printed: processor seconds of one picture, ratios, bytes of the caches
and the process's peak memory for one and for 16 candidates of a text.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace

import torch

from pairloom.systems import dalle

WORDS, SAMPLE = 16, 8  # words of the text; positions of the loop without a cache that are timed


def system(args: argparse.Namespace, masks: str) -> dalle.System:
    torch.manual_seed(0)
    config = replace(
        dalle.PRESETS["base"],
        width=args.width,
        depth=args.depth,
        heads=args.heads,
        code_width=16,
        masks=masks,
    )
    built = dalle.System(config).eval()
    built.decode_codes = lambda codes: codes  # type: ignore[method-assign]  # the transformer alone is timed
    return built


def batch(rows: int) -> dalle.Batch:
    from pairloom.data.batch import Texts

    ids = torch.randint(5, 16000, (1, WORDS), generator=torch.Generator().manual_seed(1)).expand(rows, -1)
    return dalle.Batch(texts=Texts(ids, torch.ones_like(ids, dtype=torch.bool)))


@torch.no_grad()
def cached(one: dalle.System, rows: int) -> float:
    used = time.process_time()
    one.draw(batch(rows), seeds=range(rows))
    return time.process_time() - used


@torch.no_grad()
def uncached(one: dalle.System) -> float:
    """Of a whole picture, from the mean of some positions: at each, text and codes so far are read again."""
    ids, mask = batch(1).text()
    total = 0.0
    for at in range(0, one.code_length, one.code_length // SAMPLE):
        used = time.process_time()
        x = torch.cat(
            [one.writer.embed_text(ids, mask), one.writer.embed_codes(torch.zeros(1, at, dtype=torch.long))],
            1,
        )
        for layer, window in zip(one.writer.stack.layers, one.writer.windows):
            seen = dalle.sequence_mask(window, one.writer.length)[: x.shape[1], : x.shape[1]]
            x = layer(x, seen[None, None])
        one.writer.to_code(one.writer.norm(x[:, -1]))
        total += time.process_time() - used
    return total / SAMPLE * one.code_length


@torch.no_grad()
def gpt2(args: argparse.Namespace, rows: int) -> float:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    sizes = dict(n_embd=args.width, n_layer=args.depth, n_head=args.heads, n_positions=1280, vocab_size=8192)
    model = GPT2LMHeadModel(GPT2Config(**sizes)).eval()
    ids = torch.randint(5, 8000, (rows, 256))
    used = time.process_time()
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=1024,
        min_new_tokens=1024,
        do_sample=True,
        top_k=0,
        pad_token_id=0,
    )
    return time.process_time() - used


def cache_bytes(one: dalle.System, rows: int) -> int:
    ids, mask = batch(rows).text()
    with torch.no_grad():
        state = one._candidates(ids, mask)[1]
    parts = [part for layer in state.layers for part in (layer.text, layer.codes) if part is not None]
    return sum(each.keys.nbytes + each.values.nbytes for each in parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("width", 256), ("depth", 8), ("heads", 8), ("rounds", 3), ("peak", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    torch.set_num_threads(1)
    one = system(args, "sparse")
    if args.peak:
        cached(one, args.peak)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    dense = system(args, "dense")
    seconds: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        for name, used in (
            ("cached, sparse", lambda: cached(one, 1)), ("cached, dense", lambda: cached(dense, 1)),
            ("16 candidates, sparse", lambda: cached(one, 16)), ("uncached, sparse", lambda: uncached(one)),
            ("GPT-2 generate", lambda: gpt2(args, 1)), ("GPT-2 generate, 16", lambda: gpt2(args, 16)),
        ):  # fmt: skip
            seconds.setdefault(name, []).append(used())
    best = {name: min(each) for name, each in seconds.items()}
    for name, each in best.items():
        print(f"{name}: {each:.2f} CPU s")
    print(f"uncached / cached: {best['uncached, sparse'] / best['cached, sparse']:.1f}")
    print(
        f"GPT-2 / cached, sparse: {best['GPT-2 generate'] / best['cached, sparse']:.2f}; dense: {best['GPT-2 generate'] / best['cached, dense']:.2f}; 16 rows: {best['GPT-2 generate, 16'] / best['16 candidates, sparse']:.2f}"
    )
    print(json.dumps({"bytes of the caches": {rows: cache_bytes(one, rows) for rows in (1, 16)}}))
    command = [
        sys.executable,
        __file__,
        *(f"--{name}={getattr(args, name)}" for name in ("width", "depth", "heads")),
    ]
    peaks = {
        rows: float(
            subprocess.run([*command, f"--peak={rows}"], capture_output=True, text=True, check=True).stdout
        )
        for rows in (1, 16)
    }
    print(
        f"peak of the process: {peaks[1]:.0f} MB, 16 candidates {peaks[16]:.0f} MB, {peaks[16] / peaks[1]:.2f} times"
    )


if __name__ == "__main__":
    main()
