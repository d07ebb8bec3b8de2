"""Encoding pictures: CLIP ViT-B/32 at 224 px and BLIP ViT-B/16 at 224 and 384 px, against transformers' classes.

    python experiments/benchmarks/bench_encode.py --batches 1,8 --threads 2

The weights are random and the same on both sides. Compared with transformers eager, its sdpa where the class has it (CLIP),
and eager under bf16 autocast. With --threads 1 times are CPU seconds. Printed are what runs each engine, times, ratios, and the least cosine of an embedding with the first one's in fp32.
(open_clip needs torchvision, which breaks beside a CPU torch of another build; its image tower has the same arithmetic.)
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from published import pair
from rounds import autocast, prepare, timed
from torch import Tensor

from pairloom.checkpoints.layout import take
from pairloom.data.batch import Batch
from pairloom.runtime.engine import engine
from pairloom.runtime.speeds import SPEEDS
from pairloom.systems import clip
from pairloom.weights.transformers_clip import places


def clips() -> tuple[dict[str, Any], Any]:
    """transformers' CLIP with eager attention and with sdpa, and ours with the same weights."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    eager, sdpa = (
        CLIPModel._from_config(CLIPConfig(), attn_implementation=kind).eval() for kind in ("eager", "sdpa")
    )
    sdpa.load_state_dict(eager.state_dict())
    ours = clip.System(clip.Config()).eval()
    take(eager.state_dict(), places(ours), ours.state_dict()).into(ours)
    return {"transformers eager": eager, "transformers sdpa": sdpa}, ours


def of_clip(model: Any, images: Tensor) -> Tensor:
    return model.visual_projection(model.vision_model(images).pooler_output)


def of_blip(model: Any, images: Tensor) -> Tensor:
    return model.vision_proj(model.vision_model(images).last_hidden_state[:, 0])


def look(system: Any, images: Tensor) -> Tensor:
    return system.embed_image(Batch(images=images[:, None]))


def race(
    title: str,
    rivals: dict[str, Any],
    encode: Any,
    plain: Any,
    size: int,
    counts: list[int],
    rounds: int,
    seconds: int,
) -> None:
    """Time both sides on the same pictures, and print the least cosine of an embedding with the first rival's."""
    engines: dict[str, Any] = {speed: engine(plain, speed) for speed in SPEEDS}
    print(f"{title}: {', '.join(next(iter(one.implementation.values())) for one in engines.values())}")
    systems = {"unchanged": plain, **engines}
    for count in counts:
        print(f"{title}, {size} px, {count} at a time")
        images = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
        ways: dict[str, Any] = {name: partial(encode, model, images) for name, model in rivals.items()}
        ways["transformers, autocast"] = autocast(next(iter(ways.values())))
        ways |= {f"pairloom {name}": partial(look, system, images) for name, system in systems.items()}
        first, *others = timed(ways, count, rounds, seconds).items()
        for name, rows in others:
            least = F.cosine_similarity(rows.float(), first[1], dim=1).min()
            print(f"  {name:34s} least cosine {float(least):.6f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--only", default="clip,224,384", help="the towers to measure")
    for name, value in dict(rounds=7, threads=2, seconds=60).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    prepare(args.threads)
    counts = [int(number) for number in args.batches.split(",")]
    if "clip" in args.only:
        rivals, ours = clips()
        race("CLIP ViT-B/32", rivals, of_clip, ours, 224, counts, args.rounds, args.seconds)
    for size in [size for size in (224, 384) if str(size) in args.only]:
        model, plain = pair("retrieval", size)
        race(
            "BLIP ViT-B/16",
            {"transformers eager": model},
            of_blip,
            plain,
            size,
            counts,
            args.rounds,
            args.seconds,
        )


if __name__ == "__main__":
    main()
