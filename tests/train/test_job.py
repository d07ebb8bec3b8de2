"""pairloom train, from a set on disk to a model folder: told by what it leaves there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import pairloom
from pairloom.cli import train as command
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.train.log import read_log
from pairloom.train.order import TrainRequest
from pairloom.train.run import prepare
from pairloom.train.starting import started_model

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (30, 40, 200), "yellow": (220, 210, 30)}
FAST = ["batch=8", "steps=6", "lr=1e-3", "save_every=3", "log_every=1"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    for number in range(40):
        name = list(COLOURS)[number % 4]
        image = Image.new("RGB", (30 + number, 40), COLOURS[name])
        image.save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"a {name} picture number {number}")
    return folder


def train(pairs: Path, out: Path, *words: str) -> dict[str, Any]:
    told = ["blip", "--data", str(pairs), "--out", str(out), "--preset", "tiny", "--held-out", "0.25"]
    app = typer.Typer()
    app.command()(command.command)
    done = CliRunner().invoke(app, [*told, "--json", *FAST, *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    made: dict[str, Any] = json.loads(done.stdout)
    return made


@pytest.mark.parametrize("named", [False, True])
def test_texts_are_cleaned_as_in_the_recipe(pairs: Path, tmp_path: Path, named: bool) -> None:
    """A trained BLIP reads captions as the released code does, with a tokenizer of its own or a named one; so does whatever is asked
    of it, and a model that begins as it has the cleaning of its own recipe."""
    Tokens.train(["a red picture number 1"] * 3, 64).save(tmp_path)
    train(pairs, tmp_path / "out", *(["--tokens", str(tmp_path)] if named else []))
    model = pairloom.load(tmp_path / "out")
    long = " ".join(["picture"] * 30)
    for text, same in (('A "red" picture.', "a red picture"), (f"{long} 1", long)):
        assert model.tokens.rows([text], 99) == model.tokens.rows([same], 99)
    scores = model.match(pairs / "00.png", ["a red picture!", "a red picture"], by="match").values
    assert scores[0] == scores[1]
    if named:
        for name, text, same in (("nlvr", f"a {long} 1.", f"a {long} 1"), ("vqa", "red.", "red .")):
            request = TrainRequest(
                f"blip_{name}", pairs, tmp_path / name, preset="tiny", init=tmp_path / "out"
            )
            tokens = started_model(request, model, 0).tokens
            assert tokens.rows([text], 99) == tokens.rows([same], 99)


def test_nothing_to_learn_is_a_mistake(pairs: Path, tmp_path: Path) -> None:
    weights = ["model.itc=0", "model.itm=0", "model.lm=0", "model.momentum=0", "model.queue=0"]
    with pytest.raises(Mistake, match="nothing to learn"):
        train(pairs, tmp_path / "out", *weights)


def test_a_set_becomes_a_model(pairs: Path, tmp_path: Path) -> None:
    told = train(pairs, tmp_path / "out", "evaluate_every=3")
    model = pairloom.load(tmp_path / "out")
    assert told["step"] == 6 and told["pictures"] + told["held out"] == 40 and told["bad"] == 0
    assert 0 <= told["held out/image to text R@1"] <= 1 and told["held out/loss"] > 0
    assert model.config.vocabulary == model.tokens.size == told["tokens"]
    assert model.tokens.decode(model.texts(["A RED picture"]).ids[0]) == "a red picture"
    lines = read_log(tmp_path / "out" / "log.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert model.about["metrics"]["loss"] == lines[-1]["held out/loss"] == told["held out/loss"]
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(".")]


def test_a_clip_from_scratch_crops_as_clip_does(pairs: Path, tmp_path: Path) -> None:
    """ "a random square crop from resized images is the only data augmentation"; in use the shortest side is resized and
    the centre cut, nothing squashed. BLIP squashes."""
    crops = {}
    for system in ("clip", "blip"):
        job = prepare(TrainRequest(system, pairs, tmp_path / system, (*FAST, "pixels.size=32"), "tiny"))
        crops[system] = (job.model.pixels.fit, job.model.pixels.crop_scale)
        assert not job.model.pixels.flip and not job.model.pixels.randaugment
        wide = Image.new("RGB", (90, 30), (200, 30, 30))
        wide.paste((30, 40, 200), (30, 0, 60, 30))
        shades = {tuple(one) for one in job.model.pixels.to_uint8(wide)[16, 2:-2]}
        assert len(shades) == 1 if system == "clip" else len(shades) > 1
    assert crops == {"clip": ("crop", (0.9, 1.0)), "blip": ("square", (0.5, 1.0))}
    job = prepare(TrainRequest("clip", pairs, tmp_path / "own", (*FAST, "pixels.crop_scale=0.5,1"), "tiny"))
    assert (job.model.pixels.fit, job.model.pixels.crop_scale) == ("crop", (0.5, 1.0))


def test_the_same_again_and_going_on(pairs: Path, tmp_path: Path) -> None:
    train(pairs, tmp_path / "one")
    again = train(pairs, tmp_path / "one")
    assert again["resumed"] == 6
    checkpoints = sorted((tmp_path / "one" / "checkpoints").iterdir())
    before = (
        (tmp_path / "one" / "log.jsonl").read_bytes(),
        (tmp_path / "one" / "model.safetensors").read_bytes(),
    )
    for file in checkpoints[-1].iterdir():
        file.unlink()
    checkpoints[-1].rmdir()
    (tmp_path / "one" / "config.json").unlink()
    with pytest.raises(Mistake, match="not a model folder") as caught:
        pairloom.load(tmp_path / "one")
    assert "has not finished" in caught.value.why
    assert train(pairs, tmp_path / "one", "--workers", "0")["resumed"] == 3
    assert before == (
        (tmp_path / "one" / "log.jsonl").read_bytes(),
        (tmp_path / "one" / "model.safetensors").read_bytes(),
    )
    assert train(pairs, tmp_path / "one", "--restart", "seed=1")["resumed"] == 0
    assert (tmp_path / "one" / "log.jsonl").read_bytes() != before[0]


def test_another_run_in_the_same_folder_is_refused(pairs: Path, tmp_path: Path) -> None:
    train(pairs, tmp_path / "out")
    with pytest.raises(Mistake, match="holds another run: config.depth"):
        train(pairs, tmp_path / "out", "model.depth=1")
    with pytest.raises(Mistake, match="other settings or data: lr"):
        train(pairs, tmp_path / "out", "lr=1e-4")
    with pytest.raises(Mistake, match="pixels.flip"):
        train(pairs, tmp_path / "out", "pixels.flip=true")


def test_recomputing_layers_changes_nothing_but_memory(pairs: Path, tmp_path: Path) -> None:
    plain = train(pairs, tmp_path / "plain", "model.dropout=0.1")
    saved = train(pairs, tmp_path / "saved", "model.dropout=0.1", "checkpointing=true")
    names = [name for name in plain if name.startswith(("loss", "norm"))]
    assert len(names) == 5
    for name in names:
        assert saved[name] == pytest.approx(plain[name], abs=1e-5)


def test_starting_from_a_model(pairs: Path, tmp_path: Path) -> None:
    train(pairs, tmp_path / "first")
    told = train(
        pairs,
        tmp_path / "second",
        "--init",
        str(tmp_path / "first"),
        "model.itm=0",
        "steps=1",
        "lr=1e-9",
        "min_lr=0",
    )
    first, second = pairloom.load(tmp_path / "first"), pairloom.load(tmp_path / "second")
    assert (
        "losses/itm" not in told
        and second.tokens.to_json() == first.tokens.to_json()
        and second.config.itm == 0
    )
    for (name, a), b in zip(first.system.named_parameters(), second.system.parameters()):
        if not name.startswith(first.system.training_state):
            assert (a - b).abs().max() < 1e-7, name
    with pytest.raises(Mistake, match="do not fit"):
        train(pairs, tmp_path / "third", "--init", str(tmp_path / "first"), "model.depth=3")


def test_a_tokenizer_of_ones_own(pairs: Path, tmp_path: Path) -> None:
    tokens = Tokens.train(["one of my own words"] * 3, 80)
    tokens.save(tmp_path)
    train(pairs, tmp_path / "out", "--tokens", str(tmp_path))
    cleaned = Tokens.load(tmp_path, "blip")  # with the cleaning of the recipe
    assert pairloom.load(tmp_path / "out").tokens.to_json() == cleaned.to_json()
    assert cleaned.tokenizer.get_vocab() == tokens.tokenizer.get_vocab()


def test_a_dry_run_leaves_the_disk_alone(pairs: Path, tmp_path: Path) -> None:
    told = train(pairs, tmp_path / "out", "--dry-run")
    assert told["steps"] == 6 and told["batch"] == 8 and not list(tmp_path.iterdir())


def test_recipes_come_before_ones_own_settings(pairs: Path, tmp_path: Path) -> None:
    order = TrainRequest("blip", pairs, tmp_path / "out", ("lr=1e-5",), "tiny", "base")
    assert (order.run().batch, order.run().lr, order.run().warmup, order.run().decay_all) == (
        2880,
        1e-5,
        3000,
        True,
    )
    with pytest.raises(Mistake, match="Did you mean 'base'"):
        TrainRequest("blip", pairs, tmp_path, recipe="bose").run()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("btach=8",), "Did you mean 'batch'"),
        (("model.dept=8",), "Did you mean 'depth'"),
        (("pixels.flop=true",), "Did you mean 'flip'"),
        (("lr",), "not a setting"),
        (("model=3",), "not a setting|group|no setting"),
        (("batch=1000",), "more than the"),
        (("pixels.size=7",), "Set model.image_size"),
        (("model.length=2",), "Give 3 or more"),
        (("batch=9", "accumulate=2"), "multiple of 2"),
        (("--held-out", "1.5"), "not a share"),
        (("--recipe", "bose"), "Did you mean 'base'"),
        (("--init", "nowhere"), "no model at"),
        (("--tokens", "nowhere"), "no tokenizer"),
    ],
)
def test_what_does_not_fit_is_said(words: tuple[str, ...], said: str, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=said):
        train(pairs, tmp_path / "out", *words)


def test_somebody_elses_folder_is_left_alone(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    for words in ((), ("--restart",)):
        with pytest.raises(Mistake, match="not a folder of pairloom's"):
            train(pairs, tmp_path, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(Mistake, match="cannot be the output"):
        train(pairs, pairs / "out")
    with pytest.raises(Mistake, match="nothing at"):
        train(tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [(), ("--restart",)])
@pytest.mark.parametrize("name", ["config.json", "run.json"])
def test_a_model_or_a_run_of_another_command_is_left_alone(
    name: str, words: tuple[str, ...], pairs: Path, tmp_path: Path
) -> None:
    """A model of yours, or what `clean` made: both are signed by pairloom, and neither is this command's."""
    (tmp_path / name).write_text('{"pairloom": "0.1.0", "counts": {}}')
    (tmp_path / "model.safetensors").write_text("a week of training")
    with pytest.raises(Mistake, match="Nothing of yours is overwritten"):
        train(pairs, tmp_path, *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "model.safetensors"])
    assert (tmp_path / "model.safetensors").read_text() == "a week of training"


def test_pictures_that_spoil_while_learning_are_told(pairs: Path, tmp_path: Path) -> None:
    for path in pairs.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "07.png").write_bytes((tmp_path / "07.png").read_bytes()[:50])
    (tmp_path / "11.png").write_bytes(b"")
    told = train(tmp_path, tmp_path.with_name("spoilt"), "steps=20", "--held-out", "0")
    assert told["bad"] + sum(told["skipped"].values()) == 2


def test_held_out_pairs_are_never_learned_from(pairs: Path, tmp_path: Path) -> None:
    job = prepare(
        TrainRequest("blip", pairs, tmp_path / "out", tuple(FAST), "tiny", held_out=0.25, dry_run=True)
    )
    assert job.batches.held_out is not None
    assert (
        not set(job.batches.held_out.rows) & set(job.batches.learn.rows)
        and len(job.batches.held_out.rows) + len(job.batches.learn.rows) == 40
    )
    assert isinstance(job.batches.learn.rows, numpy.ndarray)
