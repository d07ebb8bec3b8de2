"""A run: scorers over models, resume, comparisons by hand, results and page, the command with its exit codes."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from layouts import Table, picture, write
from PIL import Image
from typer.testing import CliRunner

from pairloom.api.benchmark import differences
from pairloom.bench import _compare, _results, _scoring, gdbench
from pairloom.bench._case import Case, Picture, choose
from pairloom.bench._judging import ImageOnly, Judging, Random, Scorer, TextOnly, scorers
from pairloom.bench._measure import mean_of
from pairloom.cli import bench
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.metrics.compare import Interval
from pairloom.model import Model, build, save
from pairloom.tasks.judge import judge
from pairloom.world import World
from pairloom.world import picture as drawn

APP = typer.Typer()
APP.command()(bench.command)


@pytest.fixture(scope="module")
def rows() -> list[tuple[Image.Image, str]]:
    return [(drawn(row.scene, 64), row.text) for row in World(8, 3, "simple", 64, ("terse",)).rows()]


@pytest.fixture(scope="module")
def models(rows) -> dict[str, Model]:
    tokens = Tokens.train([text for _, text in rows], 150)
    return {name: build(name, tokens, "tiny").eval() for name in ("clip", "blip")}


@pytest.fixture(scope="module")
def folders(models, tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    return {name: str(save(model, root / name)) for name, model in models.items()}


# -- scorers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "way"), [("clip", "cosine"), ("blip", "match"), ("blip", "cosine"), ("blip", "likelihood")]
)
def test_scores_are_those_of_the_judge_and_everything_is_prepared_once(
    models, rows, name: str, way: str, tmp_path
) -> None:
    model, images, texts = models[name], [image for image, _ in rows], [text for _, text in rows]
    pairs = [(i, t) for i in range(8) for t in (i, (i + 3) % 8, 5)]
    scorer = Judging(model, way)
    found = scorer.scores(images, texts, pairs)
    batch = model.batch([images[i] for i, _ in pairs], [texts[t] for _, t in pairs])
    assert found == pytest.approx(judge(model.system, batch, way)[0].numpy(), abs=2e-5)
    assert scorer.cost == {"pictures": 8, "texts": 8, "pairs": 24} and isinstance(scorer, Scorer)
    order = np.random.default_rng(0).permutation(24)  # whatever the order of the pairs
    again = scorer.scores(images, texts, [pairs[at] for at in order])
    assert again == pytest.approx(found[order], abs=2e-5)


def test_files_are_embedded_once_a_run_not_once_a_call(models, rows, tmp_path: Path) -> None:
    scorer = Judging(models["clip"])
    files = [tmp_path / f"{at}.png" for at in range(3)]
    for (image, _), file in zip(rows, files):
        image.save(file)
    first = scorer.scores(files, ["one", "two"], [(0, 0), (1, 1), (2, 0)])
    again = scorer.scores(files[::-1], ["two", "one"], [(2, 1), (1, 0), (0, 1)])
    assert again.tolist() == first.tolist() and scorer.cost == {"pictures": 3, "texts": 2, "pairs": 6}


def test_long_texts_are_named(models) -> None:
    scorer = Judging(models["clip"])
    long = "red cat " * 20
    scorer.scores([Image.new("RGB", (8, 8))], ["red cat", long], [(0, 0), (0, 1)])
    assert scorer.cut == [long]


def test_a_way_that_there_is_not_is_a_mistake(models) -> None:
    with pytest.raises(Mistake, match="can by cosine"):
        Judging(models["clip"], "match")


def test_blind_scorers_see_nothing_of_their_side(models, rows) -> None:
    images, texts = [image for image, _ in rows[:3]], [text for _, text in rows[:3]]
    pairs = [(i, t) for i in range(3) for t in range(3)]
    for model in models.values():
        made = scorers(model, None, True, {})
        assert list(made) == ["", "text only", "image only"]
        by_text = made["text only"].scores(images, texts, pairs).reshape(3, 3)
        by_image = made["image only"].scores(images, texts, pairs).reshape(3, 3)
        assert (by_text == by_text[0]).all() and len(set(by_text[0])) > 1
        assert (by_image == by_image[:, :1]).all() and len(set(by_image[:, 0])) > 1
        assert scorers(model, None, False, {}).keys() == {""}
    assert scorers(models["blip"], None, True, {})["text only"].way == "likelihood, gray picture"


def test_diffusion_models_take_part(rows) -> None:
    pytest.importorskip("diffusers")
    images, texts = [image for image, _ in rows[:2]], [text for _, text in rows[:3]]
    model = build("latent_diffusion", Tokens.train([text for _, text in rows], 150), "tiny").eval()
    made = scorers(model, None, True, {"steps": 4, "protocol": "sound"})
    pairs = [(i, t) for i in range(2) for t in range(3)]
    found = {name: one.scores(images, texts, pairs).reshape(2, 3) for name, one in made.items()}
    assert made[""].way.startswith("denoising (sound") and np.isfinite(found[""]).all()
    assert (found["text only"] == found["text only"][0]).all()
    looked = found["image only"]  # how well each picture is denoised without a text: not the same for all
    assert (looked == looked[:, :1]).all() and looked[0, 0] != looked[1, 0]
    assert all(isinstance(one, Scorer) for one in made.values())


def test_random_is_the_same_every_time_and_everywhere(tmp_path: Path) -> None:
    pairs = [(0, 0), (0, 1), (1, 0)]
    one = Random().scores([tmp_path / "x" / "a.jpg", tmp_path / "x" / "b.jpg"], ["p", "q"], pairs)
    two = Random().scores([Path("other/x/a.jpg"), Path("other/x/b.jpg")], ["p", "q"], pairs)
    assert one.tolist() == two.tolist() and len(set(one)) == 3
    many = Random().scores([Path("a")], [str(n) for n in range(2000)], [(0, n) for n in range(2000)])
    assert many.mean() == pytest.approx(0.5, abs=0.03) and 0 <= many.min() and many.max() < 1


# -- runs ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """SugarCrepe with 300 cases about three pictures, so that there are three shards."""
    root = tmp_path / "data"
    for gray in range(3):
        picture(root / f"val2017/{gray}.jpg", gray)
    rows = {
        str(n): {"filename": f"{n % 3}.jpg", "caption": f"yes {n}", "negative_caption": f"no {n}"}
        for n in range(300)
    }
    write(root / "swap_obj.json", rows)
    return root


class Counting(Table):
    """Right in cases 0 .. right - 1, wrong in the others."""

    asked = 0

    def __init__(self, right: int) -> None:
        super().__init__({(n % 3, f"{'yes' if n < right else 'no'} {n}"): 1.0 for n in range(300)})

    def scores(self, images, texts, pairs):
        type(self).asked += 1
        return super().scores(images, texts, pairs)


def entrant(name: str, right: int, mark: str = "") -> _results.Entrant:
    return _results.Entrant(name, mark or name, lambda: {"": Counting(right)}, blind=False)


def test_a_run_goes_on_where_it_was_stopped(data: Path, tmp_path: Path, monkeypatch) -> None:
    asked = gdbench.BenchRequest("sugarcrepe", tmp_path / "out", data)
    real, calls = Counting.scores, []

    def stop(self, images, texts, pairs):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(pairs))
        return real(self, images, texts, pairs)

    monkeypatch.setattr(Counting, "scores", stop)
    with pytest.raises(KeyboardInterrupt):
        gdbench.run(asked, [entrant("a", 200)])
    assert calls == [256, 256] and not (tmp_path / "out/results.json").exists()
    monkeypatch.setattr(Counting, "scores", real)
    Counting.asked = 0
    first = gdbench.run(asked, [entrant("a", 200)])
    assert Counting.asked == 1  # the third shard alone
    text = (tmp_path / "out/results.json").read_text()
    second = gdbench.run(asked, [entrant("a", 200)])
    assert Counting.asked == 1 and second == first and (tmp_path / "out/results.json").read_text() == text
    cost = first["benchmarks"]["sugarcrepe"]["cost"]["a"]
    assert cost["decisions"] == 300 and cost["pairs"] == 600 and cost["seconds"] >= 0
    gdbench.run(asked, [entrant("a", 200), entrant("b", 100)])
    assert Counting.asked == 4  # b alone
    gdbench.run(asked, [entrant("a", 150, "other weights")])
    assert Counting.asked == 7


def test_a_shard_is_no_more_than_can_be_lost_or_held() -> None:
    """128 cases, 1,024 pairs, 64 pictures that are held decoded; a case that is more than that is alone."""

    def sizes(count: int, *given: Any) -> list[int]:
        return [len(shard) for shard in _scoring._shards([Case(str(at), *given) for at in range(count)])]

    file, crop = Picture(Path("a.jpg")), Picture(Path("a.jpg"), (0, 0, 1, 1))
    assert sizes(300, (file,), ("one", "two")) == [128, 128, 44]
    assert sizes(30, (file,), tuple(map(str, range(120)))) == [8, 8, 8, 6]
    assert sizes(3, (file,), tuple(map(str, range(2000)))) == [1, 1, 1] and sizes(0) == []
    assert sizes(70, (crop, Picture(Path("t.parquet"), cell=("image_0", 1))), ("one",)) == [32, 32, 6]


def test_systems_are_compared_on_the_same_cases(data: Path, tmp_path: Path) -> None:
    """a has 200 of 300 right, b the first 180 of them, c 199: McNemar's p is 2 / 2^20, and 1."""
    asked = gdbench.BenchRequest("sugarcrepe", tmp_path / "out", data)
    made = gdbench.run(asked, [entrant("a", 200), entrant("b", 180), entrant("c", 199)])
    rows = {(row["new"], row["old"]): row for row in made["comparisons"]}
    assert rows["a", "b"]["value"] == pytest.approx(20 / 300) and rows["a", "b"]["cases"] == 300
    assert rows["a", "b"]["p"] == pytest.approx(2 / 2**20) and rows["a", "b"]["holm"] == pytest.approx(
        3 * 2 / 2**20
    )
    assert rows["a", "c"]["p"] == 1.0 and rows["a", "c"]["verdict"] == "undecided"
    assert rows["b", "c"]["p"] == pytest.approx(2 / 2**19) and rows["b", "c"]["holm"] == pytest.approx(
        2 * 2 / 2**19
    )
    # three pictures are all there is to resample: the interval is honest about it
    assert rows["a", "b"]["low"] <= 20 / 300 <= rows["a", "b"]["high"]
    page = (tmp_path / "out/report.html").read_text()
    assert page.count('<article class="card">') == 8 and "Where systems disagree" in page
    assert "://" not in page and "<script" not in page


