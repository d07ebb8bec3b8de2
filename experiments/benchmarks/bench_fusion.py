"""What a fusion encoder costs beside the others at equal size: a training step, a pass of inference, memory, and 64 texts a picture.

    python experiments/benchmarks/bench_fusion.py                          # all families; a table in Markdown
    python experiments/benchmarks/bench_fusion.py lxmert vilbert --repeat 20

Each family has the depths of its paper in proportion, four heads, and the width whose parameters are nearest to --parameters. All read one
batch of --batch pairs: 16 tokens, 36 regions of 256 features or a picture of 64 px in 64 patches, or 36 visual words. Times are
processor seconds of one thread, the least of --repeat, in a process of each family's own; memory is what its resident set grew by from
before the model to after its training steps. The reference is BLIP at its TINY size with the same batch.

Cross-scoring: 64 texts for each of 4 pictures, through `tasks/judge.py`, which computes once what does not depend on the other side,
against a loop over the pictures that repeats a picture for each of its texts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch

from pairloom import registry, verbs
from pairloom.data.batch import Batch
from pairloom.data.random_batch import random_pairs, random_regions, random_texts
from pairloom.data.records import Codes, Questions
from pairloom.tasks.judge import WAYS, judge

TEXTS, PICTURES = 64, 4
SHARED = dict(vocabulary=1000, length=24, positions=80, heads=4)
REGIONS = dict(features=256, classes=50)
PIXELS = dict(image_size=64, patch=8)
SIZES: dict[str, dict[str, Any]] = {
    "vilbert": dict(REGIONS, depth=4, visual_depth=2, visual_heads=4, exchanges=2, shared_heads=4),
    "lxmert": dict(REGIONS, attributes=0, depth=3, region_depth=2, cross_depth=2),
    "vl_bert": dict(REGIONS, depth=4, coordinates=256),
    "uniter": dict(REGIONS, depth=4, together=False, mix=(2.0, 2.0, 1.0, 0.0, 1.0)),
    "pixel_bert": dict(PIXELS, depth=4, sampled=0),
    "vlp": dict(REGIONS, depth=4, most=36),
    "videobert": dict(depth=4, codes=500, most=36, subsample=0),
    "interbert": dict(REGIONS, depth=2, stream_depth=2, image_heads=4),
    "beit3": dict(PIXELS, depth=4, codes=500),
    "albef": dict(PIXELS, depth=2, fusion_depth=2, image_depth=4, image_heads=4, queue=512, momentum=0.995),
    "simvlm": dict(PIXELS, depth=2, decoder_depth=2),
    "vl_t5": dict(features=256, regions=36, depth=2, sentinels=10),
    "lemon": dict(features=256, depth=4),
    "blip": dict(PIXELS, depth=4, image_depth=4, image_heads=4, queue=512, dec=998, enc=999),
}  # fmt: skip
WIDE = (
    "width",
    "visual_width",
    "shared_width",
    "image_width",
    "pooled",
    "embedding",
    "inside",
)  # follow the width
REFERENCE = "blip tiny"


def config_of(name: str, parameters: int) -> Any:
    """The config whose width gives the number of parameters nearest to the one that is wanted."""
    module = registry.find("systems", name.split()[0])
    if name == REFERENCE:
        return replace(module.TINY, **{**SHARED, **PIXELS, "heads": 2, "dec": 998, "enc": 999})
    known = {entry.name for entry in fields(module.Config)}
    sizes = {key: value for key, value in {**SHARED, **SIZES[name]}.items() if key in known}

    def at(width: int) -> Any:
        own = {key: width for key in WIDE if key in known}
        own |= {"hidden": 4 * width} if "hidden" in known else {}
        return replace(module.TINY, **sizes, **own)

    def count(width: int) -> int:
        with torch.device("meta"):
            system = module.System(at(width))
        state = tuple(getattr(system, "training_state", ()))
        return sum(
            value.numel() for key, value in system.named_parameters() if not key.startswith(state or ("?",))
        )

    return at(min(range(32, 321, 16), key=lambda width: abs(count(width) - parameters)))


def batch_of(name: str, config: Any, rows: int) -> Batch:
    """One batch of pairs in the feed of a system, with what its training reads beside."""
    generator = torch.Generator().manual_seed(0)
    every = [row % 6 for row in range(rows)]
    texts = random_texts(config, generator, 16)[every]
    codes = Codes(torch.randint(400, (rows, 36), generator=generator), torch.ones(rows, 36, dtype=torch.bool))
    shown: dict[str, Any] = {"codes": codes}
    if "features" in SIZES.get(name, {}):
        regions = random_regions(config, generator, 36, classes=SIZES[name].get("classes", 0)).required(
            "regions"
        )
        shown = {"regions": regions[every]}
    elif name != "videobert":
        shown = {"images": random_pairs(config, generator).required("images")[every]}
        if name == "beit3":
            shown["codes"] = Codes(
                torch.randint(400, (rows, 64), generator=generator), torch.ones(rows, 64).bool()
            )
    if name == "lemon":
        shown["caption"] = random_texts(config, generator, 8)[every]
    if name == "vl_bert":
        shown["labels"] = torch.arange(rows) % config.answers
    if name == "simvlm":
        shown["question"] = Questions(random_texts(config, generator)[every])
    return Batch(texts=texts, image_ids=torch.arange(rows), **shown)


def least(function: Callable[[], Any], repeat: int) -> float:
    """Milliseconds of the processor, the least of some."""
    spent = []
    for _ in range(repeat):
        begun = time.process_time()
        function()
        spent.append(1000 * (time.process_time() - begun))
    return min(spent)


def cross_scoring(system: Any, batch: Batch, repeat: int) -> dict[str, float]:
    """Milliseconds of 64 texts for each of 4 pictures, by the naive loop and with what can be computed once."""
    way = next(iter(verbs.ways(system)), "")
    if not way:
        return {}
    names = [name for name in ("images", "regions", "codes", "caption") if getattr(batch, name) is not None]
    shown = {name: getattr(batch, name)[:PICTURES] for name in names}
    texts = batch.required("texts")[[row % len(batch) for row in range(TEXTS)]]
    ids = texts.ids.clone()
    ids[:, 1] = 10 + torch.arange(TEXTS)  # every text another
    texts = replace(texts, ids=ids)
    scores: dict[str, Any] = {}

    def naive() -> None:
        rows = []
        for at in range(PICTURES):
            one = Batch(**{name: value[[at] * TEXTS] for name, value in shown.items()}, texts=texts)
            rows.append(WAYS[way](system, replace(one, image_of=torch.arange(TEXTS))))
        scores["naive"] = torch.cat(rows)

    def cached() -> None:
        owner = torch.arange(PICTURES).repeat_interleave(TEXTS)
        whole = Batch(**shown, texts=texts[[*range(TEXTS)] * PICTURES], image_of=owner)
        scores["cached"] = judge(system, whole, way, rows=TEXTS)[0]

    with torch.no_grad():
        times = {"naive": least(naive, repeat), "cached": least(cached, repeat)}
    torch.testing.assert_close(scores["cached"], scores["naive"], atol=1e-4, rtol=1e-4)
    return times


def measure(name: str, parameters: int, rows: int, repeat: int) -> dict[str, Any]:
    """The numbers of one family, in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    own = name.split()[0]
    config = config_of(name, parameters)
    batch = batch_of(own, config, rows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    system = registry.find("systems", own).System(config)
    optimiser = torch.optim.AdamW(system.parameters(), 1e-4)
    if isinstance(system, verbs.Remembers):
        system.begin(verbs.Progress(0, 0.0, 1000))

    def step() -> None:
        optimiser.zero_grad()
        torch.stack(list(system.losses(batch).values())).sum().backward()
        optimiser.step()

    def infer() -> None:
        bare = replace(batch, image_of=torch.arange(rows))
        way = next(iter(verbs.ways(system)), "")
        WAYS[way](system, bare) if way else system.answer_logits(bare)

    train = least(step, repeat)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    system.eval()
    with torch.no_grad():
        inference = least(infer, repeat)
    size = sum(value.numel() for value in system.parameters() if value.requires_grad)
    own_times = cross_scoring(system, batch, max(2, repeat // 3))
    return {
        "name": name,
        "parameters": size,
        "step": train,
        "inference": inference,
        "memory": memory,
        **own_times,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The numbers as a table in Markdown, each beside the reference."""
    base = next(row for row in rows if row["name"] == REFERENCE)
    lines = [
        "| system | parameters | step ms | x | inference ms | x | memory MB | 64 texts x 4: naive ms | cached ms | naive / cached |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["name"], f"{row['parameters'] / 1e6:.2f} M"]
        for key in ("step", "inference"):
            cells += [f"{row[key]:.0f}", f"{row[key] / base[key]:.1f}"]
        cells.append(f"{row['memory']:.0f}")
        cells += (
            [f"{row['naive']:.0f}", f"{row['cached']:.0f}", f"{row['naive'] / row['cached']:.2f}"]
            if "naive" in row
            else ["-"] * 3
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("families", nargs="*", help=", ".join(SIZES))
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--one", action="store_true", help="one family in this process, as JSON")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.families[0], args.parameters, args.batch, args.repeat)))
        return
    rows = []
    for name in [REFERENCE, *(args.families or SIZES)]:
        sizes = ("--parameters", args.parameters, "--batch", args.batch, "--repeat", args.repeat)
        command = [sys.executable, __file__, "--one", name, *map(str, sizes)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr[-2000:]}")
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(rows[-1]), flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
