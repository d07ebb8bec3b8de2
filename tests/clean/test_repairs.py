"""Repairs: what is undone in a text, what is left alone, and that a run applies them only when it is told to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import colours
import oracle
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairloom
from pairloom.clean.audit_set import check
from pairloom.clean.checking import check_into
from pairloom.clean.faults import REPAIRABLE
from pairloom.clean.repairs import repair, repaired
from pairloom.clean.result import CleanResult
from pairloom.clean.run import clean
from pairloom.clean.shared_phrases import LEAST, SharedPhrases
from pairloom.data.shards import open_set, save_set
from pairloom.errors import Mistake
from pairloom.scale import Execution

REPAIRING = replace(oracle.SETTINGS, repair=True)
PHRASE = "Stock photo of "


@pytest.mark.parametrize(
    "text",
    ["Café in Québec", "a dog’s “ball” – red", "Старый дом", "一个男人", "Piñata ½ €5", "naïve façade"],
)
@pytest.mark.parametrize("wrong", ["cp1252", "latin-1"])
def test_text_that_was_decoded_wrongly_is_restored(text: str, wrong: str) -> None:
    try:
        spoilt = text.encode().decode(wrong)
    except UnicodeDecodeError:
        pytest.skip(f"{wrong} has no such character")
    assert repair(spoilt).text == text and repair(spoilt).codes == ("mojibake",)


@pytest.mark.parametrize(
    "text, new",
    [
        ("<p>A dog</p>", "A dog"), ("A <b>red</b> dog, <br/>a cat.", "A red dog, a cat."), ("<img src='x.jpg' alt=\"A dog\">", "A dog"),
        ("<a href='x' title='open'>A dog</a>", "A dog"), ("&lt;i&gt;A dog&lt;/i&gt;", "A dog"), ("Tom &amp;amp; Jerry", "Tom & Jerry"),
        ('[caption id="1" width="30"]A dog[/caption]', "A dog"), ("![A dog](dog.png)", "A dog"), ("A dog {{ site.name }}", "A dog"),
        ("<script>alert(1)</script> A dog", "A dog"), ('alt="A dog" class="left"', "A dog"), ("A   dog  on a  sofa", "A dog on a sofa"),
        ("A dog <span class='x", "A dog"), ("CafÃ© &amp; <b>bar</b>", "Café & bar"), ("&quot;A dog&quot;", '"A dog"'),
    ],
)  # fmt: skip
def test_markup_goes_and_the_caption_stays(text: str, new: str) -> None:
    assert repaired(text) == new and set(repair(text).codes) <= REPAIRABLE and repair(text).codes


@pytest.mark.parametrize(
    "text",
    ["a dog", "“curly” quotes", "ﬁne Ｆｕｌｌ width", "a < b > c", "AT&T; R&D", "[Main street, Creede]", "I <3 you", "São Paulo", "{a|b}",
     "M\ufffdscara", "line one\nline two", "5 > 4 < 6", "100% cotton", "<br/>", "&nbsp;", "[VIDEO] a dog"],
)  # fmt: skip
def test_what_is_no_fault_or_cannot_be_restored_is_left_alone(text: str) -> None:
    assert repaired(text) == text


@given(st.text(max_size=200))
def test_any_text_is_repaired_once_and_never_to_nothing(text: str) -> None:
    new = repaired(text)
    assert any(map(str.isalnum, new)) or new == text
    assert new == text or repair(text).codes


def captions(prefix: str = "", suffix: str = "", count: int = 2 * LEAST) -> list[str]:
    return [f"{prefix}{word} number {at}{suffix}" for at in range(count) for word in ("dog", "cat")]


@pytest.mark.parametrize(
    "prefix, suffix, learnt",
    [
        ("photo of sks ", "", (("photo", "of", "sks"), ())), ("", " - stock photo", ((), ("-", "stock", "photo"))),
        ("", " | Acme", ((), ("|", "acme"))), ("A photo of a ", "", (("a", "photo", "of"), ())),
        ("Image: ", " by Acme Ltd", (("image:",), ("by", "acme", "ltd"))), ("", "", ((), ())), ("the ", "", ((), ())),
    ],
)  # fmt: skip
def test_a_phrase_that_most_texts_share_is_learnt_and_taken_off(
    prefix: str, suffix: str, learnt: tuple
) -> None:
    texts = captions(prefix, suffix)
    phrases = SharedPhrases.learn(texts + captions(count=LEAST // 2))
    assert (phrases.prefix, phrases.suffix) == learnt
    assert SharedPhrases.from_json(phrases.to_json()) == phrases and bool(phrases) == (learnt != ((), ()))
    assert phrases.strip("a bird") == "a bird" and phrases.strip(f"{prefix}{suffix}") == f"{prefix}{suffix}"
    if phrases:
        assert phrases.sentence and all(len(phrases.strip(text)) < len(text) for text in texts)


def test_a_few_texts_share_nothing_and_copies_count_once() -> None:
    assert not SharedPhrases.learn(captions("photo of sks ")[: LEAST - 1])
    assert not SharedPhrases.learn(["photo of sks dog"] * 100 + captions())


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Two tars of colours whose texts begin alike; the first has markup and the second mojibake too."""
    root = tmp_path_factory.mktemp("repairs")
    pairs = list(open_set(colours.write(root / "folder", 70)).pairs())
    new = [pair.with_texts((replace(pair.texts[0], text=PHRASE + pair.texts[0].text),)) for pair in pairs]
    new[0] = pairs[0].with_texts(
        (replace(pairs[0].texts[0], text=f"{PHRASE}<b>{pairs[0].texts[0].text}</b>"),)
    )
    new[1] = pairs[1].with_texts((replace(pairs[1].texts[0], text="CafÃ©  wall"),))
    save_set(new, root / "raw", "webdataset", size=40)
    return root / "raw"


