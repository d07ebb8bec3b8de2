"""The audit by hand: what one pair shows, and what only shows across shards."""

import io
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pairloom.clean import audit
from pairloom.clean.audit import ShardFacts, across, look
from pairloom.data.pair import Blob, make_pair


def facts(pairs: list[tuple[int, int, int, list[int]]]) -> ShardFacts:
    """(key, picture, look, texts) of each pair of a shard."""
    return ShardFacts(
        "s", *(np.array([pair[at] for pair in pairs], np.uint64) for at in range(3)),
        np.array([text for *_, found in pairs for text in found], np.uint64),
        np.cumsum([0, *(len(pair[3]) for pair in pairs)]).astype(np.int32), Counter(), {},
    )  # fmt: skip


def far(index: int) -> int:
    """Hashes that differ from each other in many bits."""
    return int(np.random.default_rng(index).integers(1, 2**63))


def found(*shards: list, other: list | None = None) -> dict[str, list[int]]:
    made = across([facts(shard) for shard in shards], None if other is None else [facts(other)])
    return {code: indices.tolist() for code, indices in made.items()}


def test_the_second_of_two_equal_pairs_is_the_duplicate_also_across_shards() -> None:
    one, two = (1, 10, far(1), [5]), (2, 20, far(2), [6])
    assert found([one, two], [one, one])["exact_duplicate"] == [2, 3]
    assert found([one], [two])["exact_duplicate"] == []


def test_pairs_without_a_picture_are_no_duplicates_of_each_other() -> None:
    missing = (7, 0, 0, [5])
    made = found([missing, missing])
    assert made["exact_duplicate"] == made["conflict"] == made["near_duplicate"] == []


def test_one_picture_with_other_texts_is_a_conflict_and_the_same_texts_are_none() -> None:
    a, b, again = (1, 10, far(1), [5]), (2, 10, far(1), [6]), (3, 30, far(3), [5])
    made = found([a, again], [b, again])
    assert made["conflict"] == [0, 2]
    assert made["exact_duplicate"] == [3]


@pytest.mark.parametrize("bits, near", [(0, True), (1, True), (2, True), (3, False), (9, False)])
def test_looks_within_two_bits_are_nearly_the_same(bits: int, near: bool) -> None:
    look = far(4)
    other = look ^ sum(1 << (7 * bit) for bit in range(bits))
    made = found([(1, 10, look, []), (2, 20, far(5), [])], [(3, 30, other, [])])
    assert made["near_duplicate"] == ([0, 2] if near else [])


def test_copies_of_one_file_are_not_called_nearly_the_same() -> None:
    assert found([(1, 10, far(1), []), (2, 10, far(1), [])])["near_duplicate"] == []


def test_a_text_on_more_than_ten_pictures_is_common_and_on_one_picture_it_is_not() -> None:
    def on(pictures: int) -> list:
        return [(at, 100 + at, far(at), [5, 1000 + at]) for at in range(1, pictures + 1)]

    assert found(on(10))["common_text"] == []
    assert found(on(11))["common_text"] == list(range(0, 22, 2))
    assert found([(at, 100, far(1), [5]) for at in range(30)])["common_text"] == []


def test_a_picture_that_stands_in_the_other_set_leaks() -> None:
    mine = [(1, 10, far(1), []), (2, 20, far(2), []), (3, 0, 0, [])]
    assert found(mine, other=[(9, 20, far(2), []), (8, 0, 0, [])])["leak"] == [1]
    assert "leak" not in found(mine)


def test_an_empty_set_has_no_faults() -> None:
    assert all(indices == [] for indices in found([]).values())


@given(st.binary(min_size=8, max_size=8), st.lists(st.integers(0, 63), min_size=3, max_size=9, unique=True))
def test_pigeonhole_never_calls_looks_near_that_differ_in_three_bits(raw: bytes, bits: list[int]) -> None:
    look = int.from_bytes(raw, "big") or 1
    other = look ^ sum(1 << bit for bit in bits)
    assert found([(1, 1, look, []), (2, 2, other or 1, [])])["near_duplicate"] == []


def pair_of(image: Image.Image, kind: str = "PNG", texts: tuple[str, ...] = ("a wall",)):
    file = io.BytesIO()
    image.save(file, kind)
    return make_pair("one", Blob(data=file.getvalue(), name=f"one.{kind.lower()}"), list(texts))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def test_tiny_flat_and_long_pictures_are_named() -> None:
    assert look(pair_of(noise(15, 40)))[1]["image_faults"] == ["tiny"]
    assert look(pair_of(noise(16, 16)))[1]["image_faults"] == []
    assert look(pair_of(noise(101, 20)))[1]["image_faults"] == ["extreme_shape"]
    assert look(pair_of(noise(100, 20)))[1]["image_faults"] == []
    assert look(pair_of(Image.new("RGB", (90, 90), (9, 90, 9))))[1]["image_faults"] == ["blank"]


@given(st.integers(0, 40), st.integers(1, 255))
def test_flatness_is_the_largest_deviation_of_a_channel(dots: int, height: int) -> None:
    """The short way over the range never contradicts the definition."""
    pixels = np.zeros((audit.GRID[1], audit.GRID[0], 3), np.uint8)
    pixels.reshape(-1, 3)[:dots, 1] = height
    wanted = pixels.astype(np.float64).std(axis=(0, 1)).max() < audit.FLAT
    assert audit._is_flat(Image.fromarray(pixels)) == wanted


def test_the_hash_says_which_cells_are_brighter_than_their_right_neighbours() -> None:
    ramp = np.repeat(np.linspace(0, 255, 27, dtype=np.uint8)[None], 24, 0)
    rising, falling = (Image.fromarray(np.stack([a] * 3, -1)) for a in (ramp, ramp[:, ::-1]))
    assert audit.difference_hash(rising) == 2**64 - 1
    assert audit.difference_hash(falling) == 1  # no cell is: 0 stands for "no picture"


def test_a_picture_at_another_size_and_quality_looks_the_same() -> None:
    smooth = noise(6, 5).resize((400, 300), Image.Resampling.BICUBIC)
    hashes = [look(pair_of(image, kind))[1]["looks"] for image, kind in
              ((smooth, "PNG"), (smooth, "JPEG"), (smooth.resize((200, 150)), "JPEG"))]  # fmt: skip
    assert max(bin(a ^ b).count("1") for a in hashes for b in hashes) <= 4
    other = look(pair_of(noise(6, 5, seed=1).resize((400, 300), Image.Resampling.BICUBIC)))[1]["looks"]
    assert bin(other ^ hashes[0]).count("1") > 10
