"""The report without a browser: the file says what the ledger says, asks nothing of the network, and is deterministic."""

import base64
import hashlib
import html
import io
import json
import re
import tempfile
import zlib
from pathlib import Path

import ledgers
import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pairloom.clean import gallery as gallery_module
from pairloom.clean.certainty import LabelRequest
from pairloom.clean.gallery import choose, gallery, shrink
from pairloom.clean.label_file import SampledText, SampleOrigin
from pairloom.clean.label_sample import LabelSample
from pairloom.clean.report import counted, sentence, write_report
from pairloom.errors import Mistake


def written(folder: Path, rows: list, run: dict | None = None, link=lambda key: None, **more) -> str:
    path = folder / "report.html"
    write_report(
        path, ledgers.run() if run is None else run, ledgers.table(rows), ledgers.picture, link, **more
    )
    return path.read_text("utf-8")


def unpacked(page: str) -> dict:
    packed = re.search(r'id="ledger" data-name="\w+">([^<]*)<', page)
    assert packed
    return json.loads(zlib.decompress(base64.b64decode(packed[1])))


def visible(page: str) -> str:
    """The page's own words: no style, script or markup."""
    body = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_the_page_carries_every_row_of_the_ledger(tmp_path: Path) -> None:
    rows = ledgers.world(40)
    book = unpacked(written(tmp_path, rows))
    texts, pairs = book["texts"], book["pairs"]
    again = [
        {
            "key": pairs["key"][pair], "name": pairs["name"][pair], "shard": book["shards"][pairs["shard"][pair]],
            "text_id": texts["id"][at], "text": texts["text"][at], "source": book["sources"][texts["source"][at]],
            "findings": book["findings"][texts["findings"][at]], "decision": book["decisions"][texts["decision"][at]],
            "reason": book["reasons"][texts["reason"][at]],
        }
        for at, pair in enumerate(texts["pair"])
    ]  # fmt: skip
    assert again == [{name: row[name] for name in again[0]} for row in rows]
    for at, row in enumerate(rows):
        assert texts["score"][at] == (None if row["score"] is None else pytest.approx(row["score"], abs=1e-8))
        assert texts["p"][at] == (None if row["p_match"] is None else pytest.approx(row["p_match"], abs=1e-4))


def test_the_same_input_gives_the_same_bytes_and_no_leftovers(tmp_path: Path) -> None:
    first = written(tmp_path / "one", ledgers.world(30))
    second = written(tmp_path / "two", ledgers.world(30))
    assert first == second
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["report.html"]
    assert first != written(tmp_path / "three", ledgers.world(31))


def test_a_failing_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = written(tmp_path, ledgers.world(10))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Mistake, match="disk is full"):
        written(tmp_path, ledgers.world(20))
    assert (tmp_path / "report.html").read_text("utf-8") == old
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_nothing_in_the_page_can_reach_the_network(tmp_path: Path) -> None:
    page = written(tmp_path, ledgers.world(20))
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["']?\s*(?:https?:|//)|@import|url\(""", page)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy and "default-src 'none'" in policy[1]
    script = re.search(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert script
    hashed = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{hashed}'" in html.unescape(policy[1])


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def test_names_paths_and_findings_are_never_markup(tmp_path: Path) -> None:
    run = ledgers.run(
        set={"path": HOSTILE, "format": HOSTILE, "pairs": 1, "texts": 1, "images": 1},
        audit={HOSTILE: {"count": 1, "says": HOSTILE}},
        captioner={"model": HOSTILE},
        command={HOSTILE: HOSTILE},
        truth={"kinds": [{"kind": HOSTILE, "planted": 1, "found": 1, "recall": 1.0, "precision": None}]},
    )
    page = written(tmp_path, [ledgers.row(HOSTILE, "drop", -1.0, text=HOSTILE, reason=HOSTILE)], run)
    assert page.count("<script") == 2 and "<img" not in page  # the packed ledger and the page's own script
    assert HOSTILE in visible(page)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=4), st.text())
