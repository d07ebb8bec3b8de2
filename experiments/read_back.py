"""Every format that pairloom writes, read back by `datasets`, `webdataset` and `pycocotools`, three versions of each.

    python -m experiments.read_back                 # builds a virtual environment for each version with pip, and prints a table
    python -m experiments.read_back --venvs VENVS   # keeps them there for the next time
    python -m experiments.read_back --installed     # only what this environment has

For each kind of set one is written as other tools write it, and read by the library: features, their order, and rows. Then pairloom
cleans it (nothing in it is bad), and the library reads the result: everything must be equal. And the same pairs are written by
`save_set` in every format, of which the library must see all texts in order.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

READERS = Path(__file__).with_name("read_back_readers.py")
VERSIONS = {  # three of each library, by the age of the environment
    "new": ("datasets==5.2.0", "webdataset==1.0.2", "pycocotools==2.0.11", "pillow"),
    "middle": ("datasets==3.6.0", "webdataset==0.2.111", "pycocotools==2.0.10", "pillow", "pyarrow<21", "pandas<3"),
    "old": ("datasets==2.21.0", "webdataset==0.2.86", "pycocotools==2.0.9", "pillow", "pyarrow<21", "pandas<3", "numpy<2.3"),
}  # fmt: skip
TEXTS = [
    "a dog on a beach", 'a sign that says "stop", and a car', "un café près de la gare", "一只狗在海滩上", "كلب على الشاطئ",
    "a red ball \U0001f534 on grass", "it's 5 o'clock; rain, wind", "a cat\u2028on a mat",
]  # fmt: skip


def picture(at: int) -> bytes:
    """A PNG of noise, another one for each number."""
    out = io.BytesIO()
    pixels = np.random.default_rng(at).integers(0, 256, (32, 40, 3), np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def _pictures(folder: Path, names: str = "{:03}.png", first: int = 0) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(len(TEXTS)):
        (folder / names.format(at)).write_bytes(picture(first + at))
    return [names.format(at) for at in range(len(TEXTS))]


def _rows(image: str = "file_name") -> list[dict[str, Any]]:
    """Rows with a number, a share, a flag and an absent value beside picture and text; the columns in an unusual order."""
    return [
        {"id": 100 + at, "text": text, image: f"{at:03}.png", "share": at / 8, "good": at % 2 == 0, "more": None if at % 3 else "x"}
        for at, text in enumerate(TEXTS)
    ]  # fmt: skip


def _csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def imagefolder_csv(out: Path) -> None:
    _pictures(out)
    _csv(out / "metadata.csv", _rows())


def imagefolder_jsonl(out: Path) -> None:
    for number, split in enumerate(("train", "test")):
        _pictures(out / split, first=100 * number)
        _lines(
            out / split / "metadata.jsonl",
            [{**row, "boxes": [[1.5, 2.0]], "by": {"name": split}} for row in _rows()],
        )


def imagefolder_parquet(out: Path) -> None:
    _pictures(out)
    pq.write_table(pa.Table.from_pylist(_rows()), out / "metadata.parquet")


def table_parquet(out: Path) -> None:
    """Columns of many kinds, with the features that `datasets` writes into its parquet files."""
    out.mkdir(parents=True)
    count = len(TEXTS)
    when = [datetime.datetime(2024, 1, 1 + at, tzinfo=datetime.UTC) for at in range(count)]
    columns = {
        "id": pa.array(range(count), pa.int32()), "caption": pa.array(TEXTS, pa.string()),
        "image": pa.array([{"bytes": picture(at), "path": f"{at}.png"} for at in range(count)],
                          pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "label": pa.array([at % 2 for at in range(count)], pa.int64()), "score": pa.array([at / 3 for at in range(count)], pa.float32()),
        "vector": pa.array([[0.5, at] for at in range(count)], pa.list_(pa.float32())),
        "when": pa.array(when, pa.timestamp("us", "UTC")), "hash": pa.array([bytes([at] * 8) for at in range(count)], pa.binary()),
        "empty": pa.array([None] * count, pa.string()), "tags": pa.array([["a", "b"][: at % 3] for at in range(count)], pa.list_(pa.string())),
    }  # fmt: skip

    def value(kind: str) -> dict[str, str]:
        return {"dtype": kind, "_type": "Value"}

    features = {
        "id": value("int32"), "caption": value("string"), "image": {"_type": "Image"},
        "label": {"names": ["bad", "good"], "_type": "ClassLabel"}, "score": value("float32"),
        "vector": {"feature": value("float32"), "_type": "Sequence"}, "when": value("timestamp[us, tz=UTC]"),
        "hash": value("binary"), "empty": value("string"), "tags": {"feature": value("string"), "_type": "Sequence"},
    }  # fmt: skip
    known = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table(columns).replace_schema_metadata(known)
    for part in range(2):
        pq.write_table(table.slice(part * 4, 4), out / f"train-{part:05}-of-00002.parquet")


def table_csv(out: Path) -> None:
    _pictures(out)
    _csv(out / "captions.csv", _rows("image"))


def table_tsv(out: Path) -> None:
    _pictures(out)
    _csv(out / "captions.tsv", _rows("filepath"), "\t")


def table_jsonl(out: Path) -> None:
    _pictures(out)
    _lines(out / "captions.jsonl", [{**row, "tags": ["a", row["id"]][:1]} for row in _rows("image")])


def _tar(path: Path, samples: list[tuple[str, dict[str, bytes]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for key, files in samples:
            for suffix, data in files.items():
                entry = tarfile.TarInfo(f"{key}.{suffix}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


def webdataset_tars(out: Path) -> None:
    """Two tars as img2dataset writes them, with keys that are no ASCII."""
    for part in range(2):
        samples = []
        for at in range(part * 4, part * 4 + 4):
            known = {"caption": TEXTS[at], "width": 40, "score": at / 7, "url": None}
            files = {"png": picture(at), "txt": TEXTS[at].encode(), "json": json.dumps(known).encode()}
            samples.append((f"\u00e9{at:05}", files))
        _tar(out / f"{part:05}.tar", samples)


def webdataset_json(out: Path) -> None:
    """A tar whose texts stand in the .json alone."""
    rows = [json.dumps({"score": 0.5, "caption": text}).encode() for text in TEXTS]
    _tar(out / "set.tar", [(f"{at:05}", {"json": row, "png": picture(at)}) for at, row in enumerate(rows)])


def webdataset_txt(out: Path) -> None:
    """A tar without any .json."""
    _tar(
        out / "set.tar",
        [(f"{at:05}", {"png": picture(at), "txt": text.encode()}) for at, text in enumerate(TEXTS)],
    )


def coco(out: Path) -> None:
    """Captions in an order of their own, ids that are no positions, two captions for some images."""
    names = _pictures(out, "COCO_val2014_{:012}.png")
    images = [
        {"id": 900 - at, "file_name": name, "width": 40, "height": 32, "license": 1}
        for at, name in enumerate(names)
    ]
    notes = [{"id": 7 * at + 1, "image_id": 900 - at, "caption": text} for at, text in enumerate(TEXTS)]
    notes += [{"id": 500 + at, "image_id": 900 - at, "caption": f"again {TEXTS[at]}"} for at in range(3)]
    whole = {
        "info": {"year": 2014, "version": "1.0"},
        "licenses": [{"id": 1, "name": "ours"}],
        "images": images,
        "annotations": notes,
    }
    (out / "captions.json").write_text(json.dumps(whole))


def karpathy(out: Path) -> None:
    names = _pictures(out / "val2014")
    rows = [
        {"filepath": "val2014", "filename": name, "imgid": at, "split": "train", "sentids": [at],
         "sentences": [{"raw": text, "imgid": at, "sentid": at, "tokens": text.split()}]}
        for at, (name, text) in enumerate(zip(names, TEXTS))
    ]  # fmt: skip
    (out / "dataset.json").write_text(json.dumps({"images": rows, "dataset": "ours"}))


def caption_map(out: Path) -> None:
    names = _pictures(out)
    (out / "captions.json").write_text(json.dumps(dict(zip(names, TEXTS))))


def blip_list(out: Path) -> None:
    names = _pictures(out)
    rows = [
        {"image_id": f"x_{at}", "caption": text, "image": name}
        for at, (name, text) in enumerate(zip(names, TEXTS))
    ]
    (out / "captions.json").write_text(json.dumps(rows))


def llava(out: Path) -> None:
    names = _pictures(out)
    rows = [
        {"conversations": [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": text}],
         "id": f"{at}", "image": name}
        for at, (name, text) in enumerate(zip(names, TEXTS))
    ]  # fmt: skip
    (out / "conversations.json").write_text(json.dumps(rows))


# set -> how it is written, and how each library reads it
SETS: dict[str, tuple[Callable[[Path], None], dict[str, str]]] = {
    "imagefolder, CSV": (imagefolder_csv, {"datasets": "imagefolder"}),
    "imagefolder, JSON lines, two splits": (imagefolder_jsonl, {"datasets": "imagefolder"}),
    "imagefolder, parquet": (imagefolder_parquet, {"datasets": "imagefolder"}),
    "table, parquet with features": (table_parquet, {"datasets": "parquet"}),
    "table, CSV": (table_csv, {"datasets": "csv"}),
    "table, TSV": (table_tsv, {"datasets": "tsv"}),
    "table, JSON lines": (table_jsonl, {"datasets": "json"}),
    "webdataset": (webdataset_tars, {"datasets": "webdataset", "webdataset": "tars"}),
    "webdataset, JSON alone": (webdataset_json, {"datasets": "webdataset", "webdataset": "tars"}),
    "webdataset, no JSON": (webdataset_txt, {"datasets": "webdataset", "webdataset": "tars"}),
    "coco": (coco, {"pycocotools": "captions"}),
    "karpathy": (karpathy, {"datasets": "images"}),
    "caption_map": (caption_map, {"datasets": "json"}),
    "blip_list": (blip_list, {"datasets": "json"}),
    "llava": (llava, {"datasets": "json"}),
}
# format that `save_set` writes -> how each library reads it
SAVED = {
    "folder_text": {"datasets": "imagefolder"},
    "class_captions": {"datasets": "imagefolder"},
    "imagefolder": {"datasets": "imagefolder"},
    "webdataset": {"datasets": "webdataset", "webdataset": "tars"},
    "table": {"datasets": "parquet"},
    "coco": {"pycocotools": "captions"},
    "coco_results": {"pycocotools": "results"},
    "karpathy": {"datasets": "images"},
    "caption_map": {"datasets": "json"},
    "blip_list": {"datasets": "json"},
    "llava": {"datasets": "json"},
}


def write_sets(root: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Write every set, its cleaned copy, and the saved ones. Returns library -> name -> {"kind", "folder"}."""
    import pairloom
    from pairloom.data.shards import save_set

    wanted: dict[str, dict[str, dict[str, str]]] = {}
    for name, (write, kinds) in SETS.items():
        raw, out = root / name / "raw", root / name / "out"
        write(raw)
        pairloom.open(raw).clean(out, captions=False, workers=1)
        for library, kind in kinds.items():
            of_library = wanted.setdefault(library, {})
            of_library[f"{name}/raw"] = {"kind": kind, "folder": str(raw)}
            of_library[f"{name}/out"] = {"kind": kind, "folder": str(out / "pairs")}
    pairs = list(pairloom.open(root / "table, parquet with features" / "raw"))
    for name, kinds in SAVED.items():
        folder = root / "saved" / name
        save_set(pairs, folder, name)
        if name == "coco_results":
            save_set(pairs, root / "saved" / "of results", "coco")
            (root / "saved" / "of results" / "results.json").write_bytes(
                (folder / "results.json").read_bytes()
            )
            folder = root / "saved" / "of results"
        for library, kind in kinds.items():
            wanted.setdefault(library, {})[f"saved/{name}"] = {"kind": kind, "folder": str(folder)}
    return wanted


