"""Writing on disks that are full, read-only or taken: a Mistake, nothing half-written, nothing of the user's touched."""

import errno
import os
from pathlib import Path

import pytest

from pairloom import registry
from pairloom.data import disk
from pairloom.data.disk import atomic_write, check_output, write_together
from pairloom.data.formats import blip_list, imagefolder
from pairloom.data.formats._files import place_images
from pairloom.data.pair import Blob, make_pair
from pairloom.data.shards import open_set, save_set
from pairloom.errors import Mistake

FORMATS = registry.names("data.formats")
PAIRS = [
    make_pair(f"{n}", Blob(data=b"\x89PNG" + bytes([n]), name=f"{n}.png"), [f"text {n}"]) for n in range(3)
]


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        with atomic_write(tmp_path / "x") as file:
            file.write(b"half")
            assert tree(tmp_path) == [".x.part"]
            raise KeyError
    assert tree(tmp_path) == []
    (tmp_path / ".x.part").write_bytes(b"left over by a kill")
    with atomic_write(tmp_path / "x") as file:
        file.write(b"whole")
    assert tree(tmp_path) == ["x"] and (tmp_path / "x").read_bytes() == b"whole"


def test_the_same_bytes_may_come_again_others_may_not(tmp_path: Path) -> None:
    for data in (b"one", b"one"):
        with atomic_write(tmp_path / "x") as file:
            file.write(data)
    with pytest.raises(Mistake, match="exists already"):
        with atomic_write(tmp_path / "x") as file:
            file.write(b"two")
    assert (tmp_path / "x").read_bytes() == b"one" and tree(tmp_path) == ["x"]
    with atomic_write(tmp_path / "x", replace=True) as file:
        file.write(b"two")
    assert (tmp_path / "x").read_bytes() == b"two"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")])
def test_a_full_or_read_only_disk_is_a_mistake(
    tmp_path: Path, monkeypatch, name: str, number: int, said: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(disk.os, "fsync", fail)
    monkeypatch.setattr(disk.os, "link", fail)
    with pytest.raises(Mistake, match=said) as caught:
        save_set(PAIRS, tmp_path / "out", name)
    assert str(tmp_path) in caught.value.what and caught.value.do
    assert tree(tmp_path) == []


def test_a_file_in_the_way_of_a_folder_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(Mistake, match="a file, not a folder"):
        save_set(PAIRS, tmp_path / "out", "webdataset")
    assert (tmp_path / "out").read_bytes() == b"mine"


def test_images_are_linked_where_possible_and_copied_where_not(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "x.png").write_bytes(b"image")
    (tmp_path / "link.png").symlink_to(tmp_path / "x.png")
    pair, out = make_pair("y", Blob(tmp_path / "link.png", name="y.png"), ["t"]), tmp_path / "out"
    place_images(out, [pair], ["y.png"])
    assert os.path.samefile(tmp_path / "x.png", out / "y.png") and not (out / "y.png").is_symlink()
    place_images(out, [pair], ["y.png"])  # again: nothing to do

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(disk.os, "link", refuse)
    place_images(out, [pair], ["z.png"])
    assert (
        not os.path.samefile(tmp_path / "x.png", out / "z.png") and (out / "z.png").read_bytes() == b"image"
    )
    (tmp_path / "link.png").unlink()
    (tmp_path / "link.png").write_bytes(b"other")
    with pytest.raises(Mistake, match="exists already"):
        place_images(out, [pair], ["z.png"])
    assert (out / "z.png").read_bytes() == b"image" and tree(out) == ["y.png", "z.png"]


def test_files_written_together_are_renamed_only_when_all_are_on_the_disk(
    tmp_path: Path, monkeypatch
) -> None:
    order: list[str] = []
    real = disk.os.fsync, disk.os.replace
    monkeypatch.setattr(disk.os, "fsync", lambda handle: (order.append("sync"), real[0](handle))[1])
    monkeypatch.setattr(disk.os, "replace", lambda a, b: (order.append("rename"), real[1](a, b))[1])
    write_together((tmp_path / name, name.encode()) for name in ("a", "b"))
    assert order == ["sync", "sync", "rename", "rename", "sync"]  # the last: the folder
    assert tree(tmp_path) == ["a", "b"] and (tmp_path / "b").read_bytes() == b"b"
    (tmp_path / ".c.part").write_bytes(b"left over by a kill")
    with pytest.raises(KeyError):
        write_together((tmp_path / name, {"c": b"1"}[name]) for name in ("c", "d"))
    assert tree(tmp_path) == ["a", "b"]


def test_the_output_may_not_lie_in_the_set(tmp_path: Path) -> None:
    source = tmp_path / "set"
    source.mkdir()
    (source / "list.json").write_text("[]")
    (tmp_path / "way").symlink_to(source)
    for out in (source, source / "out", tmp_path / "way" / "out", tmp_path / "set" / ".." / "set"):
        with pytest.raises(Mistake, match="cannot be the output"):
            check_output(out, source)
    with pytest.raises(Mistake, match="cannot be the output"):
        check_output(source, source / "list.json")
    check_output(tmp_path / "out", source)
    check_output(source / "out", source / "list.json")


def test_a_shard_that_was_never_written_stops_the_merge(tmp_path: Path) -> None:
    module_out = tmp_path / "out"
    blip_list.write(module_out, "00000", PAIRS)
    with pytest.raises(Mistake, match="00001 was never written"):
        blip_list.finish(module_out, ["00000", "00001"])
    blip_list.write(module_out, "00001", [])
    blip_list.finish(module_out, ["00000", "00001"])
    assert len(list(open_set(module_out).pairs())) == 3


def test_a_merge_cut_short_while_clearing_up_can_be_run_again(tmp_path: Path) -> None:
    for number, pair in enumerate(PAIRS):
        imagefolder.write(tmp_path, f"{number:05d}", [pair])
    names = [f"{number:05d}" for number in range(3)]
    parts = {path: path.read_bytes() for path in (tmp_path / ".parts").iterdir()}
    imagefolder.finish(tmp_path, names)
    whole = (tmp_path / "metadata.csv").read_bytes()
    for path in list(parts)[1:]:  # as if one part had been deleted when the power went
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(parts[path])
    imagefolder.finish(tmp_path, names)
    assert (tmp_path / "metadata.csv").read_bytes() == whole and not (tmp_path / ".parts").exists()


def test_a_short_write_of_numpy_is_a_full_disk(tmp_path: Path) -> None:
    """It counts items and knows no errno."""
    with pytest.raises(Mistake, match="disk is full"):
        with atomic_write(tmp_path / "rows.npy"):
            raise OSError("307200 requested and 302976 written")
