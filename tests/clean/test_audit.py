"""The audit by hand: what one pair shows, and what only shows across shards."""

import numpy as np

from pairloom.clean.audit import across
from pairloom.clean.duplicates import group_copies
from pairloom.clean.perceptual_hash import SIZE
from pairloom.clean.shard_facts import ShardFacts


def facts(pairs: list[tuple[int, int, int, list[int]]]) -> ShardFacts:
    """(key, picture, number of what it shows, texts) of each pair of a shard."""
    keys, pictures = (np.array([pair[at] for pair in pairs], np.uint64) for at in range(2))
    seen = np.array([descriptor(pair[2]) for pair in pairs], np.int8).reshape(-1, SIZE)
    words = np.array([text for *_, texts in pairs for text in texts], np.uint64)
    columns = {
        "keys": keys, "images": pictures, "quality": np.full(len(pairs), 100 << 32, np.uint64), "descriptors": seen,
        "words": keys, "texts": words, "first_text": np.cumsum([0, *(len(pair[3]) for pair in pairs)]).astype(np.int32),
    }  # fmt: skip
    return ShardFacts("s", len(pairs), len(words), 0, columns)


def descriptor(number: int) -> np.ndarray:
    """Descriptors of pictures that are unlike each other; of none for 0."""
    return np.random.default_rng(number).integers(-127, 128, SIZE).astype(np.int8) * (number != 0)


def found(*shards: list, other: list | None = None) -> dict[str, list[int]]:
    every = [facts(shard) for shard in shards]
    whole = across(every, group_copies(every), None if other is None else [facts(other)])
    return {code: indices.tolist() for code, indices in whole.items()}


def test_the_second_of_two_equal_pairs_is_the_duplicate_also_across_shards() -> None:
    one, two = (1, 10, 1, [5]), (2, 20, 2, [6])
    assert found([one, two], [one, one])["exact_duplicate"] == [2, 3]
    assert found([one], [two])["exact_duplicate"] == []


def test_pairs_without_a_picture_are_no_duplicates_of_each_other() -> None:
    missing = (7, 0, 0, [5])
    made = found([missing, missing])
    assert made["exact_duplicate"] == made["conflict"] == made["near_duplicate"] == []


def test_one_picture_with_other_texts_is_a_conflict_and_the_same_texts_are_none() -> None:
    a, b, again = (1, 10, 1, [5]), (2, 10, 1, [6]), (3, 30, 3, [5])
    made = found([a, again], [b, again])
    assert made["conflict"] == [0, 2]
    assert made["exact_duplicate"] == [3]


def test_pairs_of_equal_pictures_in_other_files_are_near_duplicates() -> None:
    whole = found([(1, 10, 4, []), (2, 20, 5, [])], [(3, 30, 4, []), (4, 40, 6, [])])
    assert whole["near_duplicate"] == [0, 2]


def test_copies_of_one_file_are_not_called_nearly_the_same() -> None:
    assert found([(1, 10, 1, []), (2, 10, 1, [])])["near_duplicate"] == []


def test_a_text_on_more_than_ten_pictures_is_common_and_on_one_picture_it_is_not() -> None:
    def on(pictures: int) -> list:
        return [(at, 100 + at, at, [5, 1000 + at]) for at in range(1, pictures + 1)]

    assert found(on(10))["common_text"] == []
    assert found(on(11))["common_text"] == list(range(0, 22, 2))
    assert found([(at, 100, 1, [5]) for at in range(30)])["common_text"] == []


def test_a_picture_that_stands_in_the_other_set_leaks() -> None:
    mine = [(1, 10, 1, []), (2, 20, 2, []), (3, 0, 0, [])]
    assert found(mine, other=[(9, 20, 2, []), (8, 0, 0, [])])["leak"] == [1]
    assert "leak" not in found(mine)


def test_an_empty_set_has_no_faults() -> None:
    assert all(indices == [] for indices in found([]).values())
