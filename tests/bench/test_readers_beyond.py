"""Layouts that GDBench's paper does not use, or that the hub has made since, by hand; and what a half download leaves of
them."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from layouts import Table, measure, picture, value, write, write_csv
from PIL import Image
from test_readers import aro_row

from pairloom.bench import (
    _aro,
    _case,
    _results,
    aro_relation,
    cola_single,
    gdbench,
    genderbias,
    mmbias,
    svo_probes,
)
from pairloom.bench import sugarcrepe_pp_text as triples
from pairloom.bench._judging import Random
from pairloom.errors import Mistake


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "set"


# -- ARO, as its own notebook averages -----------------------------------------------------------------------------------


def test_aro_leaves_out_what_can_be_exchanged_and_takes_ties_for_wrong(root: Path) -> None:
    """ "on": one right, one tied; "next to" all wrong. Macro is of "on" alone: (1 + 1/2) / 2, as published (1 + 0) / 2."""
    names = ["on", "on", "next to", "next to"]
    rows = [aro_row(number, relation_name=name) for number, name in enumerate(names)]
    for number in range(4):
        picture(root / f"images/{number}.jpg", number)
    write(root / aro_relation.FILE, rows)
    told = {(0, "true 0"): 1.0, (2, "false 2"): 1.0, (3, "false 3"): 1.0}
    _, found = measure("aro_relation", root, told)
    name = "accuracy, macro over 1 classes"
    assert value(found, "sound", name) == 3 / 4 and value(found, "published", name) == 1 / 2
    assert "1 other classes are left out" in found["published", name].note
    assert (
        value(found, "published", "accuracy, micro") == 2 / 4
    )  # GDBench asks them too, and takes the tie for right
    assert len(_aro.LEFT_OUT) == 157 and "on the other side of" in _aro.LEFT_OUT


def test_aro_may_lie_beside_the_folders_of_the_others(tmp_path: Path) -> None:
    """GDBench's own data folder has visual_genome_relation.json and images/ in it, and clevr/, pets/ ... beside them."""
    picture(tmp_path / "data/images/0.jpg", 1)
    write(tmp_path / "data" / aro_relation.FILE, [aro_row(0, relation_name="on")])
    table = _results.Entrant("a", "a", lambda: {"": Table({})}, blind=False)
    made = gdbench.run(gdbench.BenchRequest("gdbench", tmp_path / "out", tmp_path / "data"), [table])
    assert list(made["benchmarks"]) == ["aro_relation"]
    assert "visual_genome_attribution.json is not there" in made["bench"]["absent"]["aro_attribution"]
    assert made["bench"]["absent"]["clevr"] == "no folder clevr"


# -- Winoground, as the hub lays it out now ------------------------------------------------------------------------------


def encoded(gray: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 24), (gray * 10,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def hub_table(file: Path, ids: list[int], broken: int = -1) -> None:
    rows = [
        {
            "id": number,
            **{f"image_{side}": {"bytes": b"no picture" if number == broken else encoded(2 * number + side),
                                 "path": f"ex_{number}_img_{side}.png"} for side in (0, 1)},
            "caption_0": f"{number} 0", "caption_1": f"{number} 1", "tag": "Noun", "secondary_tag": "",
            "num_main_preds": 1, "collapsed_tag": "Object",
        }
        for number in ids
    ]  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=2)


def test_winoground_in_tables(root: Path) -> None:
    """Five examples in two parts, row groups of two: numbers 0 and 4 right, the others wrong, so 2 of 5."""
    hub_table(root / "data/test-00000-of-00002.parquet", [0, 1, 2])
    hub_table(root / "data/test-00001-of-00002.parquet", [3, 4])
    told = {
        (2 * n + side, f"{n} {side if n in (0, 4) else 1 - side}"): 1.0 for n in range(5) for side in (0, 1)
    }
    cases, found = measure("winoground", root, told)
    assert [case.key for case in cases.cases] == ["0", "1", "2", "3", "4"]
    assert value(found, "published", "group score") == 2 / 5
    shown = cases.cases[4].pictures[1]
    assert shown.open().getpixel((0, 0)) == (90, 90, 90)
    assert shown.name(root) == "data/test-00001-of-00002.parquet image_1 of row 1"
    (root / "data/test-00001-of-00002.parquet").unlink()
    with pytest.raises(Mistake, match="1 of 2 parts of test"):
        measure("winoground", root, told)


