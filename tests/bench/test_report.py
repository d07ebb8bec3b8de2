"""The page in a real browser: readable in both colour schemes, at every width, asking for nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import CHROMIUM, DRIVER, Chromium
from layouts import Table
from test_report_browser import CONTRAST, luminance

from pairloom.bench import _results, gdbench

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """Two systems by table: one knows everything, the other nothing."""
    out = tmp_path_factory.mktemp("bench") / "out"
    for name in ("winoground", "mmbias"):
        data = out.with_name("data") / name
        gdbench.benchmarks()[name].mini(data, 0, count=6)
        asked = gdbench.BenchRequest(name, out / name, data)
        gdbench.run(asked, [_entrant("first <b>", 1.0), _entrant("second", 0.0)])
    suite = out.with_name("data")
    gdbench.run(
        gdbench.BenchRequest("gdbench", out / "gdbench", suite),
        [_entrant("first", 1.0), _entrant("second", 0.0)],
    )
    return out


def _entrant(name: str, value: float) -> _results.Entrant:
    table = type("Told", (Table,), {})({})
    table.scores = lambda images, texts, pairs: [value * (i == t) for i, t in pairs]  # type: ignore
    return _results.Entrant(name, name, lambda: {"": table}, blind=False)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Chromium]:
    made = Chromium(tmp_path_factory.mktemp("chromium"))
    yield made
    made.close()


@pytest.mark.parametrize("name", ["winoground", "mmbias", "gdbench"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_word_can_be_read(browser: Chromium, report: Path, name: str, colours: str) -> None:
    browser.size(1280, 900)
    browser.open(report / name / "report.html", colours)
    said = browser.run(CONTRAST)
    assert len(said) > 30, said[:1]
    for words, ink, ground in said:
        light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{words!r}: {ink} on {ground}"
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (luminance([int(part) for part in ground[4:-1].split(",")]) > 0.5) == (colours == "light")


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_it_fits_asks_for_nothing_and_shows_every_picture(
    browser: Chromium, report: Path, width: int
) -> None:
    browser.size(width, 900)
    browser.requests()
    page = report / "gdbench/report.html"
    browser.open(page)
    assert browser.run("return document.documentElement.scrollWidth") == width
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert asked == [page.as_uri()] and browser.complaints() == []
    shown = "return Array.from(document.images, (image) => image.naturalWidth > 0 && image.alt !== '')"
    assert browser.run(shown) and all(browser.run(shown))
    assert browser.words("h1") == ["gdbench: first against second"]
    assert browser.words("h2") == ["Overview", "winoground", "mmbias", "Compared"]
    browser.open(report / "winoground/report.html")
    assert browser.words("h1") == ["winoground: first <b> against second"]
