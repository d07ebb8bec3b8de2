"""Systems on a frozen image tower: built, trained, saved, loaded, used by `clean`, and refused where the tower is another one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ConvNextConfig, ConvNextModel

sys.path.insert(0, str(Path(__file__).parents[1] / "clean"))

import colours

import pairloom
from pairloom.clean import captioners, tower_encoding
from pairloom.clean.plan import CleanSettings
from pairloom.clean.rows import audit_rows
from pairloom.clean.run import clean
from pairloom.data.batch import Batch
from pairloom.data.shards import open_set
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.frozen import TowerPixels, TowerRows, build_on_tower, tower_rows
from pairloom.frozen.tower_rows import image_tower
from pairloom.model import at_size, save
from pairloom.scale import Execution
from pairloom.towers import ImageTower
from pairloom.verbs import able

TEXTS = ["red", "blue", "a square"]
SMALL = {  # settings of the presets `tiny` of the systems that can stand on a tower
    "blip": ("image_depth=0",),
    "clip": ("image_depth=0",),
    "coca": ("image_depth=0",),
    "show_and_tell": (),
    "show_attend_tell": ("grid=2",),
}


def write_tower(folder: Path, seed: int) -> str:
    torch.manual_seed(seed)
    config = ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 12, 16, 32], image_size=64)
    ConvNextModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"image_processor_type": "ViTImageProcessor", "size": {"height": 64, "width": 64}}'
    )
    return str(folder)


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tower(tmp_path_factory.mktemp("tower"), 0)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours.write(tmp_path_factory.mktemp("set") / "raw", 64, bad=0)


@pytest.fixture(scope="module")
def rows(tower: str, raw: Path) -> TowerRows:
    return TowerRows(tower, 16).learn(pictures(tower, raw))


def pictures(tower: str, raw: Path) -> np.ndarray:
    pixels = TowerPixels.of(tower)
    files = sorted(raw.glob("*.png"))[:24]
    return np.stack([pixels.to_uint8(Image.open(file).convert("RGB")) for file in files])[:, None]


def answer(model: pairloom.Model, batch: Batch) -> torch.Tensor:
    """What a system makes of pictures and texts: logits of a writer, else embeddings of the pictures."""
    with torch.no_grad():
        if able(model.system, "caption"):
            return model.system.logits(batch)
        return model.system.embed_image(batch)


def test_rows_are_on_principal_axes_and_do_not_depend_on_their_neighbours(
    tower: str, raw: Path, rows: TowerRows, tmp_path: Path
) -> None:
    shown = pictures(tower, raw)[:, 0]
    encoded = rows.rows(shown)
    assert encoded.shape == (24, 5, 16)  # the pooled features and 2 x 2 cells
    for part in (encoded[:, :1], encoded[:, 1:]):
        flat = part.flatten(0, 1).double()
        assert flat.mean(0).abs().max() < 1e-3
        assert abs(float((flat**2).mean()) - 1) < 1e-3
        variance = flat.var(0)
        assert (variance[:-1] >= variance[1:] - 1e-3).all()
    assert torch.equal(rows.rows(shown[5:6]), encoded[5:6])
    rows.save(tmp_path / "tower.safetensors")
    assert torch.equal(TowerRows.load(tmp_path / "tower.safetensors").rows(shown[:1]), encoded[:1])


@pytest.mark.parametrize("name", SMALL)
def test_a_system_on_a_tower_is_what_was_saved(
    name: str, tower: str, raw: Path, rows: TowerRows, tmp_path: Path
) -> None:
    tokens = Tokens.train(["a red square", "a blue square"], 64)
    model = build_on_tower(name, tokens, rows, settings=SMALL[name]).eval()
    files = sorted(raw.glob("*.png"))[:3]
    losses = model.system.losses(model.batch(images=files, texts=TEXTS))
    assert losses and all(value.isfinite() for value in losses.values())
    read = answer(model, model.batch(images=files, texts=TEXTS))
    encoded = rows.rows(pictures(tower, raw)[:3, 0])[:, None]
    assert torch.equal(answer(model, model.batch(encoded[:, 0], TEXTS)), read)  # rows in place of pictures
    save(model, tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 1 << 20
    loaded = pairloom.load(tmp_path)
    assert torch.equal(answer(loaded, loaded.batch(images=files, texts=TEXTS)), read)
    with pytest.raises(Mistake, match="cannot read pictures of 96 px"):
        at_size(loaded, 96)


def test_the_image_encoder_of_a_preset_gives_way_to_the_tower(rows: TowerRows) -> None:
    tokens = Tokens.train(["a red square", "a blue square"], 64)
    model = build_on_tower("clip", tokens, rows, "tiny-SigLIP", SMALL["clip"]).eval()
    assert model.config.vision is None and model.config.loss == "sigmoid"
    pixels = torch.rand(2, 3, model.pixels.size, model.pixels.size)
    assert model.system.embed_image(model.batch(images=pixels)).shape == (2, model.config.embedding)


def test_another_tower_is_refused(tower: str, raw: Path, rows: TowerRows, tmp_path: Path) -> None:
    place = tmp_path / "tower"
    moved = TowerRows(write_tower(place, 0), 16).learn(pictures(tower, raw))
    tokens = Tokens.train(["a red square"], 64)
    save(build_on_tower("clip", tokens, moved, settings=SMALL["clip"]), tmp_path / "model")
    write_tower(place, 1)
    image_tower.cache_clear()
    with pytest.raises(Mistake, match="cannot be used without its image tower") as mistake:
        pairloom.load(tmp_path / "model")
    assert "other weights" in str(mistake.value)
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
    image_tower.cache_clear()
    with pytest.raises(Mistake, match="no image tower at"):
        pairloom.load(tmp_path / "model")


def test_a_system_without_an_image_network_is_refused(
    rows: TowerRows, raw: Path, tmp_path: Path, tower: str
) -> None:
    tokens = Tokens.train(["a red square"], 64)
    with pytest.raises(Mistake, match="uniter cannot stand on an image tower") as mistake:
        build_on_tower("uniter", tokens, rows)
    assert "blip" in str(mistake.value)
    with pytest.raises(Mistake, match="cannot stand on an image tower"):
        pairloom.train("flamingo", raw, tmp_path / "out", preset="tiny", image_tower=tower)
    with pytest.raises(Mistake, match="no image tower"):
        pairloom.train("clip", raw, tmp_path / "out", preset="tiny", image_tower="gone/tower")
    assert not (tmp_path / "out").exists()


def test_training_passes_every_picture_through_the_tower_once(
    tower: str, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = []
    both = ImageTower.both

    def counted(self: ImageTower, pixels: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        passed.append(len(pixels))
        return both(self, pixels)

    out = tmp_path / "out"
    monkeypatch.setattr(ImageTower, "both", counted)
    model = pairloom.train(
        "blip", raw, out, preset="tower-caption", image_tower=tower, device="cpu", held_out=0.25, vocabulary=64,
        settings=["model.image_width=16", "model.width=32", "model.heads=2", "model.dropout=0"], batch=8, epochs=20, lr=1e-2,
    )  # fmt: skip
    files = sorted(raw.glob("*.png"))
    # each of 64 once for the axes and once for its rows, and a black picture for the shape of each of two tables
    assert sum(passed) <= 2 * 64 + 2
    assert not list(out.glob(".*")) and "image tower" in model.about
    assert tower_rows(model.system) is not None
    written = model.caption(files)
    right = [file.with_suffix(".txt").read_text().split()[2] in one.text for file, one in zip(files, written)]
    assert np.mean(right) > 0.25  # one of eight colours by chance
    further = pairloom.train(
        "blip", raw, tmp_path / "further", init=out, device="cpu", held_out=0.0, batch=8, steps=1
    )
    assert torch.equal(_axes(further), _axes(model))


def _axes(model: pairloom.Model) -> torch.Tensor:
    rows = tower_rows(model.system)
    assert rows is not None
    return rows.axes


def test_clean_captions_and_proves_on_the_tower(
    tower: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioners, "PASSES", 600)
    monkeypatch.setattr(captioners, "PROOF", (1, 300))
    raw, out = colours.write(tmp_path / "raw", 90), tmp_path / "out"
    test = colours.write(tmp_path / "test", 24, bad=0)
    for file in sorted(raw.glob("*.txt"))[:12]:
        file.write_text("")
    settings = CleanSettings(
        size=32, image_tower=tower, text_tower="none", prove=True, seeds=1, effort=1.0, test=str(test)
    )
    facts = clean(raw, out, settings).facts
    assert facts["captioner"]["pictures"] >= 12 and facts["captioner"]["proposals"] > 0
    assert [row["metric"] for row in facts["prove"]["rows"]][-1].startswith("CIDEr-D")
    captioner = pairloom.load(out / "models" / "captioner")
    assert captioner.config.itc == 0 and tower_rows(captioner.system) is not None
    assert captioner.caption(sorted(raw.glob("*.png"))[:2])[0].text


def test_encoded_parts_are_commit_marks_and_lost_pictures_have_zeros(tower: str, tmp_path: Path) -> None:
    raw = colours.write(tmp_path / "raw", 20)
    pairs = open_set(raw)
    rows = audit_rows(pairs, tmp_path / "work", 32)
    for file in sorted(raw.glob("*.png"))[:1]:
        file.write_bytes(b"gone")

    def encode() -> torch.Tensor:
        tower_encoding.encode_pictures(
            tmp_path / "encoded",
            rows,
            pairs.shards,
            np.arange(20),
            tower,
            0,
            Execution(),
            lambda *_, **__: None,
        )
        return tower_encoding.encoded_pictures(tmp_path / "encoded", rows.shards, 20).encoded

    encoded = encode()
    assert encoded.shape == (20, 1, 5, 32) and int((encoded == 0).all((1, 2, 3)).sum()) == 1
    for file in sorted(raw.glob("*.png")):
        file.unlink()
    assert torch.equal(encode(), encoded)
    assert tower_encoding.encoded_rows(tmp_path / "encoded", 25).sum() == 20