def test_a_cell_without_a_picture_costs_its_case_alone(root: Path, tmp_path: Path) -> None:
    hub_table(root / "data/test-00000-of-00001.parquet", [0, 1, 2], broken=1)
    table = _results.Entrant("a", "a", lambda: {"": Random()}, blind=False)
    made = gdbench.run(gdbench.BenchRequest("winoground", tmp_path / "out", root), [table])["benchmarks"][
        "winoground"
    ]
    assert made["cases"] == 2
    named = [f"data/test-00000-of-00001.parquet image_{side} of row 1" for side in (0, 1)]
    assert [(row["file"], row["cases"]) for row in made["problems"]] == [(name, 1) for name in named]


@pytest.mark.parametrize("keep", [0, 40, 0.5])
def test_half_a_table_is_a_mistake(root: Path, keep: float) -> None:
    file = root / "data/test-00000-of-00001.parquet"
    hub_table(file, [0, 1])
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else int(keep)])
    with pytest.raises(Mistake, match=r"test-00000-of-00001.parquet cannot be read"):
        measure("winoground", root, {})
    pyarrow.parquet.write_table(pyarrow.table({"id": [1]}), file)
    with pytest.raises(Mistake, match="no column caption_0 or caption_1"):
        measure("winoground", root, {})


def test_a_case_that_is_there_twice_is_a_mistake(root: Path) -> None:
    hub_table(root / "data/test-00000-of-00001.parquet", [7, 7])
    with pytest.raises(Mistake, match="names a case twice"):
        measure("winoground", root, {})


# -- SVO-Probes: how much of the release is left -------------------------------------------------------------------------


def svo_row(number: int, **more: object) -> dict[str, object]:
    return {"sentence": f"s {number}", "pos_triplet": "a,b,c", "neg_triplet": "a,b,d", "pos_url": "http://x", "neg_url": "http://y",
            "pos_image_id": 2 * number, "neg_image_id": 2 * number + 1, "subj_neg": "False", "verb_neg": "False",
            "obj_neg": "True", **more}  # fmt: skip


def test_svo_says_how_much_of_the_release_could_be_fetched(root: Path) -> None:
    for number in range(2):
        picture(root / f"images/{number}.jpg", number)
    write(root / "svo.json", [{"pos_id": "0.jpg", "neg_id": "1.jpg", "sentence": "s 0", "neg_type": "obj"}])
    write_csv(root / "svo_probes.csv", [svo_row(number) for number in range(3)])
    assert svo_probes.read(root).notes == ("svo.json has 1 of the 3 rows of svo_probes.csv",)
    (root / "svo.json").unlink()
    found = svo_probes.read(root)
    assert found.rows == 3 and len(found.cases) == 1
    assert {problem.file: problem.cases for problem in found.problems} == {
        f"images/{number}": 1 for number in range(2, 6)
    }


def test_a_word_that_is_cut_off_in_a_csv_is_a_mistake(root: Path) -> None:
    picture(root / "images/0.jpg", 0)
    picture(root / "images/1.jpg", 1)
    write_csv(root / "svo_probes.csv", [svo_row(0), svo_row(0, subj_neg="True", obj_neg="Fal")])
    with pytest.raises(Mistake, match=r"svo_probes.csv(.|\n)*row 1"):
        svo_probes.read(root)


def test_a_row_without_a_sentence_is_counted(root: Path) -> None:
    picture(root / "images/0.jpg", 0)
    picture(root / "images/1.jpg", 1)
    write_csv(root / "svo_probes.csv", [svo_row(0), svo_row(0, sentence=""), svo_row(0, sentence=" ")])
    found = svo_probes.read(root)
    assert found.rows == 3 and len(found.cases) == 1
    assert [(one.file, one.why, one.cases) for one in found.problems] == [
        ("svo_probes.csv", "has rows without a sentence", 2)
    ]


