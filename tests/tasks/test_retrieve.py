"""Retrieve: against scores of every pair, one by one; each picture looked at once, each pair scored once."""

from __future__ import annotations

from pathlib import Path

import numpy
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pairloom import registry
from pairloom.data.shards import open_set
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.metrics.rank import ranks
from pairloom.model import Model, build, save
from pairloom.tasks import ranking, retrieve
from pairloom.tasks.ranking import DIRECTIONS, PROTOCOLS, RetrievalSettings, rankings, worth
from pairloom.tasks.retrieve import Corpus, Retriever

WORDS = ("red", "green", "blue", "small", "large", "square", "ring", "line")


def fresh(name: str, *options: str) -> Model:
    """Weights far from nothing, so that scores differ."""
    model = build(name, Tokens.train([" ".join(WORDS)] * 4, 100), "tiny", options).eval()
    with torch.no_grad():
        torch.manual_seed(0)
        for parameter in model.system.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """20 pictures with 1 to 3 texts; number 4 is broken, 7 and 8 are the same bytes, a text stands beside two."""
    where, draw = tmp_path_factory.mktemp("retrieve") / "pairs", numpy.random.default_rng(0)
    where.mkdir()
    for at in range(20):
        file = where / f"{at:02d}.png"
        Image.fromarray(draw.integers(0, 256, (36, 36, 3), dtype=numpy.uint8)).save(file)
        texts = [" ".join(draw.choice(WORDS, 1 + (at + each) % 4)) for each in range(1 + at % 3)]
        (where / f"{at:02d}.txt").write_text("\n".join(texts if at != 11 else ["small red ring"]))
    (where / "12.txt").write_text("small red ring")
    (where / "04.png").write_bytes((where / "04.png").read_bytes()[:50])
    (where / "08.png").write_bytes((where / "07.png").read_bytes())
    return where


@pytest.fixture(scope="module")
def corpus(pairs: Path) -> Corpus:
    return Corpus.of(open_set(pairs, "folder_text").pairs())


@pytest.fixture(scope="module")
def blip() -> Model:
    return fresh("blip")


def by_hand(model: Model, corpus: Corpus) -> tuple[numpy.ndarray, ...]:
    """Cosine, log-odds and raw class-1 logit [M K] of all pairs, a copy of the picture for each text."""
    words = [texts for row, texts in enumerate(corpus.index.words()) if corpus.names[row] != "04"]
    rows = [row for row, name in enumerate(corpus.names) if name != "04"]
    texts = [text for said in words for text in said]
    tables = []
    for row in rows:
        batch = model.batch([corpus.index.read(row)] * len(texts), texts)
        with torch.no_grad():
            cosine = (model.system.embed_image(batch) * model.system.embed_text(batch)).sum(1)
            tables.append(
                torch.stack([cosine, model.system.match(batch), model.system.match_logits(batch)[:, 1]])
            )
    return tuple(torch.stack(tables, 1).double().numpy())


