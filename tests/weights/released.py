"""Names and shapes of the tensors in files that the authors of fusion encoders published, written out by hand, at small sizes; and
numbers to fill them with, the same on every machine.

W words, D width, F features of a region, K classes of a detector, A answers.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pairloom.data.batch import Batch, Texts
from pairloom.data.records import Questions, Regions

Shapes = dict[str, tuple[int, ...]]
NORMS = ("norm", "_ln", "feat_embedding.1.", "pos_embedding.1.", "head.1.")  # of their names


def drawn(name: str, shape: tuple[int, ...], scale: float = 0.1) -> Tensor:
    """Normal numbers that follow from a name alone."""
    draw = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape or (1,))
    return torch.tensor(scale * draw, dtype=torch.float32).reshape(shape)


def filled(shapes: Shapes) -> dict[str, Tensor]:
    """Tensors large enough that every one of them matters: norms near 1, everything else near 0."""

    def start(name: str) -> float:
        return float(any(part in name.lower() for part in NORMS) and name.endswith("weight"))

    return {name: start(name) + drawn(name, shape) for name, shape in shapes.items()}


def linear(name: str, rows: int, columns: int) -> Shapes:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def feed(up: str, down: str, width: int, hidden: int) -> Shapes:
    """BERT's feed-forward part."""
    return (
        linear(f"{up}.dense", hidden, width)
        | linear(f"{down}.dense", width, hidden)
        | norm(f"{down}.LayerNorm", width)
    )


def bert_layer(name: str, width: int, hidden: int) -> Shapes:
    shapes: Shapes = {}
    for part in ("query", "key", "value"):
        shapes |= linear(f"{name}.attention.self.{part}", width, width)
    shapes |= linear(f"{name}.attention.output.dense", width, width)
    shapes |= norm(f"{name}.attention.output.LayerNorm", width)
    return shapes | feed(f"{name}.intermediate", f"{name}.output", width, hidden)


def bert_embeddings(name: str, words: int, positions: int, kinds: int, width: int) -> Shapes:
    return {
        f"{name}.word_embeddings.weight": (words, width),
        f"{name}.position_embeddings.weight": (positions, width),
        f"{name}.token_type_embeddings.weight": (kinds, width),
    } | norm(f"{name}.LayerNorm", width)


def word_head(words: int, width: int) -> Shapes:
    """BERT's head of masked words, whose last matrix is the word table again."""
    return (
        {"cls.predictions.bias": (words,), "cls.predictions.decoder.weight": (words, width)}
        | linear("cls.predictions.transform.dense", width, width)
        | norm("cls.predictions.transform.LayerNorm", width)
    )


def classifier(name: str, width: int, hidden: int, classes: int) -> Shapes:
    return (
        linear(f"{name}.0", hidden, width) | norm(f"{name}.2", hidden) | linear(f"{name}.3", classes, hidden)
    )