def test_a_later_run_is_compared_with_an_earlier_one(data: Path, tmp_path: Path) -> None:
    gdbench.run(gdbench.BenchRequest("sugarcrepe", tmp_path / "one", data), [entrant("a", 100)])
    later = gdbench.BenchRequest(
        "sugarcrepe", tmp_path / "two", data, limit=150, earlier=tmp_path / "one/results.json"
    )
    made = gdbench.run(later, [entrant("a", 200, "new weights")])
    [row] = made["earlier"]
    # every other case: 75 of 100 .. 199 were gained, half of the 150 less
    assert (row["new"], row["old"], row["cases"]) == ("a", "a (earlier)", 150)
    assert row["value"] == pytest.approx(50 / 150) and row["verdict"] == "better"
    with pytest.raises(Mistake, match="no result"):
        gdbench.run(replace(later, earlier=data / "swap_obj.json"), [entrant("a", 200)])


def test_a_case_of_the_same_name_that_asks_something_else_is_not_compared(data: Path, tmp_path: Path) -> None:
    """Of the 300 cases of the earlier run 100 have another text now; where all have, it is said."""
    gdbench.run(gdbench.BenchRequest("sugarcrepe", tmp_path / "one", data), [entrant("a", 100)])
    rows = json.loads((data / "swap_obj.json").read_text())
    later = gdbench.BenchRequest("sugarcrepe", tmp_path / "two", data, earlier=tmp_path / "one")
    for changed in (range(100), range(300)):
        for n in changed:
            rows[str(n)]["negative_caption"] = f"nay {n}"
        write(data / "swap_obj.json", rows)
        made = gdbench.run(later, [entrant("a", 200)])
        assert [row["cases"] for row in made["earlier"]] == ([200] if len(changed) == 100 else [])
        said = [remark for remark in made["bench"]["remarks"] if "none of these cases" in remark]
        assert bool(said) == (len(changed) == 300)


