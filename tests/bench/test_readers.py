"""Every release's own layout, a few rows written out by hand, and the numbers that follow from them by hand."""

import json
import math
from itertools import permutations
from pathlib import Path

import layouts
import numpy as np
import pytest
from layouts import measure, picture, value, write

from pairloom.bench import _measure, _orders, aro_relation, mmbias, svo_probes, vsr
from pairloom.errors import Mistake


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "set"


def test_flickr30k(root: Path) -> None:
    """Two pictures; the first has captions 0 to 4, the second 5 to 9: every fifth is the first of each."""
    names = [f"datasets/flickr30k/images/{number}.jpg" for number in range(10)]
    for number in range(10):
        picture(root / f"images/{number}.jpg", number)
    queries = {f"of {own}, caption {at}": [names[own], *(n for n in names if n != names[own])] for own in (0, 1) for at in range(5)}  # fmt: skip
    write(root / "val_top10_RN50x64.json", queries)
    texts = {names[own]: [f"of {own}", *(f"false {at}" for at in range(9))] for own in (0, 1)}
    write(root / "val_top10_RN50x64_text.json", texts)
    told = {
        (0, "of 0, caption 0"): 2.0, (4, "of 0, caption 0"): 1.0,  # right
        (1, "of 1, caption 0"): 0.5, **{(at, "of 1, caption 0"): 0.9 for at in (2, 3, 4, 5, 6)},  # sixth of ten
        (0, "of 0"): 1.0, (0, "false 0"): 1.0,  # tied for the first place
        (1, "of 1"): 0.1,  # right
    }  # fmt: skip
    cases, found = measure("flickr30k", root, told)
    assert [case.key for case in cases.cases] == ["t2i/0", "t2i/5", "i2t/0", "i2t/1"]
    named = "(10-way, oracle candidates)"
    assert value(found, "sound", f"R@1 text to image {named}") == 1 / 2
    assert value(found, "sound", f"R@5 text to image {named}") == 1 / 2
    assert value(found, "sound", f"R@1 image to text {named}") == (1 / 2 + 1) / 2  # half of the tie
    assert (
        value(found, "published", f"R@1 image to text {named}") == 1.0
    )  # all of it: the right one stands first
    assert found["sound", f"R@1 image to text {named}"].chance == pytest.approx(0.1)


def test_flickr30k_asks_each_picture_once_where_the_fives_miss_one(root: Path) -> None:
    """Nine captions, six of picture 0: every fifth is number 0 and 5, both of picture 0; number 6 is the first of picture 1."""
    names = [f"images/{number}.jpg" for number in range(10)]
    for number in range(10):
        picture(root / names[number], number)
    own = [0, 0, 0, 0, 0, 0, 1, 1, 1]
    queries = {
        f"caption {at}": [names[of], *(n for n in names if n != names[of])] for at, of in enumerate(own)
    }
    write(root / "val_top10_RN50x64.json", queries)
    write(root / "val_top10_RN50x64_text.json", {names[0]: [f"t{at}" for at in range(10)]})
    cases, found = measure(
        "flickr30k", root, {(1, "caption 6"): 1.0, (2, "caption 5"): 1.0, (0, "caption 0"): 1.0}
    )
    assert [(case.key, case.part) for case in cases.cases[:3]] == [
        ("t2i/0", ""), ("t2i/5", "published"), ("t2i/6", "sound"),
    ]  # fmt: skip
    assert value(found, "sound", "R@1 text to image (10-way, oracle candidates)") == 1.0
    assert value(found, "published", "R@1 text to image (10-way, oracle candidates)") == 1 / 2


WINOGROUND = [
    # right; text right, image wrong; both texts tied everywhere
    ([[2, 0], [0, 2]], 1, 1, 1),
    ([[1, 0], [5, 6]], 1, 0, 0),
    ([[3, 3], [3, 3]], 1 / 4, 1 / 4, 1 / 6),
]


