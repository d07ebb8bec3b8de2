"""The report in headless Chromium, with real key presses and clicks: triage, search, slider, export, themes, scale."""

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path

import chromium
import ledgers
import numpy as np
import pytest
from chromium import Chromium

from pairloom.clean.certainty import LabelRequest
from pairloom.clean.label_file import LabelFile, SampledText, SampleOrigin
from pairloom.clean.label_sample import LabelSample
from pairloom.clean.report import write_report

pytestmark = pytest.mark.skipif(
    not (chromium.CHROMIUM and chromium.DRIVER), reason="needs chromium and chromedriver on the PATH"
)


def no_link(key: str) -> None:
    return None


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    window = Chromium(tmp_path_factory.mktemp("browser"))
    yield window
    window.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, ledgers.run(), ledgers.table(ledgers.world(200)), ledgers.picture, no_link, sample=150)
    return path


@pytest.fixture
def page(browser: Chromium, report: Path) -> Iterator[Chromium]:
    """The report, freshly opened with nothing remembered; afterwards the console must have stayed silent."""
    browser.size(1280, 900)
    browser.open(report)
    browser.run("localStorage.clear()")
    browser.complaints()
    browser.open(report)
    yield browser
    assert browser.complaints() == []


def shown(page: Chromium) -> list[str]:
    """Names of the cards on the page."""
    return page.words(".card .name")


def here(page: Chromium) -> str:
    return page.run(
        "return document.activeElement.querySelector?.('.name')?.textContent ?? document.activeElement.id"
    )


def names(*indices: int) -> list[str]:
    return [f"pair{index:06}" for index in indices]


# Of 200 pairs, scores below 0 are 0..99; every tenth (9, 19, ...) is a file name; the odd others are dropped.
DROPPED = [index for index in range(1, 100, 2) if index % 10 != 9]


def test_opening_asks_for_nothing_but_the_file(page: Chromium, report: Path) -> None:
    page.requests()
    page.open(report)
    page.until("return document.querySelector('.card img').complete")
    asked = page.requests()
    assert report.as_uri() in asked
    assert [url for url in asked if not url.startswith((report.as_uri(), "data:"))] == []


def test_the_first_view_and_its_counts(page: Chromium) -> None:
    assert page.words(".views button") == [
        "Dropped60", "Replaced50", "Doubtful19", "Kept90", "All200",
    ]  # fmt: skip
    assert shown(page) == names(
        *DROPPED, *range(9, 200, 10)
    )  # by P, then those without one, in the set's order
    assert page.words("#shown") == ["1 to 60 of 60 pairs"]


def test_doubtful_is_near_the_threshold(page: Chromium) -> None:
    page.click('[data-view="doubt"]')
    page.run("const o = document.getElementById('order'); o.value = 'near'; o.onchange()")
    # |1 / (1 + exp(-2 s)) - 0.5| <= 0.1 where |s| <= ln(1.5) / 2 = 0.2027, and s = -2 + index / 50.
    expected = [index for index in range(90, 111) if index % 10 != 9]
    assert sorted(shown(page)) == names(*expected)
    assert shown(page)[0] == "pair000100"


def test_orders(page: Chromium) -> None:
    page.click('[data-view="keep"]')
    kept = [index for index in range(100, 200) if index % 10 != 9]
    assert shown(page) == names(*kept[:60])
    for order, expected in (("-p", kept[::-1]), ("-score", kept[::-1]), ("score", kept), ("set", kept)):
        page.run("const o = document.getElementById('order'); o.value = arguments[0]; o.onchange()", order)
        assert shown(page) == names(*expected[:60])


def test_replaced_shows_the_old_text_struck_and_the_new_one(page: Chromium) -> None:
    page.click('[data-view="replace"]')
    assert page.words(".card:first-child del") == ["the text of pair000000"]
    assert page.words(".card:first-child ins") == ["a new text of pair000000"]
    assert page.words(".card:first-child .reason") == ["Because replace.", "Because add."]
    assert page.words(".card:first-child .measure")[0].startswith("replacedP 0.02")


