"""What LXMERT says of itself, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pairloom.data.feed import RegionFeed
from pairloom.data.records import Regions
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.objectives.masked import masking_generator
from pairloom.objectives.regions import hide_features
from pairloom.systems import _fusion as fusion
from pairloom.systems import lxmert
from pairloom.tasks.answer import Answering, choose_listed


def built(**changes) -> lxmert.System:
    torch.manual_seed(0)
    system = lxmert.System(replace(lxmert.TINY, **changes)).eval()
    with torch.no_grad():  # fresh heads start near nothing
        for parameter in system.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return system


@pytest.fixture(scope="module")
def system() -> lxmert.System:
    return built()


@pytest.fixture(scope="module")
def batch():
    return lxmert.example(lxmert.TINY, torch.Generator().manual_seed(3))


def test_nine_layers_of_language_five_of_regions_five_of_both() -> None:
    c = lxmert.Config()
    assert (c.depth, c.region_depth, c.cross_depth, c.width, c.heads, c.answers) == (9, 5, 5, 768, 12, 9500)
    assert lxmert.feed(c) == RegionFeed(2048, 36, 1601, 401)
    with torch.device("meta"):
        system = lxmert.System(c)
    # 12 h^2 + 13 h a layer; a crossing one has one cross-attention (4 h^2 + 6 h) and two layers
    layer = 12 * 768**2 + 13 * 768
    assert sum(p.numel() for p in system.language.parameters()) == 9 * layer
    assert sum(p.numel() for p in system.relations.parameters()) == 5 * layer
    assert sum(p.numel() for p in system.exchanges.parameters()) == 5 * (2 * layer + 4 * 768**2 + 6 * 768)


def test_a_region_is_the_mean_of_its_normed_features_and_its_normed_box(system) -> None:
    features, boxes = torch.randn(2, 3, 24), torch.rand(2, 3, 4)
    embed = system.regions
    one, other = embed.features_norm(embed.features(features)), embed.boxes_norm(embed.boxes(boxes))
    torch.testing.assert_close(embed(features, boxes), (one + other) / 2)


def test_both_directions_share_one_cross_attention(system) -> None:
    assert all(one.first.cross[0] is one.second.cross[0] for one in system.exchanges)
    assert all(one.first.attend[0] is not one.second.attend[0] for one in system.exchanges)


def test_words_do_not_see_regions_before_the_cross_modality_encoder(batch) -> None:
    """The two encoders of one modality run alone: without the crossing layers a picture says nothing about the text."""
    system, regions = built(cross_depth=0), fusion.regions_of(batch)
    with torch.no_grad():
        one, places = system.read_pairs(batch.texts, regions)
        other, moved = system.read_pairs(batch.texts, replace(regions, features=regions.features + 1))
    assert torch.equal(one, other) and not torch.equal(places, moved)


def test_five_tasks_and_their_equal_weights(system, batch) -> None:
    losses = system.losses(batch)
    assert set(losses) == {"mlm", "match", "feature", "object", "attribute", "answer"}
    without = replace(
        batch,
        labels=None,
        regions=replace(batch.regions, class_probabilities=None, attribute_probabilities=None),
    )
    assert set(system.losses(without)) == {"mlm", "match", "feature"}


def test_hidden_features_are_zero_others_or_kept_80_10_10() -> None:
    features = 1 + torch.arange(20_000.0).view(20, 1000, 1)
    mask = torch.ones(20, 1000, dtype=torch.bool)
    mask[:, 900:] = False
    hidden = mask.clone()
    hidden[:10] = False
    out = hide_features(features, hidden, mask, masking_generator(False), zero=0.8, other=0.1)[..., 0]
    before = features[..., 0]
    assert torch.equal(out[~hidden], before[~hidden])
    zero, kept = (out == 0)[hidden], (out == before)[hidden]
    # 9,000 draws: five standard deviations of .8 are .021, of .1 .016
    assert abs(zero.float().mean() - 0.8) < 0.021 and abs(kept.float().mean() - 0.1) < 0.016
    swapped = out[hidden & (out != 0) & (out != before)]
    assert set(swapped.tolist()) <= set(before[mask].tolist()), "padding is never somebody's features"


def test_losses_of_regions_weigh_a_hidden_region_by_the_detectors_confidence(system) -> None:
    """One hidden region of four, by hand: confidence * cross-entropy / (4 * .15), and the mean Smooth L1 / (4 * .15)."""
    torch.manual_seed(2)
    rows, features = torch.randn(1, 4, 32), torch.randn(1, 4, 24)
    chances = torch.tensor([0.9, 0.02, 0.03, 0.04, 0.006, 0.003, 0.001]).expand(1, 4, -1)
    mask = torch.ones(1, 4, dtype=torch.bool)
    hidden = torch.tensor([[False, True, False, False]])
    regions = Regions(features, torch.zeros(1, 4, 4), mask, chances)
    heads = system.region_heads
    with torch.no_grad():
        losses = system._region_losses(rows, regions, hidden)
        seen = heads["transform"](rows[0, 1])
        apart = (heads["features"](seen) - features[0, 1]).abs()
        logits = heads["objects"](seen)
    smooth = torch.where(apart < 1, apart**2 / 2, apart - 0.5).mean()
    torch.testing.assert_close(losses["feature"], smooth / 0.6)
    # class 3 is the surest but for background, and the third object
    torch.testing.assert_close(losses["object"], 0.04 * -logits.log_softmax(0)[2] / 0.6)
    assert set(losses) == {"feature", "object"}


def test_half_of_the_pictures_get_another_text_which_is_not_answered(system, batch, monkeypatch) -> None:
    wrong = torch.tensor([True, False, True, True, True, True])
    partner = torch.tensor([1, 1, 3, 2, 5, 4])
    monkeypatch.setattr(lxmert, "mismatched_half", lambda *_: (partner, wrong))
    seen = []
    whole = system.read_pairs
    monkeypatch.setattr(
        system, "read_pairs", lambda texts, regions: seen.append(texts) or whole(texts, regions)
    )
    with torch.no_grad():
        losses = system.losses(replace(batch, labels=torch.tensor([3, 2, 0, 5, -1, -1])))
        pooled = system.pool(*whole(seen[0], fusion.regions_of(batch)))
    assert torch.equal(seen[0].mask, batch.texts.mask[partner])
    assert torch.isfinite(losses["answer"]) and pooled.shape == (6, 32)
    only = replace(batch, labels=torch.tensor([3, -1, 0, 5, -1, -1]))  # every question's text is a wrong one
    assert float(system.losses(only)["answer"].detach()) == 0


def test_a_statement_is_read_with_each_picture_by_itself() -> None:
    """NLVR2: a picture's place matters, and with one picture twice the two pooled rows are equal."""
    system = built(pictures=2, matches=False, answers=0)
    batch = lxmert.example(lxmert.TINY, torch.Generator().manual_seed(3))
    one = batch.regions
    other = one[torch.arange(6).flip(0)]

    def pair(first, second) -> Regions:
        return Regions(
            *(
                torch.cat([getattr(side, name) for side in (first, second)], 1)
                for name in ("features", "boxes", "mask")
            )
        )

    [ability] = system.abilities
    assert (ability.name, ability.pictures, system.trains_on) == ("reason", 2, ("statements",))
    seen = []
    system.verdict_head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.no_grad():
        twice, straight, turned = (
            system.match(replace(batch, regions=regions))
            for regions in (pair(one, one), pair(one, other), pair(other, one))
        )
    torch.testing.assert_close(seen[0][:, :32], seen[0][:, 32:])
    torch.testing.assert_close(seen[1][:, :32], seen[2][:, 32:])
    assert (straight - turned).abs().max() > 1e-3 and twice.shape == (6,)
    losses = system.losses(replace(batch, regions=pair(one, other), labels=torch.tensor([1, 0, 1, 0, 1, 0])))
    torch.testing.assert_close(
        losses["statement"].detach(),
        torch.nn.functional.softplus(torch.tensor([-1.0, 1] * 3) * straight).mean(),
    )
    with pytest.raises(ValueError, match="needs 2 pictures"):
        system.match(batch)


def test_answers_come_from_the_list_that_travels_in_the_model(batch) -> None:
    names = ("yes", "no", "red", "two", "left", "a cat")
    tokens = Tokens.train(["a red cat", "two dogs"] * 4, 64)
    system = built(answer_list=names)
    model = Model("lxmert", system, tokens, lxmert.feed(system.config))
    logits = system.answer_logits(batch).detach()
    answers = choose_listed(model, batch, several=2)
    assert [row[0].text for row in answers] == [names[place] for place in logits.argmax(1)]
    assert answers[0][0].score == pytest.approx(float(logits[0].log_softmax(0).max()), abs=1e-6)
    assert all(row[0].score >= row[1].score for row in answers)
    with pytest.raises(Mistake, match="6 answers that it learned"):
        Answering.checked(model, choices=["maybe"])


def test_a_zeroed_region_does_not_drown_the_gradient_of_a_fresh_model(batch) -> None:
    """Its features are the bias alone, which is normed: with a bias of zero the gradient was 9,861 long."""
    torch.manual_seed(0)
    fresh = lxmert.System(lxmert.TINY)
    sum(fresh.losses(batch).values()).backward()
    assert torch.nn.utils.get_total_norm([p.grad for p in fresh.parameters()]) < 100