def difference(seen: dict[str, Any], name: str) -> str:
    """What a library sees of a cleaned set that it does not see of the raw one; "" where they are equal."""
    raw, out = seen[f"{name}/raw"], seen[f"{name}/out"]
    for side, one in (("raw", raw), ("cleaned", out)):
        if "error" in one:
            return f"{side}: {one['error']}"
    return _first_difference(raw, out, "")


def _first_difference(one: Any, other: Any, place: str) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        if list(one) != list(other):
            return f"{place}: {list(one)} became {list(other)}"
        differences = (_first_difference(one[key], other[key], f"{place}.{key}") for key in one)
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{place}: {len(one)} became {len(other)}"
        differences = (_first_difference(a, b, f"{place}[{at}]") for at, (a, b) in enumerate(zip(one, other)))
    else:
        return "" if one == other and type(one) is type(other) else f"{place}: {one!r} became {other!r}"
    return next(filter(None, differences), "")


def absent(seen: dict[str, Any], name: str) -> str:
    """What is wrong with a saved set as a library sees it: an error, or texts that are not there in order; "" for nothing."""
    one = seen[f"saved/{name}"]
    if "error" in one:
        return str(one["error"])
    words = json.dumps(one, ensure_ascii=False)
    if name in ("folder_text", "class_captions"):  # the library reads the pictures alone
        count = sum(len(split["rows"]) for split in one.values())
        return "" if count == len(TEXTS) else f"{count} pictures are there"
    places = [words.find(json.dumps(text, ensure_ascii=False)[1:-1]) for text in TEXTS]
    return "" if -1 not in places and places == sorted(places) else f"texts stand at {places}"


