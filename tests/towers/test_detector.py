"""Regions by a detector: the numbers of transformers' own post-processing, on untrained tiny networks; the folder, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

import pairloom
from pairloom.cli import main
from pairloom.data.region_set import open_regions
from pairloom.errors import Mistake
from pairloom.towers.detector import Detector, load_detector
from pairloom.world import World
from pairloom.world.draw import picture
from pairloom.world.world import encode

RESNET = dict(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic")
BARE = dict(use_timm_backbone=False, backbone=None, use_pretrained_backbone=False, num_labels=5, d_model=16)
SIDES = [(50, 80), (96, 40), (64, 64)]
WORLD = World(3, seed=2, level="simple", size=64)


def detr(folder: Path) -> Any:
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig
    from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil

    backbone = ResNetConfig(**RESNET, out_features=["stage4"])
    config = DetrConfig(
        backbone_config=backbone, **BARE, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=7,
    )  # fmt: skip
    processor = DetrImageProcessorPil(size={"shortest_edge": 40, "longest_edge": 64})
    return written(folder, DetrForObjectDetection(config), processor)


def rt_detr(folder: Path) -> Any:
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig
    from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

    backbone = RTDetrResNetConfig(**RESNET, out_features=["stage2", "stage3", "stage4"])
    config = RTDetrConfig(
        backbone_config=backbone, **BARE, encoder_hidden_dim=16, encoder_in_channels=[8, 16, 16], encoder_ffn_dim=16,
        encoder_attention_heads=2, num_queries=9, decoder_in_channels=[16, 16, 16], decoder_ffn_dim=16, decoder_layers=1,
        decoder_attention_heads=2, anchor_image_size=None,
    )  # fmt: skip
    return written(
        folder, RTDetrForObjectDetection(config), RTDetrImageProcessorPil(size={"height": 64, "width": 64})
    )


def written(folder: Path, model: Any, processor: Any) -> Any:
    with torch.no_grad():  # fresh heads are alike for every query; here they should differ
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor


KINDS = {"detr": detr, "rt_detr": rt_detr}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("detectors")
    torch.manual_seed(0)
    for name, make in KINDS.items():
        make(root / name)
    (root / "pictures").mkdir()
    for row in WORLD.rows():
        (root / "pictures" / f"{row.name}.jpg").write_bytes(encode(picture(row.scene, 64)))
        (root / "pictures" / f"{row.name}.txt").write_text(row.text)
    return root


def images() -> list[Image.Image]:
    draw = numpy.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, (high, wide, 3), numpy.uint8)) for wide, high in SIDES]


def own(detector: Detector, image: Image.Image) -> tuple[Any, dict[str, torch.Tensor]]:
    """The network's outputs, and what transformers makes of them with every query kept."""
    with torch.no_grad():
        outputs = detector.network(**detector.processor(images=[image], return_tensors="pt"))
    sizes = [image.size[::-1]]
    return outputs, detector.processor.post_process_object_detection(
        outputs, threshold=0.0, target_sizes=sizes
    )[0]


@pytest.mark.parametrize("kind", KINDS)
def test_regions_are_those_of_transformers(place: Path, kind: str) -> None:
    detector = load_detector(place / kind)
    assert detector.name == kind and detector.width == 16 and len(detector.labels) == 5
    for image, one in zip(images(), detector.detect(images(), most=100)):
        outputs, theirs = own(detector, image)
        queries = outputs.logits.shape[1]
        assert one.features.shape == (queries, 16) and one.class_probabilities.shape == (queries, 6)
        # the first mention of a query, for RT-DETR lists a query once for every class that is among the best
        first = dict[tuple[float, ...], tuple[float, int]]()
        for box, score, label in zip(
            theirs["boxes"].tolist(), theirs["scores"].tolist(), theirs["labels"].tolist()
        ):
            first.setdefault(tuple(box), (score, label))
        wide, high = image.size
        confidence = outputs.logits[0].softmax(-1)[:, :-1] if kind == "detr" else outputs.logits[0].sigmoid()
        order = confidence.max(1).values.argsort(descending=True, stable=True)
        numpy.testing.assert_allclose(one.features, outputs.last_hidden_state[0][order], atol=1e-6)
        for at, (box, (score, label)) in enumerate(sorted(first.items(), key=lambda entry: -entry[1][0])):
            share = numpy.array(box) / [wide, high, wide, high]
            numpy.testing.assert_allclose(one.boxes[at], share.clip(0, 1), atol=1e-5)
            chances = one.class_probabilities[at]
            assert int(chances.argmax()) == 1 + label and chances[0] == 0
            assert chances.sum() == pytest.approx(1, abs=1e-5)
            assert float(confidence[order[at], label]) == pytest.approx(score, abs=1e-6)
        assert kind == "rt_detr" or len(first) == queries


def test_most_and_threshold(place: Path) -> None:
    detector = load_detector(place / "detr")
    image = images()[0]
    (every,), (some,) = detector.detect([image], 100), detector.detect([image], 3)
    assert numpy.array_equal(some.features, every.features[:3])
    scores = own(detector, image)[1]["scores"].sort(descending=True).values
    (sure,) = detector.detect([image], 100, threshold=float(scores[2]) - 1e-6)
    assert len(sure.features) == 3 and len(detector.detect([image], 100, threshold=0.999)[0].features) == 0


