"""The page of a check in headless Chromium: all examples of a finding, groups of copies, keys, no network, scale."""

from collections.abc import Iterator
from pathlib import Path

import chromium
import colours
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chromium import Chromium

import pairloom
from pairloom.clean.check_page import sentence, write_page
from pairloom.clean.issues import TABLES
from pairloom.data.shards import open_set, save_set

NAMES = 30  # pairs whose text is a file name


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Page of a check of two tars: 30 file names, and a picture that stands three times, once with a second text."""
    root = tmp_path_factory.mktemp("check")
    (root / "folder").mkdir()
    for at in range(NAMES):
        (root / "folder" / f"{at:02}.png").write_bytes(colours.picture("red", "dotted", at, side=64))
        (root / "folder" / f"{at:02}.txt").write_text(f"IMG_{1000 + at}.JPG\n")
    for name, texts in (("x", "a wall\n"), ("y", "a wall\n"), ("z", "another wall\n<b>bold</b>\n")):
        (root / "folder" / f"{name}.png").write_bytes(colours.picture("blue", "striped", 99, side=64))
        (root / "folder" / f"{name}.txt").write_text(texts)
    save_set(open_set(root / "folder").pairs(), root / "raw", "webdataset", size=20)
    return pairloom.open(root / "raw").check(out=root / "out", workers=1).report


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if not (chromium.CHROMIUM and chromium.DRIVER):
        pytest.skip("needs chromium and chromedriver on the PATH")
    window = Chromium(tmp_path_factory.mktemp("browser"))
    yield window
    window.close()


@pytest.fixture
def browser(window: Chromium, page: Path) -> Iterator[Chromium]:
    window.size(1280, 900)
    window.complaints()
    window.requests()
    window.open(page)
    yield window
    assert window.complaints() == []


def test_a_finding_shows_all_its_examples_with_pictures_from_beside_the_page(
    browser: Chromium, page: Path
) -> None:
    browser.click('button.finding[data-finding="file_name"]')
    assert sorted(browser.words(".card .name")) == [f"{at:02}" for at in range(NAMES)]
    assert browser.words("#shown") == ["1 to 30 of 30 pairs"]
    assert browser.words(".card .reason")[0].startswith("The text is a file name")
    browser.until("return document.querySelector('.card img').naturalWidth === 64")
    places = [url for url in browser.requests() if not url.startswith("data:")]
    assert places and all(url.startswith(page.parent.as_uri()) for url in places)
    assert any("/thumbnails/" in url for url in places)


def test_copies_stand_side_by_side_and_one_is_marked(browser: Chromium) -> None:
    browser.click('.views [data-view="copies"]')
    groups = browser.run(
        "return Array.from(document.querySelectorAll('.card.copies'), (card) =>"
        " Array.from(card.querySelectorAll('.copy'), (copy) => copy.querySelector('.name').textContent))"
    )
    assert [sorted(group) for group in groups if "x" in group] == [["x", "y", "z"]]
    kept = browser.words(".card.copies .copy.kept .name")
    assert len(kept) == len(groups)
    assert "groups" in browser.words("#shown")[0]
    assert browser.run("return document.querySelectorAll('.copy b').length") == 0  # no text becomes markup


def test_keys_walk_and_open_the_large_view_with_the_copies_beside_it(browser: Chromium) -> None:
    browser.run("document.getElementById('query').focus()")
    browser.press("x", "Enter")
    browser.until("return document.querySelectorAll('.card').length < 34")
    browser.press("Escape")
    browser.run(
        "document.querySelector('.views [data-view=all]').click(); document.getElementById('query').value = ''"
    )
    browser.run("document.getElementById('query').dispatchEvent(new Event('input'))")
    browser.until("return document.querySelectorAll('.card').length === 33")
    browser.run("document.querySelectorAll('.card')[30].focus()")
    browser.run("document.activeElement.click()")
    browser.until("return document.getElementById('large').open")
    assert len(browser.words("#large .copy")) == 2
    before = browser.words("#large .facts")
    browser.press("j")
    assert browser.words("#large .facts") != before
    browser.press("Escape")
    assert browser.run("return document.getElementById('large').open") is False


def test_a_hundred_thousand_pairs_open_and_turn_pages(window: Chromium, tmp_path: Path) -> None:
    count = 100_000
    columns = {
        "key": [f"{at:040x}" for at in range(count)], "name": [f"n{at}" for at in range(count)],
        "shard": [f"{at // 1000:05}" for at in range(count)], "row": [at % 1000 for at in range(count)],
        "text_id": [0] * count, "text": [f"text {at}" for at in range(count)], "source": ["original"] * count,
        "findings": [["file_name"] if at % 2 else ["cut_off"] for at in range(count)],
        "decision": ["bad" if at % 2 else "doubt" for at in range(count)], "reason": ["It is so."] * count,
        "group": [at // 2 if at < 50_000 else None for at in range(count)],
        "keep": [at % 2 == 0 if at < 50_000 else None for at in range(count)],
        "copy": ["same file" if at % 2 else "" for at in range(count)],
    }  # fmt: skip
    schema = TABLES["shown"]
    table = pa.table(
        [pa.array(columns.get(field.name, [None] * count), field.type) for field in schema], schema=schema
    )
    pq.write_table(table, tmp_path / "shown.parquet")
    entry = {"count": count // 2, "severity": "bad", "says": "It is a file name."}
    facts = {
        "pairloom": "0", "command": {"against": None}, "audit": {"file_name": entry},
        "set": {"path": "big", "format": "table", "pairs": count, "texts": count, "images": count, "notes": []},
        "check": {"bad": count // 2, "bad_share": 0.5, "groups": 25_000},
    }  # fmt: skip
    write_page(tmp_path / "report.html", facts, tmp_path / "shown.parquet")
    assert (tmp_path / "report.html").stat().st_size < 12_000_000
    window.open(tmp_path / "report.html")
    assert window.words("#shown") == ["1 to 60 of 50,000 pairs"]
    window.click("#next")
    assert window.words("#shown") == ["61 to 120 of 50,000 pairs"]
    window.run("document.querySelector('.views [data-view=copies]').click()")
    assert window.words("#shown") == ["1 to 60 of 25,000 groups"]


def test_a_set_without_a_finding_says_so() -> None:
    facts = {"set": {"pairs": 1, "texts": 1}, "check": {"bad": 0}, "audit": {}}
    assert sentence(facts) == "1 pair read, nothing found."