def vilbert(words: int, tasks: bool = False) -> Shapes:
    """128 and 256 wide, 4 and 2 layers, 2 exchanges. tasks: 12-in-1's, of which the real one has 3,129 answers."""
    shapes = bert_embeddings("bert.embeddings", words, 24, 2, 128)
    shapes |= linear("bert.v_embeddings.image_embeddings", 256, 20)
    shapes |= linear("bert.v_embeddings.image_location_embeddings", 256, 5)
    shapes |= norm("bert.v_embeddings.LayerNorm", 256)
    for layer in range(4):
        shapes |= bert_layer(f"bert.encoder.layer.{layer}", 128, 512)
    for layer in range(2):
        shapes |= bert_layer(f"bert.encoder.v_layer.{layer}", 256, 256)
        name = f"bert.encoder.c_layer.{layer}"
        for part in ("query", "key", "value"):
            shapes |= linear(f"{name}.biattention.{part}1", 128, 256)
            shapes |= linear(f"{name}.biattention.{part}2", 128, 128)
        for stream, width in ((1, 256), (2, 128)):
            shapes |= linear(f"{name}.biOutput.dense{stream}", width, 128)
            shapes |= norm(f"{name}.biOutput.LayerNorm{stream}", width)
            shapes |= linear(f"{name}.biOutput.q_dense{stream}", width, 128)
        shapes |= feed(f"{name}.v_intermediate", f"{name}.v_output", 256, 256)
        shapes |= feed(f"{name}.t_intermediate", f"{name}.t_output", 128, 512)
    shapes |= linear("bert.t_pooler.dense", 128, 128) | linear("bert.v_pooler.dense", 128, 256)
    shapes |= word_head(words, 128) | linear("cls.bi_seq_relationship", 2, 128)
    shapes |= linear("cls.imagePredictions.transform.dense", 256, 256)
    shapes |= norm("cls.imagePredictions.transform.LayerNorm", 256)
    shapes |= linear("cls.imagePredictions.decoder", 7, 256)
    if tasks:
        shapes |= {"bert.embeddings.task_embeddings.weight": (20, 128)}
        shapes |= classifier("vil_prediction.logit_fc", 128, 256, 6)
        shapes |= classifier("vil_prediction_gqa.logit_fc", 128, 256, 5)
        shapes |= classifier("vil_binary_prediction.logit_fc", 256, 256, 2)
        shapes |= linear("vil_logit", 1, 128) | linear("vil_tri_prediction", 3, 128)
        shapes |= linear("vision_logit", 1, 256) | linear("linguisic_logit", 1, 128)
    return shapes


def interbert(words: int) -> Shapes:
    """192 wide, 1 layer of both, then 2 of words and 2 of pictures, in 3 and in 2 heads."""
    shapes = bert_embeddings("bert.embeddings", words, 24, 2, 192)
    shapes |= linear("bert.v_embeddings.image_embeddings", 192, 20)
    shapes |= linear("bert.v_embeddings.image_location_embeddings", 192, 5)
    shapes |= norm("bert.v_embeddings.LayerNorm", 192)
    for layer in range(3):
        shapes |= bert_layer(f"bert.encoder.layer.{layer}", 192, 768)
    for layer in range(2):
        shapes |= bert_layer(f"bert.encoder.v_layer.{layer}", 192, 768)
    shapes |= linear("bert.t_pooler.dense", 128, 192) | linear("bert.v_pooler.dense", 128, 192)
    shapes |= word_head(words, 192) | linear("cls.bi_seq_relationship", 2, 128)
    shapes |= linear("cls.imagePredictions.transform.dense", 192, 192)
    shapes |= norm("cls.imagePredictions.transform.LayerNorm", 192)
    return shapes | linear("cls.imagePredictions.decoder", 7, 192)


def uniter(words: int, answers: bool = False) -> Shapes:
    """128 wide, 2 layers. answers: fine-tuned for VQA, with 6 answers."""
    shapes = bert_embeddings("uniter.embeddings", words, 24, 2, 128)
    name = "uniter.img_embeddings"
    shapes |= linear(f"{name}.img_linear", 128, 20) | norm(f"{name}.img_layer_norm", 128)
    shapes |= linear(f"{name}.pos_linear", 128, 7) | norm(f"{name}.pos_layer_norm", 128)
    shapes |= {f"{name}.mask_embedding.weight": (2, 20)} | norm(f"{name}.LayerNorm", 128)
    for layer in range(2):
        shapes |= bert_layer(f"uniter.encoder.layer.{layer}", 128, 512)
    shapes |= linear("uniter.pooler.dense", 128, 128)
    if answers:
        return shapes | classifier("vqa_output", 128, 256, 6)
    shapes |= word_head(words, 128) | linear("itm_output", 2, 128)
    shapes |= linear("feat_regress.net.0", 128, 128) | norm("feat_regress.net.2", 128)
    shapes |= {"feat_regress.weight": (128, 20), "feat_regress.bias": (20,)}
    return shapes | classifier("region_classifier.net", 128, 128, 7)


