"""The model `ridge` on photos that it has not seen: retrieval with one caption a query, and a contact sheet of five queries.

    python experiments/benchmarks/bench_retrieval.py ../shared/data/coco-sample --image-tower efficientnet-lite0 \\
        --text-tower all-minilm-l6-v2 --sheets sheets
    python experiments/benchmarks/bench_retrieval.py ../shared/data/coco-sample     # hand-made features and words

The set is a folder with Karpathy's dataset.json. The model is trained on the photos of its splits train and val. For each seed every photo of test has one of its captions, drawn by the seed: each caption is
ranked among all of them for each photo, and each photo for each caption. Intervals are bootstraps over the photos.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import pairloom
from pairloom.search.index import Index
from pairloom.search.sheet import write_sheet

QUERIES = (
    "a man riding a wave on a surfboard",
    "a cat on a laptop",
    "a plate of food with broccoli",
    "a train at a station",
    "a baseball player swinging a bat",
)


def write_photos(out: Path, images: Path, entries: Sequence[Mapping[str, Any]], seed: int | None) -> Path:
    """A folder of photos with all of their captions, or with the one that the seed draws."""
    out.mkdir()
    draw = np.random.default_rng(seed)
    for entry in entries:
        captions = [sentence["raw"] for sentence in entry["sentences"]]
        if seed is not None:
            captions = [captions[draw.integers(len(captions))]]
        shutil.copyfile(images / entry["filename"], out / entry["filename"])
        (out / entry["filename"]).with_suffix(".txt").write_text("\n".join(captions))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path)
    parser.add_argument("--image-tower", default="none")
    parser.add_argument("--text-tower", default="none")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sheets", type=Path, help="a new folder for contact sheets over the photos of test")
    args = parser.parse_args()
    entries = json.loads((args.set / "dataset.json").read_text())["images"]
    learnt = [entry for entry in entries if entry["split"] != "test"]
    test = [entry for entry in entries if entry["split"] == "test"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        raw = write_photos(root / "raw", args.set / "images", learnt, None)
        begun, spent = time.perf_counter(), time.process_time()
        model = pairloom.train(
            "ridge",
            raw,
            root / "model",
            image_tower=args.image_tower,
            text_tower=args.text_tower,
            device="cpu",
        )
        took = f"{time.perf_counter() - begun:.0f} s, {time.process_time() - spent:.0f} s of processors"
        print(f"{len(learnt):,} photos, {took}; cross-validated: {model.about['metrics']}")
        means: dict[str, list[float]] = {}
        for seed in range(args.seeds):
            shown = write_photos(root / f"test-{seed}", args.set / "images", test, seed)
            for direction, metrics in model.retrieve(shown).metrics.items():
                values = {name: metrics[name] for name in ("R@1", "R@5", "R@10")}
                print(f"seed {seed}  {direction}: ", *(f"{name} {value}" for name, value in values.items()))
                for name, value in values.items():
                    means.setdefault(f"{direction} {name}", []).append(value.value)
        print("mean:", *(f"{name} {np.mean(values):.3f};" for name, values in means.items()))
        if args.sheets:
            args.sheets.mkdir()
            pairloom.open(shown).index(root / "album", root / "model", device="cpu")
            with Index(root / "album") as album:
                for number, query in enumerate(QUERIES):
                    answer = album.search(query, top=8)
                    write_sheet(args.sheets / f"{number}.html", answer, album.bytes_of)
                    print(f"{query}:", *(f"[{one.texts[0]}]" for one in answer.results[:4]))


if __name__ == "__main__":
    main()
