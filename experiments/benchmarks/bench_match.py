"""ITM re-ranking with BLIP base at 384 px, against two loops over transformers' BlipForImageTextRetrieval.

    python experiments/benchmarks/bench_match.py --pictures 16 --texts 64 --threads 2
    python experiments/benchmarks/bench_match.py --model MODEL --set PAIRS --pictures 100   # rankings of a trained match head

The weights are random and the same on all sides; texts have 8 to 18 tokens (13 on average, as COCO's). The loops:
  pairs    one forward pass for each pair, picture included (timed on 4 pairs, and multiplied);
  repeat   each picture is encoded once, its rows are repeated for its texts, and these are one batch, padded to the longest;
           also under bf16 autocast.
Printed are times, ratios, the largest difference of a logit, and Kendall's tau of the ranking of each picture's texts
between `repeat` in fp32 and each of the others (mean and least over pictures). With a trained model instead: the tau of the
exact and the fast engine with the model itself, over texts of a set, and whether each picture's best text is the same.
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
from pairloom.runtime.speeds import SPEEDS
from pairloom.tasks.judge import judge

ENC = 30523


def random_texts(texts: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random texts between [ENC] and [SEP], and their mask."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(8, 19, (texts,), generator=generator)
    tokens = torch.randint(1000, 30000, (texts, int(lengths.max())), generator=generator)
    mask = torch.arange(tokens.shape[1]) < lengths[:, None]
    tokens[:, 0] = ENC
    tokens[torch.arange(texts), lengths - 1] = 102
    return tokens.masked_fill(~mask, 0), mask


def repeat(theirs: Any, images: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Log-odds [pictures texts] by the loop "repeat": each picture is encoded once, and repeated for its texts."""
    rows = []
    for at in range(len(images)):
        seen = theirs.vision_model(images[at : at + 1]).last_hidden_state
        seen = seen.repeat(len(tokens), 1, 1)
        hidden = theirs.text_encoder(
            input_ids=tokens, attention_mask=mask.long(), encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long), return_dict=True,
        ).last_hidden_state  # fmt: skip
        logits = theirs.itm_head(hidden[:, 0]).float()
        rows.append(logits[:, 1] - logits[:, 0])
    return torch.stack(rows)


def ours(system: Any, images: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Log-odds [pictures texts] by pairloom's `judge`."""
    count = len(images)
    batch = Batch(
        images=images[:, None], texts=Texts(tokens.repeat(count, 1), mask.repeat(count, 1)),
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
    """Agreement of a trained match head's engines: rankings of the texts of `where` for its pictures, by the model and by its
    engines."""
    trained, images, words = pairloom.load(model).eval(), [], {}
    for one in open_set(where).pairs():
        if not one.problem and one.texts and len(images) < pictures:
            images.append(open_image(one.image.read()))
        if not one.problem and one.texts and len(words) < texts:
            words[one.texts[0].text] = None
    pixels, (tokens, mask) = trained.pictures(images), trained.batch(texts=list(words)).text()
    expected = ours(trained.system, pixels, tokens, mask)
    print(
        f"{len(images)} pictures x {len(words)} texts; spread of a picture's log-odds {float(expected.std(1).mean()):.2f}"
    )
    for speed in SPEEDS:
        scores = ours(trained.at_speed(speed).system, pixels, tokens, mask)
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
    tokens, mask = random_texts(args.texts)
    exact, fast, int8 = (engine(plain, speed) for speed in SPEEDS)
    start = time.perf_counter()
    for at in range(4):
        one = slice(at, at + 1)
        theirs(
            input_ids=tokens[one], pixel_values=images[:1], attention_mask=mask[one].long(), use_itm_head=True
        )
    pairs = (time.perf_counter() - start) / 4 * args.pictures * args.texts
    inputs = (images, tokens, mask)
    print(f"{args.pictures} pictures x {args.texts} texts, {args.size} px, {args.threads} threads; "
          f"the loop over pairs would take {pairs:.0f} s")  # fmt: skip
    outputs = timed(
        {
            "repeat": lambda: repeat(theirs, *inputs),
            "repeat, autocast": autocast(lambda: repeat(theirs, *inputs)),
            "pairloom, unchanged": lambda: ours(plain, *inputs),
            "pairloom exact": lambda: ours(exact, *inputs),
            "pairloom fast": lambda: ours(fast, *inputs),
            "pairloom int8": lambda: ours(int8, *inputs),
        },
        args.pictures * args.texts,
        args.rounds,
    )
    expected = outputs["repeat"]
    print(f"  spread of a picture's log-odds {float(expected.std(1).mean()):.4f}")
    for name, scores in outputs.items():
        agree = tau(expected, scores)
        print(f"  {name:34s} logit error {float((scores - expected).abs().max()):.1e}  tau {float(agree.mean()):.4f} "
              f"(least {float(agree.min()):.4f})")  # fmt: skip


if __name__ == "__main__":
    main()