def vl_bert(words: int) -> Shapes:
    """128 wide, 2 layers, boxes by 16 sines."""
    shapes: Shapes = {
        "vlbert.word_embeddings.weight": (words, 128),
        "vlbert.end_embedding.weight": (1, 128),
        "vlbert.position_embeddings.weight": (24, 128),
        "vlbert.token_type_embeddings.weight": (3, 128),
        "object_linguistic_embeddings.weight": (1, 128),
        "object_mask_visual_embedding.weight": (1, 20),
        "object_mask_word_embedding.weight": (1, 128),
        "aux_text_visual_embedding.weight": (1, 128),
    }
    shapes |= linear("image_feature_extractor.obj_downsample.1", 128, 36)
    for name in ("embedding_LayerNorm", "visual_ln_text", "visual_ln_object"):
        shapes |= norm(f"vlbert.{name}", 128)
    for layer in range(2):
        shapes |= bert_layer(f"vlbert.encoder.layer.{layer}", 128, 512)
    shapes |= {
        name.replace("cls.", "vlbert.mlm_head."): shape for name, shape in word_head(words, 128).items()
    }
    shapes |= linear("vlbert.mvrc_head.transform.dense", 128, 128)
    return shapes | linear("vlbert.mvrc_head.region_cls_pred", 7, 128)


def vlp(words: int, answers: bool = False) -> Shapes:
    """128 wide, 2 layers. answers: fine-tuned for VQA, with 6 answers."""
    shapes = bert_embeddings("bert.embeddings", words, 130, 6, 128)
    for layer in range(2):
        shapes |= bert_layer(f"bert.encoder.layer.{layer}", 128, 512)
    shapes |= linear("bert.pooler.dense", 128, 128) | word_head(words, 128)
    shapes |= (
        linear("vis_embed.0", 20, 20) | linear("vis_embed.2", 128, 20) | linear("vis_pe_embed.0", 128, 13)
    )
    if answers:
        shapes |= linear("ans_classifier.0", 256, 128) | linear("ans_classifier.2", 6, 256)
    return shapes


T5_PIECES = ["<pad>", "</s>", "<unk>", "\u2581", "\u2581true", "\u2581false", *"abcdefghijklmnopqrstuvwxyz:"]


