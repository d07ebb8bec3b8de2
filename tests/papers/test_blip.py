"""BLIP, sentence by sentence: what the paper (and where it is silent, its released code) says that laws cannot know."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pairloom.blocks.momentum import NOBODY
from pairloom.data.batch import Batch, Texts
from pairloom.objectives.contrast import same_picture
from pairloom.objectives.match import CHANCE
from pairloom.systems import blip
from pairloom.systems.blip import PRESETS, RECIPES, TINY, Config, System
from pairloom.verbs import Progress
from pairloom.weights.salesforce import places

PLAIN = replace(TINY, queue=0, momentum=0.0, alpha=0.0)


def build(config: Config, seed: int = 0, mode: bool = True) -> System:
    torch.manual_seed(seed)
    return System(config).train(mode)


def make_batch(rows: int = 5, ids: list[int] | None = None, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(5, 60, (rows, 7), generator=generator)
    tokens[:, 0] = TINY.cls
    keep = torch.ones(rows, 7, dtype=torch.bool)
    keep[1, 4:] = False
    images = torch.randn(rows, 1, 3, 32, 32, generator=generator)
    return Batch(
        images=images, texts=Texts(tokens, keep), image_ids=None if ids is None else torch.tensor(ids)
    )


def size(config: Config) -> int:
    """Millions of parameters, the teacher's not counted."""
    with torch.device("meta"):
        return round(sum(p.numel() for p in System(replace(config, momentum=0.0)).parameters()) / 1e6)


# 3.1 and Table 3: the model


@pytest.mark.parametrize(
    "sharing, millions",
    [("all", 224), ("all but cross-attention", 252), ("all but self-attention", 252), ("none", 361)],
)
def test_parameter_counts_of_table_3(sharing, millions):
    assert size(Config(sharing=sharing)) == millions


def test_paper_sizes():
    base, large = PRESETS["base"], PRESETS["large"]
    assert (base.image_width, base.image_depth, base.image_heads, base.patch, base.drop_path) == (
        768,
        12,
        12,
        16,
        0.0,
    )
    assert (large.image_width, large.image_depth, large.image_heads, large.patch, large.drop_path) == (
        1024,
        24,
        16,
        16,
        0.1,
    )
    assert (base.width, base.depth, base.heads, base.vocabulary, base.positions) == (768, 12, 12, 30524, 512)
    assert (base.queue, base.momentum, base.alpha, base.ramp, base.embedding) == (57600, 0.995, 0.4, 2.0, 256)
    with torch.device("meta"):
        towers = blip.Towers(base)
        tall = blip.Towers(large)
    assert (
        sum(p.numel() for p in towers.image.parameters()) == 85_798_656
    )  # ViT-B/16 at 224 px, no classifier
    assert sum(p.numel() for p in tall.image.parameters()) == 303_301_632
    assert tall.text.stack.layers[0].attend[0].fn.query.weight.shape == (768, 768)


def shared_parts(sharing: str) -> set[str]:
    """Which parts of a published checkpoint's two text towers are one tensor here."""
    with torch.device("meta"):
        system = System(replace(TINY, sharing=sharing, depth=1))
    shared = set()
    for place in places(system).values():
        names = [
            name.removeprefix("text_decoder.bert.").removeprefix("text_encoder.") for name in place.names
        ]
        if len(names) > 1 and names[0] == names[1]:
            shared.add(names[0].rsplit(".", 1)[0].replace("encoder.layer.0.", ""))
    return shared


def attention(name: str) -> set[str]:
    return {
        f"{name}.{part}"
        for part in ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm")
    }


EMBEDDINGS = {f"embeddings.{part}" for part in ("word_embeddings", "position_embeddings", "LayerNorm")}
FEED = {"intermediate.dense", "output.dense", "output.LayerNorm"}


