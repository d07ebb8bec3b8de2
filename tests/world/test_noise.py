"""Noise: as much of each kind as asked, each text what its truth says, and the truth nowhere in the set."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pairloom.errors import Mistake
from pairloom.world import (
    NOISES,
    SHARES,
    STYLES,
    World,
    caption,
    draw,
    parse,
    read,
    sample,
    spoil,
    write_folder,
    write_tars,
)
from pairloom.world.claim import Claim, Link, Mention
from pairloom.world.languages import translate
from pairloom.world.scene import Scene, Turn, turn_of


def other(turn: Turn) -> Scene:
    return sample(int(turn.next() * 1e9), "simple")


def test_kinds_come_at_the_rates_that_were_asked() -> None:
    count = 800
    world = World(count, seed=3, level="simple", noise=0.3)
    kinds = Counter(row.truth.noise for row in world.rows())
    for noise, share in {"": 0.7, **{name: 0.3 * value for name, value in SHARES.items()}}.items():
        spread = (count * share * (1 - share)) ** 0.5
        assert abs(kinds[noise] - count * share) < 3.5 * spread, (noise, kinds)
    assert abs(sum(SHARES.values()) - 1) < 1e-9


def test_shares_can_be_set_and_misspelt() -> None:
    only = World(60, level="simple", noise=1.0, shares={"mismatch": 1.0})
    assert {row.truth.noise for row in only.rows()} == {"mismatch"}
    assert {row.truth.noise for row in World(60, level="simple").rows()} == {""}
    with pytest.raises(ValueError, match="mismatch"):
        World(60, noise=1.0, shares={"mismatches": 1.0}).row(0)
    with pytest.raises(ValueError, match="second pair"):
        World(1, noise=0.5).row(0)


@pytest.mark.parametrize("noise", NOISES)
def test_a_text_is_what_its_truth_says(noise: str) -> None:
    for seed in range(40):
        scene = sample(seed, "simple")
        style = STYLES[seed % 4]
        text, truth = spoil(scene, noise, other, turn_of(seed, "test"), style)
        assert truth.noise == noise and truth.clean == caption(scene, style) != text
        reading = read(text, scene)
        if noise in ("mismatch", "wrong_attribute"):
            assert truth.true is False and reading.stated and not reading.right
        if noise == "mismatch":
            assert text == caption(sample(int(truth.detail), "simple"), style)
        if noise in ("spam", "file_name", "boilerplate"):
            assert truth.true is None and not reading.right
            assert not any(fact.sort == "thing" for fact in reading.stated), text
        if noise == "truncation":
            assert truth.clean.startswith(text) and 0 < len(text) <= 0.75 * len(truth.clean)
            assert truth.true == (reading.right if reading.stated else None)
        if noise == "other_language":
            assert (
                truth.true is True
                and len(text.split()) > 2
                and truth.detail in ("german", "french", "spanish")
            )
    assert len({spoil(sample(seed, "simple"), noise, other, turn_of(seed))[0] for seed in range(40)}) > 8


def test_translations_are_right() -> None:
    cat, bird, star = (
        Mention("cat", (("colour", "blue"),)),
        Mention("bird", (("colour", "yellow"),)),
        Mention("star", (("colour", "pink"),)),
    )
    chase, left = (
        Claim((cat, bird), (Link("chasing", 0, 1),), "beach"),
        Claim((bird, star), (Link("left of", 0, 1),)),
    )
    bear = Claim(
        (Mention("house", (("colour", "white"),)), Mention("bear", (("colour", "green"),))),
        (Link("above", 0, 1),),
    )
    assert translate(chase, "german") == "Eine blaue Katze jagt einen gelben Vogel am Strand"
    assert translate(left, "german") == "Ein gelber Vogel links von einem rosa Stern"
    assert translate(bear, "german") == "Ein weißes Haus über einem grünen Bären"
    assert translate(chase, "french") == "Un chat bleu poursuit un oiseau jaune à la plage"
    assert translate(left, "french") == "Un oiseau jaune à gauche d'une étoile rose"
    assert translate(bear, "french") == "Une maison blanche au-dessus d'un ours vert"
    assert translate(chase, "spanish") == "Un gato azul persigue un pájaro amarillo en la playa"
    assert translate(bear, "spanish") == "Una casa blanca encima de un oso verde"
    assert translate(Claim((cat, star)), "german") == "Eine blaue Katze und ein rosa Stern"


def test_nothing_said_in_another_language_is_false() -> None:
    """Every noun and colour of the translation stands for one of the scene's."""
    for language in ("german", "french", "spanish"):
        for seed in range(60):
            scene = sample(seed, "simple")
            thing = scene.things[0]
            text = translate(Claim((Mention(thing.kind, (("colour", thing.colour),)),)), language)
            others = {
                translate(Claim((Mention(k, (("colour", c),)),)), language)
                for k, c in (("boat", "brown"), ("frog", "orange"))
            }
            assert text not in others and len(text.split()) >= 3


