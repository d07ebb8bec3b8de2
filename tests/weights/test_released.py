"""Files of fusion encoders as their authors published them: every name of the layout at small sizes, read back.

The expected numbers are what the authors' own modules gave, run once on the same tensors and the same batch (docs/log.md); the
modules are no part of the project.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import released
import torch
from published import bert_tokens
from released import Shapes, filled, pixel_batch, region_batch
from torch import Tensor

import pairloom
from pairloom.api import import_weights
from pairloom.data.batch import Batch, Texts
from pairloom.errors import Mistake
from pairloom.model import save
from pairloom.systems import _fusion as fusion
from pairloom.systems import albef_nlvr, beit3_vqa

NEAR = dict(atol=1e-5, rtol=1e-5)
TOKENS = bert_tokens()
WORDS = TOKENS.size - 2  # the published vocabulary has neither [DEC] nor [ENC]
TABLE = {"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"}


class Expected(NamedTuple):
    """What a model is asked (a method of its system, or a function of the system, of one batch), and what the authors' module
    answers. first: of these numbers among all of the answer."""

    asked: str | Callable[[Any, Batch], Tensor]
    answer: list[float]
    first: int = 0


class Released(NamedTuple):
    """One file. tied: names that stand for the same tensor as another. narrow: a tensor whose width cannot be changed alone. batch:
    what is asked. vocabulary: writes it into a folder. unknown: a name that it has not, and that is no head."""

    file: str
    system: str
    shapes: Callable[[], Shapes]
    tied: dict[str, str]
    narrow: str
    expected: tuple[Expected, ...]
    batch: Callable[[], Batch] = lambda: region_batch(WORDS)
    vocabulary: Callable[[Path], None] = TOKENS.save
    unknown: str = "something.else"


def predicted(system: Any, batch: Batch, pictures: bool = True) -> Tensor:
    """VL-BERT's scores of every word, none of them hidden."""
    rows, _ = system._read(batch.texts, fusion.regions_of(batch) if pictures else None)
    return system.language_head(rows[:, : batch.texts.ids.shape[1]], system.text.words.weight)[..., :WORDS]


def classified(system: Any, batch: Batch) -> Tensor:
    """VL-BERT's scores of the classes of every region."""
    rows, first = system._read(batch.texts, fusion.regions_of(batch))
    return system.class_head(rows[:, first:])


def answer_loss(system: Any, batch: Batch) -> Tensor:
    """ALBEF's loss of answers that .5, .3 and all of the annotators gave."""
    losses: dict[str, Tensor] = system.losses(replace(batch, weights=torch.tensor([0.5, 0.3, 1.0])))
    return losses["answer"][None]


def t5_batch() -> Batch:
    """Three texts in T5's pieces, <pad> before each, about the pictures of `region_batch`."""
    rows = [
        [0, 3, 6, 3, 9, 20, 12, 3, 24, 6, 25, 1],
        [0, 3, 25, 28, 20, 3, 8, 6, 25, 24, 1],
        [0, 3, 23, 10, 9, 1],
    ]
    mask = torch.arange(12) < torch.tensor([len(row) for row in rows])[:, None]
    ids = torch.tensor([row + [0] * (12 - len(row)) for row in rows])
    return replace(region_batch(20), texts=Texts(ids, mask))


