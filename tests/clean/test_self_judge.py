"""The self judge: folds by content, nothing trained twice, exact after a kill, and it tells colours apart."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

import pairloom
from pairloom.blocks.tensors import tensors_of
from pairloom.clean import audit, captioners, judges, rows, self_judge
from pairloom.clean.folds import fold_of
from pairloom.clean.judges import Judge, load_judge
from pairloom.clean.plan import CleanSettings
from pairloom.clean.rows import Rows
from pairloom.clean.views import AugmentedImages, _digits
from pairloom.data.loader import Loader
from pairloom.data.pair import content_hash
from pairloom.errors import Mistake
from pairloom.scale import Execution
from pairloom.tasks.caption import caption
from pairloom.tasks.decode import Writing
from pairloom.train import loop

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 220), "white": (240, 240, 240)}
QUICK = CleanSettings(size=32, effort=0.01, seed=3, self_system="blip")


def quiet(*_: object, **__: object) -> None:
    """Says nothing."""


class Squares:
    """Noisy squares of one colour each, two texts that name it, and the audited rows of them."""

    def __init__(self, folder: Path, count: int = 96) -> None:
        draw = np.random.default_rng(0)
        names = [list(COLOURS)[at % 4] for at in range(count)]
        self.stored = np.stack(
            [np.clip(draw.normal(COLOURS[name], 25, (32, 32, 3)), 0, 255).astype(np.uint8) for name in names]
        )
        self.texts = [[f"a {name} square", f"a square that is {name}"] for name in names]
        self.image_keys = [content_hash(picture.tobytes()) for picture in self.stored]
        self.rows = self._written(folder)

    def _written(self, work: Path) -> Rows:
        count = len(self.texts)
        (work / "audit").mkdir(parents=True, exist_ok=True)
        np.save(work / "audit" / "all.npy", self.stored)
        np.save(work / "pixels.npy", self.stored)
        entries = [
            {**dict.fromkeys(audit.SCHEMA.names), "texts": texts, "image_key": key}
            for texts, key in zip(self.texts, self.image_keys)
        ]
        table = pa.Table.from_pylist(entries, audit.SCHEMA)
        rows.write_rows(work, "all", table, [[] for _ in range(count)], [[[], []] for _ in range(count)])
        (work / "shards.json").write_text(json.dumps({"shards": ["all"], "counts": [count]}))
        return rows.load(work)

    def keys(self, rows: list[int]) -> list[str]:
        return [self.image_keys[row] for row in rows]

    def pixels(self, rows: list[int], size: int) -> tuple[np.ndarray, np.ndarray]:
        return self.stored[rows], np.ones(len(rows), bool)

    def encoded(self, rows: list[int]) -> Iterator[tuple[int, bytes]]:
        for row in rows:
            file = io.BytesIO()
            Image.fromarray(self.stored[row]).save(file, "PNG")
            yield row, file.getvalue()


def train(folder: Path, data: Squares, settings: CleanSettings = QUICK) -> Judge:
    where = self_judge.train_judge(folder, data.rows, data.rows.folder, settings, Execution(), quiet)
    return load_judge(where)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Squares, Judge]:
    folder = tmp_path_factory.mktemp("judged")
    data = Squares(folder / "work")
    return folder, data, train(folder, data)


def right_beats_wrong(judge: Judge, data: Squares) -> float:
    """The share of squares whose own colour scores above another one."""
    every = range(len(data.texts))
    right = judge.score(data, list(every), [texts[0] for texts in data.texts])
    wrong = judge.score(data, list(every), [data.texts[(row + 1) % 4][0] for row in every])
    return float(np.mean(right > wrong))


def test_wrong_colours_score_below_right_ones(judged: tuple[Path, Squares, Judge]) -> None:
    _, data, judge = judged
    assert right_beats_wrong(judge, data) > 0.95
    assert (len(judge.folds), judge.by) == (4, "cosine")


def test_a_score_depends_on_its_own_request_alone(judged: tuple[Path, Squares, Judge]) -> None:
    _, data, judge = judged
    rows, texts = list(range(40)) * 2, [data.texts[(7 * at) % 96][at % 2] for at in range(80)]
    together = judge.score(data, rows, texts)
    assert together.tolist() == [judge.score(data, [row], [text])[0] for row, text in zip(rows, texts)]
    back = judge.score(data, rows[::-1], texts[::-1])
    assert together.tolist() == back[::-1].tolist()


def test_a_saved_judge_gives_the_same_scores(judged: tuple[Path, Squares, Judge], tmp_path: Path) -> None:
    _, data, judge = judged
    rows, texts = list(range(96)), [texts[1] for texts in data.texts]
    again = load_judge(judge.save(tmp_path / "judge"))
    assert again.score(data, rows, texts).tolist() == judge.score(data, rows, texts).tolist()
    assert again.identity == judge.identity
    first = pairloom.load(tmp_path / "judge")  # a model folder too: its first fold
    assert first.name == "blip" and first.config == judge.folds[0].model.config


def test_a_judge_without_calibration_says_so(judged: tuple[Path, Squares, Judge]) -> None:
    with pytest.raises(Mistake, match="no calibration"):
        judged[2].decide(np.zeros(1))


@pytest.mark.parametrize("change, says", [({"judge": 99}, "version 99"), ({"references": []}, "not whole")])
def test_a_judge_of_another_version_or_in_pieces_is_a_mistake(
    judged: tuple[Path, Squares, Judge], tmp_path: Path, change: dict[str, object], says: str
) -> None:
    judged[2].save(tmp_path / "judge")
    file = tmp_path / "judge" / judges.FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(Mistake, match=says):
        load_judge(tmp_path / "judge")


def test_a_folder_without_a_judge_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no judge"):
        load_judge(tmp_path)


def test_any_system_that_embeds_can_be_the_self_judge(tmp_path: Path) -> None:
    data = Squares(tmp_path / "work")
    settings = replace(QUICK, self_system="clip", effort=0.05)
    judge = train(tmp_path, data, settings)
    assert {fold.model.name for fold in judge.folds} == {"clip"} and judge.by == "cosine"
    assert right_beats_wrong(judge, data) > 0.8
    assert (
        captioners.train_captioner(tmp_path, data.rows, (), data.rows.folder, settings, Execution(), quiet)
        is None
    )


def test_a_system_that_neither_embeds_nor_matches_is_no_self_judge() -> None:
    self_judge.demand_judge("clip", 64)
    with pytest.raises(Mistake, match="cannot be a self judge"):
        self_judge.demand_judge("show_and_tell", 64)


def test_no_model_learns_from_a_picture_that_it_judges(
    judged: tuple[Path, Squares, Judge], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, data, _ = judged
    learnt: list[set[int]] = []

    def watch(system: object, loader: Loader, *_: object, **__: object) -> None:
        learnt.append(set(loader.rows.tolist()))

    monkeypatch.setattr(loop, "fit", watch)
    train(tmp_path, data)
    assert len(learnt) == 4 and set().union(*learnt) == set(range(len(data.texts)))
    for fold, seen in enumerate(learnt):
        folds = {fold_of(data.image_keys[row], 4) for row in seen}
        assert folds == {0, 1, 2, 3} - {fold}


def test_copies_of_a_picture_share_a_fold() -> None:
    keys = [content_hash(bytes([byte])) for byte in range(40)]
    folds = [fold_of(key, 4) for key in keys]
    assert folds == [fold_of(str(key), 4) for key in keys] and set(folds) == {0, 1, 2, 3}


def test_a_killed_training_goes_on_to_the_same_bytes(
    judged: tuple[Path, Squares, Judge], tmp_path: Path
) -> None:
    folder, data, _ = judged
    settings = self_judge.seeing(len(data.texts), 300, 7)
    tasks = [
        self_judge.TrainTask(
            data.rows.work, data.rows.folder, tmp_path / name, folder / "tokenizer.json", 300, 7
        )
        for name in ("one", "two")
    ]
    self_judge.train(tasks[0])

    class Killed(Exception):
        pass

    steps = {"left": settings.total(1) // 2}

    def count(*_: object) -> None:
        steps["left"] -= 1
        if not steps["left"]:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(self_judge, "SAVE", 3)
        original = loop._Run._step

        def step(self: object, *args: object) -> None:
            count()
            original(self, *args)

        patch.setattr(loop._Run, "_step", step)
        with pytest.raises(Killed):
            self_judge.train(tasks[1])
    assert list((tmp_path / "two.run" / "checkpoints").iterdir())
    self_judge.train(tasks[1])
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert first == second and not (tmp_path / "two.run").exists()


def test_a_finished_fold_is_left_alone(
    judged: tuple[Path, Squares, Judge], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data, _ = judged
    monkeypatch.setattr(loop, "fit", lambda *_, **__: pytest.fail("trained again"))
    train(folder, data)


def test_the_captioner_writes_what_it_sees_and_leaves_the_image_tower_as_it_was(
    judged: tuple[Path, Squares, Judge],
) -> None:
    folder, data, _ = judged
    asked = replace(QUICK, effort=0.05)
    path = captioners.train_captioner(folder, data.rows, (), data.rows.folder, asked, Execution(), quiet)
    assert path is not None
    model, judge = pairloom.load(path), pairloom.load(folder / "folds" / "0")
    assert (model.config.lm, model.config.itc, model.config.itm) == (1.0, 0.0, 0.0)
    before, after = (tensors_of(one.system.towers.image) for one in (judge, model))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    images = torch.from_numpy(model.pixels.normalise(data.stored[:32]))
    written = caption(model.eval(), images, Writing("greedy", max_length=8))
    right = [texts[0].split()[1] in captions[0].text for texts, captions in zip(data.texts, written)]
    assert np.mean(right) > 0.9
    assert self_judge.describe(folder / "folds") == {"model": "self", "way": "cosine", "folds": 4}


def test_what_proves_learns_both_to_see_and_to_write(
    judged: tuple[Path, Squares, Judge], tmp_path: Path
) -> None:
    data = judged[1]
    where = captioners.train_to_prove(tmp_path / "model", data.rows, data.rows.folder, QUICK, 5)
    model, seeing = pairloom.load(where), pairloom.load(tmp_path / "model-sees")
    assert (model.config.lm, model.config.itc) == (1.0, 1.0)
    assert not torch.equal(model.system.head.bias, seeing.system.head.bias)


def test_too_few_pairs_teach_nothing_and_say_nothing(tmp_path: Path) -> None:
    data = Squares(tmp_path / "work", 8)
    judge = train(tmp_path, data)
    assert judge.score(data, [0, 1], ["a red square", "a blue square"]).tolist() == [0.0, 0.0]
    assert self_judge.describe(tmp_path / "folds")["folds"] == 0


def test_a_size_that_the_stem_cannot_halve_is_a_mistake() -> None:
    with pytest.raises(Mistake, match="size=64"):
        self_judge.demand_size(66)


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