def test_what_is_decided_is_said_and_what_is_not_is_counted(data: Path, tmp_path: Path) -> None:
    asked = gdbench.BenchRequest("sugarcrepe", tmp_path / "out", data)
    made = gdbench.run(asked, [entrant("a", 290), entrant("b", 10), entrant("c", 289)])
    said = " ".join(differences(made["comparisons"]))
    assert (
        "macro over 1 subsets: a is better than b, +0.933 [" in said
        and "undecided: 1 of 3 comparisons" in said
    )


@pytest.mark.parametrize("error", [Mistake("a.jpg cannot be read."), OSError("gone"), ValueError("a slip")])
def test_only_pictures_that_are_broken_are_left_out(data: Path, tmp_path: Path, error: Exception) -> None:
    """A scorer may say what it likes of a broken picture; where no picture is broken its error is its own."""

    def fail(images, texts, pairs):
        if any(path.stat().st_size < 100 for path in images):
            raise error
        return np.zeros(len(pairs))

    asked = gdbench.BenchRequest("sugarcrepe", tmp_path / "out", data, limit=30)
    whole = (data / "val2017/1.jpg").read_bytes()
    (data / "val2017/1.jpg").write_bytes(whole[:60])
    system = _results.Entrant(
        "a", "a", lambda: {"": SimpleNamespace(way="x", cost={}, scores=fail)}, blind=False
    )
    if isinstance(error, ValueError):
        with pytest.raises(ValueError, match="a slip"):
            gdbench.run(asked, [system])
        return
    made = gdbench.run(asked, [system])["benchmarks"]["sugarcrepe"]
    assert made["cases"] == 20 and [(row["file"], row["cases"]) for row in made["problems"]] == [
        ("val2017/1.jpg", 10)
    ]
    (data / "val2017/1.jpg").write_bytes(whole)
    always = SimpleNamespace(way="x", cost={}, scores=lambda *given: (_ for _ in ()).throw(error))
    with pytest.raises(type(error)):
        gdbench.run(asked, [_results.Entrant("b", "b", lambda: {"": always}, blind=False)])