def test_any_text_survives(texts: list[str], reason: str) -> None:
    rows = [ledgers.row("one", "keep", text=text, text_id=at, reason=reason) for at, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        book = unpacked(written(Path(folder), rows))
    assert book["texts"]["text"] == texts and book["reasons"] == [reason]


def test_the_first_screen_tells_the_ledgers_numbers(tmp_path: Path) -> None:
    words = visible(written(tmp_path, ledgers.world(40)))
    # By hand: 4 file names; scores below 0 are indices 0..19 but 9 and 19: odd 1,3,5,7,11,13,15,17 dropped, the ten even replaced.
    assert "40 pairs read, 22 bad pairs found: 12 dropped, 10 replaced." in words
    assert "Kept 18 45.0 % of pairs Replaced 10 25.0 % of pairs Dropped 12 30.0 % of pairs" in words.replace(
        "\u202f", " "
    )
    assert "New texts 10 taken of 10 proposed by self" in words
    assert "0.950 0.930 to 0.970, 40 planted mismatches" in words
    assert "R@1 0.200 0.300 +0.100 0.050 to 0.150 0.010" in words
    assert "file name 4 4 100.0 % 50.0 %" in words.replace("\u202f", " ")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([ledgers.row("a", "keep")], "1 pair read, nothing changed."),
        ([ledgers.row("a", "drop")], "1 pair read, 1 bad pair found and dropped."),
        ([ledgers.row("a", "keep"), ledgers.row("a", "drop", text_id=1)], "1 pair with 2 texts read, 1 bad text found and dropped."),
        ([ledgers.row("a", "keep"), ledgers.row("a", "add", source="synthetic:m")], "1 pair read, no bad ones found, 1 new texts added."),
        ([], "0 pairs read, nothing changed."),
    ],
)  # fmt: skip
def test_one_sentence(rows: list, says: str) -> None:
    assert sentence(counted(ledgers.table(rows))) == says


def test_counts_of_pairs_that_lost_everything() -> None:
    rows = [
        ledgers.row("a", "drop"),
        ledgers.row("b", "replace"),
        ledgers.row("b", "add", text_id=1),
        ledgers.row("c", "drop"),
        ledgers.row("c", "keep", text_id=1),
    ]
    counts = counted(ledgers.table(rows))
    assert (counts["pairs"], counts["originals"], counts["gone"]) == (3, 4, 1)


PARTS = ("audit", "judge", "calibration", "captioner", "prove", "truth", "set", "command", "counts")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("how", ["none", "missing"])
def test_any_part_of_the_run_may_be_absent(tmp_path: Path, part: str, how: str) -> None:
    run = ledgers.run()
    if how == "none":
        run[part] = None
    else:
        del run[part]
    page = written(tmp_path, ledgers.world(10), run)
    assert "10 pairs read" in visible(page)
    assert ("No scorer was calibrated." in page) == (part == "calibration")


def test_an_empty_run_and_an_empty_ledger_still_make_a_page(tmp_path: Path) -> None:
    assert "0 pairs read, nothing changed." in visible(written(tmp_path, [], {}))


def test_a_scorer_that_cannot_tell_is_said_first(tmp_path: Path) -> None:
    run = ledgers.run(calibration={**ledgers.calibration(), "decides": False, "why": "AUROC is only 0.55."})
    unchanged = visible(written(tmp_path, [ledgers.row("a", "keep", 1.0)], run))
    assert "Nothing was dropped for its score. AUROC is only 0.55. Nothing was changed." in unchanged
    assert "0.950 0.930 to 0.970" in unchanged  # what was measured stays; what would rest on P(match) goes
    assert not any(word in unchanged for word in ("False drops", "estimated", "Calibration"))
    by_audit = visible(written(tmp_path, [ledgers.row("a", "drop", findings=["tiny"])], run))
    assert "dropped by the audit alone" in by_audit and "Nothing was changed." not in by_audit


def test_calibration_with_only_a_few_numbers(tmp_path: Path) -> None:
    words = visible(
        written(tmp_path, ledgers.world(10), ledgers.run(calibration={"decides": True, "auroc": 0.9}))
    )
    assert "0.900" in words and "Another threshold" not in words


def test_numbers_that_json_does_not_have_become_nothing(tmp_path: Path) -> None:
    rows = [ledgers.row("a", "keep", text="x", p_match=None) | {"score": float("nan")}]
    assert unpacked(written(tmp_path, rows))["texts"]["score"] == [None]