def t5_vocabulary(where: Path) -> None:
    """A spiece.model of these pieces, each with a score of -1: of a piece its text (1) and score (2); of the trainer its kind (3)."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    each = (field(1, piece.encode()) + b"\x15" + struct.pack("<f", -1.0) for piece in T5_PIECES)
    (where / "spiece.model").write_bytes(b"".join(field(1, one) for one in each) + field(2, b"\x18\x01"))


def vl_t5() -> Shapes:
    """64 wide, 4 heads of 12, 2 layers; the pieces, 100 sentinels and 100 names of regions."""
    words = len(T5_PIECES) + 200
    shapes: Shapes = {"shared.weight": (words, 64)}
    for stack in ("encoder", "decoder"):
        shapes |= {f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (32, 4)}
        shapes |= {f"{stack}.final_layer_norm.weight": (64,)}
        for layer in range(2):
            name = f"{stack}.block.{layer}.layer"
            kinds = ["SelfAttention"] + ["EncDecAttention"] * (stack == "decoder")
            for at, kind in enumerate(kinds):
                for part in "qkv":
                    shapes |= {f"{name}.{at}.{kind}.{part}.weight": (48, 64)}
                shapes |= {f"{name}.{at}.{kind}.o.weight": (64, 48), f"{name}.{at}.layer_norm.weight": (64,)}
            shapes |= {f"{name}.{len(kinds)}.DenseReluDense.wi.weight": (96, 64)}
            shapes |= {f"{name}.{len(kinds)}.DenseReluDense.wo.weight": (64, 96)}
            shapes |= {f"{name}.{len(kinds)}.layer_norm.weight": (64,)}
    name = "encoder.visual_embedding"
    shapes |= linear(f"{name}.feat_embedding.0", 64, 20)
    shapes |= linear(f"{name}.absolute_vis_pos_embedding.0", 64, 5)
    return shapes | {
        f"{name}.feat_embedding.1.weight": (64,),
        f"{name}.absolute_vis_pos_embedding.1.weight": (64,),
        f"{name}.img_order_embedding.weight": (2, 64),
    }


def albef_layer(name: str, width: int, reads: bool) -> Shapes:
    """A layer of BERT; where it reads the other side, with a cross-attention."""
    crossing = bert_layer(name, width, 4 * width) if reads else {}
    return bert_layer(name, width, 4 * width) | {
        key.replace(".attention.", ".crossattention."): shape
        for key, shape in crossing.items()
        if ".attention." in key
    }


def albef(words: int, task: str) -> Shapes:
    """128 wide, a picture of 2 x 2 patches of 16 through 1 layer, 1 layer of text. task: "questions" (2 layers of fusion, 2 that write),
    "statements" (2 layers twice), or "assignment" (the same with the head of text assignment)."""
    name = "visual_encoder"
    shapes: Shapes = {f"{name}.cls_token": (1, 1, 128), f"{name}.pos_embed": (1, 5, 128)}
    shapes |= {f"{name}.patch_embed.proj.weight": (128, 3, 16, 16), f"{name}.patch_embed.proj.bias": (128,)}
    block = f"{name}.blocks.0"
    for part in ("norm1", "norm2"):
        shapes |= norm(f"{block}.{part}", 128)
    shapes |= linear(f"{block}.attn.qkv", 384, 128) | linear(f"{block}.attn.proj", 128, 128)
    shapes |= linear(f"{block}.mlp.fc1", 512, 128) | linear(f"{block}.mlp.fc2", 128, 512)
    shapes |= norm(f"{name}.norm", 128) | bert_embeddings("text_encoder.embeddings", words, 24, 2, 128)
    for layer in range(3 if task == "questions" else 5):
        shapes |= albef_layer(f"text_encoder.encoder.layer.{layer}", 128, layer > 0)
    if task == "statements":
        return shapes | linear("cls_head.0", 128, 128) | linear("cls_head.2", 2, 128)
    if task == "assignment":
        shapes |= linear("vision_proj", 16, 128) | linear("text_proj", 16, 128) | linear("ta_head", 3, 128)
        return shapes | {"temp": ()}
    shapes |= bert_embeddings("text_decoder.bert.embeddings", words, 24, 2, 128)
    for layer in range(2):
        shapes |= albef_layer(f"text_decoder.bert.encoder.layer.{layer}", 128, True)
    head = {f"text_decoder.{key}": shape for key, shape in word_head(words, 128).items()}
    return shapes | head | {"text_decoder.cls.predictions.decoder.bias": (words,)}


def albef_twins() -> dict[str, str]:
    """The maps of keys and values that both layers of a pair share: the second's names -> the first's."""
    name = "text_encoder.encoder.layer.{}.crossattention.self.{}.{}"
    return {
        name.format(layer + 1, part, kind): name.format(layer, part, kind)
        for layer in (1, 3)
        for part in ("key", "value")
        for kind in ("weight", "bias")
    }


def beit3(words: int, head: str) -> Shapes:
    """128 wide, 2 layers, pictures of 2 x 2 patches of 16. head: "retrieval", "captions", "questions" (6 answers), "statements", or ""
    for the trunk."""
    shapes: Shapes = {
        "beit3.text_embed.weight": (words, 128),
        "beit3.vision_embed.mask_token": (1, 1, 128),
        "beit3.vision_embed.cls_token": (1, 1, 128),
        "beit3.vision_embed.proj.weight": (128, 3, 16, 16),
        "beit3.vision_embed.proj.bias": (128,),
        "beit3.encoder.embed_positions.A.weight": (7, 128),
        "beit3.encoder.embed_positions.B.weight": (20, 128),
    }
    for expert in "AB":
        for layer in range(2):
            name = f"beit3.encoder.layers.{layer}"
            for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
                shapes |= linear(f"{name}.self_attn.{part}.{expert}", 128, 128)
            shapes |= norm(f"{name}.self_attn.inner_attn_ln.{expert}", 128)
            shapes |= norm(f"{name}.self_attn_layer_norm.{expert}", 128)
            shapes |= linear(f"{name}.ffn.{expert}.fc1", 512, 128) | linear(
                f"{name}.ffn.{expert}.fc2", 128, 512
            )
            shapes |= norm(f"{name}.ffn.{expert}.ffn_layernorm", 512)
            shapes |= norm(f"{name}.final_layer_norm.{expert}", 128)
        if head != "questions":
            shapes |= norm(f"beit3.encoder.layer_norm.{expert}", 128)
    if head == "captions":
        return shapes | linear("mlm_head", words, 128)
    if head == "questions":
        shapes |= norm("pooler.norm", 128) | linear("pooler.dense", 128, 128)
        return shapes | linear("head.0", 256, 128) | norm("head.1", 256) | linear("head.3", 6, 256)
    if head == "statements":
        shapes |= norm("head.norm1", 512) | linear("head.dense1", 256, 512)
        return shapes | norm("head.norm2", 256) | linear("head.dense2", 2, 256)
    if not head:
        return shapes
    return shapes | {"language_head.weight": (128, 128), "vision_head.weight": (128, 128), "logit_scale": ()}


def pixel_batch(vocabulary: int, size: int = 32) -> Batch:
    """The texts of `region_batch` with pictures."""
    texts = region_batch(vocabulary).texts
    images = np.random.RandomState(8).standard_normal((3, 1, 3, size, size))
    return Batch(images=torch.tensor(images, dtype=torch.float32), texts=texts, image_ids=torch.arange(3))


def region_batch(vocabulary: int, features: int = 20, classes: int = 7) -> Batch:
    """Three texts of 8, 5 and 6 tokens about three pictures of 5, 4 and 1 regions; BERT's special tokens are 2 and 3."""
    draw = np.random.RandomState(7)
    ids = torch.tensor(draw.randint(6, vocabulary - 2, (3, 8)))
    mask = torch.arange(8) < torch.tensor([8, 5, 6])[:, None]
    ids[:, 0], ids[torch.arange(3), mask.sum(1) - 1] = 2, 3
    corner = draw.uniform(0, 0.5, (3, 1, 5, 2))
    boxes = np.concatenate([corner, corner + draw.uniform(0.1, 0.5, (3, 1, 5, 2))], -1)
    chances = draw.uniform(0, 1, (3, 1, 5, classes))
    numbers = (draw.standard_normal((3, 1, 5, features)), boxes, chances / chances.sum(-1, keepdims=True))
    seen, places, shares = (torch.tensor(one, dtype=torch.float32) for one in numbers)
    real = torch.arange(5) < torch.tensor([5, 4, 1])[:, None, None]
    return Batch(
        texts=Texts(ids.masked_fill(~mask, 0), mask),
        regions=Regions(seen, places, real, shares, None),
        image_ids=torch.arange(3),
    )


def picture_pairs(vocabulary: int, size: int = 32) -> Batch:
    """The texts of `region_batch`, each about two pictures."""
    images = np.random.RandomState(9).standard_normal((3, 2, 3, size, size))
    return replace(pixel_batch(vocabulary, size), images=torch.tensor(images, dtype=torch.float32))


def questions_batch(vocabulary: int) -> Batch:
    """The texts of `region_batch` as answers, each to another of them about a picture."""
    batch = pixel_batch(vocabulary)
    order = torch.tensor([1, 2, 0])
    return replace(batch, question=Questions(Texts(batch.texts.ids[order], batch.texts.mask[order])))