def test_encoder_and_decoder_share_everything_except_self_attention():
    assert TINY.sharing == Config().sharing == "all but self-attention"
    assert shared_parts("all but self-attention") == EMBEDDINGS | FEED | attention("crossattention")
    assert shared_parts("all but cross-attention") == EMBEDDINGS | FEED | attention("attention")
    assert shared_parts("all") == EMBEDDINGS | FEED | attention("attention") | attention("crossattention")
    assert shared_parts("none") == set()


def test_output_matrix_is_the_word_table():
    with torch.device("meta"):
        system = System(TINY)
    words = places(system)["towers.text.embed.0.words.weight"].names
    assert words[-1] == "text_decoder.cls.predictions.decoder.weight"
    assert system.towers.text.words is system.towers.text.embed[0].words.weight


def test_each_pass_begins_with_its_own_token(monkeypatch):
    """[CLS] for the unimodal encoder, [ENC] for the image-grounded encoder, [DEC] for the decoder; only the last is causal."""
    system, batch, passes = build(PLAIN), make_batch(), []
    forward = system.towers.text.forward

    def spy(tokens, keep, memory=None, way=blip.READ, *more):
        passes.append((set(tokens[:, 0].tolist()), memory is not None, way))
        return forward(tokens, keep, memory, way)

    monkeypatch.setattr(system.towers.text, "forward", spy)
    system.losses(batch)
    assert passes[0] == ({TINY.cls}, False, blip.READ)
    assert all(made == ({TINY.enc}, True, blip.READ) for made in passes[1:-1]) and len(passes) > 2
    assert passes[-1] == ({TINY.dec}, True, blip.WRITE)
    assert system.first_token == TINY.dec and system.last_token == TINY.sep


def test_keys_of_a_picture_are_projected_once_for_match_and_caption():
    """The image-grounded encoder's positives and negatives and the decoder read one projection per layer and picture."""
    system, batch, projected = build(PLAIN), make_batch(), []
    for layer in system.towers.text.stack.layers:
        layer.cross[0].fn.key.register_forward_hook(lambda _, given, __: projected.append(len(given[0])))
    system.losses(batch)
    assert projected == [5] * TINY.depth
    seen = system.encode_image(batch)
    system.match(seen), system.start(seen), system.logits(seen)
    assert projected == [5] * 2 * TINY.depth


# 3.2: image-text contrast


def test_plain_contrast_is_symmetric_infonce():
    system, batch = build(PLAIN), make_batch()
    image, text = system.embed_image(batch), system.embed_text(batch)
    logits, own = image @ text.T / system.temperature, torch.arange(5)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(system.losses(batch)["itc"], expected)


def test_rows_of_one_picture_are_positives_of_each_other():
    system, batch = build(PLAIN), make_batch(ids=[7, 7, 8, 9, 7])
    logs = (system.embed_image(batch) @ system.embed_text(batch).T / system.temperature).log_softmax(1)
    back = (system.embed_text(batch) @ system.embed_image(batch).T / system.temperature).log_softmax(1)
    target = (
        torch.tensor([[1, 1, 0, 0, 1], [1, 1, 0, 0, 1], [0, 0, 3, 0, 0], [0, 0, 0, 3, 0], [1, 1, 0, 0, 1]])
        / 3
    )
    expected = -((target * logs).sum(1).mean() + (target * back).sum(1).mean()) / 2
    torch.testing.assert_close(system.losses(batch)["itc"], expected)


def test_teacher_follows_with_momentum():
    """teacher <- 0.995 teacher + 0.005 student at each step; before the first it is the student."""
    system = build(TINY)
    with torch.no_grad():
        for parameter in system.towers.parameters():
            parameter.add_(1.0)
    system.begin(Progress(0, 0.0, 20))
    student = dict(system.towers.named_parameters())
    assert all(torch.equal(slow, student[name]) for name, slow in system.contrast.teacher.named_parameters())
    with torch.no_grad():
        for parameter in system.towers.parameters():
            parameter.add_(1.0)
    system.begin(Progress(10, 0.5, 20))
    for name, slow in system.contrast.teacher.named_parameters():
        torch.testing.assert_close(slow, 0.995 * (student[name] - 1) + 0.005 * student[name])