def test_a_ledger_without_a_column_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks decision, reason"):
        gallery(
            pyarrow.table({name: [] for name in gallery_module.COLUMNS[:-2]}), ledgers.picture, str, 1, None
        )


def test_pairs_of_one_content_under_two_names_stay_two() -> None:
    rows = [ledgers.row("a", "keep"), ledgers.row("b", "drop", key=ledgers.key_of("a"))]
    book = gallery(ledgers.table(rows), ledgers.picture, lambda key: None, 0, None)
    assert book["pairs"]["name"] == ["a", "b"] and book["texts"]["pair"] == [0, 1]


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        ("images/a%20b.jpg", True),
        ("../set/a.jpg", True),
        ("https://example.org/a.jpg", False),
        ("//example.org/a.jpg", False),
        ("javascript:alert(1)", False),
        ("file:///etc/passwd", False),
        ("/etc/passwd", False),
        ("\\\\host\\share", False),
        ("http://[broken", False),
        ("", False),
        (None, False),
    ],
)
def test_only_links_beside_the_report_are_taken(tmp_path: Path, link: str | None, kept: bool) -> None:
    book = unpacked(written(tmp_path, [ledgers.row("a", "keep")], link=lambda key: link))
    assert book["pairs"]["link"] == [link if kept else None]


def test_the_sample_is_the_most_pictures_asked_for_and_has_every_decision(tmp_path: Path) -> None:
    asked = []

    def thumbnail(key: str) -> bytes:
        asked.append(key)
        return ledgers.picture(key)

    rows = ledgers.world(400)
    book = gallery(ledgers.table(rows), thumbnail, lambda key: None, 40, 0.5)
    assert len(asked) == len(set(asked)) == 40 == len(book["pairs"]["picture"])
    decisions = {key: {row["decision"] for row in rows if row["key"] == key} for key in asked}
    for decision in ("keep", "drop", "replace"):
        assert sum(decision in found for found in decisions.values()) >= 8


def test_the_sample_holds_what_the_page_shows_first() -> None:
    keys = [ledgers.key_of(str(index)) for index in range(100)]
    chances = [index / 100 for index in range(100)]
    chosen = choose(keys, list(range(100)), ["keep"] * 100, chances, 20, 0.5)
    assert {0, 1, 2, 3, 4} <= set(chosen)  # the lowest P
    assert {48, 49, 50, 51, 52} <= set(chosen)  # the nearest to the threshold
    assert choose(keys, list(range(100)), ["keep"] * 100, chances, 500, 0.5) == list(range(100))
    assert choose(keys, list(range(100)), ["keep"] * 100, chances, 0, 0.5) == []


def encoded(image: Image.Image, kind: str = "PNG", **more) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def test_thumbnails_are_small_upright_and_on_white() -> None:
    wide = Image.open(io.BytesIO(shrink(encoded(Image.new("RGB", (1000, 250), "navy"), "JPEG")) or b""))
    assert wide.format == "WEBP" and wide.size == (160, 40)
    turned = Image.new("RGB", (100, 50), "navy")
    exif = turned.getexif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    upright = Image.open(io.BytesIO(shrink(encoded(turned, "JPEG", exif=exif)) or b""))
    assert upright.size == (50, 100)
    clear = Image.open(io.BytesIO(shrink(encoded(Image.new("RGBA", (20, 20), (0, 0, 0, 0)))) or b""))
    assert min(clear.convert("RGB").getpixel((10, 10))) > 250  # type: ignore[type-var]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "CMYK", "F", "I"])
def test_thumbnails_of_every_mode(mode: str) -> None:
    kind = "TIFF" if mode in ("CMYK", "F", "I") else "PNG"
    assert shrink(encoded(Image.new(mode, (30, 20)), kind)) is not None


