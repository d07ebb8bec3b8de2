"""Captions of photos on a frozen image tower: three writers, beside consensus captions of the nearest neighbours on the same tower.

    python experiments/benchmarks/bench_captions.py ../shared/data/coco-sample --image-tower efficientnet-lite0 \\
        --seeds 0 1 2 --sheet captions.html
    python experiments/benchmarks/bench_captions.py ../shared/data/coco-sample --systems scratch     # without a tower

The set is a folder with Karpathy's dataset.json. Everything learns from the photos of its splits train and val; the photos of
test are captioned by beam search with 3 beams. Printed: CIDEr-D with the test set's own document frequencies, its interval over
photos and seeds, the difference from the neighbours, and processor seconds.

Consensus captions (Devlin et al., 2015, arXiv 1505.04467): of all captions of the nearest photos the one with the largest mean
similarity to the others; here cosine of pooled features, and of tf-idf weighted 1- to 4-grams.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_retrieval import write_photos
from PIL import Image

import pairloom
from pairloom.metrics.captions import evaluate
from pairloom.metrics.compare import bootstrap, difference
from pairloom.metrics.words import words
from pairloom.towers import load_image_tower

NEIGHBOURS = 50
COMMON = "lr=1e-3 min_lr=0.0 batch=32 steps=2000 warmup=0.1 betas=0.9,0.98 ema=0.99 weight_decay=0.05".split()
WRITERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "blip": ("blip", "tower-caption", ()),
    "coca": (
        "coca",
        "tiny",
        tuple(
            f"model.{setting}"
            for setting in "image_width=256 image_depth=0 width=192 unimodal=1 multimodal=2 heads=4 queries=32 pool_heads=4 "
            "length=32 itc=0.0".split()
        ),
    ),
    "soft attention": (
        "show_attend_tell",
        "tiny",
        tuple(
            f"model.{setting}"
            for setting in "image_width=256 grid=7 word=256 width=512 layers=1 dropout=0.5 length=32".split()
        ),
    ),
    "scratch": (
        "blip",
        "tiny",
        tuple(
            f"model.{setting}"
            for setting in "image_size=64 patch=8 stem=residual image_width=128 image_depth=0 width=128 depth=2 heads=4 "
            "length=32 positions=40 dropout=0.1 queue=0 momentum=0 itm=0.0".split()
        ),
    ),
}


def ngrams(text: str) -> Counter[tuple[str, ...]]:
    parts = words(text)
    return Counter(tuple(parts[at : at + n]) for n in range(1, 5) for at in range(len(parts) - n + 1))


def neighbours(tower: str, images: Path, learnt: Sequence[Any], test: Sequence[Any]) -> list[str]:
    """Consensus captions of the test photos."""
    network = load_image_tower(tower)

    def pooled(entries: Sequence[Any]) -> np.ndarray:
        rows = [
            network.pooled(network.prepare(Image.open(images / entry["filename"]))[None])[0]
            for entry in entries
        ]
        return np.stack(rows)

    known, queries = pooled(learnt), pooled(test)
    mean = known.mean(0)
    known, queries = (
        (rows - mean) / np.linalg.norm(rows - mean, axis=1, keepdims=True) for rows in (known, queries)
    )
    texts = [[sentence["raw"] for sentence in entry["sentences"]] for entry in learnt]
    frequency = Counter(
        gram for each in texts for gram in set().union(*(ngrams(text).keys() for text in each))
    )
    written = []
    for row in queries @ known.T:
        pool = [text for at in np.argsort(-row)[:NEIGHBOURS] for text in texts[at]]
        counts = [ngrams(text) for text in pool]
        place: dict[tuple[str, ...], int] = {}
        for each in counts:
            for gram in each:
                place.setdefault(gram, len(place))
        table = np.zeros((len(pool), len(place)))
        for at, each in enumerate(counts):
            for gram, count in each.items():
                table[at, place[gram]] = count * math.log(len(texts) / frequency[gram])
        table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)
        written.append(pool[int((table @ table.sum(0) - 1).argmax())])
    return written


def cider(written: Sequence[str], test: Sequence[Any]) -> np.ndarray:
    """CIDEr-D of each test photo's caption."""
    references = {
        str(at): [sentence["raw"] for sentence in entry["sentences"]] for at, entry in enumerate(test)
    }
    captions = {str(at): text or "nothing" for at, text in enumerate(written)}
    return np.asarray(evaluate(captions, references, with_java=False).scores["CIDEr-D"].each)


