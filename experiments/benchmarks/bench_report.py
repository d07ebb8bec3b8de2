"""The report at 100,000 pairs: seconds to write, size, seconds until a browser displays it, and seconds of a reader's actions.

    python experiments/benchmarks/bench_report.py [PAIRS] [TEXTS OF A PAIR]

Texts are random words of caption length, each with a different reason, the worst case for the page's size; pictures are
noise, 240 x 180. The browser part needs chromium and chromedriver and is skipped without them.
"""

from __future__ import annotations

import io
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy
import pyarrow
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "clean"))
import chromium  # noqa: E402
import ledgers  # noqa: E402

from pairloom.clean.report import write_report  # noqa: E402

WORDS = "a the red large old wooden dog boat two people street near above holding running window green field".split()
ACTS = {
    "switch to All": "document.querySelector('[data-view=all]').click()",
    "sort by score": "const o = document.getElementById('order'); o.value = '-score'; o.onchange()",
    "first search": "const q = document.getElementById('query'); q.value = 'red boat'; q.dispatchEvent(new Event('input')); q.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }))",
    "second search": "const q = document.getElementById('query'); q.value = 'two people'; q.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }))",
    "next page": "document.getElementById('next').click()",
    "move the slider": "const s = document.getElementById('threshold'); s.value = 1; s.oninput()",
}


def ledger(pairs: int, texts: int) -> pyarrow.Table:
    dice = random.Random(0)
    rows = []
    for index in range(pairs):
        for text_id in range(texts):
            score = dice.gauss(1, 1.5)
            decision = "keep" if score >= ledgers.THRESHOLD else "drop"
            text = " ".join(dice.choices(WORDS, k=11))
            reason = f"P(match) {ledgers.chance(score):.4f}, and the threshold is 0.5: the text is {decision}ped or kept by it."
            rows.append(
                ledgers.row(
                    f"{index:09}",
                    decision,
                    score,
                    text=text,
                    text_id=text_id,
                    reason=reason,
                    shard=f"{index // 1000:05}",
                )
            )
    return ledgers.table(rows)


def noise(key: str) -> bytes:
    pixels = numpy.random.default_rng(int(key[:8], 16)).integers(0, 255, (18, 24, 3), numpy.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((240, 180), Image.Resampling.BICUBIC).save(out, "JPEG")
    return out.getvalue()


def read(page: Path, folder: Path) -> None:
    browser = chromium.Chromium(folder)
    try:
        browser.size(1280, 900)
        start = time.monotonic()
        browser.open(page)
        print(f"open until the first cards   {time.monotonic() - start:6.2f} s")
        for name, script in ACTS.items():
            took = browser.run(
                f"const start = performance.now(); {script}; document.body.offsetHeight; return performance.now() - start"
            )
            print(f"{name:28} {took / 1000:6.2f} s")
        heap = browser.run("return performance.memory.usedJSHeapSize")
        print(f"memory of the page           {heap / 1e6:6.0f} MB")
    finally:
        browser.close()


def main() -> None:
    pairs, texts = (int(word) for word in (sys.argv[1:] + ["100000", "1"][len(sys.argv) - 1 :])[:2])
    table = ledger(pairs, texts)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        start = time.monotonic()
        write_report(page, ledgers.run(), table, noise, lambda key: f"pictures/{key}.jpg")
        print(f"{pairs:,} pairs, {texts} texts each")
        print(f"write                        {time.monotonic() - start:6.2f} s")
        print(f"file                         {page.stat().st_size / 1e6:6.1f} MB")
        if chromium.CHROMIUM and chromium.DRIVER:
            read(page, Path(folder))


if __name__ == "__main__":
    main()