def test_teacher_is_vision_text_encoder_and_projections_and_never_learns():
    system = build(TINY)
    names = {name for name, _ in system.contrast.teacher.named_parameters()}
    assert not any("cross" in name or "attend.1" in name for name in names)
    assert {name.split(".")[0] for name in names} == {"image", "text", "image_projection", "text_projection"}
    torch.stack(list(system.losses(make_batch()).values())).sum().backward()
    assert all(
        parameter.grad is None and not parameter.requires_grad
        for parameter in system.contrast.teacher.parameters()
    )


def test_targets_soften_over_the_first_two_epochs(monkeypatch):
    system, told = build(TINY), []
    plain = blip.symmetric_contrast

    def spy(*inputs):
        told.append(inputs[-1])
        return plain(*inputs)

    monkeypatch.setattr(blip, "symmetric_contrast", spy)
    for progress in (0.0, 0.5, 1.0, 2.0, 7.0):
        system.begin(Progress(round(20 * progress), progress, 200))
        system.losses(make_batch())
    assert told == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.4])


def test_soft_targets_by_hand():
    """Columns are the teacher's features of the batch, then the queue; targets mix its softmax over all of them."""
    system, batch = build(TINY), make_batch()
    with torch.no_grad():
        for parameter in system.contrast.teacher.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    system.progress = 2.0
    teacher = system.contrast.teacher
    slow_image = teacher.embed_image(teacher.look(batch.images))
    slow_text = teacher.embed_text(batch.texts.ids, batch.texts.mask)
    queue = system.contrast.queue
    hard = F.pad(torch.eye(5), (0, TINY.queue))
    total = 0.0
    for rows, slow, columns in (
        (system.embed_image(batch), slow_image, torch.cat([slow_text, queue.texts])),
        (system.embed_text(batch), slow_text, torch.cat([slow_image, queue.images])),
    ):
        soft = 0.4 * (slow @ columns.T / system.temperature).softmax(1) + 0.6 * hard
        total = total - (soft * (rows @ columns.T / system.temperature).log_softmax(1)).sum(1).mean() / 2
    torch.testing.assert_close(system.losses(batch)["itc"], total)
    assert torch.equal(queue.texts[:5], slow_text) and torch.equal(queue.images[:5], slow_image)


def test_queue_knows_the_pictures_that_it_holds():
    """A picture that comes again meets its old texts as positives; pictures without ids never do."""
    system, batch = build(replace(TINY, queue=6)), make_batch(ids=[1, 2, 3, 4, 5])
    system.losses(batch)
    assert system.contrast.queue.ids.tolist() == [1, 2, 3, 4, 5, NOBODY]
    first = same_picture(torch.tensor([2]), torch.cat([torch.tensor([2]), system.contrast.queue.ids]))
    assert first.tolist() == [[0.5, 0, 0.5, 0, 0, 0, 0]]
    system.losses(make_batch(ids=[6, 7, 8, 9, 10]))
    assert system.contrast.queue.ids.tolist() == [
        7,
        8,
        9,
        10,
        5,
        6,
    ]  # wrapped round: the oldest five are gone
    nameless = build(replace(TINY, queue=12))
    nameless.losses(make_batch()), nameless.losses(make_batch())
    assert len(set(nameless.contrast.queue.ids.tolist())) == 11  # ten rows, each its own, and the noise


def test_judging_does_not_fill_the_queue():
    system = build(TINY, mode=False)
    before = {name: buffer.clone() for name, buffer in system.named_buffers()}
    system.losses(make_batch())
    assert all(torch.equal(buffer, before[name]) for name, buffer in system.named_buffers())


def test_temperature_starts_at_007_and_is_clamped():
    system = build(PLAIN)
    assert float(system.temperature.detach()) == pytest.approx(0.07)
    for value, kept in ((9.0, 0.5), (-1.0, 0.001), (0.1, 0.1)):
        with torch.no_grad():
            system.temperature.fill_(value)
        system.losses(make_batch())
        assert float(system.temperature.detach()) == pytest.approx(kept)