def sheet(
    file: Path, images: Path, test: Sequence[Any], columns: Mapping[str, Sequence[str]], count: int = 24
) -> None:
    """A page with photos of test, the captions of each writer, and one of people's."""
    import base64
    import html
    import io

    rows = []
    for at in np.random.default_rng(0).permutation(len(test))[:count]:
        stream = io.BytesIO()
        picture = Image.open(images / test[at]["filename"]).convert("RGB")
        picture.thumbnail((240, 240))
        picture.save(stream, "JPEG")
        data = base64.b64encode(stream.getvalue()).decode()
        lines = "".join(
            f"<p><b>{name}</b> {html.escape(texts[at])}</p>"
            for name, texts in {
                **columns,
                "people": [entry["sentences"][0]["raw"] for entry in test],
            }.items()
        )
        rows.append(
            f'<figure><img src="data:image/jpeg;base64,{data}"><figcaption>{lines}</figcaption></figure>'
        )
    style = "body{font:14px sans-serif;display:grid;grid-template-columns:repeat(4,1fr);gap:12px}figure{margin:0}p{margin:2px 0}img{width:100%;height:180px;object-fit:cover}"
    file.write_text(
        f"<!doctype html><meta charset=utf-8><title>captions</title><style>{style}</style>{''.join(rows)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path)
    parser.add_argument("--image-tower", default="efficientnet-lite0")
    parser.add_argument("--systems", nargs="*", default=["blip"], choices=WRITERS)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--set", dest="settings", nargs="*", default=[], help="further settings of training")
    parser.add_argument("--split", default="test", help="the photos that are captioned")
    parser.add_argument("--sheet", type=Path, help="a page with photos and captions")
    args = parser.parse_args()
    entries = json.loads((args.set / "dataset.json").read_text())["images"]
    test = [entry for entry in entries if entry["split"] == args.split]
    learnt = [entry for entry in entries if entry["split"] not in ("test", args.split)]
    images, shown = args.set / "images", dict[str, Sequence[str]]()
    begun = time.process_time()
    shown["neighbours"] = neighbours(args.image_tower, images, learnt, test)
    rival = cider(shown["neighbours"], test)
    print(f"neighbours: CIDEr-D {rival.mean():.3f}, {time.process_time() - begun:.0f} CPU s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        raw = write_photos(Path(folder) / "raw", images, learnt, None)
        for name in args.systems:
            system, preset, settings = WRITERS[name]
            scores = []
            for seed in args.seeds:
                begun = time.process_time()
                model = pairloom.train(
                    system, raw, Path(folder) / f"{name}-{seed}", preset=preset, held_out=0.0, device="cpu",
                    image_tower="none" if name == "scratch" else args.image_tower, seed=seed,
                    settings=(*COMMON, *settings, *args.settings), vocabulary=2000,
                )  # fmt: skip
                trained, begun = time.process_time() - begun, time.process_time()
                texts = []
                for at in range(0, len(test), 64):
                    paths = [images / entry["filename"] for entry in test[at : at + 64]]
                    texts += [one.text for one in model.caption(paths, beams=3, max_length=24, min_length=5)]
                shown.setdefault(name, texts)
                scores.append(cider(texts, test))
                print(
                    f"{name}, seed {seed}: CIDEr-D {scores[-1].mean():.3f}, training {trained:.0f} CPU s, "
                    f"writing {time.process_time() - begun:.0f} CPU s",
                    flush=True,
                )
            table = np.stack(scores)
            own, gain = bootstrap(table), difference(table, np.stack([rival] * len(scores)))
            print(
                f"{name}: {table.mean():.3f} [{own.low:.3f}, {own.high:.3f}], above the neighbours by {gain.value:+.3f} "
                f"[{gain.low:+.3f}, {gain.high:+.3f}]",
                flush=True,
            )
    if args.sheet:
        sheet(args.sheet, images, test, shown)


if __name__ == "__main__":
    main()