def test_a_score_that_is_no_number_is_a_mistake(data: Path, tmp_path: Path) -> None:
    blank = SimpleNamespace(
        way="dividing", cost={}, scores=lambda images, texts, pairs: np.full(len(pairs), np.nan)
    )
    system = _results.Entrant("a", "a", lambda: {"": blank}, blind=False)
    with pytest.raises(Mistake, match=r"by dividing is not a number(.|\n)*swap_obj/0"):
        gdbench.run(gdbench.BenchRequest("sugarcrepe", tmp_path / "out", data), [system])


def test_the_output_is_a_folder_of_ours(data: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="outside"):
        gdbench.run(gdbench.BenchRequest("sugarcrepe", data / "out", data), [entrant("a", 1)])
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mine.txt").write_text("precious")
    with pytest.raises(Mistake, match="not a folder of"):
        gdbench.run(gdbench.BenchRequest("sugarcrepe", tmp_path / "photos", data), [entrant("a", 1)])
    with pytest.raises(Mistake, match="Did you mean 'sugarcrepe'"):
        gdbench.run(gdbench.BenchRequest("sugarcrep", tmp_path / "out", data), [entrant("a", 1)])


def test_parts_of_the_suite_that_are_not_there_are_named(tmp_path: Path) -> None:
    root = tmp_path / "suite"
    picture(root / "pets/images/pug_1.jpg", 1)
    write(root / "pets/classes.txt", "pug\nboxer\n")
    write(root / "clevr/captions/spatial.json", {})
    made = gdbench.run(gdbench.BenchRequest("gdbench", tmp_path / "out", root), [_blank("a")])
    assert list(made["benchmarks"]) == ["pets"]
    absent = made["bench"]["absent"]
    assert set(absent) == set(gdbench.SUITE) - {"pets"}
    assert (
        "captions/pair_binding_size.json" in absent["clevr"] and absent["flickr30k"] == "no folder flickr30k"
    )
    with pytest.raises(Mistake, match="none of GDBench"):
        gdbench.run(gdbench.BenchRequest("gdbench", tmp_path / "out2", root / "clevr"), [_blank("a")])