def test_keys_walk_decide_undo_and_turn_pages(page: Chromium) -> None:
    page.click('[data-view="keep"]')
    page.press("x")  # from outside the gallery a key only enters it: nothing is decided unseen
    assert here(page) == "pair000100" and page.words("#triage-says") == ["Nothing decided by you yet"]
    page.click('[data-view="keep"]')
    page.press("j")
    assert here(page) == "pair000100"
    page.press("jj")
    assert here(page) == "pair000102"
    page.press("k")
    assert here(page) == "pair000101"
    page.press("x")  # overrule, and on to the next
    assert here(page) == "pair000102"
    page.press("a")
    assert here(page) == "pair000103"
    assert page.words("#triage-says") == ["2 decided by you, 1 overruled"]
    assert page.words("[aria-pressed=true][data-verdict]") == ["Overrule", "Agree"]
    assert page.words('[data-view="mine"]') == ["Decided by you2"]
    page.press("u")
    assert page.words("#triage-says") == ["1 decided by you, 1 overruled"]
    assert here(page) == "pair000102"
    page.press("u")
    assert page.words("#triage-says") == ["Nothing decided by you yet"]
    page.press("Right", "Down", "Left")
    across = page.run(
        "return getComputedStyle(document.querySelector('.cards')).gridTemplateColumns.split(' ').length"
    )
    assert across == 4 and here(page) == "pair000105"  # 101 + 1 + 4 - 1, with 109 not among them
    page.press("n")
    assert page.words("#shown") == ["61 to 90 of 90 pairs"]
    page.press("k")  # back over the border of the page
    assert page.words("#shown") == ["1 to 60 of 90 pairs"] and here(page) == shown(page)[-1]
    page.press("p")
    assert here(page) == "pair000100"


def test_letters_typed_into_the_search_are_words(page: Chromium) -> None:
    page.click('[data-view="all"]')
    page.press("/")
    assert here(page) == "query"
    page.press("new text of PAIR00001")
    page.until("return document.querySelectorAll('.card').length === 5")
    assert shown(page) == names(10, 12, 14, 16, 18)
    assert page.words("#triage-says") == ["Nothing decided by you yet"]
    page.press("Enter")
    assert here(page) == "pair000010"
    page.run(
        "const q = document.getElementById('query'); q.value = arguments[0]; q.oninput()",
        ledgers.key_of("pair000077")[:12],
    )
    page.until("return document.querySelectorAll('.card').length === 1")
    assert shown(page) == names(77)
    page.run("const q = document.getElementById('query'); q.value = 'nowhere to be found'; q.oninput()")
    page.until("return document.querySelectorAll('.card').length === 0")
    assert page.words("#shown") == ["No pair fits. Take a filter away or search for something else."]
    page.run("document.activeElement.blur()")
    page.press("jkaxunp", "Enter")  # nothing there to act on, and nothing breaks
    assert page.words("#triage-says") == ["Nothing decided by you yet"]


def test_a_finding_filters(page: Chromium) -> None:
    page.click("button.finding")
    assert page.run("return document.getElementById('finding').value") == "file_name"
    assert shown(page) == names(*range(9, 200, 10))


def test_single_letters_can_be_switched_off(page: Chromium) -> None:
    page.press("?")
    assert page.run("return document.getElementById('help').open")
    page.click("#keys-on")
    page.press("Escape")
    assert not page.run("return document.getElementById('help').open")
    page.run("document.activeElement.blur()")
    page.press("jx")
    assert page.words("#triage-says") == ["Nothing decided by you yet"]


def test_the_large_view_by_keyboard_alone(page: Chromium) -> None:
    page.press("jj", "Enter")
    assert page.run("return document.getElementById('large').open")
    assert page.words("#large .said") == ["the text of pair000003"]
    assert "score \u22121.940" in page.words("#large .facts")[0]
    page.press("x")
    assert page.words("#large .said") == ["the text of pair000005"]
    page.press("k")
    assert page.words("#large [aria-pressed=true]") == ["Overrule"]
    page.press("u")
    assert page.words("#large [aria-pressed=true]") == []
    page.press("Escape")
    page.until("return document.activeElement.querySelector('.name')?.textContent === 'pair000003'")
    assert not page.run("return document.getElementById('large').open")


def test_one_text_of_a_pair_can_be_decided_alone(page: Chromium) -> None:
    page.click('[data-view="replace"]')
    page.click(".card:first-child .picture")
    page.click("#large .entry:nth-of-type(3) .overrule")
    assert page.words("#triage-says") == ["1 decided by you, 1 overruled"]
    assert page.run("return document.activeElement.textContent") == "Overrule"


def exported(page: Chromium, kind: str) -> str:
    return downloaded(page, f"decisions.{kind}", f'.save[data-format="{kind}"]').read_bytes().decode("utf-8")


def downloaded(page: Chromium, name: str, button: str) -> Path:
    """The file that a button saves."""
    path = page.downloads / name
    path.unlink(missing_ok=True)
    page.click(button)
    end = time.monotonic() + 20
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < end, "no file was saved"
        time.sleep(0.05)
    return path


