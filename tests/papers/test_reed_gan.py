"""What Reed's GAN says of itself: who learns in which turn, from what, and how its text encoder reads."""

from dataclasses import replace

import pytest
import torch

from pairloom.blocks.character_encoder import CharacterEncoder
from pairloom.data.batch import Texts
from pairloom.data.characters import character_tokens
from pairloom.systems import reed_gan
from pairloom.systems.reed_gan import ALPHABET, Config, doublings
from pairloom.train.settings import Settings


def system(**changes):
    torch.manual_seed(0)
    return reed_gan.System(replace(reed_gan.TINY, **changes))


def example():
    return reed_gan.example(reed_gan.TINY, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("turn", ["encoder", "critic", "painter", "style"])
def test_each_turn_moves_its_own_networks(turn: str) -> None:
    one = system()
    sum(one.losses(example(), turn).values()).backward()
    own = reed_gan.System.turns[turn]
    named = {name: value for name, value in one.named_parameters() if value.requires_grad}
    assert all(value.grad is not None for name, value in named.items() if name.startswith(own))
    encoder = reed_gan.System.turns["encoder"]
    if turn != "encoder":  # the text encoder stays as its own part left it
        assert all(value.grad is None for name, value in named.items() if name.startswith(encoder))
    if turn == "critic":
        assert all(value.grad is None for name, value in named.items() if name.startswith("painter."))


def test_the_four_variants_differ_in_what_they_are_shown() -> None:
    batch = example()
    torch.manual_seed(1)
    with_wrong = system().losses(batch, "critic")["critic"].detach()
    torch.manual_seed(1)
    without = system(mismatched=False).losses(batch, "critic")["critic"].detach()
    assert float(with_wrong) != float(without)
    variants = {name: (c.mismatched, c.interpolate) for name, c in reed_gan.PRESETS.items()}
    expected = {
        "gan": (False, False),
        "gan-cls": (True, False),
        "gan-int": (False, True),
        "gan-int-cls": (True, True),
        "coco": (True, False),
    }
    assert expected.items() <= variants.items()


def test_seeds_make_the_noise_and_nothing_else_does() -> None:
    one, batch = system().eval(), example()
    with torch.no_grad():
        first = one.draw(batch, seeds=range(len(batch)))
        torch.manual_seed(99)
        again = one.draw(batch, seeds=range(len(batch)))
        other = one.draw(batch, seeds=[7] * len(batch))
    assert torch.equal(first, again) and not torch.equal(first[0], other[0])
    assert first.shape == (len(batch), 3, 32, 32) and first.abs().max() <= 1
    with pytest.raises(ValueError, match="guidance"):
        one.draw(batch, guidance=3.0)


def test_the_character_encoder_leaves_18_steps_of_201_characters() -> None:
    torch.manual_seed(0)
    encoder = CharacterEncoder(20, 201, (8, 8, 8), 16).eval()
    assert encoder.convolutions(torch.zeros(1, 20, 201)).shape == (1, 8, 18)
    ids = torch.randint(4, 20, (2, 60))
    mask = torch.arange(60) < torch.tensor([60, 31])[:, None]
    with torch.no_grad():
        whole = encoder(ids, mask)
        longer = encoder(torch.cat([ids, ids], 1), torch.cat([mask, mask & False], 1))
    torch.testing.assert_close(whole, longer)
    with pytest.raises(ValueError, match="202 characters"):
        encoder(torch.zeros(1, 202, dtype=torch.long), torch.ones(1, 202, dtype=torch.bool))


def test_a_picture_of_64_is_four_doublings_of_a_4_by_4_map() -> None:
    assert [doublings(side) for side in (16, 32, 64, 128)] == [2, 3, 4, 5]
    for side in (48, 8, 0):
        with pytest.raises(ValueError, match="power of two"):
            doublings(side)
    with torch.device("meta"):
        one = reed_gan.System(Config())
    assert one.painter.enter[0].weight.shape == (100 + 128, 1024, 4, 4)
    assert one.critic.judge[0].weight.shape == (512, 512 + 128, 1, 1)


def test_batches_of_one_picture_still_teach_the_critic() -> None:
    batch = example()
    alone = replace(batch, image_ids=torch.zeros(len(batch), dtype=torch.long))
    assert torch.isfinite(system().losses(alone, "critic")["critic"])
    one_text = replace(batch, texts=Texts(batch.texts.ids, batch.texts.mask))
    assert torch.isfinite(system().losses(one_text, "painter")["painter"])


def test_characters_outside_the_alphabet_are_read_as_blank() -> None:
    """As in the released code, where they have no one of 70 numbers: zeros, like what fills a text up; capitals are read as small."""
    assert len(ALPHABET) == len(set(ALPHABET)) == 69 and Config().vocabulary == 70
    tokens = character_tokens(ALPHABET)
    assert tokens.size == 70 and tokens.pad == tokens.unk == 0
    one = system().eval()

    def embedded(*texts: str) -> torch.Tensor:
        with torch.no_grad():
            return one.text(*tokens.encode(list(texts), 60))

    strange, capital, plain, cut = embedded("a bird ÄØ", "A Bird", "a bird", "a bird ")
    torch.testing.assert_close(capital, plain)
    torch.testing.assert_close(strange, cut)
    assert not torch.allclose(plain, embedded("a bind")[0])


def test_the_published_recipe_and_initialisation() -> None:
    base, coco = (Settings(**reed_gan.RECIPES[name]) for name in ("base", "coco"))
    painter, encoder = base.of("painter"), base.of("encoder")
    assert (painter.optimiser, painter.lr, painter.betas[0], painter.batch) == ("adam", 2e-4, 0.5, 64)
    assert (base.epochs, coco.epochs) == (600, 200)
    per_epoch = 10
    assert painter.rate(100 * per_epoch, per_epoch) == pytest.approx(1e-4)  # halved every 100 epochs
    assert coco.of("critic").rate(40 * per_epoch, per_epoch) == pytest.approx(1e-4)  # COCO: every 40
    assert encoder.optimiser == "rmsprop" and encoder.rate(per_epoch, per_epoch) == pytest.approx(7e-4 * 0.98)
    torch.manual_seed(0)
    one = system(painter_width=16, critic_width=16)
    convolutions = [part for part in one.painter.modules() if isinstance(part, torch.nn.ConvTranspose2d)]
    assert all(part.bias is None for part in convolutions)
    assert float(convolutions[1].weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert float(one.text.out.weight.detach().abs().max()) <= 0.08
    gains = torch.cat(
        [part.weight.detach() for part in one.critic.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    )
    assert float(gains.mean()) == pytest.approx(1, abs=0.01) and 0.01 < float(gains.std()) < 0.03


def test_interpolated_texts_are_drawn_in_the_same_batch_and_weighed() -> None:
    """One mean over half as many rows again, in which the interpolated ones have their weight; the critic never sees them."""
    batch = example()
    rows: list[int] = []
    one = system(interpolate_weight=0.25)
    one.painter.register_forward_hook(lambda part, inputs, output: rows.append(len(output)))
    torch.manual_seed(5)
    loss = one.losses(batch, "painter")["painter"]
    one.losses(batch, "critic")
    assert rows == [9, 6]
    torch.manual_seed(5)
    two = system(interpolate_weight=0.25)
    torch.manual_seed(5)
    with torch.no_grad():
        texts = two.text(*batch.text())
        texts = torch.cat([texts, (texts[:3] + texts[3:]) / 2])
        scores = two.critic(two.painter(texts, torch.randn(9, 8)), texts)
    errors = torch.nn.functional.softplus(-scores)
    assert float(loss.detach()) == pytest.approx(
        float(errors[:6].sum() + 0.25 * errors[6:].sum()) / 9, rel=1e-5
    )


def test_the_joint_embedding_is_symmetric_with_a_margin_of_one() -> None:
    """By hand, from the released loss: every other pair of the batch, in both directions, over the square of the batch; pictures of
    one number (one picture, or one class) are no negatives of each other."""
    batch, one = example(), system().eval()
    batch = replace(batch, image_ids=torch.tensor([0, 1, 2, 3, 4, 1]))
    with torch.no_grad():
        images = one.image["network"](batch.images[:, 0]).mean((2, 3))
        images = one.image["project"](images) if "project" in one.image else images
        scores = (one.text(*batch.text()) @ images.T).tolist()
        loss = float(one.losses(batch, "encoder")["joint"])
    total, classes = 0.0, [0, 1, 2, 3, 4, 1]
    for i in range(6):
        for j in range(6):
            if classes[i] != classes[j]:
                total += max(0.0, scores[i][j] - scores[i][i] + 1) + max(0.0, scores[j][i] - scores[i][i] + 1)
    assert loss == pytest.approx(total / 36, rel=1e-5)


def test_wrong_pictures_are_of_another_number() -> None:
    batch = example()
    seen: list[torch.Tensor] = []
    one = system()
    one.critic.register_forward_hook(lambda part, inputs, output: seen.append(inputs[0]))
    batch = replace(batch, image_ids=torch.tensor([0, 0, 0, 1, 1, 1]))
    one.losses(batch, "critic")
    pictures = batch.images[:, 0]
    wrong = next(
        shown
        for shown in seen
        if all((row == pictures).flatten(1).all(1).any() for row in shown)
        and not torch.equal(shown, pictures)
    )
    own = [int((row == pictures).flatten(1).all(1).nonzero()[0, 0]) for row in wrong]
    assert all(place > 2 for place in own[:3]) and all(place < 3 for place in own[3:])


def test_between_two_texts_and_between_two_noises() -> None:
    one, batch = system().eval(), example()
    pair = replace(batch, texts=batch.texts[:2])
    with torch.no_grad():
        ends = one.draw(pair, seeds=[3, 4])
        path = one.draw_between(pair, torch.tensor([0.0, 0.5, 1.0]), seeds=[3, 4])
        texts = one.text(*pair.text())
        noise = torch.stack(
            [torch.randn(8, generator=torch.Generator().manual_seed(seed)) for seed in (3, 4)]
        )
        middle = one.painter(texts.mean(0, keepdim=True), noise.mean(0, keepdim=True))
    torch.testing.assert_close(path[[0, 2]], ends)
    torch.testing.assert_close(path[1:2], middle)


def test_the_style_encoder_inverts_the_painter_and_carries_style_to_another_text() -> None:
    one = system().train()
    one.painter.eval()  # as training of this part has it
    batch = example()
    optimiser = torch.optim.Adam(one.style.parameters(), 2e-3)
    errors = []
    for step in range(60):
        torch.manual_seed(step)
        loss = one.losses(batch, "style")["style"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(float(loss.detach()))
    assert sum(errors[-10:]) < 0.7 * sum(errors[:10])
    one.eval()
    with torch.no_grad():
        pictures = one.draw(batch, seeds=range(6))
        drawn = one.draw(replace(batch, images=pictures[:, None]), style=True)
        expected = one.painter(one.text(*batch.text()), one.style(pictures))
    torch.testing.assert_close(drawn, expected)
