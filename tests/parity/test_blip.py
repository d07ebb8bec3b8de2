"""BLIP beside transformers' classes: random weights, moved through the published key layout."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

pytest.importorskip("transformers")

from transformers import (  # noqa: E402
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipTextModel,
)

from pairloom.blocks.positions import resize_positions  # noqa: E402
from pairloom.data.batch import Batch, Texts  # noqa: E402
from pairloom.systems.blip import Config, System  # noqa: E402
from pairloom.tasks.decode import Writing, adjust, decode, nucleus  # noqa: E402
from pairloom.weights.salesforce import from_salesforce, from_transformers, to_salesforce, to_transformers  # noqa: E402

PAD, CLS, SEP, DEC, ENC, WORDS = 0, 2, 3, 118, 119, 120
CONFIG = Config(
    image_size=48, patch=16, image_width=64, image_depth=3, image_heads=4, vocabulary=WORDS, positions=40,
    width=96, depth=3, heads=6, dropout=0.0, embedding=32, cls=CLS, sep=SEP, dec=DEC, enc=ENC,
    sharing="none", queue=0, momentum=0.0,
)  # fmt: skip
TEXT = dict(
    vocab_size=WORDS, hidden_size=96, encoder_hidden_size=64, intermediate_size=384, num_hidden_layers=3,
    num_attention_heads=6, max_position_embeddings=40, layer_norm_eps=1e-12, bos_token_id=DEC, pad_token_id=PAD,
    sep_token_id=SEP, eos_token_id=SEP, label_smoothing=0.1,
)  # fmt: skip
VISION = dict(
    hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4, image_size=48, patch_size=16,
    layer_norm_eps=1e-6,
)  # fmt: skip
BATCH = 6


def scatter(module: torch.nn.Module, seed: int) -> None:
    """Weights large enough that every part matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            draw = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(
                1 + 0.1 * draw if "norm" in name.lower() and name.endswith("weight") else 0.12 * draw
            )


@pytest.fixture(scope="module")
def theirs():
    """A matcher and a captioner that look through the same image tower."""
    matcher = BlipForImageTextRetrieval(
        BlipConfig(text_config=TEXT, vision_config=VISION, image_text_hidden_size=32)
    )
    writer = BlipForConditionalGeneration(BlipConfig(text_config=TEXT, vision_config=VISION))
    scatter(matcher, 1)
    scatter(writer, 2)
    writer.vision_model.load_state_dict(matcher.vision_model.state_dict())
    return matcher.eval(), writer.eval()


@pytest.fixture(scope="module")
def ours(theirs) -> System:
    system = System(CONFIG)
    both = theirs[1].state_dict() | theirs[0].state_dict()
    published = {from_transformers(name): tensor for name, tensor in both.items()}
    moved = from_salesforce(published | {"temp": torch.tensor(0.05)}, system)
    assert not moved.missing and not moved.left
    moved.into(system)
    return system.eval()


@pytest.fixture(scope="module")
def batch() -> Batch:
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(4, 118, (BATCH, 9), generator=generator)
    tokens[:, 0] = CLS
    lengths = torch.tensor([9, 5, 7, 9, 3, 6])
    keep = torch.arange(9) < lengths[:, None]
    tokens[torch.arange(BATCH), lengths - 1] = SEP
    images = torch.randn(BATCH, 1, 3, 48, 48, generator=generator)
    return Batch(images=images, texts=Texts(tokens.masked_fill(~keep, PAD), keep))