def test_broken_pictures_are_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoded(Image.effect_noise((300, 300), 60))
    for data in (b"", b"not a picture", whole[:200], whole[: len(whole) // 2]):
        assert shrink(data) is None
    monkeypatch.setattr(gallery_module, "LARGEST", 100)
    assert shrink(whole) is None  # a bomb is not opened


def test_too_much_text_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_module, "WHOLE", 10_000)
    rows = [ledgers.row("a", "keep", text="short"), ledgers.row("b", "keep", text="x" * 12_345)]
    texts = gallery(ledgers.table(rows), ledgers.picture, lambda key: None, 0, None)["texts"]["text"]
    assert texts[0] == "short"
    assert (
        texts[1].startswith("x" * 2000 + "\u2026")
        and "12,345 characters" in texts[1]
        and len(texts[1]) < 2100
    )


def certain(**more: object) -> dict:
    return ledgers.run(calibration={**ledgers.calibration(), **ledgers.certainty(), **more})


def test_how_sure_a_run_is_stands_in_plain_sentences(tmp_path: Path) -> None:
    words = visible(written(tmp_path, ledgers.world(10), certain()))
    for says in (
        "The limit drops 20 of the 200 texts that were scored.",  # 0.1 of 200
        "Good texts that it drops: about 4.0%, between 1.0% and 9.0% of all good ones.",
        "The budget of 5% is kept with a confidence of 90%.",
        "In the worst case, where every text is good, it drops 10.0% of the good ones.",
        "Bad texts in the set, the audit aside: about 30.0%, between 20.0% and 40.0%.",
        "The limit rests on 50 labels alone: a bound that holds whatever the judge is worth.",
        "Strength: passed. The judge is strong.",
        "Halves: failed. The halves differ.",
    ):
        assert says in words
    assert "beside the budget" not in words
    doubted = {**certain(), "audit": {"spam": {"count": 7, "severity": "doubt", "says": "An advert."}}}
    words = visible(written(tmp_path, ledgers.world(10), doubted))
    assert "A doubt speaks against 7 texts (spam)." in words and "beside the budget" in words
    trusted = visible(written(tmp_path, ledgers.world(10), {**certain(basis="trusted"), "trusted": 321}))
    assert "The limit rests on 321 trusted pairs" in trusted
    alone = visible(
        written(tmp_path, ledgers.world(10), certain(decides=False, why="The scores alone do not decide."))
    )
    assert (
        "No text is dropped for its score. The scores alone do not decide." in alone
        and "worst case" not in alone
    )
    assert "Halves: failed." in alone


def test_labels_that_are_applied_are_counted_and_the_page_asks_for_none(tmp_path: Path) -> None:
    run = {**certain(), "labels": {"good": 3, "bad": 40, "skipped": 7, "hash": "x", "file": "labels.jsonl"}}
    page = written(tmp_path, ledgers.world(10), run)
    assert "Labels are applied: 3 good, 40 bad, 7 skipped." in visible(page)
    assert "from scores and labels" in visible(page)
    assert 'id="label-card"' not in page and unpacked(page)["settings"]["ask"] is None


def test_a_request_for_labels_has_their_pictures_texts_and_the_command(tmp_path: Path) -> None:
    text = SampledText(1, HOSTILE, "00000", ledgers.key_of("a"), 0, ledgers.key_of("a"), HOSTILE)
    sample = LabelSample(SampleOrigin(HOSTILE, "a" * 40, 0.1 + 0.2), (text,), (0.1,), np.arange(1), 77)
    request = LabelRequest(
        sample, lambda key: encoded(Image.new("RGB", (900, 300), "navy")), f"pairloom {HOSTILE}"
    )
    link = {ledgers.key_of("a"): "https://example.org/a.png"}.get
    page = written(tmp_path, ledgers.world(10), certain(), link=link, request=request)
    words = visible(page)
    assert (
        "look at 1 text " in words
        and "77 texts score below the highest limit" in words
        and f"pairloom {HOSTILE}" in words
    )
    ask = unpacked(page)["settings"]["ask"]
    assert (
        SampleOrigin(**{name: ask["head"][name] for name in ("set", "scores", "below", "seed")})
        == sample.origin
    )
    assert [SampledText(**one) for one in ask["texts"]] == [text] and ask["links"] == [None]
    assert Image.open(io.BytesIO(base64.b64decode(ask["pictures"][0]))).size == (384, 128)
    assert page.count("<script") == 2 and "<img" not in page