FILES = {
    "vilbert": Released(
        "pretrained_model.bin",
        "vilbert",
        lambda: released.vilbert(WORDS),
        TABLE,
        "bert.encoder.c_layer.1.biOutput.dense2.weight",
        (Expected("match", [-2.0755956, 0.2900866, 0.7054917]),),
    ),
    "12-in-1": Released(
        "multi_task_model.bin",
        "vilbert",
        lambda: released.vilbert(WORDS, tasks=True),
        TABLE,
        "vil_prediction.logit_fc.0.weight",
        (
            Expected("match", [1.2940865, 0.5351457, 0.4009992]),
            Expected(
                "answer_logits", [0.2101195, -0.0483352, -0.0600074, -0.0456296, -0.1228992, -0.1524047]
            ),
        ),
    ),
    "interbert": Released(
        "pytorch_model.bin",
        "interbert",
        lambda: released.interbert(WORDS),
        TABLE,
        "bert.v_pooler.dense.weight",
        (Expected("match", [2.0957565, 0.5183563, 3.4272718]),),
    ),
    "uniter": Released(
        "uniter-base.pt",
        "uniter",
        lambda: released.uniter(WORDS),
        {
            "cls.predictions.decoder.weight": "uniter.embeddings.word_embeddings.weight",
            "feat_regress.weight": "uniter.img_embeddings.img_linear.weight",
        },
        "uniter.img_embeddings.pos_linear.weight",
        (Expected("match", [-0.0258219, 0.1803871, 1.3173740]),),
    ),
    "uniter for VQA": Released(
        "vqa.pt",
        "uniter",
        lambda: released.uniter(WORDS, answers=True),
        {},
        "vqa_output.0.weight",
        (Expected("answer_logits", [0.1202289, -0.2271354, 0.0373410, -0.0051496, -0.0637343, -0.1427736]),),
    ),
    "beit3 for retrieval": Released(
        "beit3_base_itc_patch16_224.pth",
        "beit3",
        lambda: released.beit3(TOKENS.size + 3, "retrieval"),
        {},
        "beit3.encoder.layers.1.ffn.B.fc2.weight",
        (
            Expected("embed_image", [0.0043810, 0.0203307, -0.1050320, 0.0525457]),
            Expected("embed_text", [-0.0209497, 0.0308699, 0.0835390, -0.0859063], 128),
        ),
        lambda: pixel_batch(WORDS),
    ),
    "beit3 for captions": Released(
        "beit3_base_patch16_480_coco_captioning.pth",
        "beit3",
        lambda: released.beit3(TOKENS.size + 3, "captions"),
        {},
        "beit3.encoder.layers.0.self_attn.q_proj.A.weight",
        (Expected("logits", [-2.3102925, -1.4500407, 1.9101453, -1.2833980], 3 * TOKENS.size),),
        lambda: pixel_batch(WORDS),
    ),
    "beit3 for questions": Released(
        "beit3_base_patch16_480_vqa.pth",
        "beit3_vqa",
        lambda: released.beit3(TOKENS.size + 3, "questions"),
        {},
        "head.0.weight",
        (Expected("answer_logits", [-0.5336707, -1.4126312, -0.7018563, 0.1339248, 0.1181473, -0.7697458]),),
        lambda: pixel_batch(WORDS),
    ),
    "beit3 for statements": Released(
        "beit3_base_patch16_224_nlvr2.pth",
        "beit3_nlvr",
        lambda: released.beit3(TOKENS.size + 3, "statements"),
        {},
        "head.dense1.weight",
        (Expected("match", [0.9075051, 1.9484586, 0.9962475]),),
        lambda: released.picture_pairs(WORDS),
    ),
    "beit3's trunk": Released(
        "beit3_base_patch16_224.pth",
        "beit3",
        lambda: released.beit3(TOKENS.size + 3, ""),
        {},
        "beit3.encoder.layers.0.self_attn.q_proj.A.weight",
        (),
        unknown="beit3.something.else",
    ),
    "albef for questions": Released(
        "vqa.pth",
        "albef_vqa",
        lambda: released.albef(WORDS, "questions"),
        {
            "text_decoder.cls.predictions.decoder.weight": "text_decoder.bert.embeddings.word_embeddings.weight",
            "text_decoder.cls.predictions.decoder.bias": "text_decoder.cls.predictions.bias",
        },
        "text_decoder.bert.encoder.layer.1.output.dense.weight",
        (
            Expected("logits", [0.1092055, -1.7066786, 0.1936797, 3.2705612], 2 * TOKENS.size),
            Expected(answer_loss, [15.4039755]),
        ),
        lambda: released.questions_batch(WORDS),
    ),
    "albef for statements": Released(
        "nlvr.pth",
        "albef_nlvr",
        lambda: released.albef(WORDS, "statements"),
        released.albef_twins(),
        "cls_head.0.weight",
        (Expected("match", [-1.6855264, 0.5198228, -0.9312865]),),
        lambda: released.picture_pairs(WORDS),
    ),
    "albef after text assignment": Released(
        "pretrain_model_nlvr.pth",
        "albef_nlvr",
        lambda: released.albef(WORDS, "assignment"),
        released.albef_twins(),
        "text_encoder.encoder.layer.4.crossattention.output.dense.weight",
        (),
    ),
    "vl_bert": Released(
        "vl-bert-base-prec.model",
        "vl_bert",
        lambda: released.vl_bert(WORDS),
        {"vlbert.mlm_head.predictions.decoder.weight": "vlbert.word_embeddings.weight"},
        "vlbert.encoder.layer.1.output.dense.weight",
        (
            Expected(predicted, [0.6726067, 0.6513700, 0.7026687, 0.5358472], WORDS),
            Expected(classified, [0.4963785, -2.2123444, -1.5080140, 0.4718223]),
            Expected(
                partial(predicted, pictures=False),
                [-2.2770641, -1.6336538, -1.1301737, 0.7186644],
                10 * WORDS,
            ),
        ),
    ),
    "vlp": Released(
        "model.30.bin",
        "vlp",
        lambda: released.vlp(WORDS),
        TABLE,
        "vis_embed.2.weight",
        (Expected("logits", [-0.9660571, 0.9042245, 0.3455831, -0.5054564], 3 * TOKENS.size),),
    ),
    "vlp for VQA": Released(
        "model.19.bin",
        "vlp",
        lambda: released.vlp(WORDS, answers=True),
        TABLE,
        "ans_classifier.0.weight",
        (Expected("answer_logits", [0.2837038, -1.0478350, 1.0750343, -1.1300831, 2.3684988, 0.2405600]),),
    ),
    "vl_t5": Released(
        "Epoch30.pth",
        "vl_t5",
        released.vl_t5,
        dict.fromkeys(
            (
                "encoder.embed_tokens.weight",
                "decoder.embed_tokens.weight",
                "lm_head.weight",
                "encoder.visual_embedding.obj_order_embedding.weight",
            ),
            "shared.weight",
        ),
        "decoder.block.1.layer.1.EncDecAttention.o.weight",
        (
            Expected("match", [0.1248457, 0.1689859, 0.1988000]),
            Expected(
                "logits", [0.0611793, -0.0355721, 0.0732414, -0.0320154], 2 * (len(released.T5_PIECES) + 200)
            ),
        ),
        t5_batch,
        released.t5_vocabulary,
    ),
}
each_file = pytest.mark.parametrize("name", FILES)