def test_too_few_cases_give_no_number_and_say_so(tmp_path: Path) -> None:
    gdbench.benchmarks()["mmbias"].mini(tmp_path / "data", 0, count=2)
    made = gdbench.run(
        gdbench.BenchRequest("mmbias", tmp_path / "out", tmp_path / "data", limit=9), [_blank("a")]
    )
    assert made["benchmarks"]["mmbias"]["measures"]["a"] == []
    assert "too few cases for any number" in made["benchmarks"]["mmbias"]["notes"]


def _blank(name: str) -> _results.Entrant:
    return _results.Entrant(name, name, lambda: {"": Table({})}, blind=False)


def test_a_limit_is_spread_over_the_files() -> None:
    cases = [Case(str(at), (), ()) for at in range(10)]
    assert [case.key for case in choose(cases, 4)] == ["0", "2", "5", "7"]
    assert choose(cases, 0) == choose(cases, 10) == choose(cases, 11) == tuple(cases)


def test_verdicts() -> None:
    def row(gap: Interval, holm: float) -> str:
        return _compare.Comparison("x", "y", "a", "b", gap, 9, 0.0, holm).verdict

    assert row(Interval(0.2, 0.1, 0.3), 0.01) == "better" and row(Interval(-0.2, -0.3, -0.1), 0.01) == "worse"
    assert row(Interval(0.2, 0.1, 0.3), 0.2) == row(Interval(0.1, -0.1, 0.3), 0.01) == "undecided"


def test_the_test_of_a_difference_counts_shared_credit_for_what_it_is() -> None:
    """Against a blind judge, whose ties earn .1 in every case: right in 5 of 50 is chance, right in 23 is not."""
    for right, low, high in ((5, 0.5, 1.0), (23, 0.0, 0.001)):
        gaps = np.array([0.9] * right + [-0.1] * (50 - right))
        assert low <= _compare.no_difference(gaps) <= high
        assert _compare.no_difference(gaps) == _compare.no_difference(-gaps)
    whole = np.array([1.0] * 8 + [-1.0] * 2 + [0.0] * 5)
    assert _compare.no_difference(whole) == pytest.approx(2 * (1 + 10 + 45) / 2**10)  # McNemar's, by hand
    # the same by random signs: halves are no ones, so that nothing is counted exactly
    deviation = (0.109 * 0.891 / _compare.FLIPS) ** 0.5
    assert _compare.no_difference(whole / 2) == pytest.approx(112 / 1024, abs=4 * deviation)
    assert _compare.no_difference(np.zeros(3)) == 1.0
    for sizes in ([0.5, 0.25, 0.25], [0.3, 0.2, 0.7]):  # every sign by hand
        signs = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T
        exact = np.mean(np.abs(signs @ sizes) >= abs(sum(sizes)) - 1e-9)
        assert _compare.no_difference(np.array(sizes)) == pytest.approx(exact, abs=0.015)


def test_a_comparison_uses_the_cases_that_both_have() -> None:
    cases = [Case(str(at), (), ()) for at in range(4)]
    one = mean_of("m", "sound", cases[:3], [1, 1, 0], 0.5)
    two = mean_of("m", "sound", cases[1:], [0, 0, 1], 0.5)
    row = _compare.compare("x", "a", "b", one, two)
    assert row is not None and (row.cases, row.gap.value, row.p) == (2, 0.5, 1.0)
    assert _compare.compare("x", "a", "b", one, mean_of("m", "sound", cases[3:], [1], 0.5)) is None


# -- the command ---------------------------------------------------------------------------------------------------------


def test_alone_it_lists_every_benchmark() -> None:
    done = CliRunner().invoke(APP, ["--json"])
    told = json.loads(done.stdout)
    assert done.exit_code == 0 and {row["name"] for row in told} == {
        *gdbench.benchmarks(),
        "drawn",
        "gdbench",
    }


