"""Readers of sets by the libraries that people train with: what `datasets`, `webdataset` or `pycocotools` sees, as JSON.

    python experiments/read_back_readers.py LIBRARY SETS.json     # {"name": {"kind": ..., "folder": ...}}

It runs in an environment that has the library and not pairloom: imports nothing but the library and Pillow.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any


def plain(value: Any) -> Any:
    """A value as JSON: pictures by size and pixels, bytes by their hash, the kind of everything that JSON does not tell apart."""
    if hasattr(value, "convert"):  # a PIL image
        return ["image", *value.size, hashlib.md5(value.convert("RGB").tobytes()).hexdigest()]
    if isinstance(value, bytes):
        return ["bytes", hashlib.md5(value).hexdigest()]
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if hasattr(value, "tolist") and not isinstance(value, str):
        return plain(value.tolist())
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return [type(value).__name__, str(value)]


def by_datasets(kind: str, folder: str) -> dict[str, Any]:
    """Features (in their order) and rows of every split, by `load_dataset`."""
    import datasets

    datasets.disable_progress_bars()
    files = {
        "parquet": "*.parquet", "csv": "*.csv", "tsv": "*.tsv", "json": "*.json*", "images": "*.json", "webdataset": "*.tar",
    }  # fmt: skip
    loader, more = kind, {}
    if kind == "tsv":
        loader, more = "csv", {"sep": "\t"}
    if kind == "images":
        loader, more = "json", {"field": "images"}
    with tempfile.TemporaryDirectory() as cache:
        if kind == "imagefolder":
            loaded = datasets.load_dataset("imagefolder", data_dir=folder, cache_dir=cache)
        else:
            names = sorted(glob.glob(os.path.join(folder, files[kind])))
            loaded = datasets.load_dataset(loader, data_files={"train": names}, cache_dir=cache, **more)
        splits = {}
        for split, rows in loaded.items():
            features = [[name, repr(feature)] for name, feature in rows.features.items()]
            shown = [
                {name: plain(value) for name, value in row.items() if name not in ("__url__",)}
                for row in rows
            ]
            splits[str(split)] = {"features": features, "rows": shown}
        return splits


def by_webdataset(kind: str, folder: str) -> dict[str, Any]:
    """Samples of the tars in order, decoded."""
    import webdataset

    names = sorted(glob.glob(os.path.join(folder, "*.tar")))
    samples = webdataset.WebDataset(names, shardshuffle=False).decode("pil")
    hidden = ("__url__", "__local_path__")
    return {
        "rows": [{name: plain(value) for name, value in one.items() if name not in hidden} for one in samples]
    }


def by_pycocotools(kind: str, folder: str) -> dict[str, Any]:
    """Images, annotations and results as COCO holds them, and whether every file is there."""
    from pycocotools.coco import COCO

    silent = io.StringIO()
    with contextlib.redirect_stdout(silent):
        coco = COCO(os.path.join(folder, "captions.json"))
        ids = coco.getImgIds()
        images = coco.loadImgs(ids)
        notes = coco.loadAnns(coco.getAnnIds(ids))
        known = {"images": images, "annotations": notes, "info": coco.dataset.get("info")}
        results = [{"image_id": one["id"], "caption": "a guess"} for one in images]
        if os.path.exists(os.path.join(folder, "results.json")):
            with open(os.path.join(folder, "results.json"), encoding="utf-8") as file:
                results = json.load(file)
        guesses = coco.loadRes(results)
        known["results"] = [
            [one["image_id"], one["caption"]] for one in guesses.loadAnns(guesses.getAnnIds())
        ]
    there = [os.path.exists(os.path.join(folder, one["file_name"])) for one in images]
    return {**plain(known), "files": there}


LIBRARIES: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "datasets": by_datasets,
    "webdataset": by_webdataset,
    "pycocotools": by_pycocotools,
}


def main(library: str, sets: str) -> None:
    """Print what the library sees of each set, or its error."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HOME=tempfile.mkdtemp())
    with open(sets, encoding="utf-8") as file:
        asked_for = json.load(file)
    seen: dict[str, Any] = {}
    for name, one in asked_for.items():
        try:
            seen[name] = LIBRARIES[library](one["kind"], one["folder"])
        except Exception as error:  # whatever a library raises is the answer
            seen[name] = {"error": f"{type(error).__name__}: {error}"[:500]}
    from importlib.metadata import version

    json.dump({"version": version(library), "seen": seen}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