@cache
def filled_once(shapes: Callable[[], Shapes]) -> dict[str, Tensor]:
    return filled(shapes())


def tensors_of(one: Released) -> dict[str, Tensor]:
    tensors = filled_once(one.shapes)
    return tensors | {name: tensors[other] for name, other in one.tied.items()}


def publish(one: Released, where: Path, tensors: dict[str, Tensor] | None = None) -> Path:
    """The file in a folder, with the vocabulary beside it."""
    one.vocabulary(where)
    tensors = tensors or tensors_of(one)
    torch.save({"model": tensors} if one.system == "beit3" else tensors, where / one.file)
    return where / one.file


def test_a_uniter_of_another_task_is_refused_by_its_head(tmp_path: Path) -> None:
    one = FILES["uniter"]
    with pytest.raises(Mistake, match="UNITER of another task.\n.*nlvr2_output"):
        pairloom.load(publish(one, tmp_path, {**tensors_of(one), "nlvr2_output.weight": torch.zeros(2, 256)}))


def test_a_beit3_of_another_task_is_refused_by_its_head(tmp_path: Path) -> None:
    one = FILES["beit3's trunk"]
    head = {"fc_norm.bias": torch.zeros(1), "head.bias": torch.zeros(1)}
    with pytest.raises(Mistake, match="Its head is fc_norm, head"):
        pairloom.load(publish(one, tmp_path, {**tensors_of(one), **head}))
    (tmp_path / "tokenizer.json").unlink()
    torch.save({"model": tensors_of(one)}, tmp_path / one.file)
    with pytest.raises(Mistake, match="no vocabulary beside"):
        pairloom.load(tmp_path / one.file)


