"""DiffusionITM and HardNeg-DiffusionITM (Krojer et al., 2023): the sentences that matter, and the code that was released."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from pairloom.data.batch import Batch  # noqa: E402
from pairloom.data.loader import InMemoryImages, Loader  # noqa: E402
from pairloom.data.negatives import MIX, Hard, negative_loader, read_negatives  # noqa: E402
from pairloom.data.order import Plan  # noqa: E402
from pairloom.data.records import Negatives  # noqa: E402
from pairloom.data.tokens import Tokens  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.model import Model, build, save  # noqa: E402
from pairloom.objectives.denoise import guessed_noise, noised, pushed_away, target  # noqa: E402
from pairloom.systems.latent_diffusion import RECIPES  # noqa: E402
from pairloom.tasks.denoise import DenoisingScorer  # noqa: E402
from pairloom.train.loop import fit  # noqa: E402
from pairloom.train.settings import Settings  # noqa: E402
from pairloom.train.starting import with_config  # noqa: E402
from pairloom.weights import load  # noqa: E402
from pairloom.world import World, parse  # noqa: E402
from pairloom.world.claim import is_true  # noqa: E402
from pairloom.world.hard_negatives import drawn_negatives

TEXTS = ["a red ball", "two blue cats", "a green house", "a tree"]


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, requires_grad=True)


@pytest.mark.parametrize(("positive", "negative"), [(0.4, 0.3), (0.3, 0.4), (0.5, 0.5), (1.0, 0.0)])
@pytest.mark.parametrize("margin", [1.0, 2.0])
def test_the_clipped_loss(positive: float, negative: float, margin: float) -> None:
    """L_pos + clip(L_neg, |lambda L_pos|) with L_neg = -error of the wrong pair: for lambda 1, relu(L_pos - error)."""
    right, wrong = number(positive), number(negative)
    loss = right + pushed_away(right, wrong, margin)
    expected = positive - min(negative, margin * positive)
    assert float(loss.detach()) == pytest.approx(expected)
    if margin == 1:
        assert float(loss.detach()) == pytest.approx(max(0.0, positive - negative))
    loss.backward()
    assert float(right.grad) == 1  # the bound is no way for the true pair's error to grow
    if negative != margin * positive:
        assert float(wrong.grad) == (-1 if negative < margin * positive else 0)


def test_noise_in_and_out_again() -> None:
    """From either prediction, made perfect, the very noise comes back."""
    chance = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(3, 2, 4, 4, generator=chance) for _ in range(2))
    share = torch.tensor([0.99, 0.5, 0.01])
    noisy = noised(clean, noise, share)
    assert abs(float(noisy.var()) - 1) < 0.3
    for kind in ("epsilon", "v_prediction"):
        said = target(clean, noise, share, kind)
        torch.testing.assert_close(guessed_noise(said, noisy, share, kind), noise, atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def model() -> Model:
    return build("latent_diffusion", Tokens.train(TEXTS * 4, 100), "tiny", ["length=10"]).eval()


def batch(model: Model) -> Batch:
    images = torch.randn(4, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return replace(model.batch(texts=TEXTS), images=images)


def test_negatives_share_times_and_noise(model: Model) -> None:
    """A negative that is the pair itself has the pair's error, whatever was drawn; another has another."""
    own = batch(model)
    same = Negatives(texts=own.texts)
    for negatives in (same, Negatives(images=own.images)):
        for seed in (0, 1):
            torch.manual_seed(seed)
            with torch.no_grad():
                said = model.system.train().losses(replace(own, negatives=negatives))
            assert float(said["negative"]) == pytest.approx(-float(said["denoise"]), rel=1e-5)
    model.system.eval()
    turned = Negatives(texts=own.texts[[3, 2, 1, 0]])
    with torch.no_grad():
        plain, said = model.system.losses(own), model.system.losses(replace(own, negatives=turned))
    assert plain.keys() == {"denoise"} and said["denoise"] == plain["denoise"]
    assert -said["denoise"] * 1.0001 <= said["negative"] < 0