def table(made, direction: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    parts = list(made.blocks(direction, 7))
    return numpy.concatenate([scores for _, scores, _ in parts]), numpy.concatenate(
        [right for _, _, right in parts]
    )


@pytest.fixture(scope="module")
def hand(blip: Model, corpus: Corpus) -> tuple[numpy.ndarray, ...]:
    return by_hand(blip, corpus)


def test_the_published_score(blip, corpus, hand) -> None:
    """Specified: raw logit of class 1 plus cosine for the best k by cosine, -100 for all others."""
    cosine, _, one = hand
    made = Retriever(blip, corpus, RetrievalSettings(k=5, published=True)).run()
    for direction, scores in (("image to text", cosine), ("text to image", cosine.T)):
        best = numpy.argsort(-scores, axis=1, kind="stable")[:, :5]
        expected = numpy.full(scores.shape, -100.0)
        both = (cosine + one) if direction == "image to text" else (cosine + one).T
        numpy.put_along_axis(expected, best, numpy.take_along_axis(both, best, 1), 1)
        ordered = -numpy.sort(-scores, axis=1)
        clear = ordered[:, 4] - ordered[:, 5] > 1e-5  # equal texts may stand on both sides of the limit
        assert clear.mean() > 0.6
        assert table(made, direction)[0][clear] == pytest.approx(expected[clear], abs=1e-4)
    assert (PROTOCOLS["blip"].k, PROTOCOLS["blip-flickr"].k) == (256, 128)


def test_ours_orders_the_best_by_odds_and_the_rest_by_cosine(blip, corpus, hand) -> None:
    cosine, odds, _ = hand
    made = Retriever(blip, corpus, RetrievalSettings(k=4)).run()
    for direction, scores, head in (("image to text", cosine, odds), ("text to image", cosine.T, odds.T)):
        found = table(made, direction)[0]
        for row in range(len(scores)):
            best = numpy.argsort(-scores[row], kind="stable")
            if scores[row][best[3]] - scores[row][best[4]] > 1e-5:
                assert found[row][best[:4]] == pytest.approx(head[row][best[:4]], abs=1e-4)
                assert found[row][best[4:]] == pytest.approx(scores[row][best[4:]] - 1e4, abs=1e-4)


def test_right_and_wrong_and_what_is_left_out(blip, corpus) -> None:
    made = Retriever(blip, corpus, RetrievalSettings(k=100)).run()
    assert "04" not in made.names and list(made.broken) == ["04"] and "cut off" in made.broken["04"]
    right = table(made, "image to text")[1]
    seven, eight = made.names.index("07"), made.names.index("08")
    assert (right[seven] == right[eight]).all() and right[seven].sum() == 2 + 3
    assert right[0].sum() == 1 and right.sum(0).tolist().count(2) == 5
    assert (table(made, "text to image")[1] == right.T).all()
    told = worth(made)
    for direction in DIRECTIONS:
        scores, fits = table(made, direction)
        found = ranks(scores, fits)
        assert told[direction]["R@5"].value == pytest.approx(found.hits(5).mean(), abs=0.05)
        assert told[direction]["median"].value == pytest.approx(numpy.median(found.places()))
        assert all(value.low <= value.value <= value.high for value in told[direction].values())


def test_each_picture_is_looked_at_once_and_each_pair_matched_once(blip, corpus, monkeypatch) -> None:
    looked, matched = [], []
    system = blip.system
    look, match = system.towers.look, type(system).match_logits

    def encode_image(images):
        looked.append(len(images))
        return look(images)

    def heads(self, batch):
        logits = match(self, batch)
        matched.append(len(logits))
        return logits

    monkeypatch.setattr(system.towers, "look", encode_image)
    monkeypatch.setattr(type(system), "match_logits", heads)
    made = Retriever(blip, corpus, RetrievalSettings(k=6)).run()
    assert sum(looked) == 19 and sum(matched) == len(made.codes) < 19 * len(made.strings)
    assert len(made.strings) < len(made.owner)
    monkeypatch.setattr(
        retrieve, "KEPT", 0
    )  # without room pictures are looked at again, and nothing else changes
    again = Retriever(blip, corpus, RetrievalSettings(k=6)).run()
    assert sum(looked) == 19 * 3
    assert again.values == pytest.approx(made.values, abs=1e-5)


def test_finished_parts_are_not_made_again(blip, corpus, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(retrieve, "SPAN", 6)
    whole = Retriever(blip, corpus, RetrievalSettings(k=5)).run()
    told = []

    def stop(step: str, done: int, total: int) -> None:
        told.append(step)
        if told.count("match") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Retriever(blip, corpus, RetrievalSettings(k=5), tmp_path, stop).run()
    assert len(list(tmp_path.glob("match-*"))) == 2 and len(list(tmp_path.glob("look-*"))) == 4
    looked = []
    look = blip.system.towers.look
    monkeypatch.setattr(
        blip.system.towers, "look", lambda images: (looked.append(len(images)), look(images))[1]
    )
    again = Retriever(blip, corpus, RetrievalSettings(k=5), tmp_path).run()
    assert sum(looked) == 8  # of the two spans that were not matched
    assert again.values == pytest.approx(whole.values, abs=1e-5) and (again.codes == whole.codes).all()


def test_systems_that_only_embed_and_systems_that_only_match(corpus, blip, hand) -> None:
    clip = fresh("clip")
    made = Retriever(clip, corpus, RetrievalSettings()).run()
    assert not len(made.codes)
    scores = table(made, "image to text")[0]
    batch = clip.batch([corpus.index.read(2)], ["blue line"])
    with torch.no_grad():
        assert made.images[2] == pytest.approx(clip.system.embed_image(batch)[0].numpy(), abs=1e-5)
    assert scores == pytest.approx((made.images @ made.texts.T).numpy()[:, made.distinct], abs=1e-6)
    with pytest.raises(Mistake, match="cannot follow"):
        Retriever(clip, corpus, PROTOCOLS["blip"])
    blind = fresh("blip", "itc=0")
    blind.system.load_state_dict(blip.system.state_dict())
    full = Retriever(blind, corpus, RetrievalSettings(k=1)).run()
    assert table(full, "image to text")[0] == pytest.approx(hand[1], abs=1e-4)
    assert table(full, "text to image")[0] == pytest.approx(hand[1].T, abs=1e-4)


def test_what_cannot_be_done(corpus, blip, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(retrieve, "FULL", 10)
    with pytest.raises(Mistake, match="too large"):
        Retriever(fresh("blip", "itc=0"), corpus, RetrievalSettings()).run()
    with pytest.raises(Mistake, match="cannot score"):
        Retriever(fresh("blip", "itc=0", "itm=0", "lm=0"), corpus, RetrievalSettings())
    with pytest.raises(Mistake, match="no protocol 'blib'.*\n.*blip"):
        ranking.settings("blib")
    with pytest.raises(Mistake, match="k = 0"):
        ranking.settings("blip", 0)
    with pytest.raises(Mistake, match="nothing to rank"):
        Corpus.of([])


def test_the_best_of_every_query(blip, corpus) -> None:
    made = Retriever(blip, corpus, RetrievalSettings(k=3)).run()
    rows = [row for part in rankings(made, 10) for row in part]
    assert len(rows) == 3 * (19 + len(made.owner)) and {row["place"] for row in rows} == {1, 2, 3}
    scores, right = table(made, "image to text")
    first = [row for row in rows if row["direction"] == "image to text" and row["query"] == made.names[0]]
    best = numpy.argsort(-scores[0], kind="stable")[:3]
    assert [row["candidate"] for row in first] == [made.text(int(at)) for at in best]
    assert [row["right"] for row in first] == right[0][best].tolist()
    assert [row["score"] for row in first] == sorted(scores[0], reverse=True)[:3]


@settings(max_examples=20, deadline=None)
@given(places=st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_the_median_of_whole_groups(places) -> None:
    """With one group there is nothing to resample: the interval is the median itself."""
    values = numpy.array(places, float)
    found = ranking._median(values, numpy.zeros(len(values), int), 0)
    assert found.low == found.value == found.high == numpy.median(values)


def test_the_command(blip, pairs: Path, tmp_path: Path, capsys) -> None:
    command = registry.find("cli", "retrieve").command
    where, out = save(blip, tmp_path / "model"), tmp_path / "ranks.parquet"
    command(pairs, where, "blip", k=5, out=out, top=2)
    said = capsys.readouterr().out
    assert said.splitlines()[0].split("\t") == ["", "R@1", "R@5", "R@10", "median", "MRR"]
    assert len(pq.read_table(out)) == 2 * (19 + 35) and not (tmp_path / ".ranks.parquet.parts").exists()
    before = out.read_bytes()
    with pytest.raises(Mistake, match="exists already"):
        command(pairs, where, out=out)
    assert out.read_bytes() == before
    (tmp_path / "mine.md").write_text("years of work")
    with pytest.raises(Mistake, match="Nothing of yours"):
        command(pairs, where, out=tmp_path / "mine.md", restart=True)
    assert (tmp_path / "mine.md").read_text() == "years of work"
    (tmp_path / ".new.parquet.parts").mkdir()
    (tmp_path / ".new.parquet.parts" / "plan").write_text("others")
    with pytest.raises(Mistake, match="other pairs"):
        command(pairs, where, out=tmp_path / "new.parquet")
    command(pairs, where, k=10**6, json=True)
    assert '"pictures": 19' in capsys.readouterr().out