def test_training_starts_from_the_trunk_of_a_beit3(tmp_path: Path) -> None:
    """It can be asked nothing, and has an encoder to begin with, for pairs as for questions."""
    trunk = pairloom.load(publish(FILES["beit3's trunk"], tmp_path), device="cpu")
    assert not trunk.abilities and trunk.config.data == 1
    begun = beit3_vqa.from_beit3(trunk.system.state_dict(), beit3_vqa.TINY)
    assert torch.equal(
        begun["vision.layers.1.feed.0.fn.up.weight"],
        tensors_of(FILES["beit3's trunk"])["beit3.encoder.layers.1.ffn.A.fc1.weight"],
    )


def test_an_albef_after_text_assignment_learns_to_judge(tmp_path: Path) -> None:
    """It can be asked nothing; training on statements makes it one that judges them. Of visual entailment there is no system."""
    one = FILES["albef after text assignment"]
    model = pairloom.load(publish(one, tmp_path), device="cpu")
    assert not model.abilities and not model.config.judges
    judge = albef_nlvr.System(replace(model.config, judges=True))
    assert [one.name for one in judge.abilities] == ["reason"]
    entailment = {"cls_head.2.weight": torch.zeros(3, 128), "cls_head.0.bias": torch.zeros(128)}
    with pytest.raises(Mistake, match="ALBEF of another task.\nIt has 3 classes"):
        pairloom.load(publish(one, tmp_path, {**tensors_of(one), **entailment}))


def test_a_vl_bart_is_refused(tmp_path: Path) -> None:
    names = (
        "model.shared.weight",
        "model.encoder.visual_embedding.feat_embedding.0.weight",
        "final_logits_bias",
    )
    torch.save({name: torch.zeros(2, 2) for name in names}, tmp_path / "Epoch30.pth")
    with pytest.raises(Mistake, match="is a VL-BART"):
        pairloom.load(tmp_path / "Epoch30.pth")


def test_tasks_of_a_vl_t5_are_words_before_the_source(tmp_path: Path) -> None:
    """With its vocabulary: the names of regions are counted from the end, and writing begins with <pad>."""
    model = pairloom.load(publish(FILES["vl_t5"], tmp_path), device="cpu")
    pieces, c = released.T5_PIECES, model.config
    assert (c.start, c.cls, c.sep, c.true, c.false, c.regions) == (0, 0, 1, 4, 5, 36)
    assert c.question_source == tuple(map(pieces.index, ("\u2581", "v", "q", "a", ":")))
    assert model.tokens.tokenizer.token_to_id("<vis_extra_id_0>") == c.vocabulary - 1
    assert model.tokens.tokenizer.token_to_id("<extra_id_0>") == c.vocabulary - 101
    assert torch.equal(t5_batch().texts.ids, model.tokens.encode(["a dog sat", "two cats", "red"], 20)[0])
    with_old_name = {
        name.replace("encoder.visual", "vis_encoder.visual"): one
        for name, one in tensors_of(FILES["vl_t5"]).items()
    }
    assert pairloom.load(publish(FILES["vl_t5"], tmp_path, with_old_name)).config == c


def test_a_vl_bert_with_its_cnn_is_refused(tmp_path: Path) -> None:
    one = FILES["vl_bert"]
    cnn = {"image_feature_extractor.backbone.conv1.weight": torch.zeros(2)}
    with pytest.raises(Mistake, match="together with its CNN"):
        pairloom.load(publish(one, tmp_path, tensors_of(one) | cnn))


@each_file
@torch.no_grad()
def test_it_gives_what_the_authors_module_gives(name: str, tmp_path: Path) -> None:
    one = FILES[name]
    model = pairloom.load(publish(one, tmp_path), device="cpu")
    assert model.name == one.system and one.file in model.about["source"]
    for asked, answer, first in one.expected:
        ask = getattr(model.system, asked) if isinstance(asked, str) else partial(asked, model.system)
        value = ask(one.batch()).flatten()[first : first + len(answer)]
        torch.testing.assert_close(value, torch.tensor(answer), **NEAR)


@each_file
def test_names_that_are_missing_or_unknown_are_said(name: str, tmp_path: Path) -> None:
    one = FILES[name]
    tensors = tensors_of(one)
    with pytest.raises(Mistake, match=f"Not known here: {one.unknown}"):
        pairloom.load(publish(one, tmp_path, {**tensors, one.unknown: torch.zeros(2)}))
    less = {key: value for key, value in tensors.items() if key != one.narrow}
    with pytest.raises(Mistake, match="Missing: "):
        pairloom.load(publish(one, tmp_path, less))