def test_decisions_are_kept_and_exported(page: Chromium, report: Path) -> None:
    page.click('[data-view="replace"]')
    page.press("jx")
    page.click('[data-view="drop"]')
    page.press("ja")
    page.open(report)  # as after closing the browser
    assert page.words("#triage-says") == ["3 decided by you, 2 overruled"]
    page.click('[data-view="mine"]')
    assert shown(page) == names(0, 1)
    saved = json.loads(exported(page, "json"))
    assert saved["pairloom"] == "0.1.0" and saved["set"] == "pictures"
    expected = [
        ("pair000000", 0, "replace", "overrule", "keep"),
        ("pair000000", 1, "add", "overrule", "reject"),
    ]
    expected += [("pair000001", 0, "drop", "agree", "drop")]
    columns = ("name", "text_id", "decision", "verdict", "wanted")
    assert [tuple(row[column] for column in columns) for row in saved["decisions"]] == expected
    assert {row["key"] for row in saved["decisions"]} == {ledgers.key_of(name) for name in names(0, 1)}
    rows = list(csv.DictReader(exported(page, "csv").splitlines()))
    assert [{**row, "text_id": int(row["text_id"])} for row in rows] == saved["decisions"]
    page.click("#triage-clear")
    assert page.words("#triage-says") == ["Nothing decided by you yet"]
    page.open(report)
    assert page.words("#triage-says") == ["Nothing decided by you yet"]


def test_the_slider_counts_what_another_threshold_would_drop(page: Chromium) -> None:
    [now] = page.words("#threshold-says")
    # 90 of the 180 judged texts lie below 0; of the planted, 36 of 40.
    assert (
        "90 of 180 texts, 50.0\u202f%" in now
        and "90.0\u202f% of the planted" in now
        and "run's threshold" in now
    )
    page.run("document.getElementById('threshold').focus()")
    page.press("Left")
    page.run("const s = document.getElementById('threshold'); s.value = 1; s.oninput(); s.onchange()")
    [moved] = page.words("#threshold-says")
    assert (
        "135 of 180 texts, 75.0\u202f%" in moved
        and "100.0\u202f% of the planted" in moved
        and "+45 against the run" in moved
    )
    below = sum(ledgers.chance(-2 + index / 50) for index in range(150) if index % 10 != 9)
    every = sum(ledgers.chance(-2 + index / 50) for index in range(200) if index % 10 != 9)
    assert f"{100 * below / every:.1f}\u202f% of the true pairs" in moved
    page.click("#threshold-show")
    assert shown(page) == names(*[index for index in range(100, 150) if index % 10 != 9])
    page.click("#threshold-reset")
    assert "run's threshold" in page.words("#threshold-says")[0]
    assert page.words(".views [aria-pressed=true]") == ["All200"]


def luminance(colour: list[int]) -> float:
    parts = [value / 255 for value in colour]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


CONTRAST = """
const paint = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgb = (colour) => { paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
  return Array.from(paint.getImageData(0, 0, 1, 1).data); };
const behind = (node) => { for (; node; node = node.parentElement) {
  const colour = rgb(getComputedStyle(node).backgroundColor); if (colour[3] === 255) return colour.slice(0, 3); } };
const said = [];
for (const node of document.querySelectorAll('body *')) {
  const text = Array.from(node.childNodes).some((child) => child.nodeType === 3 && child.data.trim());
  if (!text || !node.checkVisibility() || node.matches(':disabled, :disabled *, .skip, script, option')) continue;
  if (node.closest('.axis')) continue;
  for (let above = node; above; above = above.parentElement) if (getComputedStyle(above).opacity !== '1') return [[node.outerHTML]];
  said.push([node.textContent.trim().slice(0, 40), rgb(getComputedStyle(node).color).slice(0, 3), behind(node)]);
}
return said"""


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_word_has_contrast_enough(page: Chromium, report: Path, colours: str) -> None:
    page.open(report, colours)
    page.click('[data-view="replace"]')
    said = page.run(CONTRAST)
    assert len(said) > 300, said[:1]  # one entry alone is a see-through element, whose contrast is not known
    for words, ink, ground in said:
        light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{words!r}: {ink} on {ground}"
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (luminance([int(part) for part in ground[4:-1].split(",")]) > 0.5) == (colours == "light")


