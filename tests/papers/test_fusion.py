"""What Pixel-BERT, UNITER and ViLBERT say of themselves, sentence by sentence."""

from dataclasses import replace

import pytest
import torch

from pairloom import registry
from pairloom.data.batch import Batch, Texts
from pairloom.data.records import Regions
from pairloom.objectives import masked as masked_words
from pairloom.objectives.transport import transport_distance
from pairloom.systems import _fusion as fusion
from pairloom.systems import pixel_bert, uniter, vilbert, vl_bert

REGION_SYSTEMS = [uniter, vilbert]


def example(module) -> Batch:
    return module.example(module.TINY, torch.Generator().manual_seed(3))


def built(module, **changes):
    """Fresh heads start near nothing: a little noise lets a difference show where there is one."""
    torch.manual_seed(0)
    system = module.System(replace(module.TINY, **changes)).eval()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return system


def test_pixel_bert_samples_cells_in_training_alone(monkeypatch) -> None:
    system, batch = built(pixel_bert, sampled=3), example(pixel_bert)
    batch = replace(batch, labels=None)
    cells = system.encode_image(batch).encoded.rows
    read: list[int] = []
    whole = system.fuse
    monkeypatch.setattr(
        system,
        "fuse",
        lambda words, mask, cells: read.append(cells.rows.shape[1]) or whole(words, mask, cells),
    )
    system.losses(batch)
    system.train()
    system.losses(batch)
    assert read == [cells.shape[2]] * 2 + [3] * 2 and cells.shape[1:3] == (1, 16)


