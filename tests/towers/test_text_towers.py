"""Text towers: parity with transformers' classes under random weights, pooling, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from pairloom.towers import load_text_tower

TEXTS = [
    "a red ball",
    "two blue cats on a mat",
    "",
    "a ball a cat a mat a ball a cat a mat",
    "a red ball",
    "cats",
]
WORDS = "a red ball two blue cats cat on mat".split()
NEAR = {"rtol": 1e-5, "atol": 1e-5}
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 20,
}  # fmt: skip
CLASSES = {
    "bert": (BertModel, BertConfig(**SIZES, max_position_embeddings=16)),
    "roberta": (RobertaModel, RobertaConfig(**SIZES, max_position_embeddings=18, type_vocab_size=1)),
    "xlm-roberta": (
        XLMRobertaModel,
        XLMRobertaConfig(**SIZES, max_position_embeddings=18, type_vocab_size=1),
    ),
    "mpnet": (MPNetModel, MPNetConfig(**SIZES, max_position_embeddings=18)),
}


def write_tokenizer(folder: Path, kind: str) -> None:
    """A word-level tokenizer with the special tokens of a kind: BERT's, or RoBERTa's with 1 as the padding."""
    names = (
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        if kind == "bert"
        else ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    )
    vocabulary = {name: at for at, name in enumerate([*names, *WORDS])}
    start, end = (names[2], names[3]) if kind == "bert" else (names[0], names[2])
    tokenizer = Tokenizer(models.WordLevel(vocabulary, names[1] if kind == "bert" else names[3]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(names)
    special = [(start, vocabulary[start]), (end, vocabulary[end])]
    tokenizer.post_processor = processors.TemplateProcessing(f"{start} $A {end}", None, special)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_tower(folder: Path, kind: str) -> torch.nn.Module:
    """A folder of transformers with random weights; the model in it."""
    torch.manual_seed(0)
    model_class, config = CLASSES[kind]
    model = model_class(config).eval()
    for parameter in model.parameters():  # norms and biases too
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    write_tokenizer(folder, kind)
    return model


def write_modules(
    folder: Path, pooling: dict[str, bool], *, normalise: bool = False, length: int = 12
) -> None:
    """The files that sentence-transformers puts beside a model."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalise else [])]
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": paths[kind]} for kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": length}))


def states_of(model: torch.nn.Module, folder: Path, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states of transformers' class, padded, and their mask."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(pad_id=model.config.pad_token_id, length=None)
    coded = tokenizer.encode_batch(TEXTS)
    ids = torch.tensor([one.ids for one in coded])
    mask = torch.tensor([one.attention_mask for one in coded])
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).last_hidden_state, mask.bool()


@pytest.mark.parametrize("kind", CLASSES)
def test_hidden_states_equal_transformers(kind: str, tmp_path: Path) -> None:
    model = write_tower(tmp_path, kind)
    tower = load_text_tower(tmp_path)
    assert (tower.width, tower.length) == (32, 16)
    hidden, mask = tower.tokens(TEXTS)
    theirs, real = states_of(model, tmp_path, 16)
    assert torch.equal(mask, real)
    torch.testing.assert_close(hidden[mask], theirs[real], **NEAR)
    mean = torch.stack([row[here].mean(0) for row, here in zip(theirs, real)])
    np.testing.assert_allclose(tower.embed(TEXTS), mean.numpy(), **NEAR)


@pytest.mark.parametrize(
    ("key", "kind"), [("cls_token", "cls"), ("max_tokens", "max"), ("mean_sqrt_len_tokens", "sqrt")]
)
def test_pooling_is_that_of_the_config(key: str, kind: str, tmp_path: Path) -> None:
    model = write_tower(tmp_path, "bert")
    write_modules(
        tmp_path, {f"pooling_mode_{key}": True, "pooling_mode_mean_tokens": False}, normalise=True, length=7
    )
    tower = load_text_tower(tmp_path)
    assert tower.length == 7  # the longest text is cut
    theirs, real = states_of(model, tmp_path, 7)
    ways = {
        "cls": lambda rows: rows[0],
        "max": lambda rows: rows.amax(0),
        "sqrt": lambda rows: rows.sum(0) / len(rows) ** 0.5,
    }
    pooled = torch.stack([ways[kind](row[here]) for row, here in zip(theirs, real)])
    expected = torch.nn.functional.normalize(pooled, dim=1).numpy()
    np.testing.assert_allclose(tower.embed(TEXTS), expected, **NEAR)


@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_features_are_a_texts_own(kind: str, tmp_path: Path) -> None:
    """The same bytes alone and among others, in any order, and with any number of threads."""
    write_tower(tmp_path, kind)
    tower = load_text_tower(tmp_path)
    rows = tower.embed(TEXTS * 4)
    np.testing.assert_array_equal(rows[: len(TEXTS)], rows[-len(TEXTS) :])
    for text, row in zip(TEXTS, rows):
        np.testing.assert_array_equal(tower.embed([text])[0], row)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(tower.embed(TEXTS * 4), rows)
    finally:
        torch.set_num_threads(threads)
    assert tower.embed([]).shape == (0, 32)


def test_a_default_prompt_and_lower_case(tmp_path: Path) -> None:
    write_tower(tmp_path, "bert")
    plain = load_text_tower(tmp_path).embed(["two red cats"])
    write_modules(tmp_path, {"pooling_mode_mean_tokens": True})
    prompts = {"prompts": {"query": "two "}, "default_prompt_name": "query"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 12, "do_lower_case": true}')
    tower = load_text_tower(tmp_path)
    np.testing.assert_array_equal(tower.embed(["Red CATS"]), plain)


def test_old_names_and_vocabularies(tmp_path: Path) -> None:
    """Files of BERT's first years: norms with gamma and beta, a prefix, a pooler, and vocab.txt alone."""
    from safetensors.torch import load_file, save_file

    write_tower(tmp_path, "bert")
    expected = load_text_tower(tmp_path).embed(TEXTS)
    tensors = load_file(tmp_path / "model.safetensors")
    old = {
        "bert."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in tensors.items()
    }
    save_file({**old, "cls.predictions.bias": torch.zeros(20)}, tmp_path / "model.safetensors")
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n")
    (tmp_path / "tokenizer.json").unlink()
    np.testing.assert_array_equal(load_text_tower(tmp_path).embed(TEXTS), expected)