@pytest.mark.parametrize("suite", [
    ("winoground", "mmbias"), pytest.param(gdbench.SUITE, marks=pytest.mark.slow),
])  # fmt: skip
def test_the_suite_on_miniatures(folders, tmp_path: Path, monkeypatch, suite) -> None:
    monkeypatch.setattr(gdbench, "SUITE", suite)
    for name in () if len(suite) > 2 else suite:
        module = gdbench.benchmarks()[name]
        monkeypatch.setattr(module, "mini", partial(module.mini, count=6))
    given = [
        "gdbench",
        "--mini",
        "--model",
        folders["clip"],
        "--out",
        str(tmp_path / "out"),
        "--limit",
        "6",
        "--json",
    ]
    done = CliRunner().invoke(APP, given)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert list(told["benchmarks"]) == list(suite)
    columns = ["clip", "clip, text only", "clip, image only", "random", "wording"]
    for name, one in told["benchmarks"].items():
        assert one["cases"] == 6 and list(one["measures"]) == columns and not one["problems"], name
    assert told["benchmarks"]["winoground"]["ways"]["clip"] == "cosine"
    assert {row["old"] for row in told["blind"]} == {"clip, text only", "clip, image only", "wording"}
    page = (tmp_path / "out/report.html").read_text()
    assert all(f'id="{name}"' in page for name in suite)
    again = CliRunner().invoke(APP, given)
    assert json.loads(again.stdout) == told  # seconds too: nothing was scored again


