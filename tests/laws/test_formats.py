"""Laws of every format that lies in data/formats: found by file name, so that a new one is tested by itself."""

import io
import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pairloom import registry
from pairloom.data.formats import _look
from pairloom.data.pair import Blob, Pair, Text, make_pair
from pairloom.data.shards import PairSet, find, open_set, read, save_set
from pairloom.errors import Mistake

FORMATS = registry.names("data.formats")
VERBS = ("sniff", "shards", "read", "write", "finish")


def drawn(seed: int, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def sample_pairs() -> list[Pair]:
    """Same names in two folders, several texts, scripts, quotes, a synthetic text, metadata of words."""
    rows: list[tuple[str, str, list[Text]]] = [
        ("a/one.png", "PNG", [Text("a red thing, small"), Text('it says "no", twice')]),
        ("b/one.png", "PNG", [Text("another thing")]),
        ("b/two words.jpg", "JPEG", [Text("ein Stück Käse"), Text("チーズ"), Text("جبن 🧀")]),
        ("three.jpg", "JPEG", [Text("as it was"), Text("as it should be", "synthetic:tiny")]),
        ("four.webp", "WEBP", [Text("a, b; c\t d | e"), Text("x" * 3000)]),
    ]
    made = []
    for number, (name, kind, texts) in enumerate(rows):
        blob = Blob(data=drawn(number, kind), name=name)
        stem = name.rpartition(".")[0]
        made.append(
            make_pair(stem, blob, tuple(texts), {"year": str(1939 + number), "place": "Lowell, Mass."})
        )
    return made


def keys(pairs) -> list[tuple[str, tuple[str, ...]]]:
    return sorted((pair.image_key, tuple(text.text for text in pair.texts)) for pair in pairs)


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> dict[str, PairSet]:
    """One set of each format, written by its own writer in two shards."""
    root = tmp_path_factory.mktemp("zoo")
    return {name: save_set(sample_pairs(), root / name, name, size=3) for name in FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_a_claim_and_five_functions(name: str) -> None:
    module = find(name)
    assert module.CLAIM and "\n" not in module.CLAIM
    assert set(module.HOLDS) <= {"source", "meta"}
    assert all(callable(getattr(module, verb)) for verb in VERBS)


@pytest.mark.parametrize("name", FORMATS)
def test_exactly_one_format_claims_a_set(zoo, name: str) -> None:
    path = zoo[name].path
    assert [other for other in FORMATS if find(other).sniff(path)] == [name]
    assert open_set(path).format == name


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_written_is_read(zoo, name: str) -> None:
    back = list(zoo[name].pairs())
    assert keys(back) == keys(sample_pairs())
    assert not [pair for pair in back if pair.problem]
    wanted = {pair.key: pair for pair in sample_pairs()}
    for pair in back:
        if "source" in find(name).HOLDS:
            assert [text.source for text in pair.texts] == [text.source for text in wanted[pair.key].texts]
        if "meta" in find(name).HOLDS:
            assert wanted[pair.key].meta.items() <= pair.meta.items()


@pytest.mark.parametrize("name", FORMATS)
def test_a_set_survives_being_written_again(zoo, name: str, tmp_path: Path) -> None:
    """Shard by shard under the set's own shard names, as a shard function does it."""
    module, first = find(name), zoo[name]
    for shard in reversed(first.shards):
        module.write(tmp_path, shard.name, read(shard))
    module.finish(tmp_path, [shard.name for shard in first.shards])
    assert open_set(tmp_path).format == name
    assert [(p.key, p.texts, p.meta, p.name) for p in open_set(tmp_path).pairs()] == [
        (p.key, p.texts, p.meta, p.name) for p in first.pairs()
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_writing_a_shard_twice_changes_nothing(name: str, tmp_path: Path) -> None:
    module, pairs = find(name), sample_pairs()
    for folder_name, times in (("once", 1), ("twice", 2)):
        for _ in range(times):
            module.write(tmp_path / folder_name, "00000", pairs)
        module.finish(tmp_path / folder_name, ["00000"])
    assert files(tmp_path / "once") == files(tmp_path / "twice")
    module.finish(tmp_path / "twice", ["00000"])  # cut short after the merge, and run again
    assert files(tmp_path / "once") == files(tmp_path / "twice")
    assert not [file for file in files(tmp_path / "once") if ".part" in file]


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_written_over_a_file_that_is_not_ours(name: str, tmp_path: Path) -> None:
    save_set(sample_pairs(), tmp_path / "set", name)
    for file in files(tmp_path / "set"):
        out = tmp_path / file.replace("/", "_")
        (out / file).parent.mkdir(parents=True)
        (out / file).write_bytes(b"precious")
        with pytest.raises(Mistake, match="exists already"):
            save_set(sample_pairs(), out, name)
        assert (out / file).read_bytes() == b"precious"


@pytest.mark.parametrize("name", FORMATS)
def test_shards_cover_everything_once_in_any_order(zoo, name: str) -> None:
    shards = [pickle.loads(pickle.dumps(shard)) for shard in open_set(zoo[name].path).shards]
    assert len({shard.name for shard in shards}) == len(shards)
    assert all("/" not in shard.name and not shard.name.startswith(".") for shard in shards)
    random.Random(5).shuffle(shards)
    assert keys(pair for shard in shards for pair in read(shard)) == keys(sample_pairs())


@pytest.mark.parametrize("name", FORMATS)
def test_large_sets_have_shards_of_about_a_thousand(name: str, tmp_path: Path, monkeypatch) -> None:
    """Here of three: the size is one number, SIZE, that the formats read; a tar is as large as it was written."""
    for module in (
        "pairloom.data.formats._json",
        "pairloom.data.formats._rows",
        "pairloom.data.formats._columnar",
        *(f"pairloom.data.formats.{name}",),
    ):
        monkeypatch.setattr(f"{module}.SIZE", 3, raising=False)
    pairs = [
        make_pair(str(n), Blob(data=drawn(n), name=f"{n:02d}.png"), [f"thing {n}", f"it {n}"])
        for n in range(11)
    ]
    made = save_set(pairs, tmp_path, name, size=3)
    assert len(made.shards) >= 4
    assert max(len(list(read(shard))) for shard in made.shards) <= 3
    assert keys(made.pairs()) == keys(pairs)


@pytest.mark.parametrize("name", FORMATS)
def test_a_broken_file_is_named(zoo, name: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(zoo[name].path, root)
    broken = _look.marker(root) or next(root.rglob("*.png"))
    whole = broken.read_bytes()
    for left in (0, len(whole.rstrip(b"\0")) // 2):  # a tar ends in zeros
        broken.write_bytes(whole[:left])
        try:
            pairs = list(open_set(root, name).pairs())
        except Mistake as mistake:
            assert broken.name in str(mistake) or str(root) in str(mistake)
        else:
            assert left == 0 or keys(p for p in pairs if not p.problem) != keys(sample_pairs())
            assert any(pair.problem for pair in pairs) or broken.suffix == ".png"


@st.composite
def mutations(draw) -> tuple[list[tuple[float, int, bytes]], float]:
    """Places (as shares of the length), how many bytes go there, what comes; and where the file is cut."""
    edit = st.tuples(st.floats(0, 1), st.integers(0, 12), st.binary(max_size=12))
    return draw(st.lists(edit, max_size=4)), draw(st.sampled_from([1.0, 1.0, 0.9, 0.5, 0.1]))


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_sets_give_mistakes_or_problems(zoo, name: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(zoo[name].path, root)
    target = _look.marker(root) or next(root.rglob("three.txt"))
    whole = target.read_bytes()

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(mutations())
    def check(mutation) -> None:
        edits, cut = mutation
        raw = whole
        for share, gone, come in edits:
            at = int(share * len(raw))
            raw = raw[:at] + come + raw[at + gone :]
        target.write_bytes(raw[: int(cut * len(raw))])
        try:
            pairs = list(open_set(root, name).pairs())
        except Mistake:
            return
        for pair in pairs:
            assert pair.problem or (pair.image_key and pair.texts)

    check()


@pytest.mark.parametrize("name", FORMATS)
def test_random_bytes_give_mistakes_or_problems(zoo, name: str, tmp_path: Path) -> None:
    target = tmp_path / (_look.marker(zoo[name].path) or Path("x.txt")).name

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        st.binary(max_size=1500),
        st.sampled_from([b"", b"[", b'{"images": [', b'[{"image": ', b"file_name,text\n"]),
    )
    def check(raw: bytes, head: bytes) -> None:
        target.write_bytes(head + raw)
        for chosen in (None, name):
            try:
                pairs = list(open_set(tmp_path, chosen).pairs())
            except Mistake:
                continue
            assert all(pair.problem or pair.image_key for pair in pairs)

    check()