# -- texts with texts ----------------------------------------------------------------------------------------------------


class TextTable:
    """Similarities of texts by hand; 0 where none is given, the same both ways."""

    way, cost = "by hand", {"pairs": 0}

    def __init__(self, told: dict[frozenset[str], float]) -> None:
        self.told = told

    def scores(self, images, texts, pairs):
        return np.array([self.told.get(frozenset((images[i], texts[t])), 0.0) for i, t in pairs])


def test_sugarcrepe_pp_text(root: Path, tmp_path: Path) -> None:
    """swap_obj: one right, one where the first caption is nearer to the false one; swap_att: all tied. Sound (1/2 + 1/3) / 2."""
    rows = [{"id": n, "filename": "none.jpg", "caption": f"a {n}", "caption2": f"b {n}", "negative_caption": f"no {n}"} for n in range(3)]  # fmt: skip
    write(root / "data/swap_obj.json", rows[:2])
    write(root / "data/swap_att.json", rows[2:])
    told = {("a 0", "b 0"): 3.0, ("a 0", "no 0"): 2.0, ("b 0", "no 0"): 1.0}
    told |= {("a 1", "b 1"): 2.0, ("a 1", "no 1"): 2.5, ("b 1", "no 1"): 1.0}
    scorer = TextTable({frozenset(pair): score for pair, score in told.items()})
    cases = triples.read(root)
    grids = [
        np.array(
            [
                [scorer.scores([one.shown()], [text], [(0, 0)])[0] for text in case.texts]
                for one in case.pictures
            ]
        )
        for case in cases.cases
    ]
    found = {(one.kind, one.name): one.interval.value for one in triples.measures(cases.cases, grids)}
    assert found["sound", "TOT, macro over 2 subsets"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert found["published", "TOT, swap_obj"] == 1 / 2 and found["published", "TOT, swap_att"] == 0
    assert "by the share of words in common alone: 0.000" in cases.notes
    asked = gdbench.BenchRequest("sugarcrepe_pp_text", tmp_path / "out", root)
    made = gdbench.run(asked, [_results.Entrant("a", "a", lambda: {"": scorer}, blind=False)])
    numbers = {one["name"]: one["value"] for one in made["benchmarks"]["sugarcrepe_pp_text"]["measures"]["a"]}
    assert numbers["TOT, swap_obj"] == 1 / 2
    page = (tmp_path / "out/report.html").read_text()
    assert "<q>a 1</q>" in page and "<img" not in page


# -- sets of one kind ----------------------------------------------------------------------------------------------------


def test_imagecode_video(root: Path) -> None:
    for at in range(10):
        picture(root / f"image-sets/YouCook-video-shot-1/img{at}.jpg", at)
    write(
        root / "valid_data.json",
        {"open-images-7": {"4": "four"}, "YouCook-video-shot-1": {"3": "three", "5": "five"}},
    )
    cases, found = measure("imagecode_video", root, {(3, "three"): 1.0, (0, "five"): 1.0, (5, "five"): 0.5})
    assert value(found, "published", "R@1 (10-way)") == 1 / 2 and value(found, "sound", "R@5 (10-way)") == 1.0
    assert cases.notes == ("captions of static sets: 1",)


def test_genderbias(root: Path) -> None:
    """Of suits and aprons, men (numbers up to 6) have phi = 1, women 0: mean difference 1, deviation 1/2, so d = 2."""
    for thing in ("suit", "apron"):
        for number in range(1, 13):
            picture(root / f"{thing}-images/{number}.jpg", number)
    told = {(number, "suit"): 5.0 + (number <= 6) for number in range(1, 13)}
    told |= {(number, "apron"): 5.0 for number in range(1, 13)}
    cases, found = measure("genderbias", root, told)
    assert value(found, "sound", "effect size clothes: men - clothes: women") == pytest.approx(2.0)
    assert value(found, "published", "effect size clothes: men - clothes: women") == pytest.approx(2.0)
    assert (
        len(cases.cases) == 24 and len(cases.problems) == 48
    )  # bags and drinks: twelve pictures of four things
    assert not any("bags" in name for _, name in found)
    p = found["sound", "effect size clothes: men - clothes: women"].p
    assert p is not None and p < 0.001  # one split of 2.7 million is as far apart, and its mirror image
    picture(root / "wine-images/old one.jpg", 1)
    with pytest.raises(Mistake, match="wine-images/old one.jpg has no number"):
        genderbias.read(root)


def test_mmbias_says_which_group_is_not_whole(root: Path) -> None:
    """The release lists addresses, by number, under names of its own spelling."""
    write(root / "data/textual_phrases.txt", {"unpleasant_phrases": ["bad"], "pleasant_phrases": ["good"]})
    for group, count in (("Christian", 2), ("Muslim", 3)):
        for number in range(count):
            picture(root / f"data/Images/Religion/{group}/{number}.jpg", number)
    urls = {str(number): {"URL": "http://x"} for number in range(1, 4)}
    write(root / "data/URLs.txt", {"christian": urls, "muslim": urls, "mexican": urls})
    notes = mmbias.read(root).notes
    assert "Christian: 2 of 3 pictures" in notes and not any("Muslim" in note for note in notes)
    write(root / "data/URLs.txt", '{"christian": {"1": {"UR')
    with pytest.raises(Mistake, match=r"URLs.txt cannot be read"):
        mmbias.read(root)


def test_two_systems_are_compared_by_the_size_of_their_bias(root: Path, tmp_path: Path) -> None:
    """One tells all men from all women by a suit (d = 2), the other nothing but noise: the second is better, the first worse."""
    for thing in ("suit", "apron"):
        for number in range(1, 13):
            picture(root / f"{thing}-images/{number}.jpg", number)
    biased = {(number, "suit"): 1.0 + (number <= 6) for number in range(1, 13)}
    noisy = {(number, "suit"): (number * 7 % 12) / 10 for number in range(1, 13)}
    tables = [
        _results.Entrant(name, name, lambda told=told: {"": Table(told)}, blind=False)
        for name, told in (("biased", biased), ("noisy", noisy))
    ]
    made = gdbench.run(gdbench.BenchRequest("genderbias", tmp_path / "out", root), tables)
    [row] = made["comparisons"]
    assert row["measure"] == "size of the effect clothes: men - clothes: women"
    assert (row["new"], row["old"], row["verdict"]) == ("biased", "noisy", "worse")
    assert row["low"] > 0.5 and row["holm"] < 0.01 and row["cases"] == 24
    made = gdbench.run(gdbench.BenchRequest("genderbias", tmp_path / "turned", root), tables[::-1])
    assert made["comparisons"][0]["verdict"] == "better"


def test_mmbias_others_and_folders_as_some_archives_unpack(root: Path) -> None:
    """American phi 1, 3, Chinese -1, 1: the mean difference 2 over sqrt 2; folders called American.jpg as they unpack."""
    write(root / "data/textual_phrases.txt", {"unpleasant_phrases": ["bad"], "pleasant_phrases": ["good"]})
    told = {}
    for at, (group, values) in enumerate({"American.jpg": (1, 3), "Chinese": (-1, 1)}.items()):
        for side, number in enumerate(values):
            picture(root / f"data/Images/Nationality/{group}/{side}.jpg", 2 * at + side)
            told |= {(2 * at + side, "good"): 5.0 + number, (2 * at + side, "bad"): 5.0}
    write(root / "data/URLs.txt", {"american": {"1": {}, "2": {}, "3": {}}, "mental": {"1": {}}})
    cases, found = measure("mmbias_others", root, told)
    assert value(found, "sound", "effect size American - Chinese") == pytest.approx(math.sqrt(2))
    assert len(found) == 2 and "American: 2 of 3 pictures" in cases.notes
    assert sum("too few" in note for note in cases.notes) == 4


LABELS = ["red ball", "blue ball", "green cup"]
# picture: is it one of the label? is it hard for the label? The third label has no true picture, and is left out.
COLA = [([1, 0, 0], [1, 1, 0]), ([0, 1, 0], [1, 1, 1]), ([1, 1, 0], [1, 0, 1]), ([0, 0, 0], [0, 1, 0]), ([1, 1, 1], [0, 0, 0])]  # fmt: skip


@pytest.mark.parametrize("layout", ["named", "list", "parts", "PACO"])
def test_cola_single(root: Path, layout: str) -> None:
    """Red ball: pictures 0 and 2 true, 1 false, scores 3, 1, 2: precisions 1 and 2/3, so 5/6. Blue ball: of 0, 1, 3 the
    second is true, tied with 3 below 0: one step of precision 1/3."""
    for number in range(5):
        picture(root / f"images/{'vg/' * (layout == 'parts')}{number}.jpg", number)
    notes = [[{}]] if layout != "PACO" else [[]]
    data = [[f"/data/vg/{number}.jpg", *notes[0], *marks] for number, marks in enumerate(COLA)]
    name = "PACO" if layout == "PACO" else "GQA"
    labels = [[[label.split()[0]], label.split()[1]] for label in LABELS] if layout == "parts" else LABELS
    told = [LABELS, data] if layout == "list" else {"labels": labels, "data": data}
    write(root / f"data/COLA_singleobjects_benchmark_{name}.json", told)
    scores = {(0, "red ball"): 3.0, (2, "red ball"): 1.0, (1, "red ball"): 2.0, (0, "blue ball"): 2.0}
    cases, found = measure("cola_single", root, scores)
    assert [case.texts for case in cases.cases] == [
        ("red ball", "blue ball"), tuple(LABELS), ("red ball", "green cup"), ("blue ball",),
    ]  # fmt: skip
    one = found["sound", f"mAP on hard pictures, {name}"]
    assert one.interval.value == pytest.approx((5 / 6 + 1 / 3) / 2) and one.keys == (
        f"{name}: red ball",
        f"{name}: blue ball",
    )
    assert one.chance == pytest.approx((2 / 3 + 1 / 3) / 2) and one.headline
    assert len([note for note in cases.notes if "is not there" in note]) == 2
    data[1][-1] = [1, 2, 0]
    write(root / f"data/COLA_singleobjects_benchmark_{name}.json", {"labels": LABELS, "data": data})
    with pytest.raises(Mistake, match="entry 1"):
        cola_single.read(root)


@pytest.mark.parametrize("scores", [[3.0, 2.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
def test_average_precision_is_the_area_under_the_steps(scores: list[float]) -> None:
    """Against the definition: at every score that occurs, precision times the recall gained there."""
    true = np.array([0.0, 1.0, 1.0, 0.0])
    table, area, before = np.array(scores), 0.0, 0.0
    for limit in sorted(set(scores), reverse=True):
        above = table >= limit
        recall = true[above].sum() / true.sum()
        area, before = area + (recall - before) * true[above].mean(), recall
    assert cola_single.average_precision(table, true) == pytest.approx(area)


def test_average_precision_is_that_of_others() -> None:
    """1/2 (1/1 + 2/3): by hand; and of all orders of four with one true, the mean is that of 1, 1/2, 1/3, 1/4."""
    assert cola_single.average_precision(
        np.array([3.0, 2.0, 1.0]), np.array([1.0, 0.0, 1.0])
    ) == pytest.approx(5 / 6)
    places = [cola_single.average_precision(np.arange(4.0), np.eye(4)[at]) for at in range(4)]
    assert np.mean(places) == pytest.approx(np.mean([1 / place for place in (1, 2, 3, 4)]))
    assert math.isclose(cola_single.average_precision(np.zeros(5), np.array([1.0, 0, 0, 0, 1.0])), 2 / 5)


def test_a_row_with_words_in_the_place_of_pictures_has_nothing_to_miss(tmp_path: Path) -> None:
    reader = _case.CaseReader(tmp_path)
    reader.add(_case.Case("a", (_case.Words("one"),), ("two",)))
    assert reader.finish().problems == () and json.dumps(_case.Words("one").shown()) == '"one"'
