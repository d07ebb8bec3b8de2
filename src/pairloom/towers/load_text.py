"""Loading of a text tower: a folder of sentence-transformers or transformers, a zip that holds one, an installed package.

Does not know: pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.towers.identity import identity_of
from pairloom.towers.published import locate
from pairloom.towers.source import Source, open_source
from pairloom.towers.text_network import build_text_network
from pairloom.towers.text_tower import SentenceConfig, TextTower

# keys of 1_Pooling/config.json, in the order in which sentence-transformers puts their features side by side
POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "sqrt",
}
TOKENIZERS = ("tokenizer.json", "vocab.txt")


def load_text_tower(where: Path | str, device: str = "cpu") -> TextTower:
    """Load a frozen text tower from `where`: a folder of sentence-transformers or transformers, a zip that holds one, or the
    name of a published tower (`published_towers`). Mistake where there is no text tower, with what is there instead."""
    path, sha256 = locate(str(where), "text")
    source = open_source(path)
    document = source.document("config.json")
    tokens = _tokenizer(source) if document else None
    checksum = source.checked(sha256)
    network = build_text_network(source.tensors(), document, source.where)
    assert tokens is not None  # a text network has a config
    config = _sentences(source, network.embed.positions.num_embeddings)
    name = str(where) if sha256 else path.stem if path.suffix == ".zip" else path.resolve().name
    identity = identity_of(checksum, document.get("model_type"), tokens.to_json(), config)
    return TextTower(name, network, tokens, config, checksum, identity, device)


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
    if isinstance(source.root, Path) and (source.root / "vocab.txt").is_file():
        return Tokens.load(source.root / "vocab.txt")
    raise Mistake(
        f"The text tower in {source.where} has no tokenizer.",
        f"Looked for {' and '.join(TOKENIZERS)}.",
        "Copy the tokenizer of the published model beside the weights.",
    )


def _sentences(source: Source, positions: int) -> SentenceConfig:
    """How sentence-transformers' configs pool; the mean over tokens where there are none, as that library does."""
    modules = [str(entry.get("type", "")).rpartition(".")[2] for entry in source.listing("modules.json")]
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
    prompts = source.document("config_sentence_transformers.json")
    prompt = (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name"), "")
    pooling = _pooling(source.document("1_Pooling/config.json"), source.where)
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