def test_a_row_depends_on_its_index_alone() -> None:
    world = World(150, seed=1, level="simple", noise=0.5, styles=STYLES)
    rows = list(world.rows())
    assert rows[117] == world.row(117) and [row.name for row in rows[:2]] == ["000000", "000001"]
    assert len({row.scene.seed for row in rows}) == 150
    assert not {row.scene.seed for row in rows} & {row.scene.seed for row in World(150, seed=2).rows()}
    plain = World(150, seed=1, level="simple", styles=STYLES)
    assert all(row.truth.clean == plain.row(index).text for index, row in enumerate(rows))


def test_a_folder_holds_pairs_and_no_truth(tmp_path: Path) -> None:
    world = World(25, level="simple", size=48, noise=0.5)
    aside = write_folder(world, tmp_path / "set")
    assert aside == tmp_path / "set.truth.jsonl"
    names = {path.name for path in (tmp_path / "set").iterdir()}
    assert names == {f"{index:06d}{suffix}" for index in range(25) for suffix in (".jpg", ".txt")}
    told = [json.loads(line) for line in aside.read_text().splitlines()]
    assert len(told) == 25 and {row["noise"] for row in told} > {""}
    for index, row in enumerate(told):
        assert (tmp_path / "set" / f"{row['name']}.txt").read_text() == row["text"] + "\n"
        assert row["text"] == world.row(index).text and row["clean"] == world.row(index).truth.clean
        with Image.open(tmp_path / "set" / f"{row['name']}.jpg") as image:
            assert image.size == (48, 48)
            assert np.abs(np.asarray(image).astype(int) - draw(world.scene(index), 48)).mean() < 6
    assert not list(tmp_path.glob(".*"))


def test_tars_hold_the_same_pairs_and_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    world = World(25, level="simple", size=48, noise=0.5)
    write_folder(world, tmp_path / "set")
    for name in ("a", "b"):
        write_tars(world, tmp_path / name, per_shard=10)
    shards = sorted((tmp_path / "a").iterdir())
    assert [path.name for path in shards] == ["00000.tar", "00001.tar", "00002.tar"]
    assert all(path.read_bytes() == (tmp_path / "b" / path.name).read_bytes() for path in shards)
    assert (tmp_path / "a.truth.jsonl").read_bytes() == (tmp_path / "set.truth.jsonl").read_bytes()
    with tarfile.open(shards[1]) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert list(members)[:3] == ["000010.jpg", "000010.txt", "000010.json"] and len(members) == 30
    assert members["000013.jpg"] == (tmp_path / "set" / "000013.jpg").read_bytes()
    about = json.loads(members["000013.json"])
    assert about["caption"] == members["000013.txt"].decode() == world.row(13).text
    assert Image.open(io.BytesIO(members["000013.jpg"])).size == (about["width"], about["height"]) == (48, 48)
    assert b"noise" not in b"".join(members[name] for name in members if name.endswith(".json"))


def test_nothing_is_written_over(tmp_path: Path) -> None:
    world = World(2, level="simple")
    (tmp_path / "set").mkdir()
    with pytest.raises(Mistake, match="exists already"):
        write_folder(world, tmp_path / "set")
    with pytest.raises(Mistake, match="inside the set"):
        write_tars(world, tmp_path / "new", tmp_path / "new" / "truth.jsonl")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Mistake, match="cannot be written"):
        write_folder(world, tmp_path / "file" / "set")
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "set"]


def test_the_front_door_of_the_docs(tmp_path: Path) -> None:
    row = World(count=40, seed=0, level="simple", size=64, styles=("terse", "full"), noise=0.3).row(7)
    assert draw(row.scene, 64).shape == (64, 64, 3)
    assert parse(caption(row.scene, "full")).mentions and read(row.truth.clean, row.scene).right