# 3.2: image-text match


def drawn(
    system: System, batch: Batch, monkeypatch, times: int = 30
) -> list[tuple[list[int], list[int], list[bool]]]:
    made, plain = [], blip.hard_pairs

    def spy(*given):
        made.append(plain(*given))
        return made[-1]

    monkeypatch.setattr(blip, "hard_pairs", spy)
    for _ in range(times):
        system.losses(batch)
    return [tuple(part.tolist() for part in parts) for parts in made]


def test_a_negative_is_never_of_the_same_picture(monkeypatch):
    ids = [7, 7, 8, 9, 7]
    made = drawn(build(PLAIN), make_batch(ids=ids), monkeypatch)
    for wrong_text, wrong_image, found in made:
        assert all(
            ids[text] != ids[row] and ids[image] != ids[row]
            for row, (text, image) in enumerate(zip(wrong_text, wrong_image))
        )
        assert all(found)
    assert len({tuple(parts[0]) for parts in made}) > 1  # drawn anew each time


def test_each_pair_is_asked_about_beside_two_wrong_ones(monkeypatch):
    """The pair, its picture with a wrong text, its text with a wrong picture: cross-entropy over all three."""
    system, batch, made, plain = build(PLAIN), make_batch(), [], blip.hard_pairs
    monkeypatch.setattr(blip, "hard_pairs", lambda *given: made.append(plain(*given)) or made[-1])
    loss = system.losses(batch)["itm"]
    wrong_text, wrong_image, _ = made[0]
    texts = replace(batch, texts=Texts(batch.texts.ids[wrong_text], batch.texts.mask[wrong_text]))
    images = replace(batch, images=batch.images[wrong_image])
    logits = torch.cat([system.match_logits(asked) for asked in (batch, texts, images)])
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.tensor([1] * 5 + [0] * 10)))


def test_a_batch_of_one_picture_has_no_negatives():
    system = build(PLAIN)
    with torch.no_grad():
        system.match_head.weight.zero_()
        system.match_head.bias.copy_(torch.tensor([0.0, math.log(3.0)]))
    loss = system.losses(make_batch(ids=[4] * 5))["itm"]
    assert float(loss.detach()) == pytest.approx(-math.log(0.75), abs=1e-6)  # the positives alone count


def test_chance_of_the_match_is_06365():
    """One positive, two negatives: a head that knows only this pays 0.6365, the value at which training seems stuck."""
    assert CHANCE == pytest.approx(0.6365, abs=5e-5)
    system = build(PLAIN)
    with torch.no_grad():
        system.match_head.weight.zero_()
        system.match_head.bias.copy_(torch.tensor([2 / 3, 1 / 3]).log())
    assert float(system.losses(make_batch())["itm"].detach()) == pytest.approx(CHANCE, abs=1e-6)


def test_hard_negatives_are_drawn_by_contrast(monkeypatch):
    """The similarities of contrast, at its temperature, say which negatives are hard (how: tests/objectives)."""
    system, batch, told, plain = build(PLAIN), make_batch(), [], blip.hard_pairs
    monkeypatch.setattr(blip, "hard_pairs", lambda *given: told.append(given) or plain(*given))
    system.losses(batch), system.losses(batch)
    for image, text, ids, temperature, _ in told:
        torch.testing.assert_close(image, system.embed_image(batch).detach())
        torch.testing.assert_close(text, system.embed_text(batch).detach())
        assert len(set(ids.tolist())) == 5 and temperature is system.temperature
    assert told[0][4] != told[1][4]


# 3.2: language modelling


