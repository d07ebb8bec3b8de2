"""The judge `self`: folds by content, nothing trained twice, exact after a kill, and it tells colours apart."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import pairloom
from pairloom.blocks.tensors import tensors_of
from pairloom.clean import learning, selfjudge
from pairloom.clean.plan import Settings
from pairloom.clean.rows import Rows, load
from pairloom.clean.views import AugmentedImages, _digits
from pairloom.data.pair import content_hash
from pairloom.errors import Mistake
from pairloom.tasks.caption import caption
from pairloom.tasks.decode import Writing
from pairloom.train import loop

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 220), "white": (240, 240, 240)}
QUICK = Settings(size=32, effort=0.01, seed=3)


def quiet(*_: object, **__: object) -> None:
    """Says nothing."""


def made_rows(folder: Path, count: int = 96) -> Rows:
    """Noisy squares of one colour each, and a text that names it."""
    draw = np.random.default_rng(0)
    names = [list(COLOURS)[at % 4] for at in range(count)]
    pixels = np.stack(
        [np.clip(draw.normal(COLOURS[name], 25, (32, 32, 3)), 0, 255).astype(np.uint8) for name in names]
    )
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "pixels.npy", pixels)
    columns = {
        "texts": [[f"a {name} square", f"a square that is {name}"] for name in names],
        "image_key": [content_hash(picture.tobytes()) for picture in pixels],
        "image_faults": [[] for _ in names],
        "text_faults": [[[], []] for _ in names],
        "shard": pa.array([0] * count, pa.int32()),
    }
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    return load(folder, ["all"])


@dataclass
class Decided:
    """What the captioner is trained on."""

    rows: Rows

    def texts(self) -> list[list[str]]:
        return self.rows.texts


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rows]:
    folder = tmp_path_factory.mktemp("judged")
    data = made_rows(folder / "work")
    selfjudge.fit(folder, data, data.texts, QUICK, None, 1, quiet)
    return folder, data


def test_wrong_colours_score_below_right_ones(judged: tuple[Path, Rows]) -> None:
    folder, data = judged
    judge = selfjudge.Judge(folder / "folds", data.pixels, data.image_keys)
    right = judge.score(range(len(data)), [texts[0] for texts in data.texts])
    wrong = judge.score(range(len(data)), [data.texts[(row + 1) % 4][0] for row in range(len(data))])
    assert np.mean(right > wrong) > 0.95
    assert (judge.folds, judge.way) == (4, "cosine")


def test_a_score_depends_on_its_own_request_alone(judged: tuple[Path, Rows]) -> None:
    folder, data = judged
    judge = selfjudge.Judge(folder / "folds", data.pixels, data.image_keys)
    together = judge.score([3, 5, 3], ["a red square", "a green square", "a blue square"])
    apart = [judge.score([row], [text])[0] for row, text in ((3, "a red square"), (5, "a green square"))]
    assert np.allclose(together[:2], apart, atol=1e-4)


def test_no_model_learns_from_a_picture_that_it_judges(
    judged: tuple[Path, Rows], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, data = judged
    learnt: list[set[int]] = []

    def watch(system: object, loader: learning.Loader, *_: object, **__: object) -> None:
        learnt.append(set(loader.rows.tolist()))

    monkeypatch.setattr(loop, "fit", watch)
    selfjudge.fit(tmp_path, data, data.texts, QUICK, None, 1, quiet)
    assert len(learnt) == 4 and set().union(*learnt) == set(range(len(data)))
    for fold, rows in enumerate(learnt):
        folds = {learning.fold_of(data.image_keys[row], 4) for row in rows}
        assert folds == {0, 1, 2, 3} - {fold}


def test_copies_of_a_picture_share_a_fold() -> None:
    keys = [content_hash(bytes([byte])) for byte in range(40)]
    folds = [learning.fold_of(key, 4) for key in keys]
    assert folds == [learning.fold_of(str(key), 4) for key in keys] and set(folds) == {0, 1, 2, 3}


def test_a_killed_training_goes_on_to_the_same_bytes(judged: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, data = judged
    whole = folder / "folds" / "1"
    work = tmp_path / "work"
    shutil.copytree(data.work, work)
    settings = learning.seeing(len(data), 300, 7)
    jobs = [
        learning.Job(work, ("all",), tuple(map(tuple, data.texts)), tmp_path / name, (whole / "tokenizer.json").read_text(), 300, 7)
        for name in ("one", "two")
    ]  # fmt: skip
    learning.train(jobs[0])

    class Killed(Exception):
        pass

    steps = {"left": settings.total(1) // 2}

    def count(*_: object) -> None:
        steps["left"] -= 1
        if not steps["left"]:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "SAVE", 3)
        original = loop._Run._step

        def step(self: object, *args: object) -> None:
            count()
            original(self, *args)

        patch.setattr(loop._Run, "_step", step)
        with pytest.raises(Killed):
            learning.train(jobs[1])
    assert list((tmp_path / "two.run" / "checkpoints").iterdir())
    learning.train(jobs[1])
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert first == second and not (tmp_path / "two.run").exists()


def test_a_finished_fold_is_left_alone(judged: tuple[Path, Rows], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, data = judged
    monkeypatch.setattr(loop, "fit", lambda *_, **__: pytest.fail("trained again"))
    selfjudge.fit(folder, data, data.texts, QUICK, None, 1, quiet)


def test_the_captioner_writes_what_it_sees_and_leaves_the_image_tower_as_it_was(
    judged: tuple[Path, Rows],
) -> None:
    folder, data = judged
    path = selfjudge.fit_captioner(folder, Decided(data), replace(QUICK, effort=0.05), None, 1, quiet)
    model, judge = pairloom.load(path), pairloom.load(folder / "folds" / "0")
    assert (model.config.lm, model.config.itc, model.config.itm) == (1.0, 0.0, 0.0)
    before, after = (tensors_of(one.system.towers.image) for one in (judge, model))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    images = torch.from_numpy(model.pixels.normalise(data.pixels[:32]))
    said = caption(model, images, Writing("greedy", max_length=8))
    right = [texts[0].split()[1] in found[0].text for texts, found in zip(data.texts, said)]
    assert np.mean(right) > 0.9
    assert selfjudge.describe(folder) == {"model": "self", "way": "cosine", "folds": 4}


def test_what_proves_learns_both_to_see_and_to_write(judged: tuple[Path, Rows], tmp_path: Path) -> None:
    _, data = judged
    made = pairloom.load(selfjudge.learn(tmp_path / "model", data, data.texts, QUICK, 5))
    assert (made.config.lm, made.config.itc) == (1.0, 1.0)
    seen = pairloom.load(tmp_path / "model-sees")
    assert not torch.equal(made.system.head.bias, seen.system.head.bias)


def test_too_few_pairs_teach_nothing_and_say_nothing(tmp_path: Path) -> None:
    data = made_rows(tmp_path / "work", 8)
    selfjudge.fit(tmp_path, data, data.texts, QUICK, None, 1, quiet)
    judge = selfjudge.Judge(tmp_path / "folds", data.pixels, data.image_keys)
    assert judge.score([0, 1], ["a red square", "a blue square"]).tolist() == [0.0, 0.0]
    assert selfjudge.describe(tmp_path)["folds"] == 0


def test_a_size_that_the_stem_cannot_halve_is_a_mistake() -> None:
    with pytest.raises(Mistake, match="size=64"):
        learning.shape(66)


def test_sided_pictures_are_never_mirrored_and_views_obey_their_chances() -> None:
    pixels = np.zeros((1, 16, 16, 3), np.uint8)
    pixels[:, :, :8] = 255
    views = AugmentedImages(pixels, (0.0,) * 3, (1.0,) * 3, crop=0.9, flip=1.0, colour=0.0)
    chance, rows = torch.rand(8, 4, generator=torch.Generator().manual_seed(0)), np.zeros(8, np.int64)
    for sided, bright in ((True, slice(0, 6)), (False, slice(10, 16))):
        seen, shown = views.look(rows, chance, torch.full((8,), sided))
        assert (seen[..., bright] > 0.99).all() and shown.tolist() == list(range(8))
    again, _ = views.look(rows, chance, torch.zeros(8, dtype=torch.bool))
    assert torch.equal(again, views.look(rows, chance, torch.zeros(8, dtype=torch.bool))[0])


def test_digits_of_a_chance_are_uniform_and_independent() -> None:
    draws = _digits(torch.rand(20_000, 2, generator=torch.Generator().manual_seed(1)))
    assert draws.shape == (20_000, 6) and draws.min() >= 0 and draws.max() < 1
    assert torch.allclose(draws.mean(0), torch.full((6,), 0.5), atol=0.01)
    assert (torch.corrcoef(draws.T) - torch.eye(6)).abs().max() < 0.03
