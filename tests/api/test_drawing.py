"""Drawing: best of N by a judge, what a PNG says of itself, contact sheets, files of prompts, completion, bad input."""

from __future__ import annotations

import json
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

import pairloom
from pairloom import registry
from pairloom.api.contact_sheet import SIDE, contact_sheet, wrapped
from pairloom.api.model import Model
from pairloom.api.results import Drawing, png_record
from pairloom.data.prompts import Prompt, read_prompts
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import build
from pairloom.tasks.draw import batches

WORDS = Tokens.train(["a red square", "two blue cats"] * 4, 64)
draw = registry.find("cli", "draw").command


@pytest.fixture(scope="module")
def painter() -> Model:
    torch.manual_seed(0)
    return Model.of(build("dalle", WORDS, "tiny"), "my/painter")


@pytest.fixture(scope="module")
def judge() -> Model:
    torch.manual_seed(1)
    return Model.of(build("clip", WORDS, "tiny"))


@pytest.fixture(scope="module")
def folders(painter: Model, judge: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("models")
    return painter.save(root / "painter"), judge.save(root / "judge")


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def test_the_judge_chooses_the_best_of_the_pictures_that_several_gives(painter: Model, judge: Model) -> None:
    several = painter.draw(["a red square", "two blue cats"], several=3)
    chosen = painter.draw(["a red square", "two blue cats"], best=3, judge=judge)
    for text, row, one in zip(["a red square", "two blue cats"], several, chosen):
        scores = judge.match([drawing.image for drawing in row], text).values[:, 0]
        assert [entry["seed"] for entry in one.candidates] == [drawing.seed for drawing in row]
        np.testing.assert_allclose([entry["score"] for entry in one.candidates], scores, atol=1e-5)
        assert one.seed == row[int(scores.argmax())].seed and one.score == max(
            entry["score"] for entry in one.candidates
        )
        assert (pixels(one.image) == pixels(row[int(scores.argmax())].image)).all()


def test_more_candidates_are_never_worse(painter: Model, judge: Model) -> None:
    rows = [painter.draw("a red square", best=count, judge=judge) for count in (1, 2, 5)]
    seeds = [[entry["seed"] for entry in row.candidates] for row in rows]
    assert seeds[2][:2] == seeds[1] and seeds[1][:1] == seeds[0] and len(set(seeds[2])) == 5
    assert rows[0].score <= rows[1].score + 1e-6 and rows[1].score <= rows[2].score + 1e-6


def test_diffusion_models_judge_too(painter: Model) -> None:
    pytest.importorskip("diffusers")
    diffusion = Model.of(build("latent_diffusion", WORDS, "tiny"))
    drawing = painter.draw("a red square", best=2, judge=diffusion)
    assert len(drawing.candidates) == 2 and drawing.origin["by"] == "denoising error"


def test_texts_that_stand_together_in_equal_numbers_are_drawn_together() -> None:
    def parts(counts: list[int], group: int) -> list[tuple[int, int]]:
        texts = [str(text) for text, count in enumerate(counts) for _ in range(count)]
        return [(part.start, part.stop) for part in batches(texts, group)]

    assert parts([1] * 5, 4) == [(0, 4), (4, 5)]
    assert parts([3, 3, 3], 6) == [(0, 6), (6, 9)] and parts([3, 3], 4) == [(0, 3), (3, 6)]
    assert parts([8, 8], 4) == [(0, 4), (4, 8), (8, 12), (12, 16)]
    assert parts([5, 1, 1], 4) == [(0, 4), (4, 7)]  # the fifth is the only one of its text, as are the others
    assert parts([2, 1], 4) == [(0, 2), (2, 3)] and parts([], 4) == []


def test_candidates_of_a_text_read_it_once(
    painter: Model, judge: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, start = [], painter.system.writer.start
    monkeypatch.setattr(
        painter.system.writer, "start", lambda ids, mask: reads.append(len(ids)) or start(ids, mask)
    )
    painter.draw(["a red square", "two blue cats"], best=3, judge=judge, group=6)
    assert reads == [2]


def test_a_png_says_what_made_it(painter: Model, judge: Model, tmp_path: Path) -> None:
    drawing = painter.draw("Größe 红 square", best=2, judge=judge, temperature=0.5, seed=7)
    with Image.open(drawing.save(tmp_path / "one.png")) as image:
        assert image.info["Description"] == "Größe 红 square"
        assert image.info["Software"] == f"pairloom {pairloom.__version__}"
        assert (pixels(image) == pixels(drawing.image)).all()
    record = png_record(tmp_path / "one.png")
    assert record == drawing.record and record["text"] == "Größe 红 square" and record["seed"] == drawing.seed
    assert record["options"] == {"seed": 7, "temperature": 0.5} and record["best_of"] == 2
    assert record["by"] == "cosine" and record["candidates"] == list(drawing.candidates)
    assert (record["model"], record["system"]) == ("painter", "dalle") and len(record["weights"]) >= 32
    Image.new("RGB", (4, 4)).save(tmp_path / "bare.png")
    with pytest.raises(Mistake, match="no record"):
        png_record(tmp_path / "bare.png")
    assert Drawing("a", Image.new("RGB", (4, 4))).save(tmp_path / "one.jpg").is_file()


def test_a_file_of_prompts_goes_on_with_the_rest(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prompts.jsonl"
    long = "a red square " * 9
    rows = [{"text": "a red square"}, {"text": long}, {"text": " "}, {"prompt": "two blue cats"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    options = dict(model=folders[0], out=tmp_path / "out", prompts=file, text_column="", several=2, json=True)
    options |= dict(best=2, judge=folders[1])
    import typer

    with pytest.raises(typer.Exit) as stop:
        draw(**options)
    assert stop.value.exit_code == 1
    printed = json.loads(capsys.readouterr().out)
    assert [row["text"] for row in printed if "picture" in row] == ["a red square"] * 2 + [
        "two blue cats"
    ] * 2
    problems = [row["problem"] for row in printed if "problem" in row]
    assert len(problems) == 3 and "longer than the model reads" in " ".join(problems)
    files = [Path(row["picture"]) for row in printed if "picture" in row]
    before = [file.stat().st_mtime_ns for file in files]
    listed = json.loads((tmp_path / "out" / "drawn.json").read_text())
    assert listed["pictures"] == printed and listed["drawn_with"]["best_of"] == 2
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert sheet.width > 2 * SIDE and sheet.height > 2 * SIDE
    with pytest.raises(typer.Exit):
        draw(**options)
    again = json.loads(capsys.readouterr().out)
    assert again == printed and [file.stat().st_mtime_ns for file in files] == before
    draw(**{**options, "prompts": None, "texts": ["a red square"], "best": 1, "judge": None})
    other = json.loads(capsys.readouterr().out)
    assert not {row["picture"] for row in other} & {str(file) for file in files}


def test_prompts_are_lines_or_a_column(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("one\n\n  two \r\nthree\u2028four".encode())
    assert read_prompts(tmp_path / "a.txt") == [Prompt("one"), Prompt("two"), Prompt("three\u2028four")]
    (tmp_path / "a.csv").write_text('id,caption,other\n1,"a cat, asleep",x\n2,,y\n')
    cat, empty = read_prompts(tmp_path / "a.csv")
    assert cat == Prompt("a cat, asleep") and empty.text == "" and "row 2" in empty.problem
    assert read_prompts(tmp_path / "a.csv", "other") == [Prompt("x"), Prompt("y")]
    for bad, message in (("none.txt", "no file"), ("a.csv", "no column"), ("empty.txt", "no prompt")):
        (tmp_path / "empty.txt").write_text("\n")
        with pytest.raises(Mistake, match=message):
            read_prompts(tmp_path / bad, "absent" if bad == "a.csv" else "")


def test_pictures_that_are_no_numbers_are_a_mistake_or_a_row(painter: Model, tmp_path: Path) -> None:
    broken, draws = painter.system, painter.system.draw

    def half(batch, *, seeds, temperature=1.0):  # type: ignore[no-untyped-def]
        pictures = draws(batch, seeds=seeds)
        pictures[batch.text()[0].eq(batch.text()[0][0]).all(1)] = torch.nan
        return pictures

    broken.draw = half
    try:
        with pytest.raises(Mistake, match="not finite"):
            painter.draw(["a red square", "two blue cats"])
        (tmp_path / "prompts.txt").write_text("a red square\ntwo blue cats\n")
        files = painter.draw_files((), tmp_path / "out", prompts=tmp_path / "prompts.txt")
        first, second = files
        assert "not finite" in first["problem"] and Path(second["picture"]).is_file()
        assert files.failed == 1 and [row["text"] for row in files.rows] == ["two blue cats", "a red square"]
    finally:
        del broken.draw


def test_a_picture_is_completed(painter: Model) -> None:
    generator = np.random.default_rng(0)
    given = Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    drawing = painter.draw("a red square", begin=given, rows=2)
    codes = painter.system.codebook.encode(painter.pictures([given]))
    decoded: list[torch.Tensor] = []
    decode = painter.system.decode_codes
    painter.system.decode_codes = lambda codes: decoded.append(codes) or decode(codes)
    try:
        again = painter.draw("a red square", begin=given, rows=2)
    finally:
        del painter.system.decode_codes
    assert decoded[0][0, :8].equal(codes[0, :8]) and (pixels(again.image) == pixels(drawing.image)).all()
    assert (
        drawing.origin["options"]["rows"] == 2
        and not (pixels(painter.draw("a red square").image) == pixels(drawing.image)).all()
    )


BAD = [
    (dict(best=2), "--best needs a judge"),
    (dict(best=0), "above 0"),
    (dict(rows=2), "go together"),
    (dict(begin=Image.new("RGB", (8, 8)), rows=4), "4 rows cannot be kept"),
    (dict(begin="absent.png", rows=1), "cannot be read"),
    (dict(texts=" "), "empty"),
    (dict(texts="a red square " * 9), "longer than the model reads"),
]


@pytest.mark.parametrize("options, message", BAD, ids=[message for _, message in BAD])
def test_what_does_not_fit(painter: Model, options: dict[str, object], message: str) -> None:
    with pytest.raises(Mistake, match=message):
        painter.draw(**{"texts": "a red square", **options})


def test_only_models_of_codes_complete_pictures_and_only_judges_judge(painter: Model, tmp_path: Path) -> None:
    gan = Model.of(build("reed_gan", WORDS, "tiny"))
    with pytest.raises(Mistake, match="cannot complete a picture"):
        gan.draw("a red square", begin=Image.new("RGB", (8, 8)), rows=1)
    with pytest.raises(Mistake, match="score how well"):
        painter.draw("a red square", best=2, judge=gan)
    (tmp_path / "prompts.txt").write_text("a red square")
    for texts, prompts in ((["a"], tmp_path / "prompts.txt"), ((), None)):
        with pytest.raises(Mistake, match="What is to be drawn"):
            painter.draw_files(texts, tmp_path / "out", prompts=prompts)


def test_a_file_of_the_user_s_is_not_replaced(painter: Model, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "contact_sheet.png")
    with pytest.raises(Mistake, match="exists already"):
        painter.draw_files("a red square", tmp_path)


def test_a_saved_judge_chooses(painter: Model) -> None:
    likes_red = types.SimpleNamespace(
        by="redness",
        identity="red",
        scores=lambda images, texts: [pixels(one)[..., 0].mean() for one in images],
    )
    drawing = painter.draw("a red square", best=4, judge=likes_red)
    assert drawing.score == pixels(drawing.image)[..., 0].mean() and drawing.origin["judge"] == "red"


def test_the_sheet_has_a_cell_for_each_picture(tmp_path: Path) -> None:
    entries = []
    for number in range(5):
        Image.new("RGB", (32, 32), (40 * number, 0, 200)).save(tmp_path / f"{number}.png")
        entries.append((tmp_path / f"{number}.png", {"text": "a " * 200, "seed": number, "score": 0.5}))
    sheet = pixels(contact_sheet(entries, 5))
    colours = {tuple(colour) for colour in sheet.reshape(-1, 3)}
    assert all((40 * number, 0, 200) in colours for number in range(5))
    assert (sheet == (160, 0, 200)).all(-1).sum() == SIDE * SIDE  # 32 px five times as large
    wide = SIDE + 12
    for count, several, columns in ((4, 2, 2), (5, 1, 3), (3, 3, 3), (5, 5, 5)):
        assert contact_sheet(entries[:count], count, several).width == columns * wide + 12
    assert contact_sheet(entries * 20, 300, 2).width == 8 * wide + 12
    font = ImageFont.load_default(12)
    for text in ("a red square", "word " * 80, "W" * 200):
        lines = wrapped(text, font)
        assert len(lines) <= 3 and all(font.getlength(line) <= SIDE for line in lines)
    assert wrapped("a red square", font) == ["a red square"]


@pytest.fixture(scope="module")
def gan() -> Model:
    """Reed's GAN whose parts are all there, as after training."""
    from pairloom.data.characters import character_tokens
    from pairloom.systems.reed_gan import ALPHABET

    model = Model.of(build("reed_gan", character_tokens(ALPHABET), "tiny"), "gan")
    torch.manual_seed(0)
    with torch.no_grad():  # a fresh one draws grey
        for parameter in model.system.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return replace(model, about={**model.about, "parts": ["text", "gan", "style"]})


def test_the_style_of_a_picture_with_the_content_of_a_text(
    gan: Model, painter: Model, tmp_path: Path
) -> None:
    shown = [gan.draw("a red square", seed=seed).image for seed in (1, 2)]
    drawn = [gan.draw(["two blue cats", "a red square"], style=image) for image in shown]
    again = gan.draw("two blue cats", style=shown[0], seed=9)  # no noise is drawn
    assert (pixels(again.image) == pixels(drawn[0][0].image)).all()
    different = {pixels(one.image).tobytes() for pair in drawn for one in pair}
    assert len(different) == 4
    hashes = [pair[0].origin["options"]["style"] for pair in drawn]
    assert len(set(hashes)) == 2 and drawn[0][1].origin["options"]["style"] == hashes[0]
    with pytest.raises(Mistake, match="cannot take the style"):
        painter.draw("a red square", style=shown[0])
    with pytest.raises(Mistake, match="do not go together"):
        gan.draw("a red square", style=shown[0], begin=shown[0], rows=1)
    with pytest.raises(Mistake, match="reed_gan:style"):
        replace(gan, about={"parts": ["text", "gan"]}).draw("a red square", style=shown[0])


def test_from_one_text_to_another(gan: Model, painter: Model) -> None:
    path = gan.draw_between("a red square", "two blue cats", steps=3, seeds=(4, 5))
    assert [one.origin["share"] for one in path] == [0.0, 0.5, 1.0] and path[1].origin[
        "to"
    ] == "two blue cats"
    with torch.no_grad():
        ends = gan.system.draw(gan.batch(texts=["a red square", "two blue cats"]), seeds=[4, 5])
    for drawing, end in zip((path[0], path[2]), ends):
        expected = ((end.permute(1, 2, 0).numpy() + 1) * 127.5).round()
        assert np.abs(pixels(drawing.image) - expected).max() <= 1
    with pytest.raises(Mistake, match="cannot draw between"):
        painter.draw_between("a red square", "two blue cats")
    for texts, steps, message in ((("a", " "), 3, "empty"), (("a", "b"), 1, "nothing between")):
        with pytest.raises(Mistake, match=message):
            gan.draw_between(*texts, steps=steps)


def test_a_text_of_which_nothing_is_known_is_refused_but_not_strange_characters_in_it(gan: Model) -> None:
    with pytest.raises(Mistake, match="says nothing to the model"):
        gan.draw("\u65e5\u672c")
    assert gan.draw("a red bird\u00e4").image.size == (32, 32)
    with pytest.raises(Mistake, match="longer than the model reads"):
        gan.draw("a red bird " * 20)