def call(monkeypatch: Any, capsys: Any, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["pairloom", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out, " ".join(printed.err.split())


def test_the_command_makes_a_folder_and_goes_on(
    place: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    words = (
        "regions",
        place / "pictures",
        "--detector",
        place / "detr",
        "--most",
        4,
        "--json",
        "--out",
        tmp_path / "r",
    )
    code, out, _ = call(monkeypatch, capsys, *words, "--dry-run")
    assert code == 0 and json.loads(out)["made"] == 3 and not (tmp_path / "r").exists()
    code, out, _ = call(monkeypatch, capsys, *words)
    told = json.loads(out)
    assert code == 0 and (told["made"], told["done"], told["features"], told["classes"]) == (3, 0, 16, 6)
    found, detector = open_regions(tmp_path / "r"), load_detector(place / "detr")
    for file in (place / "pictures").glob("*.jpg"):
        (one,) = detector.detect([Image.open(file).convert("RGB")], 4)
        regions = found.of([pairloom.data.pair.content_hash(file.read_bytes())])
        assert numpy.array_equal(regions.features, one.features) and numpy.array_equal(
            regions.boxes, one.boxes
        )
    gone = sorted((tmp_path / "r").glob("*.npz"))[0]
    before = gone.read_bytes()
    gone.unlink()
    (place / "pictures" / "broken.png").write_bytes(b"no picture")
    try:
        code, out, _ = call(monkeypatch, capsys, *words)
    finally:
        (place / "pictures" / "broken.png").unlink()
    told = json.loads(out)
    assert (
        code == 0
        and (told["made"], told["done"], told["unreadable"]) == (1, 2, 1)
        and gone.read_bytes() == before
    )
    other = [*words[:4], "--most", 5, *words[6:]]
    code, _, told = call(monkeypatch, capsys, *other)
    assert code == 2 and "holds other regions" in told and "most" in told
    code, out, _ = call(monkeypatch, capsys, *other, "--restart")
    assert code == 0 and json.loads(out)["made"] == 3
    model = pairloom.train(
        "uniter",
        place / "pictures",
        tmp_path / "m",
        preset="tiny",
        held_out=0.0,
        batch=2,
        steps=1,
        regions=tmp_path / "r",
    )
    assert (model.config.features, model.config.classes) == (16, 6)


def test_pictures_in_which_nothing_is_sure(place: Path, tmp_path: Path) -> None:
    made = pairloom.regions(place / "pictures", tmp_path / "r", detector=place / "detr", threshold=0.999)
    assert made.without == 3 and made.written == 3
    assert "3 without any region" in made.lines()[0]
    with pytest.raises(Mistake, match="cannot be used") as caught:
        pairloom.train("uniter", place / "pictures", tmp_path / "m", preset="tiny", regions=tmp_path / "r")
    assert "it has no region" in caught.value.why


def test_what_is_no_detector_is_refused(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    for options, why in (
        ({}, "Which regions"), ({"detector": place / "detr", "grid": True}, "Which regions"),
        ({"detector": tmp_path / "none"}, "no folder of a detector"), ({"detector": place / "detr", "most": 0}, "No region would be left"),
        ({"detector": place / "detr", "threshold": 1.0}, "No region would be left"), ({"grid": True, "image_tower": "none"}, "no image tower"),
    ):  # fmt: skip
        with pytest.raises(Mistake, match=why):
            pairloom.regions(place / "pictures", out, **options)
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(Mistake, match="no detector that is known") as caught:
        load_detector(tmp_path / "bert")
    assert "'bert'" in caught.value.why and "rt_detr" in caught.value.do
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_bytes((place / "detr" / "config.json").read_bytes())
    with pytest.raises(Mistake, match="not whole"):
        load_detector(tmp_path / "half")
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(Mistake, match="something else than regions"):
        pairloom.regions(place / "pictures", out, detector=place / "detr")


def test_a_grid_is_the_cells_of_a_tower(place: Path, tmp_path: Path) -> None:
    """Of the whole picture, squashed to the tower's square: 4 x 4 cells of 8 pixels."""
    from transformers import ViTConfig, ViTModel

    from pairloom.data.pixels import squashed
    from pairloom.towers import load_image_tower

    config = ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, image_size=32, patch_size=8
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    made = pairloom.regions(place / "pictures", tmp_path / "r", image_tower=str(tmp_path / "vit"))
    assert made.written == 3 and made.facts()["classes"] == 0 and made.facts()["features"] == 32
    found, tower = open_regions(tmp_path / "r"), load_image_tower(tmp_path / "vit")
    file = place / "pictures" / "000001.jpg"
    one = found.of([pairloom.data.pair.content_hash(file.read_bytes())])
    cells = tower.grid(squashed(Image.open(file).convert("RGB"), 32)[None])[0].numpy()
    assert numpy.array_equal(one.features, cells) and one.class_probabilities is None
    assert one.boxes[6].tolist() == [0.5, 0.25, 0.75, 0.5]
    pairloom.train(
        "vilbert",
        place / "pictures",
        tmp_path / "m",
        preset="tiny",
        held_out=0.0,
        batch=2,
        steps=1,
        regions=tmp_path / "r",
    )
    model = pairloom.load(tmp_path / "m", regions=tmp_path / "r")
    assert model.config.classes == 0 and numpy.isfinite(model.match(file, ["a"]).values).all()
