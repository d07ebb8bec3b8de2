"""Laws of every benchmark that lies in bench/: found by file name, so that a new one is tested by itself.

Each is read from its own miniature, which lies on disk as the release does and whose truth is known.
"""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pairloom import registry
from pairloom.bench import gdbench
from pairloom.bench._case import Case, Cases, Picture
from pairloom.bench._scoring import score
from pairloom.data.pair import content_hash
from pairloom.data.pixels import open_image
from pairloom.errors import Mistake
from pairloom.world import Scene, read

# the suite, and the benchmark of painters, which has no cases
BENCHMARKS = [name for name in registry.names("bench") if name not in (gdbench.NAME, "painters")]
COUNT = 12
UNGRAMMATICAL = ("coco_order", "flickr_order")  # what the world's reader makes of shuffled words says nothing
WITHOUT_A_LIST = (
    "mmbias",
    "mmbias_others",
)  # the release has no list of its pictures, so that one that is gone cannot be missed
WITHOUT_PICTURES = ("sugarcrepe_pp_text",)
WITHOUT_FILES = ("genderbias",)  # pictures alone
SAME_FILES = [{"sugarcrepe_pp", "sugarcrepe_pp_text"}, {"mmbias", "mmbias_others"}]
BIAS = ("mmbias", "mmbias_others", "genderbias")
SHOWING = [name for name in BENCHMARKS if name not in WITHOUT_PICTURES]
LISTING = [name for name in BENCHMARKS if name not in WITHOUT_FILES]


def module(name: str):
    return registry.find("bench", name)


@pytest.fixture(scope="session")
def minis(tmp_path_factory) -> dict[str, tuple[Path, dict[Path, Scene], Cases]]:
    """Of each benchmark: where its miniature lies, which scene each file shows, and what its reader makes of it."""
    made = {}
    for name in BENCHMARKS:
        root = tmp_path_factory.mktemp("mini") / name
        shown = module(name).mini(root, 0, count=COUNT)
        made[name] = (root, shown, module(name).read(root))
    return made


def copy(minis, name: str, tmp_path: Path) -> Path:
    root = tmp_path / name
    shutil.copytree(minis[name][0], root)
    return root


def files(root: Path, pictures: bool) -> list[Path]:
    found = (path for path in sorted(root.rglob("*")) if path.is_file())
    return [path for path in found if (path.suffix in (".jpg", ".png")) == pictures]


class Oracle:
    """Knows pictures by their pixels, and the texts that belong to each."""

    way = "knowing"

    def __init__(self, cases: tuple[Case, ...]) -> None:
        self.cost = {"pairs": 0}
        self.right: dict[str, set[str]] = {}
        for case in cases:
            for image, text in case.right:
                self.right.setdefault(self.key(case.pictures[image].shown()), set()).add(case.texts[text])

    def key(self, image) -> str:
        if isinstance(image, str):
            return image
        opened = image if isinstance(image, Image.Image) else open_image(image.read_bytes())
        return content_hash(repr(opened.size).encode(), opened.tobytes())

    def scores(self, images, texts, pairs):
        self.cost["pairs"] += len(pairs)
        known = [self.right.get(self.key(image), set()) for image in images]
        return np.array([float(texts[text] in known[image]) for image, text in pairs])


def numbers(name: str, scorer, cases: Cases, root: Path, folder: Path):
    found = score(lambda: scorer, repr(type(scorer)), cases.cases, root, folder)
    return module(name).measures(cases.cases, [found.grids[case.key] for case in cases.cases])


