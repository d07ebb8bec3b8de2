"""The commands: import, export, match and score with published weights; hub ids from the local cache alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

pytest.importorskip("transformers")

from published import blip_folder, clip_folder  # noqa: E402

import pairloom  # noqa: E402
from pairloom import registry  # noqa: E402
from pairloom.cli import build as commands  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.weights import _hub  # noqa: E402


def run(name: str, *given: object, **options: object) -> None:
    registry.find("cli", name).command(*given, **options)


def test_import_is_a_command_though_python_has_that_word() -> None:
    assert {"import", "export"} <= {command.name for command in commands().registered_commands}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Three pictures with their texts beside them."""
    where = tmp_path / "pairs"
    where.mkdir()
    draw = numpy.random.default_rng(0)
    for at, text in enumerate(("a red square", "two cats", "a blue dog")):
        Image.fromarray(draw.integers(0, 256, (40, 50, 3), dtype=numpy.uint8)).save(where / f"{at}.png")
        (where / f"{at}.txt").write_text(text)
    return where


@pytest.mark.parametrize("kind", ["clip", "blip"])
def test_match_and_score_run_on_a_published_folder(
    tmp_path: Path, pairs: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clip_folder(tmp_path / "m") if kind == "clip" else blip_folder(tmp_path / "m", "match")
    run("match", pairs / "0.png", ["two cats", "a red square"], model=tmp_path / "m", json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["ways"] == (["cosine"] if kind == "clip" else ["match head", "cosine"])
    model = pairloom.load(tmp_path / "m")
    batch = model.batch([pairs / "0.png"], ["two cats", "a red square"], image_of=[0, 0])
    with torch.no_grad():
        expected = (model.system.embed_image(batch) @ model.system.embed_text(batch).T)[0].tolist()
    found = {row["text"]: row["cosine"] for row in told["texts"]}
    assert [found["two cats"], found["a red square"]] == pytest.approx(expected, abs=1e-6)
    run("score", pairs, tmp_path / "m", tmp_path / "s.parquet", workers=1, json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["texts"] == 3 and told["way"] == ("cosine" if kind == "clip" else "match head")


def test_caption_runs_on_a_published_folder(tmp_path: Path, pairs: Path) -> None:
    blip_folder(tmp_path / "m", "caption")
    run("caption", pairs, tmp_path / "m", tmp_path / "c.jsonl", way="greedy", max_length=8)
    lines = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert len(lines) == 3 and all(len(line["captions"]) == 1 for line in lines)


def test_in_and_out_by_the_commands(tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip_folder(tmp_path / "theirs")
    run("import_", str(tmp_path / "theirs"), tmp_path / "ours", json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["system"] == "clip" and "CLIPModel" in told["source"]
    assert {file.name for file in (tmp_path / "ours").iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "README.md",
    }  # fmt: skip
    run("export", tmp_path / "ours", tmp_path / "oc", to="open_clip")
    run("export", tmp_path / "oc", tmp_path / "back")
    there, back = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("theirs", "back"))
    from safetensors.torch import load

    assert load(there).keys() == load(back).keys()
    assert all(torch.equal(tensor, load(back)[name]) for name, tensor in load(there).items())
    run("import_", str(tmp_path / "theirs"), tmp_path / "wide", size=48)
    assert pairloom.load(tmp_path / "wide").batch([pairs / "0.png"]).images.shape[-1] == 48
    with pytest.raises(Mistake, match="can go to open_clip and transformers"):
        run("export", tmp_path / "ours", tmp_path / "x", to="onnx")
    with pytest.raises(Mistake, match="no --task"):
        run("export", tmp_path / "ours", tmp_path / "x", task="match")
    with pytest.raises(Mistake, match="is not empty"):
        run("import_", str(tmp_path / "theirs"), pairs)


def test_a_hub_id_is_found_in_the_local_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "hub" / "models--someone--clip" / "snapshots" / "abc"
    clip_folder(snapshot)
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert _hub.cached("someone/clip") == snapshot and _hub.cached("someone/other") is None
    assert pairloom.load("someone/clip").name == "clip"
    with pytest.raises(Mistake, match="--download"):
        pairloom.load("someone/other")


def test_the_network_is_asked_only_where_the_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict] = []

    def snapshot(name: str, **options: object) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        asked.append(options)
        raise LocalEntryNotFoundError("not there")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(Mistake, match="no model at"):
        run("import_", "someone/clip", tmp_path / "a")
    assert asked and all(options.get("local_files_only") for options in asked)
    with pytest.raises(Mistake, match="could not be downloaded"):
        run("import_", "someone/clip", tmp_path / "a", download=True)
    assert not asked[-1].get("local_files_only")


@pytest.mark.parametrize("name", ["../x", "a b", "a/b/c", "", "/tmp/none"])
def test_what_is_no_hub_id_is_not_looked_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: pytest.fail("asked"))
    assert _hub.cached(name) is None


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_prefixes_of_wrappers_are_taken_off_in_folders(tmp_path: Path, prefix: str) -> None:
    from safetensors.torch import load_file, save_file

    clip_folder(tmp_path / "m")
    before = pairloom.load(tmp_path / "m").embed(texts=["two cats"]).texts
    file = tmp_path / "m" / "model.safetensors"
    save_file({f"{prefix}{name}": tensor for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    model = pairloom.load(tmp_path / "m")
    assert numpy.array_equal(model.embed(texts=["two cats"]).texts, before)
    assert model.about["names"] == f"without the prefix {prefix}"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pointer_of_git_lfs_is_named(tmp_path: Path, name: str) -> None:
    clip_folder(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    (tmp_path / "m" / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 605247071\n"
    )
    with pytest.raises(Mistake, match="git-lfs pointer"):
        pairloom.load(tmp_path / "m")


def test_quantised_weights_are_named(tmp_path: Path) -> None:
    """Whole numbers under a float's name are no weights, also where nothing stands beside them."""
    from safetensors.torch import load_file, save_file

    clip_folder(tmp_path / "m")
    file = tmp_path / "m" / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("fc1.weight"))
    save_file({**tensors, name: (tensors[name] * 9).to(torch.int8)}, file, {"format": "pt"})
    with pytest.raises(Mistake, match="holds int8 numbers: the weights are quantised"):
        pairloom.load(tmp_path / "m")
