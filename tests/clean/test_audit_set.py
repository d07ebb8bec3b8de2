"""check: counts and examples over shards, resuming, and nothing written to the set; planting; finding in the ledger."""

from pathlib import Path

import colours
import numpy as np
import pyarrow.parquet as pq
import pytest

from pairloom.clean import audit_set, ledger, rows
from pairloom.clean.audit_set import check
from pairloom.data.shards import open_set, save_set
from pairloom.errors import Mistake
from pairloom.scale import Execution


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """60 pairs in three tars; pair 7 stands twice, in two shards."""
    root = tmp_path_factory.mktemp("check")
    pairs = list(open_set(colours.write(root / "folder", 60, bad=0.3)).pairs())
    return save_set([*pairs, pairs[7]], root / "raw", "webdataset", size=25)


def test_counts_examples_and_sizes(world) -> None:
    findings = check(world)
    names = [text for pair in world.pairs() for text in pair.texts if text.text.startswith("IMG_")]
    assert (findings.pairs, findings.texts, findings.images) == (61, 61, 60)
    audit = findings.audit()
    assert audit["file_name"]["count"] == len(names) > 0
    assert audit["exact_duplicate"]["count"] == 1
    assert {entry["text"] for entry in audit["file_name"]["examples"]} <= {text.text for text in names}
    (example,) = audit["exact_duplicate"]["examples"]
    assert example["name"].startswith("00007")
    assert list(audit)[0] in ("file_name", "exact_duplicate") and findings.bad() == len(names) + 1


def test_workers_and_a_second_call_find_the_same(world, tmp_path) -> None:
    first = check(world, folder=tmp_path, size=32)
    stamps = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = check(world, Execution(workers=2), folder=tmp_path, size=32)
    assert first.audit() == again.audit()
    assert stamps == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    for shard in world.shards:
        assert np.load(tmp_path / f"{shard.name}.npy").shape[1:] == (32, 32, 3)


def test_a_process_of_its_own_finds_the_same_copies_and_leaks(world, tmp_path, monkeypatch) -> None:
    here = check(world, folder=tmp_path, size=0, against=world)
    monkeypatch.setattr(audit_set, "APART", 0)
    apart = check(world, folder=tmp_path, size=0, against=world)
    assert here.audit() == apart.audit() and here.audit()["leak"]["count"] == 61
    assert np.array_equal(here.groups.group_of, apart.groups.group_of)


def test_the_columns_of_a_finished_shard_are_written_again_where_they_are_gone(world, tmp_path) -> None:
    before = check(world, folder=tmp_path, size=0)
    for file in tmp_path.glob("*.npz"):
        file.unlink()
    after = check(world, folder=tmp_path, size=0)
    assert before.audit() == after.audit() and before.images == after.images == 60


def test_a_leak_into_another_set_is_found(world) -> None:
    assert check(world, against=world).audit()["leak"]["count"] == 61


def test_a_set_without_pairs_is_a_mistake(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("file_name,text\n")
    with pytest.raises(Mistake):
        check(open_set(tmp_path / "a.csv", "table"))


@pytest.fixture(scope="module")
def data(world, tmp_path_factory) -> rows.Rows:
    work = tmp_path_factory.mktemp("work")
    (work / "audit").mkdir()
    names = [shard.name for shard in world.shards]
    rows.gather(work, names, check(world, folder=work / "audit", size=32))
    return rows.load(work)


def test_rows_are_the_pairs_in_order_with_the_faults_of_the_whole_set(world, data) -> None:
    pairs = list(world.pairs())
    assert list(data.column("key")) == [pair.key for pair in pairs]
    assert data.first.tolist() == [0, 25, 50, 61]
    faults, usable, judged = (list(data.column(name)) for name in ("image_faults", "usable", "judged"))
    assert [row for row, found in enumerate(faults) if "exact_duplicate" in found] == [60]
    assert not usable[60] and usable[7]
    assert judged[60] == [] and judged[7] == [0]
    assert [len(texts) for texts in data.column(rows.LEARN)] == list(map(len, judged))


def test_pixels_of_all_shards_are_those_of_each(data) -> None:
    parts = [np.load(data.work / "audit" / f"{shard}.npy") for shard in data.shards]
    assert np.array_equal(data.pixels, np.concatenate(parts))


def test_planted_texts_are_never_the_rows_own_nor_of_the_same_picture(data) -> None:
    rows.write_donors(data)
    table = pq.read_table(data.work / "donors.parquet")
    donors = list(zip(*(table.column(name).to_pylist() for name in ("image_key", "text"))))
    stands: dict[str, set[str]] = {}
    for key, texts in zip(data.column("image_key"), data.column(rows.LEARN)):
        for text in texts:
            stands.setdefault(text, set()).add(key)
    assert len(donors) == sum(map(len, data.column(rows.LEARN)))
    for shard in data.shards:
        part = rows.read_part(data.folder, shard)
        planted = list(rows.plant(part, donors, 2))
        assert planted == list(rows.plant(part, donors, 2))
        pairs = part.to_pylist()
        assert {row for row, _ in planted} == {row for row, pair in enumerate(pairs) if pair["judged"]}
        assert max(np.bincount([row for row, _ in planted])) <= 2
        for row, text in planted:
            assert text.strip().lower() not in {own.strip().lower() for own in pairs[row]["texts"]}
            assert stands[text] - {pairs[row]["image_key"]}


def entry(name: str, key: str) -> dict:
    return {**dict.fromkeys(ledger.SCHEMA.names), "name": name, "key": key, "text_id": 0, "decision": "keep", "findings": []}  # fmt: skip


def test_a_pair_is_found_by_name_and_by_the_first_digits_of_its_key(tmp_path) -> None:
    path = tmp_path / "pairs.parquet"
    ledger.write_part(path, [entry("cat", "abcdef01"), entry("dog", "abcd9999"), entry("cat", "abcdef01")])
    assert [row["name"] for row in ledger.find(tmp_path, "cat")] == ["cat", "cat"]
    assert [row["name"] for row in ledger.find(path, "abcd")] == ["cat", "dog", "cat"]
    assert [row["name"] for row in ledger.find(tmp_path, "abcd9")] == ["dog"]
    for unknown in ("abc", "ca", "zebra"):  # three digits are too few for a key
        with pytest.raises(Mistake, match=unknown):
            ledger.find(tmp_path, unknown)


def test_parts_are_joined_in_order_and_counted(tmp_path) -> None:
    parts = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    ledger.write_part(parts[0], [entry("one", "1"), {**entry("two", "2"), "decision": "drop"}])
    ledger.write_part(parts[1], [])
    assert ledger.join_parts(parts, tmp_path / "all.parquet") == {
        "keep": 1, "drop": 1, "replace": 0, "add": 0, "reject": 0, "textless": 0,
    }  # fmt: skip
    assert pq.read_table(tmp_path / "all.parquet").column("name").to_pylist() == ["one", "two"]


def test_there_is_no_ledger_before_a_run_has_finished(tmp_path) -> None:
    with pytest.raises(Mistake, match="no ledger"):
        ledger.find(Path(tmp_path), "cat")