@pytest.mark.parametrize("attention", ["both", "cross"])
def test_adapters_alone_learn(model: Model, attention: str, tmp_path: Path) -> None:
    """At first nothing is changed; then the adapters move and nothing else; saved and loaded they say the same."""
    scorer = DenoisingScorer(model, steps=3)
    images = [_image(seed) for seed in (1, 2)]
    pairs = [(0, 0), (1, 1)]
    made = with_config(model, replace(model.config, rank=2, adapted=attention))
    before = scorer.scores(images, TEXTS, pairs)
    np.testing.assert_allclose(DenoisingScorer(made, steps=3).scores(images, TEXTS, pairs), before, atol=1e-6)
    learned = [name for name, value in made.system.named_parameters() if value.requires_grad]
    assert learned and all(name.split(".")[-2] in ("down", "up") for name in learned)
    assert all((".attn2." in name) or attention == "both" for name in learned)
    kept = {name: value.clone() for name, value in made.system.state_dict().items()}
    optimiser = torch.optim.AdamW([value for value in made.system.parameters() if value.requires_grad], 1e-2)
    own = replace(batch(made), negatives=Negatives(images=batch(made).images.flip(0)))
    for step in range(2):
        torch.manual_seed(step)
        sum(made.system.train().losses(own).values()).backward()  # type: ignore[union-attr]
        optimiser.step()
    moved = [name for name, value in made.system.state_dict().items() if not torch.equal(value, kept[name])]
    assert sorted(moved) == sorted(learned)
    made.system.eval()
    again = load(save(made, tmp_path / "out"))
    after = DenoisingScorer(made, steps=3).scores(images, TEXTS, pairs)
    np.testing.assert_allclose(DenoisingScorer(again, steps=3).scores(images, TEXTS, pairs), after, atol=1e-6)
    assert np.abs(after - before).max() > 1e-5
    with pytest.raises(Mistake, match="do not fit"):
        with_config(made, replace(made.config, rank=3))


def _image(seed: int):  # type: ignore[no-untyped-def]
    from PIL import Image

    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8))


def hard(count: int = 12) -> list[Hard]:
    """Every row says its number, so that a batch can be read back."""
    return [
        Hard(TEXTS[at % 4], str(at), (f"wrong {TEXTS[at % 4]}",), ((at + 1) % count, (at + 2) % count))
        for at in range(count)
    ]


def batches(model: Model, mix: dict[str, float], only: np.ndarray | None = None) -> Loader:
    pixels = np.stack([np.full((32, 32, 3), 10 * at, np.uint8) for at in range(12)])
    return negative_loader(
        InMemoryImages(pixels, (0.0,) * 3, (1 / 25.5,) * 3), hard(), model.tokens, 10, mix, only
    )


def test_the_mix(model: Model) -> None:
    """Half of the batches have wrong pictures, a quarter hard texts, a quarter texts of other rows; the same in every run."""
    made = batches(model, MIX)
    kinds: Counter[str] = Counter()
    for epoch in range(130):
        for (part,) in made.read(Plan(4), epoch):
            rows = part.image_ids
            assert rows is not None and part.images is not None
            assert (part.images[:, 0, 0, 0, 0].round() == rows * 1.0).all()
            if part.negatives.images is not None:
                kinds["image"] += 1
                shown = part.negatives.images[:, 0, 0, 0, 0].round().long()
                assert all(int(other) in hard()[int(row)].images for row, other in zip(rows, shown))
            else:
                said = [model.tokens.decode(one) for one in part.negatives.texts.ids]
                kinds["text" if said[0].startswith("[UNK]") or "wrong" in said[0] else "random"] += 1
    total = sum(kinds.values())
    assert total == 390
    for kind, share in MIX.items():
        assert abs(kinds[kind] / total - share) < 4 * (share * (1 - share) / total) ** 0.5
    one, other = (next(iter(made.read(Plan(4), 7, 2)))[0] for _ in range(2))
    assert torch.equal(one.image_ids, other.image_ids) and torch.equal(
        one.negatives.texts.ids, other.negatives.texts.ids
    )
    plain = next(iter(batches(model, {}).read(Plan(4), 7, 2)))[0]
    assert torch.equal(plain.image_ids, one.image_ids) and plain.negatives is None