def test_the_theme_can_be_chosen_and_is_remembered(page: Chromium, report: Path) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = page.run(ground)
    page.click("#theme")
    assert page.run(ground) == light and page.words("#theme") == ["Theme: light"]
    page.click("#theme")
    dark = page.run(ground)
    assert dark != light
    page.open(report)
    assert page.run(ground) == dark and page.words("#theme") == ["Theme: dark"]


@pytest.mark.parametrize("width", [360, 400, 768, 1280, 1920])
def test_no_width_needs_sideways_scrolling(page: Chromium, width: int) -> None:
    page.size(width, 900)
    page.click('[data-view="replace"]')
    assert page.run("return document.documentElement.scrollWidth") == width
    page.click(".card:first-child .picture")
    inside = page.run(
        "const r = document.getElementById('large').getBoundingClientRect(); return [r.left >= 0, r.right <= innerWidth]"
    )
    assert inside == [True, True]


def test_everything_to_press_has_a_name(page: Chromium) -> None:
    page.click(".card:first-child .picture")
    unnamed = page.run("""return Array.from(document.querySelectorAll('button, input, select, dialog, [tabindex="0"]'))
      .filter((node) => !(node.textContent.trim() || node.getAttribute('aria-label') || node.getAttribute('aria-labelledby') ||
        node.labels?.length)).map((node) => node.outerHTML.slice(0, 80))""")
    assert unnamed == []
    assert page.run("return Array.from(document.images).every((image) => image.alt)")


