"""Videos with speech: features of clips become visual words by clusters that travel in the model; train, match, predict both ways."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pairloom
from pairloom.cli import main
from pairloom.data.clips import ClipFeatures, collate_clips, read_clips
from pairloom.data.feed import ClipFeed
from pairloom.data.pixels import Unreadable
from pairloom.errors import Mistake
from pairloom.tasks.visual_words import filled_in, shown_by

SAID = ["now cut the onion", "fry the fish in oil", "stir the soup slowly", "wash the rice"]
FAST = ["batch=4", "model.length=12", "model.positions=32", "model.subsample=0", "log_every=50"]


def video(kind: int, seed: int, clips: int = 3) -> np.ndarray:
    """Clips near one of four corners."""
    draw = np.random.default_rng(seed)
    return (np.eye(4)[kind] * 10 + draw.normal(size=(clips, 4)) * 0.1).astype(np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    folder = root / "videos"
    folder.mkdir()
    for number in range(16):
        name, kind = folder / f"v{number:02d}", number % 4
        if number % 2:
            np.save(name.with_suffix(".npy"), video(kind, number, 2 + number % 3))
        else:
            np.savez(name.with_suffix(".npz"), features=video(kind, number, 2 + number % 3))
        name.with_suffix(".txt").write_text(SAID[kind] + "\n")
    np.save(folder / "silent.npy", video(0, 99))
    (folder / "cut.npy").write_bytes((folder / "v01.npy").read_bytes()[:60])
    (folder / "cut.txt").write_text("a text")
    pairloom.train(
        "videobert", folder, root / "model", preset="tiny", held_out=0.0, settings=[*FAST, "steps=4"]
    )
    return root


def test_clusters_travel_in_the_model_and_separate_what_is_apart(place: Path) -> None:
    model = pairloom.load(place / "model")
    assert model.feed == ClipFeed(4, 6) and model.config.clip_features == 4
    codes = [
        model.system.visual_words(model.batch([ClipFeatures(video(kind, 50 + kind))])).ids
        for kind in range(4)
    ]
    words = [set(one.flatten().tolist()) for one in codes]
    assert not any(words[one] & words[two] for one in range(4) for two in range(one))


def test_videos_are_files_or_features(place: Path) -> None:
    model = pairloom.load(place / "model")
    files = [place / "videos" / f"v{at:02d}.np{'zy'[at % 2]}" for at in range(4)]
    scores = model.match(files, SAID)
    assert scores.by == "match head" and scores.values.shape == (4, 4)
    own = model.match(read_clips(files[2]), SAID)
    np.testing.assert_allclose(own.values, scores.values[2], atol=1e-5)
    codes = model.system.visual_words(model.batch([read_clips(files[2])]))
    with torch.no_grad():
        expected = model.system.match(model.batch(texts=SAID, codes=codes, image_of=[0] * 4))
    np.testing.assert_allclose(own.values, expected, atol=1e-5)


def test_text_to_visual_words_and_back(place: Path) -> None:
    model = pairloom.load(place / "model")
    (best,) = shown_by(model, SAID[1], top=4)
    assert len(best) == 4 and best[0][1] >= best[1][1] and all(0 <= word < 16 for word, _ in best)
    (words,) = filled_in(model, ClipFeatures(video(3, 70)), "wash the [MASK]", top=2)
    assert len(words) == 2 and words[0][1] >= words[1][1]
    with pytest.raises(Mistake, match="has no \\[MASK\\]"):
        filled_in(model, ClipFeatures(video(3, 70)), "wash the rice")


def test_on_the_command_line(place: Path, monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pairloom", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, " ".join(printed.err.split())

    train = ("train", "videobert", "--out", tmp_path / "m", "--preset", "tiny", "--dry-run", "--json", *FAST)
    code, out, _ = call(*train, "--data", place / "videos")
    facts = json.loads(out)
    assert code == 0 and facts["skipped"]["no text beside it"] == 1 and sum(facts["skipped"].values()) == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    code, _, err = call(*train, "--data", empty)
    assert code == 2 and "no .npy or .npz" in err
    model = ("--model", place / "model", "--json")
    code, out, _ = call("match", place / "videos" / "v01.npy", *SAID, *model)
    assert code == 0 and {row["text"] for row in json.loads(out)["texts"]} == set(SAID)
    (tmp_path / "photo.jpg").write_bytes(b"x")
    for name, reason in (
        (place / "videos" / "cut.npy", "cannot be read as clips"),
        (tmp_path / "photo.jpg", "reads clips"),
    ):
        code, _, err = call("match", name, *SAID, *model)
        assert code == 2 and reason in err


def test_what_is_no_clips(tmp_path: Path) -> None:
    for array, reason in (
        (np.zeros(3), "are \\[clips, features\\]"),
        (np.full((2, 2), np.nan), "not all numbers"),
    ):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(Unreadable, match=reason):
            read_clips(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", one=np.ones((2, 2)), two=np.ones((2, 2)))
    with pytest.raises(Unreadable, match="2 arrays"):
        read_clips(tmp_path / "x.npz")
    with pytest.raises(Mistake, match="reads 3 features"):
        collate_clips([ClipFeatures(np.ones((2, 2)))], ClipFeed(3, 4))
    clips = collate_clips([ClipFeatures(np.ones((2, 3))), ClipFeatures(np.ones((9, 3)))], ClipFeed(3, 4))
    assert clips.mask.sum(1).tolist() == [2, 4] and torch.equal(clips.features[0, 2:], torch.zeros(2, 3))
