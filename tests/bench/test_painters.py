"""The benchmark of painters: what the reader sees in drawn scenes, a perfect painter, a blind one, judges, copies, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pairloom.api import bench_drawn
from pairloom.api.benchmark import bench, benchmark_list
from pairloom.api.model import Model
from pairloom.bench import painters as painting
from pairloom.bench._scene_reader import LEVEL, held_out_accuracy, load_reader
from pairloom.cli import build as build_app
from pairloom.data.pair import seed_of
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import build
from pairloom.world import World, caption, picture, sample, write_folder

COUNT = 24


@pytest.fixture(scope="module")
def reader():  # type: ignore[no-untyped-def]
    return load_reader()


@pytest.fixture(scope="module")
def prompts() -> bench_drawn.PromptSet:
    return bench_drawn.world_prompts(COUNT, 0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Untrained models that have read the words of the prompts."""
    torch.manual_seed(0)
    root, words = (
        tmp_path_factory.mktemp("models"),
        Tokens.train(bench_drawn.world_prompts(60, 1).prompts, 300),
    )
    large = {"dalle": ["length=64"], "clip": ["length=64"]}
    return {
        name: str(Model.of(build(name, words, "tiny", settings=settings)).save(root / name))
        for name, settings in large.items()
    }


def test_the_reader_sees_scenes_that_it_has_not_learnt_from(reader: Any) -> None:
    for size, least in ((64, 0.95), (32, 0.95), (16, 0.9)):
        accuracy = held_out_accuracy(reader, size, 120)
        assert set(accuracy) == {"thing", "colour", "count", "relation", "place"}
        assert min(share for sort, share in accuracy.items() if sort != "count") > least - 0.05
        assert accuracy["thing"] > least and accuracy["count"] > 0.8
    scene = sample(seed_of("a scene"), LEVEL)
    alone, beside = (
        reader.read(images)[0] for images in ([picture(scene)], [picture(scene), Image.new("RGB", (9, 9))])
    )
    assert [(thing.kind, thing.colour) for thing in alone.things] == [
        (thing.kind, thing.colour) for thing in beside.things
    ]


def test_a_perfect_painter_and_a_blind_one(reader: Any, prompts: bench_drawn.PromptSet) -> None:
    perfect = painting.fact_measures(reader, prompts.prompts, prompts.real, prompts.real)
    blind = painting.fact_measures(reader, prompts.prompts, [prompts.real[0]] * COUNT, prompts.real)
    first, other = perfect[0], blind[0]
    assert first.name == "all facts of the prompt" and first.interval.value == first.best > 0.8
    assert first.chance is not None and first.chance < 0.2 and other.interval.value <= 2 / COUNT
    assert {one.name for one in perfect} >= {
        "facts: thing",
        "facts: colour",
    } and first.drawn == first.real == COUNT


def test_distances_rise_where_pictures_are_worse(reader: Any, prompts: bench_drawn.PromptSet) -> None:
    real, more = reader.features(prompts.real), reader.features(bench_drawn.world_prompts(COUNT, 5).real)
    noise = [
        Image.fromarray(np.random.default_rng(at).integers(0, 256, (32, 32, 3), np.uint8))
        for at in range(COUNT)
    ]
    near, far = (painting.feature_measures("reader", real, one) for one in (more, reader.features(noise)))
    assert (
        near[0].name == "Fréchet distance"
        and near[0].lower
        and near[0].interval.value < far[0].interval.value
    )
    values = {one.name: one.interval.value for one in near}
    assert (
        values["precision"] > 0.3
        and {one.name: one.interval.value for one in far}["precision"] < values["precision"]
    )
    few = painting.feature_measures("reader", real[:4], real[:4])
    assert [one.name for one in few] == ["Fréchet distance"] and few[0].interval.value == pytest.approx(
        0, abs=1e-6
    )
    copies = painting.copy_measure("reader", real, real, more)
    assert copies.interval.value == 1 and copies.chance == 0.5
    assert painting.inception_measure("reader", np.eye(4), np.eye(4)[:2]).best == pytest.approx(2)