@pytest.mark.parametrize("layout", ["data.json", "examples.jsonl"])
def test_winoground(root: Path, layout: str) -> None:
    rows, told = [], {}
    for number, (grid, *_) in enumerate(WINOGROUND):
        for side in (0, 1):
            picture(root / f"images/ex_{number}_img_{side}.png", 2 * number + side)
            for text in (0, 1):
                told[2 * number + side, f"{number} {text}"] = float(grid[side][text])
        rows.append({"id": number, "caption_0": f"{number} 0", "caption_1": f"{number} 1", "tag": "Noun",
                     "secondary_tag": "", "num_main_preds": 1, "collapsed_tag": "Object"})  # fmt: skip
    write(root / layout, rows if layout == "data.json" else "\n".join(map(json.dumps, rows)))
    _, found = measure("winoground", root, told)
    for at, name in enumerate(("text score", "image score", "group score"), 1):
        assert value(found, "sound", name) == pytest.approx(np.mean([row[at] for row in WINOGROUND]))
        strict = np.mean([math.floor(row[at]) for row in WINOGROUND])
        assert value(found, "published", name) == pytest.approx(strict)
        assert found["sound", name].chance == [1 / 4, 1 / 4, 1 / 6][at - 1]
    assert value(found, "sound", "group score, Object") == value(found, "sound", "group score")


def aro_row(number: int, **more: object) -> dict[str, object]:
    return {"image_id": number, "image_path": f"{number}.jpg", "bbox_x": 0, "bbox_y": 0, "bbox_w": 12, "bbox_h": 24,
            "true_caption": f"true {number}", "false_caption": f"false {number}", **more}  # fmt: skip


def test_aro_relation(root: Path) -> None:
    """Relation "on" 3 of 4 right, "behind" 1 tie: micro (3 + 1/2) / 5, macro (3/4 + 1/2) / 2."""
    rows = [aro_row(number, relation_name="on" if number < 4 else "behind") for number in range(5)]
    for number in range(5):
        picture(root / f"images/{number}.jpg", number)
    write(root / "visual_genome_relation.json", rows)
    told = {(number, f"true {number}"): 1.0 for number in range(3)} | {(3, "false 3"): 1.0}
    cases, found = measure("aro_relation", root, told)
    assert value(found, "sound", "accuracy, micro") == pytest.approx(3.5 / 5)
    assert value(found, "sound", "accuracy, macro over 2 classes") == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert value(found, "published", "accuracy, micro") == pytest.approx(4 / 5)  # the tie counts as right
    assert value(found, "sound", "accuracy, micro, behind") == 1 / 2


def test_aro_crops_to_the_box(root: Path) -> None:
    picture(root / "images/0.jpg", 0, (40, 40))
    write(root / "visual_genome_relation.json", [aro_row(0, relation_name="on", bbox_x=8, bbox_y=4)])
    [case] = aro_relation.read(root).cases
    assert case.pictures[0].box == (8, 4, 20, 28) and case.pictures[0].open().size == (12, 24)
    write(root / "visual_genome_relation.json", [aro_row(0, relation_name="on", bbox_w=0)])
    with pytest.raises(Mistake, match="entry 0"):
        aro_relation.read(root)


def test_aro_attribution(root: Path) -> None:
    """25 cases of "old_red", all right, and one of "new_blue", wrong: macro knows the first class alone, micro all 26."""
    rows = [aro_row(0, attributes=["old", "red"]) for _ in range(25)] + [
        aro_row(1, attributes=["new", "blue"])
    ]
    for number in (0, 1):
        picture(root / f"images/{number}.jpg", number)
    write(root / "visual_genome_attribution.json", rows)
    _, found = measure("aro_attribution", root, {(0, "true 0"): 1.0, (1, "false 1"): 1.0})
    assert value(found, "sound", "accuracy, macro over 1 classes") == 1.0
    assert value(found, "sound", "accuracy, micro") == pytest.approx(25 / 26)


