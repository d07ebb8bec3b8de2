"""ITM re-ranking with BLIP base at 384 px, against two loops over transformers' BlipForImageTextRetrieval.

    python experiments/benchmarks/bench_match.py --pictures 16 --texts 64 --threads 2
    python experiments/benchmarks/bench_match.py --model MODEL --set PAIRS --pictures 100   # rankings of a trained match head

Random weights, the same on all sides; texts of 8 to 18 tokens (13 in the mean, as COCO's). The loops:
  pairs    one forward a pair, picture and all (timed on 4 pairs, and multiplied);
  repeat   each picture encoded once, its rows repeated for its texts, these in one batch padded to the longest; also
           under one line of bf16 autocast.
Printed: times, ratios, the largest difference of a logit, and Kendall's tau of the ranking of each picture's texts
between `repeat` in fp32 and each of the others (mean and least over pictures). With a trained model instead: the tau of exact
and fast with the model itself, over texts of a set, and whether each picture's best text is the same.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from published import pair
from rounds import autocast, prepare, timed
from torch import Tensor

import pairloom
from pairloom.data.batch import Batch, Texts
from pairloom.data.pixels import open_image
from pairloom.data.shards import open_set
from pairloom.runtime.engine import engine
from pairloom.tasks.judge import judge

ENC = 30523


def asked(texts: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random texts between [ENC] and [SEP], and which of their tokens are real."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(8, 19, (texts,), generator=generator)
    tokens = torch.randint(1000, 30000, (texts, int(lengths.max())), generator=generator)
    keep = torch.arange(tokens.shape[1]) < lengths[:, None]
    tokens[:, 0] = ENC
    tokens[torch.arange(texts), lengths - 1] = 102
    return tokens.masked_fill(~keep, 0), keep


def repeat(theirs: Any, images: Tensor, tokens: Tensor, keep: Tensor) -> Tensor:
    """[pictures texts] log-odds: each picture encoded once, repeated for its texts."""
    found = []
    for at in range(len(images)):
        seen = theirs.vision_model(images[at : at + 1]).last_hidden_state
        seen = seen.repeat(len(tokens), 1, 1)
        said = theirs.text_encoder(
            input_ids=tokens, attention_mask=keep.long(), encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long), return_dict=True,
        ).last_hidden_state  # fmt: skip
        logits = theirs.itm_head(said[:, 0]).float()
        found.append(logits[:, 1] - logits[:, 0])
    return torch.stack(found)


def ours(system: Any, images: Tensor, tokens: Tensor, keep: Tensor) -> Tensor:
    """The same by `judge`, a picture at a time as its memory allows."""
    count = len(images)
    batch = Batch(
        images=images[:, None], texts=Texts(tokens.repeat(count, 1), keep.repeat(count, 1)),
        image_of=torch.arange(count).repeat_interleave(len(tokens)),
    )  # fmt: skip
    return judge(system, batch, "match")[0].view(count, -1)


def tau(one: Tensor, other: Tensor) -> Tensor:
    """Kendall's tau of each row's ranking (no ties in fp32)."""
    signs = [(rows[:, :, None] - rows[:, None, :]).sign() for rows in (one, other)]
    texts = one.shape[1]
    return (signs[0] * signs[1]).sum((1, 2)) / (texts * (texts - 1))


@torch.no_grad()
def agreement(model: str, where: Path, pictures: int, texts: int) -> None:
    """A trained match head: how the texts of `where` are ranked for its pictures, by the model and by its engines."""
    asked, images, words = pairloom.load(model).eval(), [], {}
    for found in open_set(where).pairs():
        if not found.problem and found.texts and len(images) < pictures:
            images.append(open_image(found.image.read()))
        if not found.problem and found.texts and len(words) < texts:
            words[found.texts[0].text] = None
    pixels, (tokens, keep) = asked.pictures(images), asked.batch(texts=list(words)).text()
    expected = ours(asked.system, pixels, tokens, keep)
    print(
        f"{len(images)} pictures x {len(words)} texts; spread of a picture's log-odds {float(expected.std(1).mean()):.2f}"
    )
    for speed in ("exact", "fast"):
        scores = ours(asked.at_speed(speed).system, pixels, tokens, keep)
        agree, same = tau(expected, scores), (expected.argmax(1) == scores.argmax(1)).float().mean()
        print(f"  {speed:6s} logit error {float((scores - expected).abs().max()):.1e}  tau {float(agree.mean()):.4f} "
              f"(least {float(agree.min()):.4f})  the same best text for {float(same):.1%}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in dict(pictures=16, texts=64, rounds=3, threads=2, size=384).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--model")
    parser.add_argument("--set", type=Path)
    args = parser.parse_args()
    prepare(args.threads)
    if args.model:
        agreement(args.model, args.set, args.pictures, args.texts)
        return
    theirs, plain = pair("retrieval", args.size)
    images = torch.randn(args.pictures, 3, args.size, args.size, generator=torch.Generator().manual_seed(1))
    tokens, keep = asked(args.texts)
    exact, fast = engine(plain, "exact"), engine(plain, "fast")
    start = time.perf_counter()
    for at in range(4):
        mask = keep[at : at + 1].long()
        theirs(input_ids=tokens[at : at + 1], pixel_values=images[:1], attention_mask=mask, use_itm_head=True)
    pairs = (time.perf_counter() - start) / 4 * args.pictures * args.texts
    given = (images, tokens, keep)
    print(f"{args.pictures} pictures x {args.texts} texts, {args.size} px, {args.threads} threads; "
          f"the loop over pairs would take {pairs:.0f} s")  # fmt: skip
    said = timed(
        {
            "repeat": lambda: repeat(theirs, *given),
            "repeat, autocast": autocast(lambda: repeat(theirs, *given)),
            "pairloom, unchanged": lambda: ours(plain, *given),
            "pairloom exact": lambda: ours(exact, *given),
            "pairloom fast": lambda: ours(fast, *given),
        },
        args.pictures * args.texts,
        args.rounds,
    )
    expected = said["repeat"]
    print(f"  spread of a picture's log-odds {float(expected.std(1).mean()):.4f}")
    for name, scores in said.items():
        agree = tau(expected, scores)
        print(f"  {name:34s} logit error {float((scores - expected).abs().max()):.1e}  tau {float(agree.mean()):.4f} "
              f"(least {float(agree.min()):.4f})")  # fmt: skip


if __name__ == "__main__":
    main()