def test_clip_scores_of_a_judge_that_embeds(models: dict[str, str], prompts: bench_drawn.PromptSet) -> None:
    import pairloom

    judge, images = pairloom.load(models["clip"]), prompts.real[:6]
    texts = prompts.prompts[:6]
    measures = painting.judge_measures("clip", judge, texts, images, images, [[text] for text in texts])
    score, reference, distance = measures
    cosines = np.diag(judge.embed(images, texts).similarity)
    assert score.interval.value == pytest.approx(2.5 * np.maximum(cosines, 0).mean(), abs=1e-6) == score.best
    own = 2.5 * np.maximum(cosines, 0)  # the best reference is the text itself: cosine 1
    assert reference.interval.value == pytest.approx((2 * own / (own + 1)).mean(), abs=1e-5)
    assert (
        distance.name == "CMMD" and distance.lower and distance.interval.value == pytest.approx(0, abs=1e-6)
    )


def test_the_command_on_the_drawn_world(models: dict[str, str], tmp_path: Path) -> None:
    line = ["bench", "drawn", "--mini", "--model", models["dalle"], "--judge", models["clip"], "--limit", "6"]
    done = CliRunner().invoke(build_app(), [*line, "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    results = json.loads(done.output)
    painter = results["painters"]["dalle"]
    names = [one["name"] for one in painter["measures"]]
    assert names[0] == "all facts of the prompt" and {
        "Fréchet distance",
        "CLIPScore",
        "CMMD",
        "diversity",
        "inception score",
    } <= set(names)
    assert all(one["low"] <= one["value"] <= one["high"] and one["drawn"] for one in painter["measures"])
    assert painter["reader"]["thing"] > 0.9 and results == json.loads(
        (tmp_path / "out" / "results.json").read_text()
    )
    files = sorted((tmp_path / "out" / "pictures" / "dalle").glob("*-0.png"))
    before = [file.stat().st_mtime_ns for file in files]
    again = CliRunner().invoke(build_app(), [*line, "--out", str(tmp_path / "out")])
    assert again.exit_code == 0 and [file.stat().st_mtime_ns for file in files] == before and len(files) == 6
    assert "accuracy on held-out scenes" in again.output and "lower is better" in again.output


def test_a_set_of_pairs_and_copies_of_the_training_set(models: dict[str, str], tmp_path: Path) -> None:
    from transformers import ConvNextConfig, ConvNextModel

    small = ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32])
    ConvNextModel(small).save_pretrained(tmp_path / "tower")
    for name, seed in (("test", 3), ("training", 4)):
        write_folder(World(8, seed, "simple", 32), tmp_path / name)
    run = bench(
        "drawn", [models["dalle"]], tmp_path / "out", data=tmp_path / "test", training=tmp_path / "training",
        features=str(tmp_path / "tower"), limit=7,
    )  # fmt: skip
    measures = {one["name"]: one for one in run.brief()["painters"]["dalle"]["measures"]}
    assert measures["copying"]["real"] == 8 and measures["copying"]["drawn"] == 7
    assert measures["precision"]["by"].startswith("convnext") and "all facts of the prompt" not in measures
    assert run.complete and "drawn" in {row["name"] for row in benchmark_list()}
    bare = bench(
        "drawn", [models["dalle"]], tmp_path / "bare", data=tmp_path / "test", judge=models["clip"], limit=3
    )
    if bare.brief()["notes"]:  # no image tower is installed
        assert {one["name"] for one in bare.brief()["painters"]["dalle"]["measures"]} == {"CLIPScore", "CMMD"}


def test_what_does_not_fit(models: dict[str, str], tmp_path: Path) -> None:
    for options, message in (
        (dict(name="drawn", mini=True, way="match"), "--way would change nothing"),
        (dict(name="winoground", mini=True, judge=models["clip"]), "--judge would change nothing"),
        (dict(name="drawn"), "Which files"),
        (dict(name="drawn", mini=True, models=[models["clip"]], limit=3), "cannot draw"),
        (dict(name="drawn", data=tmp_path / "none"), "none"),
    ):
        with pytest.raises(Mistake, match=message):
            bench(**{"models": [models["dalle"]], "out": tmp_path / "out", **options})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "results.json").write_text('{"benchmarks": {}}')
    with pytest.raises(Mistake, match="exists already"):
        bench("drawn", [models["dalle"]], tmp_path / "other", mini=True)


def test_prompts_are_captions_of_the_simple_level() -> None:
    one, again = bench_drawn.world_prompts(5, 2), bench_drawn.world_prompts(5, 2)
    assert one.prompts == again.prompts and len(one.real) == 5 and one.world
    scene = sample(seed_of("bench", "drawn", 2, 0), "simple")
    assert one.prompts[0] == caption(scene)
