"""The saved judge is the judge of the ledger: the same scores, P(match) and decisions, to the last bit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import colours
import numpy as np
import pyarrow.parquet as pq
import pytest

import pairloom
from pairloom.clean import score_set
from pairloom.clean.judges import JudgeAt, open_judge
from pairloom.clean.plan import CleanSettings
from pairloom.clean.result import CleanResult
from pairloom.clean.ridge_judge import RidgeJudge
from pairloom.clean.rounds import silent
from pairloom.clean.run import clean
from pairloom.data.shards import PairSet, open_set, save_set
from pairloom.errors import Mistake
from pairloom.scale import Execution

SETTINGS = CleanSettings(size=32, effort=0.02, captions=False)


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> tuple[PairSet, CleanResult]:
    """Three tars, cleaned by the judge self."""
    root = tmp_path_factory.mktemp("judges")
    raw = save_set(open_set(colours.write(root / "folder", 120)).pairs(), root / "raw", "webdataset", size=50)
    return raw, clean(root / "raw", root / "out", SETTINGS)


def judged(result: CleanResult) -> dict[tuple[str, int], dict]:
    """The ledger's rows that a judge scored."""
    rows = result.ledger.table().to_pylist()
    return {(row["key"], row["text_id"]): row for row in rows if row["score"] is not None}


def asked(raw: PairSet, result: CleanResult) -> tuple[list[dict], list[bytes], list[str]]:
    """Rows of the ledger with the picture and the text of each."""
    pictures = {pair.key: pair.image.read() for pair in raw.pairs()}
    rows = list(judged(result).values())
    return rows, [pictures[row["key"]] for row in rows], [row["text"] for row in rows]


def test_the_saved_judge_says_what_the_ledger_says(cleaned: tuple[PairSet, CleanResult]) -> None:
    raw, result = cleaned
    rows, pictures, texts = asked(raw, result)
    judge = pairloom.load_judge(result.out / "models" / "judge", device="cpu")
    said = judge(pictures, texts)
    assert len(rows) > 80 and said.by == "ridge regression" == result.facts["judge"]["way"]
    assert said.scores.tolist() == [row["score"] for row in rows]
    assert said.p_match.tolist() == [row["p_match"] for row in rows]
    assert said.decisions == [row["decision"] for row in rows]
    assert result.facts["calibration"]["decides"] and {"keep", "drop"} == set(said.decisions)


def test_one_pair_at_a_time_is_judged_as_in_the_ledger(
    cleaned: tuple[PairSet, CleanResult], tmp_path: Path
) -> None:
    raw, result = cleaned
    judge = result.judge()
    for row, picture, text in list(zip(*asked(raw, result)))[:3]:
        (tmp_path / "one.png").write_bytes(picture)
        for one in (picture, tmp_path / "one.png", str(tmp_path / "one.png")):
            assert judge.scores(one, text).tolist() == [row["score"]]


def test_a_text_against_a_picture_that_cannot_be_read_has_no_score(
    cleaned: tuple[PairSet, CleanResult],
) -> None:
    said = cleaned[1].judge()([b"no picture", colours.picture("red", "plain", 1)], ["a wall", "a wall"])
    assert said.scores[0] == -np.inf and np.isnan(said.p_match[0]) and np.isfinite(said.scores[1])


def test_the_score_command_gives_the_scores_of_the_ledger(
    cleaned: tuple[PairSet, CleanResult], tmp_path: Path
) -> None:
    raw, result = cleaned
    table = tmp_path / "scores.parquet"
    score_set.score_set(raw, result.out / "models" / "judge", table, Execution(), False, silent)
    scores = {(row["key"], row["text_id"]): row["score"] for row in pq.read_table(table).to_pylist()}
    known = judged(result)
    assert {place: scores[place] for place in known} == {place: row["score"] for place, row in known.items()}


def test_a_judge_that_is_handed_in_judges_as_it_did(
    cleaned: tuple[PairSet, CleanResult], tmp_path: Path
) -> None:
    raw, result = cleaned
    again = clean(raw.path, tmp_path / "object", SETTINGS, judge=result.judge())
    assert again.ledger.table().equals(result.ledger.table())
    by_name = clean(raw.path, tmp_path / "folder", SETTINGS, judge=result.out / "models" / "judge")
    assert by_name.ledger.table().equals(result.ledger.table())
    assert by_name.judge().identity == result.judge().identity


def test_the_judge_of_a_set_embeds(cleaned: tuple[PairSet, CleanResult], tmp_path: Path) -> None:
    where = cleaned[1].out / "models" / "judge"
    model = pairloom.load(where, device="cpu")
    assert model.abilities == {"embed"} and model.scores_by == ("cosine",)
    wanted = ["a plain red wall", "a plain blue wall", "a plain green wall"]
    pictures = [
        colours.picture(colour, "plain", 10**6 + at) for at, colour in enumerate(("red", "blue", "green"))
    ]
    assert model.match(pictures, wanted).values.argmax(1).tolist() == [0, 1, 2]


def test_a_judge_that_is_no_model_says_what_it_can_do(
    cleaned: tuple[PairSet, CleanResult], tmp_path: Path
) -> None:
    copy = shutil.copytree(cleaned[1].out / "models" / "judge", tmp_path / "judge")
    (copy / "config.json").unlink()  # as an earlier version wrote it
    with pytest.raises(Mistake, match="load_judge"):
        pairloom.load(copy)
    pairloom.load_judge(copy)


def test_a_judge_is_no_captioner(cleaned: tuple[PairSet, CleanResult], tmp_path: Path) -> None:
    raw, result = cleaned
    settings = replace(SETTINGS, captions=True)
    again = clean(raw.path, tmp_path / "out", settings, judge=result.judge())
    assert again.facts["captioner"]["model"] is None and "cannot write" in again.facts["captioner"]["why"]
    assert again.counts["drop"] == result.counts["drop"]


def test_a_plain_model_is_a_judge_that_names_it(tmp_path: Path) -> None:
    raw = colours.write(tmp_path / "raw", 60)
    where = colours.model(tmp_path / "model", 70)
    result = clean(raw, tmp_path / "out", CleanSettings(model=str(where), size=32, captions=False))
    judge = result.judge()
    assert judge.by == result.facts["judge"]["way"] and judge.source == str(where.resolve())
    rows, pictures, texts = asked(open_set(raw), result)
    said = judge(pictures, texts)
    assert np.allclose(said.scores, [row["score"] for row in rows], atol=1e-5)
    assert said.decisions == [row["decision"] for row in rows]


def test_a_judge_has_one_speed(cleaned: tuple[PairSet, CleanResult]) -> None:
    with pytest.raises(Mistake, match="one speed"):
        open_judge(cleaned[1].out / "models" / "judge", speed="fast")


def test_what_tasks_carry_is_small(cleaned: tuple[PairSet, CleanResult]) -> None:
    """A reference to the judge, not the judge; the description of it is the whole calibration."""
    import pickle

    where = cleaned[1].out / "models" / "judge"
    assert len(pickle.dumps(JudgeAt(str(where)))) < 300
    known = json.loads((where / "judge.json").read_text())
    assert known["calibration"]["facts"] == cleaned[1].facts["calibration"]
    assert isinstance(JudgeAt(str(where)).judge, RidgeJudge)