def results(python: str, wanted: dict[str, dict[str, dict[str, str]]]) -> dict[str, dict[str, str]]:
    """Library and version -> set -> "" or what differs, by one environment's Python."""
    table: dict[str, dict[str, str]] = {}
    for library, sets in wanted.items():
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(sets, file)
            file.flush()
            run = subprocess.run(
                [python, str(READERS), library, file.name], capture_output=True, text=True, check=False
            )
        if run.returncode:
            raise RuntimeError(f"{library} in {python}:\n{run.stderr[-2000:]}")
        answer = json.loads(run.stdout.splitlines()[-1])
        names = {name.rpartition("/")[0] for name in sets if not name.startswith("saved/")}
        table[f"{library} {answer['version']}"] = {
            **{name: difference(answer["seen"], name) for name in SETS if name in names},
            **{f"saved/{name}": absent(answer["seen"], name) for name in SAVED if f"saved/{name}" in sets},
        }
    return table


def environment(place: Path, packages: tuple[str, ...]) -> str:
    """The Python of a virtual environment with these packages, which is built where it is not there."""
    python = place / "bin" / "python"
    if not python.exists():
        venv.create(place, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return str(python)


def show(table: dict[str, dict[str, str]]) -> None:
    """Print a row for each set: each library with its versions, and whether all is equal."""
    for name in dict.fromkeys(name for rows in table.values() for name in rows):
        cells = [f"{library}: {rows[name] or 'equal'}" for library, rows in table.items() if name in rows]
        print(f"{name}\n   " + "\n   ".join(cells))


def main() -> None:
    """Write the sets, read them by every environment, and print the table. Exit code 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--venvs", type=Path)
    parser.add_argument("--installed", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        wanted = write_sets(root / "sets")
        if options.installed:
            present = {library: sets for library, sets in wanted.items() if find_spec(library)}
            table = results(sys.executable, present)
        else:
            table = {}
            for age, packages in VERSIONS.items():
                place = (options.venvs or root / "venvs") / age
                table |= results(environment(place, packages), wanted)
    show(table)
    sys.exit(any(difference for rows in table.values() for difference in rows.values()))


if __name__ == "__main__":
    main()
