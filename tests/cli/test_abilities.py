"""Every command with every kind of model: it does its work, or says in one Mistake what the model can do instead."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from pairloom import registry
from pairloom.data.feed import RegionFeed, feed_name
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.model import build, save
from pairloom.verbs import KINDS, SCORES, able, ways
from pairloom.weights import load
from pairloom.world import World
from pairloom.world.asked import write_examples

# what is trained for less than its paper says: a captioner and a matcher as they are published, a CoCa without a decoder
LESS = {
    "captioner": ("blip", ["itc=0", "itm=0", "momentum=0", "queue=0"]),
    "matcher": ("blip", ["lm=0"]),
    "contrast": ("coca", ["lm=0"]),
    "language": ("flamingo", ["learn=language"]),
}
MODELS = {**{name: (name, []) for name in registry.names("systems")}, **LESS}
TEXTS = ("a red square", "a blue star")
# command -> abilities of which one is needed, and what is asked of a model that has it
COMMANDS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "match": (SCORES, ["pairs/0.png", *TEXTS, "--json"]),
    "score": (SCORES, ["pairs", "--out", "OUT/scores.parquet", "--workers", "1", "--json"]),
    "retrieve": (SCORES, ["pairs", "--json"]),
    "explain": (SCORES, ["pairs/0.png", TEXTS[0], "--json"]),
    "bench": (SCORES, ["vsr", "--mini", "--limit", "2", "--no-blind", "--out", "OUT/bench", "--json"]),
    "clean": (SCORES, ["pairs", "--out", "OUT/clean", "--dry-run"]),
    "caption": (("caption",), ["pairs/0.png", "--max-length", "6"]),
    "embed": (("embed",), ["pairs", "--out", "OUT/vectors.parquet", "--workers", "1", "--json"]),
    "classify": (("embed",), ["pairs/0.png", "--classes", "square,star"]),
    "index": (("embed",), ["pairs", "--out", "OUT/index", "--workers", "1", "--json"]),
    "ask": (("answer", "choose"), ["pairs/0.png", "What colour is it?", "--json"]),
    "reason": (("reason",), ["pairs/0.png", "pairs/1.png", "Both are red.", "--json"]),
    "dialog": (("dialog",), ["pairs/0.png", "Is it red?", "--candidates", "yes,no", "--json"]),
    "prompt": (("prompt",), ["pairs/0.png", "--examples", "pairs", "--shots", "1", "--max-length", "4"]),
    "draw": (("draw",), [TEXTS[0], "--steps", "2", "--out", "OUT/drawn", "--json"]),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few pairs, and a model of every system at its tiny size."""
    root = tmp_path_factory.mktemp("abilities")
    write_examples(World(4, seed=3, level="simple", size=32), root / "questions", "questions")
    pictures = sorted((root / "questions").rglob("*.jpg"))[:4]
    (root / "pairs").mkdir()
    for at, picture in enumerate(pictures):
        Image.open(picture).save(root / "pairs" / f"{at}.png")
        (root / "pairs" / f"{at}.txt").write_text(TEXTS[at % 2])
    words = [*TEXTS, "yes no what colour is it both are red", "Is it red?", "Output: a red square ."]
    tokens = Tokens.train(words * 20, 300)
    for name, (system, settings) in MODELS.items():
        save(build(system, tokens, "tiny", settings), root / name)
    return root


WITH_REGIONS = ("match", "score", "retrieve", "caption")


def write_regions_for(feed: RegionFeed, pairs: Path, out: Path) -> Path:
    """Two random regions of each picture, as wide as the model reads."""
    out.mkdir()
    draw = numpy.random.default_rng(0)
    classes = {"class_probabilities": numpy.full((2, feed.classes), 1 / feed.classes)} if feed.classes else {}
    for picture in pairs.glob("*.png"):
        features, boxes = draw.random((2, feed.features)), numpy.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1]])
        numpy.savez(out / f"{picture.stem}.npz", features=features, boxes=boxes, **classes)
    return out


@pytest.fixture(scope="module")
def models(place: Path) -> dict[str, Any]:
    return {name: load(place / name) for name in MODELS}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_with_every_model(
    call, place: Path, models, tmp_path: Path, monkeypatch, command, name
) -> None:
    monkeypatch.chdir(place)
    needed, words = COMMANDS[command]
    wanted = [word.replace("OUT", str(tmp_path)) for word in words]
    system, feed = models[name].system, models[name].feed
    if command == "explain" and isinstance(feed, RegionFeed):  # an answer, or the truth of a statement, too
        needed = (*needed, "choose", "answer", "reason")
    is_able = any(able(system, one) for one in needed)
    if is_able and not isinstance(feed, Transform):
        code, out, told = call(command, *wanted, "--model", place / name)  # a photo is not what it reads
        assert (
            code == 2
            and f"{name} reads {feed_name(feed)}, not pictures" in " ".join(told.split())
            and not out
        )
        if command not in WITH_REGIONS or not isinstance(feed, RegionFeed):
            return
        wanted += ["--regions", write_regions_for(feed, place / "pairs", tmp_path / "regions")]
    code, out, told = call(command, *wanted, "--model", place / name)
    if is_able:
        assert code == 0, told
        if command == "match":
            assert json.loads(out)["ways"] == ways(system)
        return
    said = " ".join(told.split())
    assert code == 2 and " cannot " in said and not out and not list(tmp_path.iterdir())
    for ability in system.abilities:  # and what to do instead
        assert KINDS[ability.name].can in said and f"pairloom {KINDS[ability.name].command}" in said
    assert system.abilities or "pairloom systems" in said


@pytest.mark.parametrize("name", ["blip_nlvr", "blip_vqa", "blip_visdial"])
def test_clean_refuses_before_the_audit(call, place: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "clean"
    code, _, told = call("clean", place / "pairs", "--out", out, "--model", place / name)
    assert code == 2 and "cannot score how well" in " ".join(told.split()) and not out.exists()


def test_a_folder_of_an_earlier_version_loads(call, place: Path, tmp_path: Path) -> None:
    """A published captioner was told by a setting of its own, which its loss weights say as well."""
    shutil.copytree(place / "captioner", tmp_path / "old")
    told = json.loads((tmp_path / "old" / "config.json").read_text())
    told["config"]["lacks"] = ["embed_image", "embed_text", "match"]
    (tmp_path / "old" / "config.json").write_text(json.dumps(told))
    assert [one.name for one in load(tmp_path / "old").system.abilities] == ["caption"]
