"""What Reed's GAN says of itself: who learns in which turn, from what, and how its text encoder reads."""

from dataclasses import replace

import pytest
import torch

from pairloom.data.batch import Texts
from pairloom.systems import reed_gan
from pairloom.systems.reed_gan import CharacterEncoder, Config, doublings


def system(**changes):
    torch.manual_seed(0)
    return reed_gan.System(replace(reed_gan.TINY, **changes))


def example():
    return reed_gan.example(reed_gan.TINY, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("turn", ["encoder", "critic", "painter"])
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
    assert set(system().losses(batch, "painter")) == {"painter", "interpolated"}
    assert set(system(interpolate=False).losses(batch, "painter")) == {"painter"}
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
        "base": (True, True),
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