def far(a: torch.Tensor, b: torch.Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


@torch.no_grad()
def test_vision(theirs, ours, batch):
    expected = theirs[0].vision_model(pixel_values=batch.images[:, 0]).last_hidden_state
    assert far(ours.encode_image(batch).encoded.rows[:, 0], expected) < 1e-5


@torch.no_grad()
def test_vision_at_another_size(theirs, ours, batch):
    images = torch.randn(2, 3, 80, 80, generator=torch.Generator().manual_seed(4))
    expected = theirs[0].vision_model(pixel_values=images, interpolate_pos_encoding=True).last_hidden_state
    bigger = System(replace(CONFIG, image_size=80)).eval()
    from_salesforce(to_salesforce(ours), bigger).into(bigger)
    assert far(bigger.encode_image(Batch(images=images[:, None])).encoded.rows[:, 0], expected) < 1e-5
    assert resize_positions(ours.towers.image.embed.positions, 10) is ours.towers.image.embed.positions


@torch.no_grad()
def test_contrast(theirs, ours, batch):
    given = dict(
        input_ids=batch.texts.ids, attention_mask=batch.texts.mask.long(), pixel_values=batch.images[:, 0]
    )
    expected = theirs[0](**given, use_itm_head=False).itm_score
    assert far(ours.embed_image(batch) @ ours.embed_text(batch).T, expected) < 1e-5


@torch.no_grad()
def test_match_with_enc(theirs, ours, batch):
    tokens = batch.texts.ids.clone()
    tokens[:, 0] = ENC  # the class itself leaves [CLS] there; training, and the paper, do not
    given = dict(attention_mask=batch.texts.mask.long(), pixel_values=batch.images[:, 0], use_itm_head=True)
    expected = theirs[0](input_ids=tokens, **given).itm_score
    assert far(ours.match_logits(batch), expected) < 1e-5
    assert far(ours.match(batch), expected[:, 1] - expected[:, 0]) < 1e-5
    assert far(ours.match_logits(batch), theirs[0](input_ids=batch.texts.ids, **given).itm_score) > 1e-2


@torch.no_grad()
def test_text_mode_without_pictures(theirs, ours, batch):
    model: BlipTextModel = theirs[0].text_encoder
    expected = model(input_ids=batch.texts.ids, attention_mask=batch.texts.mask.long()).last_hidden_state
    assert (
        far(ours.towers.text(batch.texts.ids, batch.texts.mask)[batch.texts.mask], expected[batch.texts.mask])
        < 1e-5
    )


@torch.no_grad()
def test_language(theirs, ours, batch):
    tokens = batch.texts.ids.clone()
    tokens[:, 0] = DEC
    labels = tokens.masked_fill(~batch.texts.mask, -100)
    given = dict(input_ids=tokens, attention_mask=batch.texts.mask.long(), pixel_values=batch.images[:, 0])
    expected = theirs[1](**given, labels=labels)
    assert far(ours.logits(batch)[batch.texts.mask], expected.logits[batch.texts.mask]) < 1e-5
    assert abs(float(ours.losses(batch)["lm"] - expected.loss)) < 1e-5


def generate(writer, batch: Batch, prompt: tuple[int, ...], **options) -> list[list[int]]:
    """Their tokens after the prompt, cut at the end token; they drop the last column of what they are given."""
    given = torch.tensor([[DEC, *prompt, SEP]]).repeat(BATCH, 1)
    made = writer.generate(
        pixel_values=batch.images[:, 0], input_ids=given, attention_mask=torch.ones_like(given), **options
    )
    rows = [row[1 + len(prompt) :] for row in made.tolist()]
    return [row[: row.index(SEP)] if SEP in row else row for row in rows]


def leaning(theirs, ours, bias: float):
    """The end made likelier or less likely by the same bias on both sides."""
    with torch.no_grad():
        for vector in (theirs[1].text_decoder.cls.predictions.bias, ours.head.bias):
            vector[SEP] = bias


WAYS = {
    "greedy": dict(way="greedy"),
    "beam": dict(way="beam", beams=3),
    "five beams": dict(way="beam", beams=5),
    "penalty": dict(way="beam", beams=3, repetition_penalty=1.1),
    "greedy penalty": dict(way="greedy", repetition_penalty=1.5),
    "length": dict(way="beam", beams=3, length_penalty=2.0),
    "short": dict(way="beam", beams=3, length_penalty=-0.5),
}


@pytest.mark.parametrize("bias", [-30.0, 1.0, 2.5, 4.0])
@pytest.mark.parametrize("way", WAYS)
def test_the_same_tokens(theirs, ours, batch, way, bias):
    settings = WAYS[way]
    leaning(theirs, ours, bias)
    options = dict(
        max_length=14, min_length=6, do_sample=False, num_beams=settings.get("beams", 1), early_stopping=False,
        repetition_penalty=settings.get("repetition_penalty", 1.0), length_penalty=settings.get("length_penalty", 1.0),
    )  # fmt: skip
    prompt = (17, 44, 9)
    expected = generate(theirs[1], batch, prompt, **options)
    texts = decode(ours, batch, Writing(max_length=14, min_length=6, **settings), prompt)
    assert [list(row[0].tokens) for row in texts] == expected
    if bias == -30.0:
        assert all(not row[0].ended and len(row[0].tokens) == 10 for row in texts)


def test_real_ends_come_at_many_lengths(theirs, ours, batch):
    leaning(theirs, ours, 2.5)
    texts = decode(ours, batch, Writing(max_length=14, min_length=3))
    assert len({len(row[0].tokens) for row in texts}) > 1 and any(row[0].ended for row in texts)


def test_scores_of_beams(theirs, ours, batch):
    leaning(theirs, ours, 2.5)
    given = torch.tensor([[DEC, SEP]]).repeat(BATCH, 1)
    made = theirs[1].generate(
        pixel_values=batch.images[:, 0], input_ids=given, attention_mask=torch.ones_like(given), max_length=12, num_beams=3,
        num_return_sequences=3, return_dict_in_generate=True, output_scores=True, do_sample=False,
    )  # fmt: skip
    texts = decode(ours, batch, Writing(max_length=12, min_length=0, several=3))
    scores = torch.tensor([text.mean for row in texts for text in row])
    assert far(scores, made.sequences_scores) < 1e-5


def test_what_sampling_chooses_from():
    from transformers.generation.logits_process import (
        LogitsProcessorList,
        MinLengthLogitsProcessor,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    generator = torch.Generator().manual_seed(5)
    scores = 3 * torch.randn(4, WORDS, generator=generator)
    history = torch.randint(0, WORDS, (4, 4), generator=generator)
    steps = LogitsProcessorList([
        RepetitionPenaltyLogitsProcessor(1.1), MinLengthLogitsProcessor(5, SEP, device="cpu"),
        TemperatureLogitsWarper(0.8), TopKLogitsWarper(50), TopPLogitsWarper(0.9),
    ])  # fmt: skip
    expected = steps(history, scores.clone()).softmax(1)
    writing = Writing(way="nucleus", min_length=5, repetition_penalty=1.1, temperature=0.8, top_k=50)
    chances, tokens = nucleus(adjust(scores, history, SEP, writing), writing)
    assert far(torch.zeros(4, WORDS).scatter(1, tokens, chances), expected) < 1e-6


def test_names_there_and_back(theirs, ours):
    for model in theirs:
        names = [name for name in model.state_dict() if not name.endswith("position_ids")]
        assert [to_transformers(from_transformers(name)) for name in names] == names
    published = to_salesforce(ours)
    back = from_salesforce(
        published | {"image_queue": torch.zeros(1), "text_encoder_m.x": torch.zeros(1)}, ours
    )
    assert not back.missing and not back.left
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in back.tensors.items())
    matcher = {to_transformers(name) for name in published}
    assert matcher >= {
        name for model in theirs for name in model.state_dict() if not name.endswith("position_ids")
    }
