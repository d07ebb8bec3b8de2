"""ImageIndex and Filed: pictures found again by where they lie, held out by content, bad ones replaced and told."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from pairloom.data.index import DecodedImages, ImageIndex
from pairloom.data.loader import Loader, TextTable, pair_loader
from pairloom.data.order import Plan
from pairloom.data.pair import Blob, Pair, make_pair
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake

PLAIN = Transform(size=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def png(value: int, size: tuple[int, int] = (12, 10)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (value % 256, value % 256, value % 256)).save(stream, "PNG")
    return stream.getvalue()


def pairs(folder: Path, count: int = 12) -> list[Pair]:
    """A third are files of their own, a third spans of one file, a third bytes of a table; grey tells which."""
    made, at, tar = [], 0, folder / "spans.bin"
    with open(tar, "wb") as spans:
        for number in range(count):
            data = png(10 * number, (12 + number, 10))
            if number % 3 == 0:
                path = folder / f"file \udcff{number}.png"  # a name that is no valid Unicode
                path.write_bytes(data)
                blob = Blob(path)
            elif number % 3 == 1:
                spans.write(b"gap" + data)
                blob = Blob(tar, at + 3, len(data))
                at += 3 + len(data)
            else:
                blob = Blob(data=data, name="cell.png")
            spans.flush()
            made.append(
                make_pair(f"pair {number}", blob, [f"grey {number}", f"number {number}"][: 1 + number % 2])
            )
    return made


def loader(index: ImageIndex, transform: Transform = PLAIN, train: bool = False, workers: int = 0) -> Loader:
    tokens = Tokens.train([text for group in index.words() for text in group] * 3, 100)
    table = TextTable.of(tokens, index.words(), 20)
    return pair_loader(
        DecodedImages(index, transform, train), table, ids=index.ids(), workers=workers, window=0
    )


def test_every_picture_is_found_again(tmp_path: Path) -> None:
    index = ImageIndex.of(pairs(tmp_path), tmp_path)
    assert len(index) == 12 and not index.skipped
    assert [index.read(row) for row in range(12)] == [
        png(10 * number, (12 + number, 10)) for number in range(12)
    ]
    assert list(index.words()) == [[f"grey {n}", f"number {n}"][: 1 + n % 2] for n in range(12)]
    assert {path.name for path in tmp_path.iterdir()} == {
        path.name for path in tmp_path.iterdir() if path.suffix
    }


def test_batches_from_disk_show_the_right_pictures(tmp_path: Path) -> None:
    index = ImageIndex.of(pairs(tmp_path))
    for workers in (0, 3):
        for parts in loader(index, workers=workers).read(Plan(6), 0):
            for image, row in zip(parts[0].images, parts[0].image_ids):
                number = list(index.ids()).index(int(row))
                assert image.shape == (1, 3, 8, 8)
                assert torch.allclose(image, torch.tensor(10 * number / 255), atol=1e-6)


def test_augmentation_depends_on_the_epoch_and_the_row_alone(tmp_path: Path) -> None:
    draw = numpy.random.default_rng(0)
    for number in range(8):
        Image.fromarray(draw.integers(0, 256, (20, 20, 3), dtype=numpy.uint8)).save(
            tmp_path / f"{number}.png"
        )
    made = [make_pair(str(n), Blob(tmp_path / f"{n}.png"), [f"a {n} b"]) for n in range(8)]
    index = ImageIndex.of(made)
    moving = replace(PLAIN, crop_scale=(0.3, 1.0), flip=True, randaugment=True)

    def images(epoch: int, workers: int = 0, step: int = 0, **plan: int) -> list[torch.Tensor]:
        read = loader(index, moving, True, workers).read(Plan(4, **plan), epoch, step)
        return [torch.cat([part.images for part in parts]) for parts in read]

    whole = images(0)
    assert all(torch.equal(a, b) for a, b in zip(whole, images(0, workers=3)))
    assert torch.equal(whole[1], images(0, step=1)[0])
    assert torch.equal(whole[0], images(0, parts=2)[0])
    halves = [images(0, rank=rank, world=2)[0] for rank in (0, 1)]
    assert torch.equal(whole[0], torch.cat(halves))
    assert not any(torch.equal(a, b) for a in whole for b in images(1))


def test_a_picture_whose_text_names_a_side_is_not_mirrored(tmp_path: Path) -> None:
    ramp = numpy.broadcast_to(numpy.arange(0, 240, 30, dtype=numpy.uint8)[None, :, None], (8, 8, 3))
    Image.fromarray(numpy.ascontiguousarray(ramp)).save(tmp_path / "a.png")
    made = [
        make_pair(str(n), Blob(tmp_path / "a.png"), [f"{n} cat"] if n % 2 else [f"{n} on the LEFT"])
        for n in range(40)
    ]
    one = loader(ImageIndex.of(made), replace(PLAIN, flip=True), train=True)
    batch = next(one.read(Plan(40), 0))[0]
    mirrored = batch.images[:, 0, 0, 0, 0] > batch.images[:, 0, 0, 0, 7]
    left = one.texts.sided[
        numpy.array([one.texts.ids.tolist().index(token) >= 0 for token in batch.texts.ids[:, 1]])
    ]
    assert left.sum() == 20 and 5 < int(mirrored.sum()) < 15


def test_held_out_pictures_are_chosen_by_content(tmp_path: Path) -> None:
    made = pairs(tmp_path, 90)
    learn, held = ImageIndex.of(made).split(0.3)
    assert len(learn) + len(held) == 90 and 10 < len(held) < 45 and not set(learn) & set(held)
    some = [pair for place, pair in enumerate(made) if place % 2]
    _, again = ImageIndex.of(some).split(0.3)
    assert {some[row].key for row in again} == {made[row].key for row in held} & {pair.key for pair in some}
    assert len(ImageIndex.of(made).split(0.0)[1]) == 0


def test_the_same_picture_twice_has_one_number(tmp_path: Path) -> None:
    made = [make_pair(str(n), Blob(data=png(n % 3)), [f"text {n}"]) for n in range(9)]
    ids = ImageIndex.of(made, tmp_path).ids()
    assert len(set(ids)) == 3 and all(
        (ids[a] == ids[b]) == (a % 3 == b % 3) for a in range(9) for b in range(9)
    )


def test_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    made = [
        make_pair("good", Blob(data=png(1)), ["a text"]),
        make_pair("silent", Blob(data=png(2)), []),
        make_pair("blank", Blob(data=png(3)), ["  "]),
        make_pair("gone", Blob(tmp_path / "nothing.png"), ["a text"]),
    ]
    index = ImageIndex.of(made)
    assert len(index) == 1 and index.skipped["no text"] == 2 and sum(index.skipped.values()) == 3
    with pytest.raises(Mistake, match="nothing to learn from"):
        ImageIndex.of(made[1:])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_picture_gives_its_place_to_a_readable_pair(workers: int, tmp_path: Path) -> None:
    made = pairs(tmp_path)
    (tmp_path / "broken.png").write_bytes(png(200)[:45])
    made.append(make_pair("broken", Blob(tmp_path / "broken.png"), ["the broken one"]))
    index = ImageIndex.of(made)
    one = loader(index, workers=workers)
    batch = next(one.read(Plan(13), 0))[0]
    assert batch.image_ids is not None and batch.images is not None and batch.texts is not None
    broken = int(index.ids()[12])
    assert broken not in batch.image_ids.tolist() and len(batch.image_ids) == 13
    assert len(one.unreadable()) == 1
    assert "cut off" in next(iter(one.unreadable().values())) and "broken.png" in next(iter(one.unreadable()))
    for image, row, tokens in zip(batch.images, batch.image_ids, batch.texts.ids):
        number = list(index.ids()).index(int(row))
        assert torch.allclose(
            image, torch.tensor(10 * number / 255), atol=1e-6
        )  # picture, text and number stay together
        texts = range(one.texts.first[number], one.texts.first[number + 1])
        rows = [one.texts.ids[one.texts.start[at] : one.texts.start[at + 1]].tolist() for at in texts]
        assert any(tokens.tolist()[: len(row)] == row for row in rows)


def test_when_nothing_of_a_batch_can_be_read(tmp_path: Path) -> None:
    made = pairs(tmp_path, 4)
    index = ImageIndex.of([pair for pair in made if pair.image.data is None])
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(Mistake, match="Not one picture"):
        next(loader(index).read(Plan(2), 0))