def test_there_are_the_eleven_of_gdbench_and_more() -> None:
    assert set(gdbench.SUITE) < set(BENCHMARKS) == set(gdbench.benchmarks())
    assert {"sugarcrepe", "sugarcrepe_pp", "sugarcrepe_pp_text", "cola", "cola_single", "vsr"} < set(
        BENCHMARKS
    )
    assert {"imagecode_video", "genderbias"} < set(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_is_a_claim_folders_and_three_functions(name: str) -> None:
    made = module(name)
    assert made.CLAIM and "\n" not in made.CLAIM and made.FOLDERS
    assert all(callable(getattr(made, verb)) for verb in ("read", "measures", "mini"))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_perfect_judge_gets_the_best_there_is(name: str, minis, tmp_path: Path) -> None:
    root, _, cases = minis[name]
    found = numbers(name, Oracle(cases.cases), cases, root, tmp_path)
    assert any(one.kind == "sound" for one in found) and any(one.kind == "published" for one in found)
    for one in found:
        assert one.interval.value == one.best, one
    # effect sizes: no association is best
    assert {one.best for one in found} == ({0.0} if name in BIAS else {1.0})


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_blind_judge_gets_chance(name: str, minis, tmp_path: Path) -> None:
    root, _, cases = minis[name]
    blind = SimpleNamespace(way="blind", cost={}, scores=lambda images, texts, pairs: np.zeros(len(pairs)))
    for one in numbers(name, blind, cases, root, tmp_path):
        if one.kind == "sound":
            assert one.interval.value == pytest.approx(one.chance, abs=1e-12), one


@pytest.mark.parametrize("name", SHOWING)
def test_what_is_right_is_true_of_the_scene_and_what_is_wrong_is_not(name: str, minis) -> None:
    _, shown, cases = minis[name]
    for case in cases.cases:
        for image, picture in enumerate(case.pictures):
            for text, words in enumerate(case.texts):
                right = (image, text) in case.right
                if right:
                    reading = read(words, shown[picture.path])
                    assert reading.right or not reading.stated or words.endswith("object."), (case.key, words)
                elif name not in UNGRAMMATICAL and case.right and case.tag != "spatial":
                    assert not read(words, shown[picture.path]).right, (case.key, words)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_miniatures_are_the_same_every_time_and_others_by_another_seed(name: str, tmp_path: Path) -> None:
    made = []
    for place, seed in (("one", 0), ("two", 0), ("other", 1)):
        module(name).mini(tmp_path / place, seed, count=3)
        root = tmp_path / place
        made.append(
            {
                str(path.relative_to(root)): path.read_bytes()
                for path in files(root, True) + files(root, False)
            }
        )
    assert made[0] == made[1] and made[0] != made[2]
    assert not {made[0][file] for file in made[0] if file.endswith("g")} & {made[2][file] for file in made[2]}


@pytest.mark.parametrize("name", SHOWING)
def test_missing_and_empty_pictures_are_counted_and_named(name: str, minis, tmp_path: Path) -> None:
    root = copy(minis, name, tmp_path)
    whole = minis[name][2]
    gone, empty = files(root, True)[:2]
    gone.unlink()
    empty.write_bytes(b"")
    shows = {path: [case for case in whole.cases if path.name in [p.path.name for p in case.pictures]
                    and any(p.path.relative_to(minis[name][0]) == path.relative_to(root) for p in case.pictures)]
             for path in (gone, empty)}  # fmt: skip
    lost = {case.key for cases in shows.values() for case in cases}
    assert lost
    found = module(name).read(root)
    assert {case.key for case in found.cases} == {case.key for case in whole.cases} - lost
    told = {problem.file: problem for problem in found.problems}
    expected = {gone: "is missing", empty: "has 0 bytes"}
    for path, why in expected.items():
        if path == gone and name in WITHOUT_A_LIST:
            continue
        problem = told[str(path.relative_to(root))]
        assert problem.why == why and problem.cases == len(shows[path])
    if name not in WITHOUT_A_LIST:
        assert found.rows == whole.rows


@pytest.mark.parametrize("name", SHOWING)
def test_pictures_that_cannot_be_decoded_are_counted_and_named(name: str, minis, tmp_path: Path) -> None:
    root = copy(minis, name, tmp_path)
    cases = module(name).read(root)
    broken = cases.cases[0].pictures[0].path
    broken.write_bytes(broken.read_bytes()[:400])
    oracle = Oracle(tuple(case for case in cases.cases if broken not in [p.path for p in case.pictures]))
    found = score(lambda: oracle, "", cases.cases, root, tmp_path / "scores")
    lost = [case.key for case in cases.cases if broken in [picture.path for picture in case.pictures]]
    assert set(found.grids) == {case.key for case in cases.cases} - set(lost)
    [problem] = found.problems.values()
    assert problem.file == os.path.relpath(broken, root) and problem.why and problem.cases == len(lost)


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("where", [".", "images/..", "../NAME"])
def test_a_folder_may_be_named_in_any_way(name: str, where: str, minis, tmp_path: Path, monkeypatch) -> None:
    root, _, cases = minis[name]
    monkeypatch.chdir(root)
    if where == "images/.." and not (root / "images").is_dir():
        where = f"{next(path.name for path in root.iterdir() if path.is_dir())}/.."
    place = Path(where.replace("NAME", root.name))
    found = module(name).read(place)
    assert [(case.key, case.texts) for case in found.cases] == [
        (case.key, case.texts) for case in cases.cases
    ]
    few = found.cases[:2]
    assert len(score(lambda: Oracle(few), "", few, place, tmp_path).grids) == 2


@pytest.mark.parametrize("name", LISTING)
def test_half_downloaded_files_are_named_or_counted(name: str, minis, tmp_path: Path) -> None:
    root = copy(minis, name, tmp_path)
    mistakes = 0
    for file in files(root, False):
        whole = file.read_bytes()
        for left in (0, len(whole) // 2):
            file.write_bytes(whole[:left])
            try:
                found = module(name).read(root)
            except Mistake as mistake:
                mistakes += 1
                assert file.name in str(mistake)
            else:  # a list of breeds, say: pictures of the others are counted; a file that is not needed
                assert found.problems or found.notes or len(found.cases) == len(minis[name][2].cases)
        file.write_bytes(whole)
    assert mistakes


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_folder_of_another_benchmark_is_refused(name: str, minis, tmp_path: Path) -> None:
    for other in BENCHMARKS:
        if other != name and {name, other} not in SAME_FILES:
            with pytest.raises(Mistake) as caught:
                module(name).read(minis[other][0])
            assert str(minis[other][0]) in str(caught.value) and caught.value.do + caught.value.why
    with pytest.raises(Mistake, match="no folder"):
        module(name).read(tmp_path / "nowhere")


@st.composite
def mutations(draw) -> list[tuple[float, int, bytes]]:
    pieces = st.sampled_from(
        [b"null", b"[]", b"{}", b"-1", b'""', b"..", b"/", b"1e9", b'"\\ud800"', b",", b"]"]
    )
    return draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), pieces), min_size=1, max_size=3))


@pytest.mark.parametrize("name", LISTING)
def test_damaged_files_give_mistakes_or_cases(name: str, minis, tmp_path: Path) -> None:
    root = copy(minis, name, tmp_path)
    file = max(files(root, False), key=lambda path: path.stat().st_size)
    whole = file.read_bytes()

    @settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(mutations())
    def check(edits) -> None:
        raw = whole
        for share, gone, come in edits:
            at = int(share * len(raw))
            raw = raw[:at] + come + raw[at + gone :]
        file.write_bytes(raw)
        try:
            found = module(name).read(root)
        except Mistake:
            return
        inside = (
            picture.path.is_relative_to(root)
            for case in found.cases
            for picture in case.pictures
            if isinstance(picture, Picture)
        )
        assert found.cases and all(inside)

    check()
