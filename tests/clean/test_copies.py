"""Copies of pictures: every kind that people have, through the audit of whole sets; what is no copy; the search by itself."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from scenes import photo

from pairloom.clean import duplicates
from pairloom.clean.audit_set import check
from pairloom.clean.duplicates import BITS, KINDS, HashIndex, components, first_copies
from pairloom.clean.frames import inside_frame
from pairloom.data.shards import open_set
from pairloom.scale import Execution

Change = Callable[[Image.Image], Image.Image]
PHOTOS = 12


def save(image: Image.Image, file: Path, **more: object) -> None:
    image.save(file, **more)
    file.with_suffix(".txt").write_text(f"a picture of {file.stem}")


def bar(image: Image.Image) -> Image.Image:
    changed = image.copy()
    ImageDraw.Draw(changed).rectangle((0, image.height * 7 // 8, image.width, image.height), fill=(0, 0, 0))
    return changed


def cut(left: float, top: float, right: float, bottom: float) -> Change:
    def change(image: Image.Image) -> Image.Image:
        width, height = image.size
        return image.crop((round(width * left), round(height * top), round(width * (1 - right)), round(height * (1 - bottom))))  # fmt: skip

    return change


def transparent(image: Image.Image) -> Image.Image:
    """The picture on a transparent ground, which is read as white."""
    laid = Image.new("RGBA", (image.width + 40, image.height + 40), (0, 0, 0, 0))
    laid.paste(image, (20, 20))
    return laid


def on_white(image: Image.Image) -> Image.Image:
    laid = Image.new("RGB", (image.width + 40, image.height + 40), (255, 255, 255))
    laid.paste(image, (20, 20))
    return laid


TURNS: dict[str, Change] = {str(way): lambda image, way=way: image.transpose(way) for way in Image.Transpose}
CHANGES: dict[str, tuple[Change, str, str]] = {  # name -> change, suffix, kind of the copy
    **{f"turned {way}": (turn, "jpg", "turned") for way, turn in TURNS.items()},
    "png": (lambda image: image, "png", "near"),
    "webp": (lambda image: image, "webp", "near"),
    "tiff": (lambda image: image, "tif", "near"),
    "half": (lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS), "jpg", "near"),
    "squeezed": (lambda image: image.resize((image.width * 3 // 4, image.height)), "jpg", "near"),
    "enlarged": (lambda image: image.resize((image.width * 5, image.height * 5)), "jpg", "near"),
    "brighter": (lambda image: ImageEnhance.Brightness(image).enhance(1.2), "jpg", "near"),
    "contrast": (lambda image: ImageEnhance.Contrast(image).enhance(0.7), "jpg", "near"),
    "grey": (lambda image: image.convert("L"), "png", "near"),
    "palette": (lambda image: image.quantize(128), "png", "near"),
    "bar": (bar, "jpg", "near"),
    "crop of two sides": (cut(0.05, 0.05, 0, 0), "jpg", "near"),
    "crop of four sides": (cut(0.025, 0.025, 0.025, 0.025), "jpg", "near"),
    "crop of one side": (cut(0, 0, 0.05, 0), "jpg", "near"),
    "mirrored crop": (lambda image: cut(0.05, 0.05, 0, 0)(ImageOps.mirror(image)), "jpg", "turned"),
    "white frame": (lambda image: ImageOps.expand(image, 14, (255, 255, 255)), "jpg", "near"),
    "grey frame": (lambda image: ImageOps.expand(image, 9, (128, 128, 128)), "png", "near"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_copies_of_each_kind_are_grouped_and_nothing_else_is(name: str, tmp_path: Path) -> None:
    change, suffix, kind = CHANGES[name]
    for number in range(PHOTOS):
        image = photo(number, (190, 140))
        save(image, tmp_path / f"a{number:02}.jpg", quality=92)
        if number % 2 == 0:
            save(change(image), tmp_path / f"b{number:02}.{suffix}")
    groups = check(open_set(tmp_path)).groups
    names = [Path(pair.name).stem for pair in open_set(tmp_path).pairs()]
    of = dict(zip(names, groups.group_of.tolist()))
    linked = sum(of[f"a{number:02}"] == of[f"b{number:02}"] >= 0 for number in range(0, PHOTOS, 2))
    assert linked >= PHOTOS // 2 - any(word in name for word in ("bar", "crop", "frame"))
    assert len(groups) == linked and all(of[f"a{number:02}"] == -1 for number in range(1, PHOTOS, 2))
    kinds = {KINDS[kind] for kind in groups.kind[groups.group_of >= 0].tolist()}
    assert kinds == {"", kind}


def test_a_transparent_picture_is_a_copy_of_itself_on_white(tmp_path: Path) -> None:
    save(transparent(photo(1)), tmp_path / "a.png")
    save(on_white(photo(1)), tmp_path / "b.jpg")
    save(photo(2), tmp_path / "c.jpg")
    assert check(open_set(tmp_path)).groups.group_of.tolist() == [0, 0, -1]


def test_the_largest_picture_of_a_group_is_the_best_and_of_equal_ones_the_first(tmp_path: Path) -> None:
    image = photo(3, (300, 220))
    save(image.resize((150, 110)), tmp_path / "a.jpg")
    save(image, tmp_path / "b.jpg")
    save(image, tmp_path / "c.jpg")
    save(image.transpose(Image.Transpose.ROTATE_90), tmp_path / "d.jpg", quality=10)
    groups = check(open_set(tmp_path)).groups
    assert groups.group_of.tolist() == [0] * 4 and groups.best.tolist() == [False, True, False, False]
    assert [KINDS[kind] for kind in groups.kind.tolist()] == ["near", "", "same file", "turned"]


@pytest.mark.parametrize("radius", [1, 2])
def test_of_equal_sizes_the_sharp_picture_is_the_best_whatever_its_bytes(
    tmp_path: Path, radius: float
) -> None:
    """The blurred copy has more than twice the bytes; of sharp ones these decide."""
    for number in range(6):
        image = photo(number, (150, 110))
        folder = tmp_path / str(number)
        folder.mkdir()
        save(image.filter(ImageFilter.GaussianBlur(radius)), folder / "a.png")
        save(image, folder / "b.jpg", quality=20)
        save(image, folder / "c.jpg", quality=75)
        save(image.resize((75, 55)), folder / "d.png")
        assert (folder / "a.png").stat().st_size > 2 * (folder / "c.jpg").stat().st_size
    groups = check(open_set(tmp_path)).groups
    assert groups.group_of.tolist() == [number for number in range(6) for _ in range(4)]
    assert groups.best.tolist() == [False, False, True, False] * 6


def test_drawings_that_differ_in_colour_alone_are_no_copies(tmp_path: Path) -> None:
    for name, colour in (("red", (220, 40, 40)), ("green", (60, 140, 60)), ("blue", (60, 60, 200))):
        image = Image.new("RGB", (120, 120), "white")
        ImageDraw.Draw(image).ellipse((20, 25, 90, 100), fill=colour)
        save(image, tmp_path / f"{name}.png")
        save(image.resize((90, 90)), tmp_path / f"{name}-small.jpg")
    assert check(open_set(tmp_path)).groups.group_of.tolist() == [0, 0, 1, 1, 2, 2]


def test_flat_pictures_are_copies_only_of_the_same_file(tmp_path: Path) -> None:
    for number, level in enumerate((0, 0, 60, 128, 129, 255)):
        save(Image.new("RGB", (64 + number // 2, 64), (level, level, level)), tmp_path / f"{number}.png")
    assert check(open_set(tmp_path)).groups.group_of.tolist() == [0, 0, -1, -1, -1, -1]


def test_workers_and_the_folder_of_a_run_give_the_same_groups(tmp_path: Path) -> None:
    from pairloom.data.shards import save_set

    (tmp_path / "raw").mkdir()
    for number in range(10):
        image = photo(number, (700, 500))
        save(image, tmp_path / "raw" / f"a{number}.jpg", quality=85)
        save(ImageOps.mirror(image).resize((350, 250)), tmp_path / "raw" / f"b{number}.jpg", quality=60)
    world = save_set(list(open_set(tmp_path / "raw").pairs()), tmp_path / "tars", "webdataset", size=7)
    (tmp_path / "audit").mkdir()
    results = [check(world), check(world, Execution(workers=2)), check(world, folder=tmp_path / "audit", size=64),
               check(world, folder=tmp_path / "audit", size=64)]  # fmt: skip
    for findings in results:
        assert findings.audit() == results[0].audit() and len(findings.groups) == 10
        for one, other in zip(vars(findings.groups).values(), vars(results[0].groups).values()):
            assert np.array_equal(one, other)


def test_a_changed_picture_of_the_other_set_is_a_leak(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
    for number in range(6):
        save(photo(number), tmp_path / "train" / f"{number}.jpg")
    save(ImageOps.mirror(photo(1)), tmp_path / "test" / "mirrored.png")
    save(photo(3).resize((100, 75)), tmp_path / "test" / "small.jpg", quality=60)
    save(photo(30), tmp_path / "test" / "other.jpg")
    findings = check(open_set(tmp_path / "train"), against=open_set(tmp_path / "test"))
    assert findings.pairwise["leak"].tolist() == [1, 3]
    assert len(findings.groups) == 0


# -- the search --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_search_is_exact_for_its_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(1, 2**63, 300, np.uint64)
    near = hashes.copy()
    for row in range(300):
        for bit in rng.choice(63, row % (BITS + 3), replace=False):
            near[row] ^= np.uint64(1 << int(bit))
    one, other = HashIndex(np.concatenate([hashes, [np.uint64(0)]])).near(
        np.concatenate([near, [np.uint64(0)]])
    )
    distance = np.bitwise_count(near[:, None] ^ hashes[None])
    assert sorted(zip(one.tolist(), other.tolist())) == sorted(zip(*(side.tolist() for side in np.nonzero(distance <= BITS))))  # fmt: skip


def test_many_equal_and_many_alike_pictures_are_one_group_without_a_square_of_comparisons(
    monkeypatch,
) -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(-127, 128, duplicates.phash.SIZE)
    rows = np.tile(base, (5000, 1))
    rows[2000:, :144] += rng.integers(-3, 4, (3000, 144))
    compared = []
    verified = duplicates._verified
    monkeypatch.setattr(
        duplicates, "_verified", lambda *args: compared.append(len(args[3])) or verified(*args)
    )
    assert (first_copies(rows.clip(-127, 127).astype(np.int8)) == 0).all()
    assert sum(compared) < 20 * 5000


def test_components_are_those_of_a_walk() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 200, (2, 120))
    chain = np.arange(200, 299)
    one, other = np.concatenate([one, chain[::-1]]), np.concatenate([other, chain[::-1] + 1])
    parent = list(range(300))
    for _ in range(300):
        for a, b in zip(one.tolist(), other.tolist()):
            parent[a] = parent[b] = min(parent[a], parent[b])
    assert components(300, one, other).tolist() == parent
    assert components(0, one[:0], other[:0]).tolist() == []


def test_a_picture_is_better_than_the_same_in_a_frame(tmp_path: Path) -> None:
    image = photo(3, (300, 220))
    save(ImageOps.expand(image, 20, (255, 255, 255)), tmp_path / "a.jpg")
    save(image, tmp_path / "b.jpg")
    groups = check(open_set(tmp_path)).groups
    assert groups.group_of.tolist() == [0, 0] and groups.best.tolist() == [False, True]


def test_a_frame_is_told_from_the_ground_of_a_drawing() -> None:
    image = photo(3, (190, 140))
    framed = ImageOps.expand(image, 12, (255, 255, 255))
    assert inside_frame(framed) == (13, 13, 201, 151)
    ground = Image.new("RGB", (200, 150), (255, 255, 255))
    ImageDraw.Draw(ground).ellipse((60, 40, 140, 110), fill=(200, 30, 30))
    for picture in (image, ground, on_white(ground), Image.new("RGB", (200, 150), (255, 255, 255))):
        assert inside_frame(picture) is None