def test_the_loop_learns_from_them(model: Model) -> None:
    """The recipe of the released training, shortened, runs and logs both losses."""
    made = with_config(model, replace(model.config, rank=2))
    settings = Settings(**{**RECIPES["hardneg"], "batch": 4, "epochs": 1, "log_every": 1})  # type: ignore[arg-type]
    lines = fit(made.system, batches(made, {"text": 1.0}), settings).lines
    assert len(lines) == 3 and all(line["losses/negative"] <= 0 <= line["loss"] + 1e-6 for line in lines)


def test_rows_that_are_held_out_are_no_negatives(model: Model) -> None:
    made = batches(model, MIX, np.array([0, 1, 2, 5, 7, 11]))
    shown, said = set(), set()
    for epoch in range(40):
        for (part,) in made.read(Plan(3), epoch):
            shown |= set(part.image_ids.tolist())
            more = part.negatives.images
            if more is not None:
                shown |= set(more[:, 0, 0, 0, 0].round().long().tolist())
            else:
                said |= {model.tokens.decode(one) for one in part.negatives.texts.ids}
    assert shown == {0, 1, 2, 5, 7, 11} and made.steps(Plan(3)) == 2 and len(said) > 4
    assert made.identity() != batches(model, MIX).identity()


def table(*rows: str, columns: str = "\ttitle\tfilepath\tneg_caption\tneg_image") -> str:
    return "\n".join([columns, *rows]) + "\n"


def test_the_negclip_layout(tmp_path: Path) -> None:
    file = tmp_path / "train_neg_clip.tsv"
    file.write_text(
        table(
            "0\tA cat on a mat.\ttrain/0.jpg\t['A mat on a cat.', \"A cat's mat.\"]\t[1, 2]",
            "1\tA dog.\ttrain/1.jpg\t[]\t[0]",
            "2\tTwo.\ttrain/2.jpg\t['Three.']\t[0, 1]",
        )
    )
    assert read_negatives(file) == [
        Hard("A cat on a mat.", "train/0.jpg", ("A mat on a cat.", "A cat's mat."), (1, 2)),
        Hard("A dog.", "train/1.jpg", (), (0,)),
        Hard("Two.", "train/2.jpg", ("Three.",), (0, 1)),
    ]
    for text, said in (
        (table("0\tA cat.\ta.jpg\t['x'"), "Line 2 of .* is not whole"),
        (table("0\tA cat.\ta.jpg\t['x']\t[__import__('os')]"), "Line 2 of .* is not whole"),
        (table("0\tA cat.\ta.jpg\t['x']\t[5]"), "names a picture that the table has not"),
        (table(columns="title\tfilepath"), "no column neg_caption and no neg_image"),
    ):
        file.write_text(text)
        with pytest.raises(Mistake, match=said):
            read_negatives(file)
    with pytest.raises(Mistake, match="cannot be read"):
        read_negatives(tmp_path / "none.tsv")


def test_the_drawn_worlds_negatives() -> None:
    """Every wrong text is false of its scene; a row that looks alike is another row with another text."""
    world = World(30, 3, "simple", 32, ("terse",))
    scenes = [world.scene(index) for index in range(world.count)]
    rows = drawn_negatives(scenes, "terse")
    assert len(rows) == 30 and sum(len(row.texts) for row in rows) > 60
    for scene, row in zip(scenes, rows):
        for text in row.texts:
            claim = parse(text)
            assert claim is None or not is_true(claim, scene)
        assert len(row.images) == 3 and all(rows[at].text != row.text for at in row.images)