@each_file
def test_a_width_that_does_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    one = FILES[name]
    tensors = tensors_of(one)
    tensors[one.narrow] = tensors[one.narrow][:, :-1]
    with pytest.raises(Mistake, match="does not fit this system"):
        pairloom.load(publish(one, tmp_path, tensors))


@each_file
def test_a_vocabulary_of_another_model_is_refused(name: str, tmp_path: Path) -> None:
    one = FILES[name]
    where = publish(one, tmp_path)
    type(TOKENS).train(["a cat sat on a mat"] * 9, 64).save(tmp_path)
    with pytest.raises(Mistake, match="tokenizer .* is another model's"):
        pairloom.load(where)


class Harm:
    """What unpickling would call."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return print, ("harm",)


@each_file
def test_a_file_that_is_cut_off_or_holds_code_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = FILES[name]
    where = publish(one, tmp_path)
    whole = where.read_bytes()
    where.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Mistake):
        pairloom.load(where)
    torch.save({**tensors_of(one), "config": Harm()}, where)
    with pytest.raises(Mistake, match="holds more than tensors"):
        pairloom.load(where)
    where.write_bytes(pickle.dumps(Harm()))
    with pytest.raises(Mistake):
        pairloom.load(where)
    assert "harm" not in capsys.readouterr().out


def test_a_rank_that_is_a_single_number_is_refused(tmp_path: Path) -> None:
    one = FILES["12-in-1"]
    with pytest.raises(Mistake, match="'vil_logit.bias' is \\[\\]; it should have 1 axes"):
        pairloom.load(publish(one, tmp_path, tensors_of(one) | {"vil_logit.bias": torch.tensor(1.0)}))


def test_what_reads_regions_is_imported(tmp_path: Path) -> None:
    """A VL-BERT can be asked nothing, and is still what training starts from."""
    where = publish(FILES["vl_bert"], tmp_path)
    facts = import_weights(where, tmp_path / "copy")
    assert facts["system"] == "vl_bert" and facts["reads"] == "regions" and "pixels" not in facts
    assert pairloom.load(tmp_path / "copy").abilities == frozenset()


@each_file
def test_it_is_saved_and_loaded_again(name: str, tmp_path: Path) -> None:
    model = pairloom.load(publish(FILES[name], tmp_path), device="cpu")
    save(model, tmp_path / "copy")
    again = pairloom.load(tmp_path / "copy", device="cpu")
    assert (again.config, again.feed, again.generation) == (model.config, model.feed, model.generation)
    before, after = model.system.state_dict(), again.system.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_heads_of_other_tasks_are_named(tmp_path: Path) -> None:
    model = pairloom.load(publish(FILES["12-in-1"], tmp_path), device="cpu")
    assert model.about["not read"] == (
        "heads of other tasks (linguisic_logit, vil_binary_prediction, vil_prediction_gqa, vil_tri_prediction, vision_logit)"
    )


@pytest.mark.parametrize("form", ["trainval_label2ans.json", "ans2label.json", "answer2label.txt"])
def test_the_answers_are_read_beside_the_file(form: str, tmp_path: Path) -> None:
    """As a list, as the number of each text, and as one object a line."""
    names = ["yes", "no", "2", "red", "a cat", "left"]
    where = publish(FILES["12-in-1"], tmp_path)
    texts = {
        "trainval_label2ans.json": '["yes", "no", "2", "red", "a cat", "left"]',
        "ans2label.json": '{"no": 1, "yes": 0, "2": 2, "left": 5, "red": 3, "a cat": 4}',
        "answer2label.txt": "\n".join(
            f'{{"answer": "{text}", "label": {row}}}' for row, text in enumerate(names)
        ),
    }
    (tmp_path / form).write_text(texts[form])
    assert pairloom.load(where).config.answer_list == tuple(names)
    (tmp_path / form).write_text(texts[form].replace("left", "no"))
    if form != "trainval_label2ans.json":
        with pytest.raises(Mistake, match="is not the list of the answers"):
            pairloom.load(where)
    (tmp_path / form).write_text("[")
    with pytest.raises(Mistake, match="is not the list of the answers"):
        pairloom.load(where)
