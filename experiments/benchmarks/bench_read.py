"""Reading tars: our offset reader against Python's tarfile and, where installed, webdataset; all in one run.

`python experiments/benchmarks/bench_read.py [FOLDER-OF-TARS]`: without a folder a random set of 20 kB images is written. Pages
are warm; best of five. "list" finds the members of each sample, "read" also reads image bytes and texts.
"""

import argparse
import contextlib
import io
import json
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pairloom.data.formats import _tar, webdataset
from pairloom.data.pair import content_hash
from pairloom.data.shards import Shard

SAMPLES = 2000


def random_tar(folder: Path) -> None:
    """Write a tar of SAMPLES samples in img2dataset's layout, with random bytes in the place of images, which are not decoded."""
    rng = np.random.default_rng(0)
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for number in range(SAMPLES):
            key, caption = f"{number:09d}", f"a caption of thing number {number}"
            record = json.dumps(
                {"key": key, "caption": caption, "captions": [caption], "width": 256}
            ).encode()
            for suffix, data in ((".jpg", rng.bytes(20_000)), (".txt", caption.encode()), (".json", record)):
                info = tarfile.TarInfo(key + suffix)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def ours_list(tars: list[Path]) -> int:
    return sum(member.name.endswith(".jpg") for tar in tars for member in _tar.members(tar))


def ours_read(tars: list[Path]) -> int:
    """Read complete Pairs: bytes are read, texts and metadata parsed, content keys computed."""
    return sum(1 for tar in tars for _ in webdataset.read(Shard("x", "webdataset", tar.parent, tar)))


def tarfile_list(tars: list[Path]) -> int:
    count = 0
    for path in tars:
        with tarfile.open(path) as tar:
            count += sum(member.name.endswith(".jpg") for member in tar)
    return count


def tarfile_read(tars: list[Path], keyed: bool = False) -> int:
    """Read the same bytes with tarfile; keyed: also parse the JSON and hash the image, as for a Pair."""
    count = 0
    for path in tars:
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                data = file.read() if file else b""
                count += member.name.endswith(".jpg")
                if keyed and member.name.endswith(".json"):
                    json.loads(data)
                elif keyed and member.name.endswith(".jpg"):
                    content_hash(data)
    return count


def webdataset_read(tars: list[Path]) -> int:
    import webdataset as other

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sum(1 for _ in other.WebDataset([str(path) for path in tars], shardshuffle=False))


def rate(function: Callable[[list[Path]], int], tars: list[Path]) -> float:
    """Samples per second, the best of five."""
    best = 0.0
    for _ in range(5):
        begin = time.perf_counter()
        count = function(tars)
        best = max(best, count / (time.perf_counter() - begin))
    return best


@contextlib.contextmanager
def tars_of(folder: Path | None) -> Iterator[list[Path]]:
    """The tars of a folder, or a random one."""
    with tempfile.TemporaryDirectory() as temporary:
        if folder is None:
            folder = Path(temporary)
            random_tar(folder)
        tars = sorted(folder.rglob("*.tar"))
        if not tars:
            sys.exit(f"No tars in {folder}.")
        yield tars


def main() -> None:
    """Print samples a second and the ratio to tarfile for the same work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    with tars_of(parser.parse_args().folder) as tars:
        rows = [
            ("list: tarfile", rate(tarfile_list, tars), "list"),
            ("list: pairloom", rate(ours_list, tars), "list"),
            ("read: tarfile, bytes only", rate(tarfile_read, tars), "read"),
            (
                "read: tarfile, JSON and hash",
                rate(lambda paths: tarfile_read(paths, keyed=True), tars),
                "read",
            ),
            ("read: pairloom, whole Pairs", rate(ours_read, tars), "read"),
        ]
        with contextlib.suppress(ImportError):
            rows.append(("read: webdataset, bytes only", rate(webdataset_read, tars), "read"))
        base = {kind: next(speed for _, speed, other in rows if other == kind) for kind in ("list", "read")}
        print(f"{len(tars)} tars; samples a second, and times tarfile's speed at the same work")
        for name, speed, kind in rows:
            print(f"  {name:32s} {speed:10,.0f}  {speed / base[kind]:6.1f}x")


if __name__ == "__main__":
    main()