def test_caption_loss_is_smoothed_and_skips_the_prompt():
    batch = make_batch()
    for prompt in (0, 3):
        system = build(replace(PLAIN, prompt=prompt))
        logits = system.logits(batch)[:, prompt:-1]
        targets = batch.texts.ids[:, 1 + prompt :].masked_fill(~batch.texts.mask[:, 1 + prompt :], -100)
        expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=0.1)
        torch.testing.assert_close(system.losses(batch)["lm"], expected)


# 3.3, 4.1, 5: training and its stages


def test_captioner_and_filter_learn_their_own_losses():
    """CapFilt: the captioner is fine-tuned with LM, the filter with ITC and ITM."""
    assert set(build(replace(PLAIN, itc=0.0, itm=0.0)).losses(make_batch())) == {"lm"}
    assert set(build(replace(PLAIN, lm=0.0)).losses(make_batch())) == {"itc", "itm"}
    for size_ in ("base", "large"):
        caption, retrieval = PRESETS[f"{size_}-caption"], PRESETS[f"{size_}-retrieval"]
        assert (caption.itc, caption.itm, caption.lm, caption.image_size, caption.prompt) == (0, 0, 1, 384, 3)
        assert (retrieval.itc, retrieval.itm, retrieval.lm, retrieval.image_size) == (1, 1, 0, 384)
        assert retrieval.negatives == "ranks" and retrieval.ramp == 1.0


def test_weights_and_order_of_the_losses():
    batch = make_batch()
    whole = build(PLAIN).losses(batch)
    assert list(whole) == ["itc", "itm", "lm"]
    double = build(replace(PLAIN, itm=2.0)).losses(batch)
    torch.testing.assert_close(double["itm"], 2 * whole["itm"])
    first = build(replace(PLAIN, contrast_first=1.5))
    told = []
    for progress in (0.0, 1.4, 1.5):
        first.begin(Progress(round(20 * progress), progress, 200))
        told.append(list(first.losses(batch)))
    assert told == [["itc"], ["itc"], ["itc", "itm", "lm"]]


def test_recipes_are_the_papers():
    assert (RECIPES["base"]["lr"], RECIPES["large"]["lr"]) == (3e-4, 2e-4)
    assert (RECIPES["base"]["batch"], RECIPES["large"]["batch"]) == (2880, 2400)
    assert (RECIPES["base"]["epochs"], RECIPES["base"]["warmup"], RECIPES["base"]["decay"]) == (
        20,
        3000,
        0.85,
    )
    assert (RECIPES["base-retrieval"]["epochs"], RECIPES["base-caption"]["epochs"]) == (6, 5)
    assert (RECIPES["large-retrieval"]["lr"], RECIPES["large-caption"]["lr"]) == (5e-6, 2e-6)
    assert all(recipe["weight_decay"] == 0.05 and name in PRESETS for name, recipe in RECIPES.items())


def test_frames_of_a_video_are_one_memory_and_a_mean():
    """Section 5.6: frame features are put one after the other; for contrast their projections are averaged."""
    system, batch = build(PLAIN, mode=False), make_batch(2)
    frames = Batch(
        images=batch.images.transpose(0, 1), texts=Texts(batch.texts.ids[:1], batch.texts.mask[:1])
    )
    with torch.no_grad():
        rows = system.encode_image(batch).encoded.rows
        mean = F.normalize(system.towers.image_projection(rows[:, 0, 0]).mean(0), dim=0)
        torch.testing.assert_close(system.embed_image(frames)[0], mean)
        memory = system.start(frames).context
        assert memory.layers[0].keys.shape[2] == 2 * rows.shape[2]
        assert system.match(frames).shape == (1,)


def test_the_convolution_stem_is_ours_and_off():
    assert Config().stem == "patch" and all(config.stem == "patch" for config in PRESETS.values())
    system = build(replace(PLAIN, stem="conv"))
    assert (
        system.encode_image(make_batch()).encoded.rows.shape
        == build(PLAIN).encode_image(make_batch()).encoded.rows.shape
    )
    system.losses(make_batch())["itc"].backward()
    assert all(parameter.grad is not None for parameter in system.towers.image.parameters())