def test_models_of_every_kind_take_part_in_one_run(rows, folders, tmp_path: Path, monkeypatch) -> None:
    """A cosine, a match head, a captioner with both, and Stable Diffusion's own layout: one table, four ways, one remark
    for each that does not hear --steps."""
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    from diffused import pipeline_folder

    monkeypatch.setattr(gdbench, "SUITE", ("winoground",))
    module = gdbench.benchmarks()["winoground"]
    monkeypatch.setattr(module, "mini", partial(module.mini, count=3))
    tokens = Tokens.train([text for _, text in rows], 150)
    coca = str(save(build("coca", tokens, "tiny").eval(), tmp_path / "coca"))
    pipeline_folder(tmp_path / "pipeline")
    models = [folders["clip"], folders["blip"], coca, str(tmp_path / "pipeline")]
    given = ["gdbench", "--mini", "--steps", "2", "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(APP, [*given, *(word for model in models for word in ("--model", model))])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    ways = told["benchmarks"]["winoground"]["ways"]
    assert [ways[name].split(" ")[0] for name in ("clip", "blip", "coca", "pipeline")] == [
        "cosine", "match", "cosine", "denoising",
    ]  # fmt: skip
    assert told["bench"]["remarks"] == [
        f"--steps 2 says nothing to {name}" for name in ("clip", "blip", "coca")
    ]
    assert len(told["comparisons"]) == 6 and len(told["blind"]) == 12
    cost = told["benchmarks"]["winoground"]["cost"]["pipeline"]
    assert (
        cost["UNet evaluations"] == 3 * (4 + 2) * 2
    )  # four pairs and the empty text of two pictures, in two steps


def test_two_models_and_lost_cases(folders, data: Path, tmp_path: Path) -> None:
    (data / "val2017/2.jpg").unlink()
    given = ["sugarcrepe", "--data", str(data), "--model", folders["clip"], "--model", folders["blip"]]
    given += ["--out", str(tmp_path / "out"), "--limit", "20", "--no-blind", "--way", "cosine"]
    done = CliRunner().invoke(APP, given)
    assert done.exit_code == 1, done.output  # findings
    assert "val2017/2.jpg is missing (100 cases)" in done.output
    line = next(line for line in done.stdout.splitlines() if line.startswith("sugarcrepe\t"))
    assert line.split("\t")[1] == "accuracy, macro over 1 subsets" and line.endswith("\t0.500\t20")
    told = json.loads((tmp_path / "out/results.json").read_text())
    assert told["benchmarks"]["sugarcrepe"]["rows"] == 300 and len(told["comparisons"]) == 1


def test_what_of_the_suite_was_not_run_is_said(folders, tmp_path: Path) -> None:
    picture(tmp_path / "suite/pets/images/pug_1.jpg", 1)
    write(tmp_path / "suite/pets/classes.txt", "pug\nboxer\n")
    given = [
        "gdbench",
        "--data",
        str(tmp_path / "suite"),
        "--model",
        folders["clip"],
        "--out",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(APP, given)
    assert done.exit_code == 1 and "winoground: not run, no folder winoground" in done.output, done.output


@pytest.mark.parametrize(("given", "said"), [
    (["winoground", "--mini"], "no model"),
    (["winoground", "--model", "M"], "Which files"),
    (["winoground", "--model", "M", "--mini", "--data", "D"], "Which files"),
    (["winoground", "--model", "M", "--model", "M", "--mini"], "named twice"),
    (["winogrund", "--model", "M", "--mini"], "Did you mean 'winoground'"),
    (["winoground", "--model", "nowhere", "--mini"], "no model at nowhere"),
    (["winoground", "--model", "nowhere", "--mini", "--steps", "4"], "no model at nowhere"),
    (["winoground", "--model", "CLIP", "--mini", "--steps", "4"], "--steps 4 would change nothing"),
    (["winoground", "--model", "CLIP", "--mini", "--steps", "4", "--protocol", "sound"], "--steps 4 and --protocol sound would"),
    (["winoground", "--model", "CLIP", "--mini", "--protocol", "publishd"], "Did you mean 'published'"),
    (["winoground", "--model", "CLIP", "--mini", "--way", "cosin"], "Did you mean 'cosine'"),
    (["winoground", "--model", "CLIP", "--data", "D", "--seed", "3"], "--seed would change nothing"),
    (["sugarcrepe_pp_text", "--model", "CLIP", "--mini", "--way", "match"], "cannot be asked by match"),
    (["--model", "CLIP", "--mini"], "Which benchmark"),
])  # fmt: skip
def test_wrong_use(given: list[str], said: str, folders, tmp_path: Path) -> None:
    given = [folders["clip"] if word == "CLIP" else word for word in given]
    done = CliRunner().invoke(APP, [*given, "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, Mistake) and said in str(done.exception)
    assert not (tmp_path / "out").exists() or "nowhere" in given  # nothing was begun


def test_what_only_diffusion_models_hear_is_of_no_matter_to_others(folders, tmp_path: Path) -> None:
    pipeline = tmp_path / "pipeline"
    write(pipeline / "model_index.json", {"_class_name": "StableDiffusionPipeline"})
    models = [folders["clip"], str(pipeline)]
    plain = gdbench.entrants(models, dict, {"way": "", "steps": 0, "protocol": ""}, True)
    given = gdbench.entrants(models, dict, {"way": "", "steps": 4, "protocol": ""}, True)
    assert plain[0].mark == given[0].mark and plain[1].mark != given[1].mark
    assert given[0].deaf == "--steps 4 says nothing to clip" and not given[1].deaf and not plain[0].deaf
    assert [gdbench.denoises(where, gdbench.declared(where)) for where in (*models, "nowhere")] == [
        False,
        True,
        False,
    ]


def test_texts_are_compared_with_texts_by_those_who_embed_them(folders, tmp_path: Path, monkeypatch) -> None:
    module = gdbench.benchmarks()["sugarcrepe_pp_text"]
    monkeypatch.setattr(module, "mini", partial(module.mini, count=2))
    given = ["sugarcrepe_pp_text", "--mini", "--model", folders["clip"], "--model", folders["blip"], "--json"]
    done = CliRunner().invoke(APP, [*given, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["benchmarks"]["sugarcrepe_pp_text"]
    assert told["ways"] == {"clip": "cosine", "blip": "cosine", "random": "random"}
    assert told["cost"]["clip"]["pictures"] == 0 and told["cost"]["clip"]["texts"] <= 3 * 10


def test_text_only_and_image_only_share_the_cost_of_their_judge() -> None:
    judge_ = Table({})
    for kind in (TextOnly, ImageOnly):
        made = kind(judge_)
        made.scores([Image.new("RGB", (4, 4))] * 2, ["a", "b", "c"], [(0, 0), (1, 2)])
        assert made.cost is judge_.cost and isinstance(made, Scorer)
    assert judge_.cost == {"pairs": 3 + 2}  # three texts on gray, two pictures told nothing