@pytest.mark.parametrize(("name", "annotations", "prepared", "image"), [
    ("coco_order", "coco_karpathy_test.json", "coco_order.json", "val2014/COCO_val2014_000000391895.jpg"),
    ("flickr_order", "flickr30k_val.json", "flickr30k_order.json", "flickr30k-images/1000092795.jpg"),
])  # fmt: skip
def test_orders(root: Path, name: str, annotations: str, prepared: str, image: str) -> None:
    """Prepared: one case right, one where a shuffling ties: (1 + 1/2) / 2. Without spaCy the annotations do not do."""
    picture(root / image, 3)
    write(root / annotations, [{"image": image, "caption": ["A dog runs."]}])
    if not has_spacy():
        with pytest.raises(Mistake, match="part-of-speech"):
            measure(name, root, {})
    rows = [{"image": image, "caption_options": [f"Case {at}, right.", *(f"case {at} wrong {w}" for w in range(4))]} for at in (0, 1)]  # fmt: skip
    write(root / prepared, rows)
    told = {(3, "case 0, right"): 1.0, (3, "case 1, right"): 1.0, (3, "case 1 wrong 2"): 1.0}
    cases, found = measure(name, root, told)
    assert cases.cases[0].texts[0] == "case 0, right"  # as the released loaders clean captions
    assert value(found, "sound", "P@1") == 3 / 4 and value(found, "published", "P@1") == 1.0


def has_spacy() -> bool:
    try:
        _orders.tagger("")
    except Mistake:
        return False
    return True


