"""Model: built to fit its tokens, saved and loaded to the same answers; everything else is named for what it is."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from vocabularies import sentencepiece

import pairloom
from pairloom.data.pixels import Unreadable
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model, build, save
from pairloom.weights import load

TEXTS = ["a red square", "a blue circle left of a dog", "two cats"]


def picture(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    draw = numpy.random.default_rng(seed)
    return Image.fromarray(draw.integers(0, 256, (size[1], size[0], 3), dtype=numpy.uint8))


@pytest.fixture(scope="module")
def model() -> Model:
    made = build("blip", Tokens.train(TEXTS * 3, 120), "tiny", ["dropout=0.1"], seed=3)
    made.about.update(recipe="base", metrics={"R@1": 0.5}, data="three | drawn\npairs")
    return made.eval()


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Path:
    return save(model, tmp_path / "model")


def answers(model: Model) -> list[torch.Tensor]:
    batch = model.batch([picture(1), picture(2), picture(3)], TEXTS)
    with torch.no_grad():
        return [model.system.match(batch), model.system.embed_image(batch), model.system.logits(batch)]


def test_tokens_without_a_role_that_the_system_needs() -> None:
    tokens = Tokens(sentencepiece("$A </s>", "<pad>", "</s>", "<unk>"))
    with pytest.raises(Mistake, match="show_and_tell needs tokens that the tokenizer has not: cls") as caught:
        build("show_and_tell", tokens, "tiny")
    assert caught.value.why == "It has pad, unk, sep."


def test_it_is_built_to_fit_its_tokens(model: Model) -> None:
    config, tokens = model.config, model.tokens
    assert (config.vocabulary, config.pad, config.cls, config.sep) == (tokens.size, 0, tokens.cls, tokens.sep)
    assert (config.dec, config.enc, config.dropout) == (tokens.size - 2, tokens.size - 1, 0.1)
    assert model.pixels.size == config.image_size
    again = build("blip", tokens, "tiny", ["dropout=0.1"], seed=3)
    other = build("blip", tokens, "tiny", ["dropout=0.1"], seed=4)
    for name, value in model.system.state_dict().items():
        assert torch.equal(value, again.system.state_dict()[name]), name
    assert not torch.equal(model.system.head.dense.weight, other.system.head.dense.weight)


def test_building_leaves_the_global_generator_alone(model: Model) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    build("blip", model.tokens, "tiny")
    assert torch.equal(torch.get_rng_state(), before)


def test_it_saves_and_loads_to_the_same_answers(model: Model, folder: Path, tmp_path: Path) -> None:
    loaded = pairloom.load(folder)
    assert not loaded.system.training and loaded.about == model.about and loaded.config == model.config
    for one, two in zip(answers(model), answers(loaded)):
        assert torch.equal(one, two)
    again = load(pairloom.save(loaded, tmp_path / "again"))
    for one, two in zip(answers(model), answers(again)):
        assert torch.equal(one, two)


def test_training_state_is_left_out(model: Model, folder: Path) -> None:
    kept = load_file(folder / "model.safetensors")
    assert not [name for name in kept if name.startswith(model.system.training_state)]
    assert len(kept) < len(model.system.state_dict())
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "README.md",
    }


def test_the_card_is_yaml_then_prose(folder: Path) -> None:
    text = (folder / "README.md").read_text("utf-8")
    header = text.split("---\n")[1]
    assert header == 'library_name: pairloom\ntags: [image-text, "blip"]\n'
    assert "Bootstrapping Language-Image Pre-training" in text and "| preset | tiny |" in text
    assert "| metrics | R@1 0.5 |" in text and "| data | three \\| drawn pairs |" in text


def test_a_batch_takes_pictures_bytes_and_files(model: Model, tmp_path: Path) -> None:
    stream = io.BytesIO()
    picture(1).save(stream, "PNG")
    (tmp_path / "one.png").write_bytes(stream.getvalue())
    one = model.batch([picture(1), stream.getvalue(), tmp_path / "one.png"], TEXTS)
    assert one.images is not None and one.images.shape == (3, 1, 3, 32, 32)
    assert torch.equal(one.images[0], one.images[1]) and torch.equal(one.images[1], one.images[2])
    assert one.texts is not None and one.texts.ids.shape == one.texts.mask.shape
    several = model.batch([picture(1)], TEXTS, image_of=[0, 0, 0])
    assert several.image_of is not None and several.image_of.tolist() == [0, 0, 0]
    assert model.batch(texts=TEXTS).images is None and model.batch([picture(1)]).texts is None
    with pytest.raises(ValueError, match="1 pictures and 3 texts"):
        model.batch([picture(1)], TEXTS)
    with pytest.raises(Unreadable):
        model.batch([b"no picture"])


def test_long_texts_are_cut_to_the_length_of_the_config(model: Model) -> None:
    ids, keep = model.batch(texts=["a red square " * 50]).text()
    assert ids.shape == (1, model.config.length) and keep.all() and ids[0, -1] == model.tokens.sep


def _config(folder: Path, **changes: Any) -> None:
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(told | changes))


def _deeper(folder: Path) -> None:
    told = json.loads((folder / "config.json").read_text())
    _config(folder, config=told["config"] | {"depth": 3})


def _unknown_key(folder: Path) -> None:
    told = json.loads((folder / "config.json").read_text())
    _config(folder, config=told["config"] | {"widht": 3})


def _one_tensor_less(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("match_head.bias")
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"abc"), "cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "is not a tokenizer"),
        (lambda folder: Tokens.train(["b"] * 9, 64).save(folder), "another model's"),
        (lambda folder: _config(folder, system="blop"), "no 'blop' in systems"),
        (lambda folder: _config(folder, config={"depth": "many"}), "does not describe a model"),
        (lambda folder: _config(folder, config=[]), "does not describe a model"),
        (_unknown_key, "no setting 'widht'"),
        (_deeper, "do not fit"),
        (_one_tensor_less, "missing: match_head.bias"),
    ],
)
def test_a_spoilt_folder_says_what_is_wrong(spoil, said: str, folder: Path) -> None:  # type: ignore[no-untyped-def]
    spoil(folder)
    with pytest.raises(Mistake) as caught:
        load(folder)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "an empty folder"),
        ({"cat.jpg": "", "cat.txt": ""}, "a folder with cat.jpg, cat.txt"),
        ({"config.json": '{"architectures": ["Elsewhere"]}'}, "a transformers folder (Elsewhere)"),
        ({"config.json": "[1]"}, "a folder with config.json; its config.json does not describe a model"),
        ({"config.json": "{", "model.safetensors": ""}, "its config.json does not describe a model"),
        ({"model_index.json": "{}"}, "a diffusers folder"),
        ({"run.json": '{"pairloom": "0.1.0"}'}, "a training run that has not finished"),
    ],
)
def test_another_folder_is_named_for_what_it_is(files: dict[str, str], said: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(Mistake, match="not a model folder") as caught:
        load(tmp_path)
    assert said in caught.value.why


def test_a_file_or_nothing_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "blip.xyz.pth").write_bytes(b"\x80\x02")
    with pytest.raises(Mistake):
        load(tmp_path / "blip.xyz.pth")
    with pytest.raises(Mistake, match="no model at"):
        load(tmp_path / "nothing")


class Evil:
    """What a pickle may hold: anything at all, called when it is opened."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("opened",)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("code.pth", "can run code"),
        ("code.pt", "can run code"),
        ("cut.pth", "Copy the file again"),
        ("cut.safetensors", "Copy the file again"),
        ("other.pth", "called a, b, c ..."),
        ("other.safetensors", "called a, b, c ..."),
    ],
)
def test_a_file_of_weights_that_is_none_says_why(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, tensors = tmp_path / name, {name: torch.ones(9) for name in "abcd"}
    if name.endswith(".safetensors"):
        save_file(tensors, file)
    elif name == "code.pt":
        file.write_bytes(pickle.dumps(Evil()))
    else:
        torch.save({"model": Evil()} if name == "code.pth" else tensors, file)
    if name.startswith("cut"):
        file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(Mistake) as caught:
        load(file)
    assert said in str(caught.value) and caught.value.do and "opened\n" not in capsys.readouterr().out


def test_a_folder_of_somebody_elses_is_left_alone(model: Model, folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "model.safetensors").write_text("precious")
    with pytest.raises(Mistake, match="not a folder of pairloom's"):
        save(model, mine)
    assert (mine / "model.safetensors").read_text() == "precious" and len(list(mine.iterdir())) == 1
    save(replace(model, about={"preset": "again"}), folder)  # its own may be written again
    assert load(folder).about == {"preset": "again"}
    (tmp_path / "file").write_text("x")
    with pytest.raises(Mistake, match="cannot be written"):
        save(model, tmp_path / "file")


def test_wrong_names_name_the_nearest(model: Model) -> None:
    with pytest.raises(Mistake, match="Did you mean 'tiny'"):
        build("blip", model.tokens, "tinyy")
    with pytest.raises(Mistake, match="Did you mean 'depth'"):
        build("blip", model.tokens, "tiny", ["dept=3"])


def test_the_front_door_opens_without_torch() -> None:
    code = "import sys, pairloom; pairloom.load, pairloom.open, pairloom.systems; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        pairloom.laod  # noqa: B018