def ledger(out: Path) -> list[dict]:
    return pq.read_table(out / "pairs.parquet").to_pylist()


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def test_check_shows_proposals_and_changes_nothing(raw: Path) -> None:
    findings = check(open_set(raw))
    audit = findings.audit()
    assert (
        audit["shared_phrase"]["count"] == 69 and audit["mojibake"]["count"] == audit["markup"]["count"] == 1
    )
    (example,) = audit["mojibake"]["examples"]
    assert example["text"] == "CafÃ©  wall" and example["proposal"] == "Café wall"
    assert audit["markup"]["examples"][0]["proposal"].startswith("a ")
    (note,) = findings.notes
    assert "begin with 'stock photo of'" in note
    lines = "\n".join(pairloom.open(raw).check(workers=1).remarks(1))
    assert "'CafÃ©  wall' -> 'Café wall'" in lines and note in lines and "clean --repair" in lines


def test_the_table_of_findings_has_the_proposals(raw: Path, tmp_path: Path) -> None:
    check_into(open_set(raw), tmp_path / "checked", Execution())
    rows = pq.read_table(tmp_path / "checked" / "issues.parquet").to_pylist()
    (row,) = [row for row in rows if row["code"] == "mojibake"]
    assert row["text"] == "CafÃ©  wall" and row["proposal"] == "Café wall"
    shared = [row for row in rows if row["code"] == "shared_phrase"]
    assert len(shared) == 69 and all(row["proposal"] and PHRASE not in row["proposal"] for row in shared)


def test_without_repair_texts_stay_as_they_are(raw: Path, tmp_path: Path) -> None:
    oracle.run(raw, tmp_path / "out")
    rows = ledger(tmp_path / "out")
    assert all(row["original"] is None for row in rows)
    assert any(row["text"] == "CafÃ©  wall" for row in rows) and any(
        "shared_phrase" in row["findings"] for row in rows
    )


def run(raw: Path, out: Path, workers: int = 1) -> None:
    clean(
        raw,
        out,
        REPAIRING,
        judge=oracle.Judge(),
        captioner=oracle.Captioner(),
        execution=Execution(workers=workers),
    )


def test_repaired_texts_are_judged_and_written_and_the_ledger_keeps_the_originals(
    raw: Path, tmp_path: Path
) -> None:
    run(raw, tmp_path / "out")
    rows = [row for row in ledger(tmp_path / "out") if row["source"] == "original"]
    before = [text.text for pair in open_set(raw).pairs() for text in pair.texts]
    assert [row["original"] or row["text"] for row in rows] == before
    assert all("repaired_text" in row["findings"] for row in rows if row["original"] is not None)
    assert not any(row["text"].startswith(PHRASE) for row in rows) and rows[1]["text"] == "Café wall"
    kept = [row["text"] for row in rows if row["decision"] == "keep"]
    clean_texts = {text.text for pair in open_set(tmp_path / "out" / "pairs").pairs() for text in pair.texts}
    assert len(kept) >= 40 and set(kept) <= clean_texts and not any(PHRASE in text for text in clean_texts)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["command"]["repair"] is True


@pytest.mark.slow
def test_repairs_are_the_same_with_any_number_of_workers(raw: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(raw, Path("one"))
    run(raw, Path("two"), workers=2)
    assert files(Path("one")) == files(Path("two"))


def test_a_rule_that_would_take_most_texts_stops_the_run(tmp_path: Path) -> None:
    folder = colours.write(tmp_path / "raw", 24, bad=0)
    for number, file in enumerate(sorted(folder.glob("*.txt"))[:14]):
        file.write_text(f"DSC{number:05d}.jpg")
    with pytest.raises(Mistake, match="`file_name` would drop 14 of the 24 texts"):
        oracle.run(folder, tmp_path / "out")
    assert not (tmp_path / "out" / "pairs").exists() and not (tmp_path / "out" / "run.json").exists()
    for file in sorted(folder.glob("*.txt"))[:12]:
        file.write_text("a plain red wall")
    oracle.run(folder, tmp_path / "again")


def test_a_set_whose_captions_all_begin_alike_keeps_them(tmp_path: Path) -> None:
    folder = colours.write(tmp_path / "raw", 60, bad=0)
    for number, file in enumerate(sorted(folder.glob("*.txt"))):
        file.write_text(f"photo of sks dog at place {number}")
    assert check(open_set(folder)).bad() == 0


def test_a_readers_decision_brings_a_repaired_text_back(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "out")
    row = next(
        row for row in ledger(tmp_path / "out") if row["original"] and row["decision"] in ("drop", "replace")
    )
    place = {name: row[name] for name in ("shard", "name", "key", "text_id", "decision")}
    (tmp_path / "decisions.json").write_text(json.dumps({"decisions": [{**place, "wanted": "keep"}]}))
    CleanResult.load(tmp_path / "out").apply(tmp_path / "decisions.json", tmp_path / "applied")
    texts = [text.text for pair in open_set(tmp_path / "applied" / "pairs").pairs() for text in pair.texts]
    again = {row["name"]: row for row in ledger(tmp_path / "applied") if row["source"] == "original"}
    (text,) = [one for one in again.values() if one["name"] == row["name"]]
    assert row["text"] in texts and not any(PHRASE in one for one in texts)
    assert (text["text"], text["original"], text["decision"]) == (row["text"], row["original"], "keep")