def test_orders_with_tags(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tags can be had, all captions of a picture are asked, by a seed of their own."""
    tags = {"dog": "noun", "cat": "noun", "red": "adjective"}
    monkeypatch.setattr(_orders, "tagger", lambda prepared: lambda text: [(word, tags.get(word, "")) for word in text.split()])  # fmt: skip
    picture(root / "val2014/a.jpg", 1)
    write(
        root / "coco_karpathy_test.json",
        [{"image": "val2014/a.jpg", "caption": ["a red dog sees a cat", "two"]}],
    )
    cases, _ = measure("coco_order", root, {})
    assert [case.key for case in cases.cases] == ["0/0", "0/1"] and cases.cases[0].group == "val2014/a.jpg"
    [note] = cases.notes  # "two" at the least cannot be shuffled into anything else
    same = sum(case.texts[0] in case.texts[1:] for case in cases.cases)
    assert same and note == f"in {same} cases a shuffling left the caption as it was; such a tie is shared"
    assert all(
        sorted(text.split()) == sorted("a red dog sees a cat".split()) for text in cases.cases[0].texts
    )
    assert measure("coco_order", root, {})[0].cases == cases.cases


def test_the_four_shufflings_move_what_they_should() -> None:
    words = "the small dog and an old cat near red house".split()
    kinds = dict(dog="noun", cat="noun", house="noun", small="adjective", old="adjective", red="adjective")
    tagged = [(word, kinds.get(word, "")) for word in words]
    seen = [set(), set(), set(), set()]
    for seed in range(40):
        made = [text.split() for text in _orders.shufflings(tagged, seed)]
        assert all(sorted(row) == sorted(words) for row in made)
        nouns, others, within, trigrams = made
        for at, (word, kind) in enumerate(tagged):
            assert kinds.get(nouns[at], "") == kind and (kind or nouns[at] == word)
            assert not kind or others[at] == word
        assert all(sorted(within[at : at + 3]) == sorted(words[at : at + 3]) for at in range(0, 10, 3))
        pieces = [tuple(words[at : at + 3]) for at in range(0, 10, 3)]
        assert any("".join(trigrams) == "".join("".join(p) for p in order) for order in permutations(pieces))
        for kind_of, row in zip(seen, made):
            kind_of.add(tuple(row))
    assert all(len(kind_of) > 3 for kind_of in seen)


def test_captions_are_cleaned_and_cut() -> None:
    assert _orders.clean('  A "Dog" (brown) runs: fast!  ') == "a dog brown runs fast"
    assert len(_orders.clean("word " * 50).split()) == 30


def test_imagecode(root: Path) -> None:
    """Two static captions: rank 1, and rank 3 tied with one other; the video set is left out and said so."""
    for at in range(10):
        picture(root / f"image-sets/open-images-7_x/img{at}.jpg", at)
    write(
        root / "valid_data.json", {"open-images-7_x": {"4": "four", "9": "nine"}, "MSR-VTT-9": {"0": "video"}}
    )
    told = {(4, "four"): 1.0, (0, "nine"): 3.0, (1, "nine"): 2.0, (2, "nine"): 1.0, (9, "nine"): 1.0}
    cases, found = measure("imagecode", root, told)
    assert value(found, "sound", "R@1 (10-way)") == 1 / 2 and value(found, "sound", "R@5 (10-way)") == 1.0
    assert cases.notes == ("captions of video sets, which GDBench leaves out: 1",)
    write(root / "valid_data.json", {"open-images-7_x": {"10": "there is no eleventh"}})
    with pytest.raises(Mistake, match="open-images-7_x"):
        measure("imagecode", root, {})


SVO = [("girl,stand,grass", "dog,stand,grass", "subj"), ("man,sit,bench", "man,lie,bench", "verb"), ("car,hit,tree", "car,hit,wall", "obj")]  # fmt: skip


def test_svo_probes_json_and_csv_give_the_same(root: Path) -> None:
    """subj right, verb wrong, obj tied: 1, 0, 1/2, and as published the tie is right."""
    for number in range(6):
        picture(root / f"images/{number}.jpg", number)
    rows = [{"pos_id": f"{2 * at}.jpg", "neg_id": f"{2 * at + 1}.jpg", "sentence": sort, "pos_triplet": one,
             "neg_triplet": two, "neg_type": sort} for at, (one, two, sort) in enumerate(SVO)]  # fmt: skip
    write(root / "svo.json", rows)
    told = {(0, "subj"): 1.0, (3, "verb"): 1.0}
    _, found = measure("svo_probes", root, told)
    (root / "svo.json").unlink()
    flags = {f"{sort}_neg": "False" for sort in svo_probes.SORTS}
    layouts.write_csv(root / "svo_probes.csv", [
        {"sentence": sort, "pos_triplet": one, "neg_triplet": two, "pos_url": "http://x", "neg_url": "http://y",
         "pos_image_id": 2 * at, "neg_image_id": 2 * at + 1, **flags, f"{sort}_neg": "True"}
        for at, (one, two, sort) in enumerate(SVO)
    ])  # fmt: skip
    _, again = measure("svo_probes", root, told)
    for made in (found, again):
        assert value(made, "sound", "accuracy") == pytest.approx(1.5 / 3)
        assert [value(made, "sound", f"accuracy, {sort}") for sort in svo_probes.SORTS] == [1, 0, 0.5]
        assert [value(made, "published", f"accuracy, {sort}") for sort in svo_probes.SORTS] == [1, 0, 1]


def test_svo_probes_cut_short(root: Path) -> None:
    picture(root / "images/1.jpg", 1)
    whole = "sentence,pos_image_id,neg_image_id,subj_neg,verb_neg,obj_neg\nA dog.,1,1,True,False,False\nA c"
    write(root / "svo_probes.csv", whole)
    with pytest.raises(Mistake, match=r"svo_probes.csv(.|\n)*Row 1"):
        svo_probes.read(root)


def test_clevr(root: Path) -> None:
    """One picture, two items of each of seven subtasks; the judge knows colours and nothing else: 4 of 14 right there."""
    from pairloom.bench.clevr import SUBTASKS

    picture(root / "images/CLEVR_val2_000001.png", 5)
    for subtask in SUBTASKS:
        items = [[f"{subtask} true {at}", f"{subtask} false {at}"] for at in (0, 1)]
        write(root / f"captions/{subtask}.json", {"CLEVR_val2_000001.png": items})
    told = {
        (5, f"{subtask} true {at}"): 1.0
        for subtask in ("recognition_color", "binding_color_shape")
        for at in (0, 1)
    }
    told |= {(5, "spatial false 0"): 1.0}
    cases, found = measure("clevr", root, told)
    assert len(cases.cases) == 14
    assert value(found, "sound", "accuracy") == pytest.approx((4 + 0 + 9 * 0.5) / 14)
    assert value(found, "sound", "accuracy, recognition_color") == 1.0
    assert value(found, "sound", "accuracy, spatial") == (0 + 0.5) / 2
    assert value(found, "published", "accuracy, recognition_shape") == 1.0  # ties to the first, which is true
    (root / "captions/spatial.json").unlink()
    with pytest.raises(Mistake, match=r"captions/spatial.json"):
        measure("clevr", root, {})


def test_pets(root: Path) -> None:
    """Three breeds; 2 of 3 Abyssinians right, the Pug a tie of all three: (2 + 1/3) / 4, macro (2/3 + 1/3) / 2."""
    write(root / "classes.txt", "abyssinian\npug\namerican bulldog\n")
    for at, name in enumerate(("Abyssinian_1", "Abyssinian_2", "Abyssinian_30", "pug_1", "Lassie_1")):
        picture(root / f"images/{name}.jpg", at)
    write(
        root / "annotations/list.txt",
        "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_1 1 1 1\nAbyssinian_9 1 1 1\n",
    )
    told = {
        (0, "a photo of a abyssinian"): 1.0,
        (1, "a photo of a abyssinian"): 1.0,
        (2, "a photo of a pug"): 1.0,
    }
    cases, found = measure("pets", root, told)
    assert [case.key for case in cases.cases] == [
        "Abyssinian_1.jpg",
        "Abyssinian_2.jpg",
        "Abyssinian_30.jpg",
        "pug_1.jpg",
    ]
    assert value(found, "sound", "accuracy") == pytest.approx((2 + 1 / 3) / 4)
    assert value(found, "sound", "accuracy, macro over 2 classes") == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert value(found, "published", "accuracy") == pytest.approx(2 / 4)  # the tie goes to the abyssinian
    assert {problem.file: problem.why for problem in cases.problems} == {
        "images/Abyssinian_9.jpg": "is missing",
        "images/Lassie_1.jpg": "is of no breed in classes.txt",
    }


def test_mmbias(root: Path) -> None:
    """Two pictures a group, one phrase a side: phi of Christian 1, 3; Muslim -1, 1; Buddhist 0, 2; Hindu 0, 0; others
    absent. Christian - Muslim: (2 - 0) / sqrt 2. Buddhist - Hindu: 1 over the deviation of {0, 2, 0, 0}, sqrt 3 / 2; the
    released code takes that of Christian and Hindu {1, 3, 0, 0}, sqrt 1.5."""
    write(
        root / "textual_phrases.txt",
        {"unpleasant_phrases": ["bad"], "pleasant_phrases": ["good"], "category_phrases": {}},
    )
    phi = {"Christian": (1, 3), "Muslim": (-1, 1), "Buddhist": (0, 2), "Hindu": (0, 0)}
    told = {}
    for at, (group, values) in enumerate(phi.items()):
        for side, number in enumerate(values):
            gray = 2 * at + side
            picture(root / f"data/Images/Religion/{group}/{side}.jpg", gray)
            told |= {(gray, "good"): 10.0 + number, (gray, "bad"): 10.0}  # 10: the picture's own prior
    cases, found = measure("mmbias", root, told)
    assert value(found, "sound", "effect size Christian - Muslim") == pytest.approx(math.sqrt(2))
    assert value(found, "sound", "effect size Buddhist - Hindu") == pytest.approx(1 / (math.sqrt(3) / 2))
    assert value(found, "published", "effect size Buddhist - Hindu") == pytest.approx(1 / math.sqrt(1.5))
    assert value(found, "published", "effect size Christian - Muslim") == pytest.approx(math.sqrt(2))
    assert "Christian and Hindu" in found["published", "effect size Buddhist - Hindu"].note
    assert not any("Jewish" in name or "American" in name for _, name in found)
    assert [note.split(":")[0] for note in cases.notes] == [
        "Jewish",
        "American",
        "Arab",
        "Heterosexual",
        "LGBT",
    ]
    # of the 6 splits of {1, 3, -1, 1} two differ by as much as 1 + 3 against -1 + 1, both ways: {3, 1} is there twice
    p = found["sound", "effect size Christian - Muslim"].p
    assert p is not None and p >= 4 / 6  # and Holm over the pairs on top
    write(root / "textual_phrases.txt", {"unpleasant_phrases": ["bad"], "pleasant_phrases": ["good", "fine"]})
    with pytest.raises(Mistake, match="2 pleasant and 1 unpleasant"):
        mmbias.read(root)


def test_sugarcrepe(root: Path) -> None:
    """replace_obj 1 right 1 wrong, swap_att one tie: macro (1/2 + 1/2) / 2; as published the tie is wrong."""
    for number in range(3):
        picture(root / f"val2017/{number:012d}.jpg", number)

    def row(n: int) -> dict[str, str]:
        return {"filename": f"{n:012d}.jpg", "caption": f"yes {n}", "negative_caption": f"no {n}"}

    write(root / "data/replace_obj.json", {"0": row(0), "1": row(1)})
    write(root / "data/swap_att.json", {"0": row(2)})
    cases, found = measure("sugarcrepe", root, {(0, "yes 0"): 1.0, (1, "no 1"): 1.0})
    assert value(found, "sound", "accuracy, macro over 2 subsets") == 1 / 2
    assert (
        value(found, "sound", "accuracy, swap_att") == 1 / 2
        and value(found, "published", "accuracy, swap_att") == 0
    )
    assert value(found, "published", "accuracy, replace_obj") == 1 / 2
    assert "add_obj.json is not there" in cases.notes and len(cases.notes) == 5


def test_sugarcrepe_pp(root: Path) -> None:
    """Both above, one above, all tied: 1, 0, 1/3."""
    for number in range(3):
        picture(root / f"val2017/{number:012d}.jpg", number)
    rows = [{"id": n, "filename": f"{n:012d}.jpg", "caption": f"a {n}", "caption2": f"b {n}", "negative_caption": f"no {n}"} for n in range(3)]  # fmt: skip
    write(root / "data/swap_obj.json", rows)
    told = {(0, "a 0"): 1.0, (0, "b 0"): 2.0, (1, "a 1"): 2.0, (1, "no 1"): 1.0, (1, "b 1"): 0.5}
    _, found = measure("sugarcrepe_pp", root, told)
    assert value(found, "sound", "ITT, swap_obj") == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert value(found, "published", "ITT, swap_obj") == pytest.approx(1 / 3)


def test_cola(root: Path) -> None:
    """Each caption prefers its own picture in the first case, in the second only one does."""
    address = "https://cs-people.bu.edu/array/data/vg_gqa_images/"
    for number in range(4):
        picture(root / f"images/{number}.jpg", number)
    rows = [
        [f"{address}{2 * at}.jpg", f"{at} one", f"{address}{2 * at + 1}.jpg", f"{at} two"] for at in (0, 1)
    ]
    write(root / "data/COLA_multiobjects_matching_benchmark.json", rows)
    told = {(0, "0 one"): 2.0, (0, "0 two"): 3.0, (1, "0 one"): 1.0, (1, "0 two"): 4.0}
    told |= {(2, "1 one"): 1.0, (3, "1 one"): 0.0, (2, "1 two"): 3.0, (3, "1 two"): 2.0}
    _, found = measure("cola", root, told)
    assert value(found, "published", "image score") == 1 / 2
    assert value(found, "sound", "text score") == 0.0  # in the first case picture 0 prefers "0 two"


def vsr_row(number: int, label: int, relation: str = "on") -> dict[str, object]:
    return {"image": f"{number:012d}.jpg", "image_link": "http://x", "caption": f"case {number}", "label": label,
            "relation": relation, "subj": "cat", "obj": "car", "annotator_id": 2, "vote_true_validator_id": "[18, 2]",
            "vote_false_validator_id": "[1]"}  # fmt: skip


def test_vsr(root: Path) -> None:
    """dev: true 3, false 1, so the threshold is 2. test: true 5 and 1, false 2, 0 and 0: credits 1, 0, 1/2, 1, 1."""
    scores = [3, 1, 5, 1, 2, 0, 0]
    labels = [1, 0, 1, 1, 0, 0, 0]
    rows = [vsr_row(number, label) for number, label in enumerate(labels)]
    for number in range(7):
        picture(root / f"images/{number:012d}.jpg", number)
    write(root / "splits/zeroshot/dev.jsonl", "\n".join(map(json.dumps, rows[:2])))
    write(root / "splits/zeroshot/test.jsonl", "\n".join(map(json.dumps, rows[2:])) + "\n")
    told = {(number, f"case {number}"): float(score) for number, score in enumerate(scores)}
    _, found = measure("vsr", root, told)
    # of 2 x 3 pairs of a true and a false one: 5 beats all three, 1 beats two
    assert value(found, "sound", "AUROC") == pytest.approx(5 / 6)
    assert value(found, "sound", "balanced accuracy") == pytest.approx((1 / 2 + 2.5 / 3) / 2)
    assert value(found, "published", "accuracy") == pytest.approx(3.5 / 5)
    (root / "splits/zeroshot/dev.jsonl").unlink()
    cases, found = measure("vsr", root, told)
    assert set(found) == {("sound", "AUROC")} and "AUROC alone" in cases.notes[0]
    write(root / "splits/zeroshot/test.jsonl", json.dumps(vsr_row(0, 2)))
    with pytest.raises(Mistake, match="line 1"):
        vsr.read(root)


def test_the_threshold_is_where_both_classes_are_told_best() -> None:
    assert vsr.threshold(np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, False, True, True])) == 1.5
    assert (
        vsr.threshold(np.array([5.0, 5.0]), np.array([True, False])) == 5.0
    )  # nothing to tell: ties everywhere


def test_ties_are_broken_by_all_orders() -> None:
    grid = np.array([[1.0, 1.0], [0.0, 2.0]])  # the first picture cannot choose, all else is right
    assert _measure.expected(_measure.text_right, grid) == 1 / 2
    assert _measure.expected(_measure.image_right, grid) == 1.0
    assert _measure.expected(_measure.all_above, np.array([[2.0, 1.0, 1.0]])) == 1 / 2


def test_paths_do_not_leave_the_folder(root: Path) -> None:
    picture(root.parent / "outside.jpg", 1)
    picture(root / "images/1.jpg", 1)
    rows = [aro_row(0, relation_name="on", image_path=path) for path in ("../../outside.jpg", str(root.parent / "outside.jpg"), "1.jpg")]  # fmt: skip
    write(root / "visual_genome_relation.json", rows)
    found = aro_relation.read(root)
    assert [case.key for case in found.cases] == ["2"]
    assert sum(problem.cases for problem in found.problems) == 2
    assert {problem.why for problem in found.problems} == {
        "lies outside of the benchmark's folder",
        "is missing",
    }


def test_nothing_left_is_a_mistake(root: Path) -> None:
    write(root / "visual_genome_relation.json", [aro_row(0, relation_name="on")])
    with pytest.raises(Mistake, match=r"no case(.|\n)*images/0.jpg: is missing"):
        aro_relation.read(root)
