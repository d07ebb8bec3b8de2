"""Loading of a text tower: a folder of sentence-transformers or transformers, a zip that holds one, an installed package.

Does not know: pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairloom.data.roles import LAST
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.towers.identity import identity_of
from pairloom.towers.load_image import is_image
from pairloom.towers.published import locate
from pairloom.towers.source import SPOILT, Source, open_source, unusable
from pairloom.towers.text_network import MODEL_TYPES, build_text_network
from pairloom.towers.text_tower import SentenceConfig, TextTower

# keys of 1_Pooling/config.json, in the order in which sentence-transformers puts their features side by side
POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "sqrt",
}
SHORTEST = 3  # tokens: one beside the two that frame a text


def load_text_tower(where: Path | str, device: str = "cpu") -> TextTower:
    """Load a frozen text tower from `where`: a folder of sentence-transformers or transformers, a zip that holds one, or the
    name of a published tower (`published_towers`). Mistake where there is no text tower, with what is there instead."""
    path, sha256 = locate(str(where), "text")
    source = open_source(path)
    document = source.document("config.json")
    if (kind := document.get("model_type")) not in MODEL_TYPES:
        raise _no_tower(source, kind)
    tokens = _tokenizer(source)
    checksum = source.checked(sha256)
    try:
        network = build_text_network(source.tensors(), document, source.where)
        config = _sentences(source, network.embed.positions.num_embeddings)
    except SPOILT as error:  # a config can say anything
        raise unusable(source.where, error) from error
    _check_vocabulary(tokens, network.embed.words.num_embeddings, source.where)
    name = str(where) if sha256 else path.stem if path.suffix == ".zip" else path.resolve().name
    vocabulary = source.data("tokenizer.json") or source.data("vocab.txt")
    identity = identity_of(checksum, kind, vocabulary, config)
    return TextTower(name, network, tokens, config, checksum, identity, device)


def _no_tower(source: Source, kind: object) -> Mistake:
    """The Mistake about what is no text tower."""
    names = list(source.tensors())
    if is_image(kind, names):
        return Mistake(
            f"{source.where} is no text tower.", "It is an image tower.", "Give it as the image tower."
        )
    why = f"Its config says '{kind}'." if kind else "It has no config.json that says what its weights are."
    return Mistake(
        f"{source.where} is no text tower that is known here.", why, f"Known: {', '.join(MODEL_TYPES)}."
    )


def _tokenizer(source: Source) -> Tokens:
    """The tokenizer beside the weights. Mistake where there is none."""
    data = source.data("tokenizer.json")
    if data is not None:
        try:
            return Tokens.from_json(data.decode("utf-8"))
        except Mistake:
            raise
        except Exception as error:  # the library raises bare Exception for whatever is wrong with a file
            raise Mistake(
                f"tokenizer.json in {source.where} cannot be read.", str(error), "Copy it again."
            ) from error
    lower = source.document("tokenizer_config.json").get("do_lower_case", True)
    if lower and isinstance(source.root, Path) and source.data("vocab.txt") is not None:
        return Tokens.load(source.root / "vocab.txt")  # read as BERT's, in lower case
    raise Mistake(
        f"The text tower in {source.where} has no tokenizer.",
        "Looked for tokenizer.json, and for vocab.txt of a model in lower case.",
        "Copy the tokenizer of the published model beside the weights.",
    )


def _check_vocabulary(tokens: Tokens, rows: int, where: Path) -> None:
    """Mistake where the tokenizer has ids that the word table lacks; those that pairloom adds to a vocabulary never occur."""
    vocabulary = tokens.tokenizer.get_vocab(with_added_tokens=True)
    last = max((number for token, number in vocabulary.items() if token not in LAST), default=0)
    if last >= rows:
        raise Mistake(
            f"The tokenizer in {where} does not belong to its weights.",
            f"Its ids go up to {last}, the word table has {rows} rows.",
            "Copy the tokenizer of the published model beside the weights.",
        )


def _sentences(source: Source, positions: int) -> SentenceConfig:
    """How sentence-transformers' configs pool; the mean over tokens where there are none, as that library does."""
    modules = {
        str(entry["type"]).rpartition(".")[2]: entry["path"] for entry in source.listing("modules.json")
    }
    unknown = [name for name in modules if name not in ("Transformer", "Pooling", "Normalize")]
    if unknown:
        raise Mistake(
            f"The text tower in {source.where} has a part that is not known here.",
            f"modules.json lists {', '.join(unknown)}.",
            "Give one of a transformer, a pooling and at most a normalisation.",
        )
    framing = source.document("sentence_bert_config.json")
    stated = framing.get("max_seq_length") or source.document("tokenizer_config.json").get("model_max_length")
    length = min(positions, int(stated or positions))
    if length < SHORTEST:
        raise ValueError(f"texts of at most {length} tokens")
    prompts = source.document("config_sentence_transformers.json")
    prompt = (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name"), "")
    pooling = _pooling(source.document(f"{modules.get('Pooling', '1_Pooling')}/config.json"), source.where)
    return SentenceConfig(pooling, "Normalize" in modules, length, bool(framing.get("do_lower_case")), prompt)


def _pooling(document: Mapping[str, Any], where: Path) -> tuple[str, ...]:
    """The kinds of pooling of 1_Pooling/config.json. Mistake for those that are not known here."""
    wanted = [key for key, value in document.items() if key.startswith("pooling_mode_") and value]
    unknown = [key for key in wanted if key not in POOLING]
    if unknown:
        raise Mistake(
            f"The text tower in {where} pools by {', '.join(unknown)}.", f"Known: {', '.join(POOLING)}.", ""
        )
    return tuple(kind for key, kind in POOLING.items() if key in wanted) or ("mean",)