def test_pixel_bert_has_no_places_but_its_cells_count_as_a_set() -> None:
    """One shared semantic vector and no position: any order of the cells gives the same answer."""
    system, batch = built(pixel_bert), example(pixel_bert)
    with torch.no_grad():
        encoded = system.encode_image(batch)
        cells = encoded.encoded
        mixed = replace(encoded, encoded=replace(cells, rows=cells.rows[:, :, torch.randperm(16)]))
        torch.testing.assert_close(system.match(encoded), system.match(mixed), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("module", [pixel_bert, uniter, vilbert], ids=lambda module: module.__name__)
def test_hidden_words_are_predicted_and_special_ones_never_hidden(module, monkeypatch) -> None:
    system, batch = built(module), example(module)
    drawn = []
    mask_tokens = masked_words.mask_tokens

    def spy(ids, words, *rest):
        drawn.append((words, mask_tokens(ids, words, *rest)))
        return drawn[-1][1]

    monkeypatch.setattr(masked_words, "mask_tokens", spy)
    losses = system.losses(batch)
    (words, masked), c = drawn[0], module.TINY
    special = (batch.texts.ids == c.cls) | (batch.texts.ids == c.sep)
    assert not (words & (special | ~batch.texts.mask)).any() and masked.hidden.any(1).all()
    assert torch.isfinite(losses["mlm"])


@pytest.mark.parametrize("module", REGION_SYSTEMS, ids=lambda module: module.__name__)
def test_regions_matter_and_what_is_no_region_does_not(module) -> None:
    system, batch = built(module), example(module)
    regions = batch.required("regions")
    noise = torch.randn_like(regions.features)
    unreal = replace(regions, features=torch.where(regions.mask[..., None], regions.features, noise))
    other = replace(regions, features=torch.where(regions.mask[..., None], noise, regions.features))
    with torch.no_grad():
        before = system.match(batch)
        torch.testing.assert_close(system.match(replace(batch, regions=unreal)), before, atol=1e-6, rtol=0)
        assert (system.match(replace(batch, regions=other)) - before).abs().min() > 1e-6
        moved = replace(regions, boxes=regions.boxes.flip(2))
        assert (system.match(replace(batch, regions=moved)) - before).abs().max() > 1e-6


def test_uniter_hides_one_modality_at_a_time(monkeypatch) -> None:
    """Conditional masking: where regions are hidden no word is, and where words are hidden no region is."""
    system, batch = built(uniter), replace(example(uniter), labels=None)
    calls = []
    whole = system.read_pairs

    def spy(texts, regions, hidden=None):
        calls.append((torch.equal(texts.ids, batch.texts.ids), hidden is None))
        return whole(texts, regions, hidden)

    monkeypatch.setattr(system, "read_pairs", spy)
    losses = system.losses(batch)
    assert set(losses) == {"itm", "wra", "mlm", "mrfr", "mrc", "mrc_kl"}
    assert (False, True) in calls and (True, False) in calls and (False, False) not in calls


def test_uniter_draws_one_task_a_batch_in_proportion_to_the_mix() -> None:
    system, batch = built(uniter, together=False, mix=(2.0, 1.0, 0.0, 0.0, 1.0)).train(), example(uniter)
    batch = replace(batch, labels=None)
    torch.manual_seed(0)
    counts = {"itm": 0, "mlm": 0, "mrc_kl": 0}
    for _ in range(120):
        names = set(system.losses(batch))
        assert names in ({"itm", "wra"}, {"mlm"}, {"mrc_kl"})
        counts[next(iter(names - {"wra"}))] += 1
    # 60, 30, 30 are expected; five standard deviations of a binomial are 27
    assert abs(counts["itm"] - 60) < 28 and min(counts["mlm"], counts["mrc_kl"]) > 5


def test_uniters_feature_head_is_tied_to_the_feature_projection() -> None:
    system, batch = built(uniter, mix=(0.0, 0.0, 1.0, 0.0, 0.0)), example(uniter)
    system.losses(batch)["mrfr"].backward()
    named = dict(system.named_parameters())
    assert "regions.features.weight" in named and named["regions.features.weight"].grad is not None
    assert not any(
        value.shape == (24, 32) for name, value in named.items() if name != "regions.features.weight"
    )


def test_vilberts_masked_region_leaves_the_global_row() -> None:
    """A leak otherwise: the mean of all regions would still hold what is to be predicted."""
    system, batch = built(vilbert), example(vilbert)
    regions = fusion.regions_of(batch)
    hidden = torch.zeros(regions.mask.shape, dtype=torch.bool)
    hidden[:, 0] = True
    changed = regions.features.clone()
    changed[:, 0] += 5.0
    moved = replace(regions, features=changed)
    with torch.no_grad():
        one, other = (system.encode_regions(each, hidden).rows for each in (regions, moved))
        assert torch.equal(one, other)
        whole, plain = (system.encode_regions(each).rows[:, 0] for each in (moved, regions))
        assert (whole - plain).abs().max() > 1e-3


def test_vilberts_wrong_pairs_are_hidden_like_true_ones(monkeypatch) -> None:
    """A leak otherwise: a picture of which nothing is hidden would be known for a wrong one, whatever it shows."""
    system, batch, seen = built(vilbert), example(vilbert), []
    encode = system.encode_regions

    def spy(regions: Regions, hidden: torch.Tensor | None = None):
        seen.append((regions, hidden))
        return encode(regions, hidden)

    monkeypatch.setattr(system, "encode_regions", spy)
    system.losses(replace(batch, labels=None))
    (own, hidden), (other, theirs) = seen[:2]
    rows = [int((own.features == picture).flatten(1).all(1).nonzero()[0]) for picture in other.features]
    assert all(row != at for at, row in enumerate(rows)) and hidden.any(1).all()
    assert torch.equal(theirs, hidden[rows])


def test_vilberts_text_runs_ahead_of_the_first_exchange() -> None:
    """12 text layers, 6 visual ones, 6 exchanges: the text is read six layers deep before it sees a region."""
    system, batch = built(vilbert), example(vilbert)
    order: list[str] = []
    for name, layers in (("t", system.text_layers), ("v", system.visual_layers), ("x", system.exchanges)):
        for layer in layers:
            layer.register_forward_hook(lambda *_, name=name: order.append(name))
    with torch.no_grad():
        system.match(batch)
    assert "".join(order) == "t" + "xtv" * 2
    c = vilbert.Config()
    assert (c.depth - c.exchanges, c.visual_depth) == (6, 6)


def test_vilberts_released_polarity_is_turned_round() -> None:
    """is_next = 1 means mismatched in the released head: its first class is what `match` calls a match."""
    system, batch = built(vilbert), example(vilbert)
    with torch.no_grad():
        system.match_head.weight.zero_()
        system.match_head.bias.copy_(torch.tensor([3.0, 1.0]))
        assert system.match(batch).tolist() == [2.0] * len(batch)


def test_paper_sizes() -> None:
    """UNITER base has 86 million parameters in its layers and its embedding of regions is small beside the words'."""
    with torch.device("meta"):
        counts = {
            name: sum(
                p.numel()
                for p in registry.find("systems", name)
                .System(registry.find("systems", name).Config())
                .stack.parameters()
            )
            for name in ("uniter", "pixel_bert")
        }
    per_layer = 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    assert counts == {"uniter": 12 * per_layer, "pixel_bert": 12 * per_layer}


def test_a_text_without_words_teaches_nothing_and_breaks_nothing() -> None:
    for module in (pixel_bert, uniter, vilbert):
        system, batch = built(module), example(module)
        c = module.TINY
        ids = torch.full((len(batch), 2), c.sep)
        ids[:, 0] = c.cls
        losses = system.losses(replace(batch, texts=Texts.unpadded(ids)))
        assert float(losses["mlm"].detach()) == 0 and all(torch.isfinite(value) for value in losses.values())


def test_a_row_of_the_task_stands_behind_the_first_word_in_12_in_1() -> None:
    """It moves no position; questions have a row of their own, and nothing is given back of it."""
    system, batch = built(vilbert, tasks=9), example(vilbert)
    seen = []
    system.text_layers[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    system.match(batch)
    system.answer_logits(batch)
    words = system.text(batch.texts.ids)
    for rows, task in zip(seen, (7, 1)):
        assert torch.equal(rows[:, [0, *range(2, 9)]], words)
        torch.testing.assert_close(rows[0, 1], system.text.norm(system.task_rows.weight[task]))
    assert system.losses(batch).keys() >= {"mlm", "alignment", "regions"}
    system.losses(batch)["mlm"].backward()
    assert system.task_rows.weight.grad[7].abs().max() > 0


def test_text_alone_ends_with_end_in_vl_bert() -> None:
    """And what its words see in place of a picture is normed like what they see of one."""
    system, batch = built(vl_bert), example(vl_bert)
    seen = []
    system.stack.layers[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    system._read(batch.texts, None)
    text, count = system.text, batch.texts.mask.sum(1)
    places, kinds = text.positions.weight, text.segments.weight
    end = text.norm(system.end_row + places[count + 1] + kinds[2])
    torch.testing.assert_close(seen[0][:, -1], end)
    ids = batch.texts.ids
    words = text.words(ids) + places[: ids.shape[1]] + kinds[0] + system.word_norm(system.no_picture)
    torch.testing.assert_close(seen[0][:, :-1], text.norm(words))


@torch.no_grad()
def test_a_region_of_vilbert_by_hand() -> None:
    """LN(W f + W_loc [x1 y1 x2 y2 area]); the first row is the mean of the real regions, with the box [0 0 1 1] of area 1."""
    system, batch = built(vilbert), example(vilbert)
    regions, embed = fusion.regions_of(batch), system.regions
    rows = system.encode_regions(regions).rows
    row = int(regions.mask.sum(1).argmin())
    count = int(regions.mask[row].sum())
    left, top, right, low = regions.boxes[row, 0]
    five = torch.stack([left, top, right, low, (right - left) * (low - top)])
    one = embed.norm(embed.features(regions.features[row, 0]) + embed.boxes(five))
    torch.testing.assert_close(rows[row, 1], one)
    mean = regions.features[row, :count].mean(0)
    whole = embed.norm(embed.features(mean) + embed.boxes(torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0])))
    torch.testing.assert_close(rows[row, 0], whole)
    assert (
        count < regions.mask.shape[1] and vilbert.feed(vilbert.Config()).most == vilbert.Config().length == 36
    )


@torch.no_grad()
def test_a_region_of_uniter_by_hand() -> None:
    """LN(LN(W f) + LN(W [x1 y1 x2 y2 w h w*h]) + type); a hidden one has the mask vector in the place of its features."""
    system, batch = built(uniter), example(uniter)
    regions, embed = fusion.regions_of(batch), system.regions
    hidden = torch.zeros_like(regions.mask)
    hidden[0, 0] = True
    rows = system.encode_regions(regions, hidden).rows
    for at, features in ((0, embed.hidden), (1, regions.features[0, 1])):
        left, top, right, low = regions.boxes[0, at]
        wide, high = right - left, low - top
        seven = torch.stack([left, top, right, low, wide, high, wide * high])
        parts = embed.features_norm(embed.features(features)) + embed.boxes_norm(embed.boxes(seven))
        torch.testing.assert_close(rows[0, at], embed.norm(parts + system.text.segments.weight[1]))


def test_nine_tenths_of_vilberts_drawn_regions_are_zeroed_and_all_are_learned(monkeypatch) -> None:
    """15 % are drawn, 90 % of those zeroed; the loss counts those that stay as they are, too."""
    system, batch = built(vilbert), example(vilbert)
    wide = {
        name: getattr(batch.regions, name)[:, :, [0] * 60]
        for name in ("features", "boxes", "class_probabilities")
    }
    batch = replace(
        batch,
        labels=None,
        regions=replace(batch.regions, **wide, mask=torch.ones(6, 1, 60, dtype=torch.bool)),
    )
    zeroed, drawn = [], []
    encode, learn = system.encode_regions, system.region_class_losses
    monkeypatch.setattr(
        system, "encode_regions", lambda regions, hidden: zeroed.append(hidden) or encode(regions, hidden)
    )
    monkeypatch.setattr(system, "region_class_losses", lambda *given: drawn.append(given[2]) or learn(*given))
    system.train()
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(12):
            system.losses(batch)
    gone, counted = torch.cat(zeroed[::2]), torch.cat(drawn)
    assert not (gone & ~counted).any()
    # 4,320 regions and about 650 drawn: five standard deviations are .027 and .059
    assert abs(counted.float().mean() - 0.15) < 0.027
    assert abs(gone[counted].float().mean() - 0.9) < 0.059


@torch.no_grad()
def test_uniters_alignment_is_the_signed_distance_over_the_batch(monkeypatch) -> None:
    """.1 * (distance of true pairs - distance of wrong ones) / n; a wrong pair is the text with another row's picture."""
    system, batch = built(uniter, mix=(1.0, 0.0, 0.0, 0.0, 0.0)), replace(example(uniter), labels=None)
    partner, wrong = torch.tensor([0, 3, 2, 1, 4, 0]), torch.tensor([False, True, False, True, False, True])
    monkeypatch.setattr(uniter, "mismatched_half", lambda *_: (partner, wrong))
    losses = system.losses(batch)
    regions = fusion.regions_of(batch, partner)
    words, places = system.read_pairs(batch.texts, regions)
    distance = transport_distance(words, places, batch.texts.mask, regions.mask)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    torch.testing.assert_close(losses["wra"], 0.1 * (signs * distance).sum() / 6)
    logits = system.match_head(torch.tanh(system.pooler(words[:, 0])))  # class 1 is a match
    expected = -logits.log_softmax(1)[torch.arange(6), (~wrong).long()].mean()
    torch.testing.assert_close(losses["itm"], expected)


def test_the_sizes_that_the_papers_give() -> None:
    c, mixed = uniter.Config(), uniter.Config().mix
    assert (c.vocabulary, c.depth, c.width, c.masked, c.wra) == (28996, 12, 768, 0.15, 0.1)
    assert (
        mixed == (2.0, 2.0, 1.0, 0.0, 1.0) and uniter.feed(c).most == 100 and uniter.feed(c).classes == 1601
    )
    recipe = uniter.RECIPES["base"]
    assert (recipe["lr"], recipe["betas"], recipe["clip"], recipe["warmup"]) == (
        5e-5,
        (0.9, 0.98),
        5.0,
        10_000,
    )
    p = pixel_bert.Config()
    assert (p.network, p.pool, p.sampled, p.masked, p.mlm, p.itm) == ("resnet50", 2, 100, 0.15, 1.0, 1.0)
    with torch.device("meta"):
        system = pixel_bert.System(p)
        cells = system.pool_cells(system.network(torch.zeros(1, 3, 576, 576)))
    assert cells.shape == (1, 2048, 9, 9), "a stride of 64"