HOSTILE = [
    "</script><script>document.title = 'broken'</script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "\"quotes\" 'and' `ticks` & entities &amp; &lt;b&gt; {{ 7 * 7 }} ${7 * 7}",
    "\u202eright to left override \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "nul\x00 bell\x07 escape\x1b[31m",
    "line one\nline two\u2028line three\r\nline four",
    "\U0001f600\u200d\U0001f525 e\u0301 \ufffd \ufeff \uffff",
    "w" * 100_000,
    "",
]  # fmt: skip


def test_captions_of_any_kind_are_only_ever_text(browser: Chromium, tmp_path: Path) -> None:
    rows = [
        ledgers.row(
            f"{index:02}{text[:60]}",
            "drop",
            index / 10,
            text=text,
            reason=text[:200],
            findings=["<b>bold</b>"],
        )
        for index, text in enumerate(HOSTILE)
    ]
    path = tmp_path / "report.html"
    write_report(path, ledgers.run(), ledgers.table(rows), ledgers.picture, no_link)
    browser.size(1000, 800)
    browser.complaints()
    browser.open(path)
    said = browser.words(".card .said")
    pictured = [
        text.replace("\x00", "\u2400").replace("\x07", "\u2407").replace("\x1b", "\u241b") for text in HOSTILE
    ]
    pictured = [text.replace("\r", "\u240d") for text in pictured]
    assert said[:7] == pictured[:7]
    assert said[7] == "w" * 300 + "\u2026" and said[8] == "no text"
    assert browser.run(
        "return [document.title.includes('broken'), document.querySelectorAll('.cards script, .cards b b').length]"
    ) == [False, 0]
    assert browser.run("return document.documentElement.scrollWidth") == 1000
    browser.click(".card:nth-child(8) .picture")
    assert len(browser.words("#large .said")[0]) == 2001
    browser.run("document.querySelector('#large .said + button').click()")
    assert browser.words("#large .said") == ["w" * 100_000]
    assert browser.complaints() == []


def test_pictures_come_from_the_page_then_from_the_link_then_not_at_all(
    browser: Chromium, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a b.png").write_bytes(ledgers.picture(ledgers.key_of("linked")))
    links = {ledgers.key_of("linked"): "pictures/a%20b.png", ledgers.key_of("moved"): "pictures/moved.png"}
    rows = [
        ledgers.row(name, "drop", score)
        for name, score in (("inside", 0.1), ("linked", 0.2), ("moved", 0.3), ("none", 0.4))
    ]

    def thumbnail(key: str) -> bytes | None:
        return ledgers.picture(key) if key == ledgers.key_of("inside") else None

    write_report(tmp_path / "report.html", ledgers.run(), ledgers.table(rows), thumbnail, links.get)
    browser.open(tmp_path / "report.html")
    sources = (
        "return Array.from(document.images).filter((i) => i.complete && i.naturalWidth).map((i) => i.src)"
    )
    browser.until("return document.images.length === 2")
    inside, linked = browser.until(
        f"const found = (() => {{ {sources} }})(); return found.length === 2 && found"
    )
    assert inside.startswith("data:image/webp;base64,") and linked.endswith("/pictures/a%20b.png")
    assert browser.words(".picture p") == [
        f"No picture in this report: {name} in 00000" for name in ("moved", "none")
    ]
    browser.complaints()  # the browser itself remarks on the missing file


def test_a_damaged_file_says_so(browser: Chromium, report: Path, tmp_path: Path) -> None:
    page = report.read_text("utf-8")
    start = page.index('id="ledger"') + 200
    (tmp_path / "report.html").write_text(page[:start] + "AAAA" + page[start + 4 :], "utf-8")
    browser.ask("/url", {"url": (tmp_path / "report.html").as_uri()})
    browser.until(
        "return document.getElementById('shown').textContent.startsWith('This browser cannot unpack')"
    )
    assert browser.complaints() == []


@pytest.mark.slow
def test_a_hundred_thousand_pairs(browser: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, ledgers.run(), ledgers.table(ledgers.world(100_000)), ledgers.picture, no_link)
    assert path.stat().st_size < 60_000_000
    browser.size(1280, 900)
    browser.open(path)
    assert browser.run("return document.querySelectorAll('.card').length") == 60
    browser.click('[data-view="all"]')
    assert browser.words("#shown") == ["1 to 60 of 100,000 pairs"] and browser.words("#pages") == ["1,667"]
    browser.run("const p = document.getElementById('page'); p.value = 1667; p.onchange()")
    assert browser.words("#shown") == ["99,961 to 100,000 of 100,000 pairs"]
    browser.run("const q = document.getElementById('query'); q.value = 'pair099998'; q.oninput()")
    browser.until("return document.querySelectorAll('.card').length === 1")
    assert browser.complaints() == []


HOSTILE_LABEL = "</script><b>one</b>\u2028\x07"


def asking(folder: Path, count: int = 4) -> tuple[Path, LabelSample]:
    """A report that asks about a few texts, the first of which is hostile, and their sample."""
    texts = tuple(
        SampledText(
            at,
            name,
            "00000",
            ledgers.key_of(name),
            0,
            ledgers.key_of(name),
            HOSTILE_LABEL if at == 1 else f"text {at}",
        )
        for at, name in enumerate(names(*range(count)), 1)
    )
    sample = LabelSample(
        SampleOrigin("pictures", "a" * 40, -1 / 3), texts, (0.1,) * count, np.arange(count), 90
    )
    request = LabelRequest(sample, ledgers.picture, "pairloom clean pictures --out OUT --labels labels.jsonl")
    run = ledgers.run(calibration={**ledgers.calibration(), **ledgers.certainty()})
    table = ledgers.table(ledgers.world(40))
    write_report(folder / "report.html", run, table, ledgers.picture, no_link, request=request)
    return folder / "report.html", sample


def test_labels_are_given_by_keys_and_clicks_and_saved_as_a_label_file(
    browser: Chromium, tmp_path: Path
) -> None:
    path, sample = asking(tmp_path)
    browser.size(1280, 900)
    browser.complaints()
    browser.open(path)
    browser.run("localStorage.clear()")
    browser.open(path)
    assert browser.words("#label-text") == [HOSTILE_LABEL.replace("\x07", "\u2407")]
    assert browser.run("return document.querySelectorAll('#label-text b').length") == 0
    assert browser.run("return document.querySelector('#label-save').disabled")
    browser.click('[data-answer="bad"]')
    browser.press("y")  # the focus is on the card's button
    browser.press("s")
    assert browser.words("#label-says") == ["3 of 4 answered: 1 good, 1 bad, 1 skipped."]
    browser.open(path)  # as after closing the browser
    assert browser.words("#label-text") == ["text 4"]
    browser.click("#label-back")
    browser.press("n")
    assert browser.words("#label-text") == ["text 4"]
    assert "1 good, 2 bad" in browser.words("#label-says")[0]
    held = LabelFile.load(downloaded(browser, "labels.jsonl", "#label-save"))
    assert held.origin == sample.origin
    assert held.answers == dict(zip(sample.texts, ("bad", "good", "bad")))
    assert browser.complaints() == []


def test_keys_of_the_labels_do_not_reach_the_gallery(browser: Chromium, tmp_path: Path) -> None:
    path, _ = asking(tmp_path)
    browser.open(path)
    browser.run("localStorage.clear()")
    browser.open(path)
    browser.click('[data-answer="good"]')
    browser.press("n")  # bad here, next page there
    assert browser.words("#label-says") == ["2 of 4 answered: 1 good, 1 bad, 0 skipped."]
    assert browser.words("#triage-says") == ["Nothing decided by you yet"]
    assert here(browser).startswith("pair") is False
