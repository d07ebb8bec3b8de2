"""Texts of open_clip's models: tokenizers that are not CLIP's, and the text towers of transformers, which its folders only name.

Facts: a folder holds no config of such a tower, so that the numbers of those that open_clip ships stand here. They are those of
the published config.json files of roberta-base, xlm-roberta-base, xlm-roberta-large and nllb-200-distilled-600M, of t5x's xl.gin
for mt5-xl, and of fairseq2's dense_distill_1b for nllb-200-distilled-1.3B; those of mt5-base give the 582 million parameters
of its paper.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, processors

from pairloom.blocks.encoder_configs import LibraryTextConfig
from pairloom.checkpoints.hub import cached
from pairloom.data.tokens import Tokens
from pairloom.data.vocabulary_files import FILES
from pairloom.errors import Mistake
from pairloom.model import read_json
from pairloom.weights._hub import tokens_near

ROBERTA = dict(
    model_type="roberta", vocab_size=50265, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
    intermediate_size=3072, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1,
    bos_token_id=0, eos_token_id=2,
)  # fmt: skip
XLM = dict(ROBERTA, model_type="xlm-roberta", vocab_size=250002)
MT5 = dict(
    model_type="mt5", vocab_size=250112, d_model=768, d_kv=64, d_ff=2048, num_layers=12, num_heads=12,
    feed_forward_proj="gated-gelu", pad_token_id=0,
)  # fmt: skip
NLLB = dict(
    model_type="m2m_100", vocab_size=256206, d_model=1024, encoder_layers=12, decoder_layers=12, encoder_attention_heads=16,
    decoder_attention_heads=16, encoder_ffn_dim=4096, decoder_ffn_dim=4096, max_position_embeddings=1024,
    activation_function="relu", scale_embedding=True, pad_token_id=1, eos_token_id=2,
)  # fmt: skip
# a name without its owner -> the config of transformers
LIBRARY: dict[str, dict[str, Any]] = {
    "roberta-base": ROBERTA,
    "xlm-roberta-base": XLM,
    "xlm-roberta-large": dict(
        XLM, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
    ),
    "mt5-base": MT5,
    "mt5-xl": dict(MT5, d_model=2048, d_ff=5120, num_layers=24, num_heads=32),
    "nllb-200-distilled-600M": NLLB,
    "nllb-200-distilled-1.3B": dict(
        NLLB, encoder_layers=24, decoder_layers=24, encoder_ffn_dim=8192, decoder_ffn_dim=8192
    ),
}
POOLS = {
    "mean_pooler": "mean", "max_pooler": "max", "cls_last_hidden_state_pooler": "first", "cls_pooler": "first",
}  # fmt: skip
POOLED = ("roberta", "xlm-roberta", "bert")  # kinds whose own pooler "cls_pooler" means
USUAL = {"roberta": "mean_pooler", "xlm-roberta": "mean_pooler", "mt5": "mean_pooler"}


def library_text_of(text: Mapping[str, Any]) -> LibraryTextConfig:
    """The encoder of a `text_cfg` that names a model of transformers. Mistake where its config is neither known nor in the local
    hub cache; ValueError that names what is not supported."""
    name = str(text["hf_model_name"])
    settings = LIBRARY.get(name.rpartition("/")[2]) or _cached_config(name)
    kind = str(settings.get("model_type"))
    pooler = text.get("hf_pooler_type", "mean_pooler") or USUAL.get(kind, "cls_pooler")
    projection = text.get("hf_proj_type", "mlp") or "none"
    if pooler not in POOLS or projection not in ("linear", "mlp", "none"):
        raise ValueError(f"hf_pooler_type={pooler}, hf_proj_type={projection}")
    pool = "pooler" if pooler == "cls_pooler" and kind in POOLED else POOLS[pooler]
    return LibraryTextConfig(json.dumps(settings, sort_keys=True), pool, projection)  # type: ignore[arg-type]


def _cached_config(name: str) -> dict[str, Any]:
    """The config.json of a hub id in the local cache."""
    where = cached(name)
    document = read_json(where / "config.json") if where is not None else {}
    if "model_type" not in document:
        raise Mistake(
            f"The sizes of the text tower '{name}' are not known.",
            "A folder of open_clip names it alone, and its config.json is not in the local hub cache.",
            f"hf download {name} config.json",
        )
    dropped = ("_name_or_path", "architectures", "transformers_version", "torch_dtype", "dtype", "auto_map")
    return {key: value for key, value in document.items() if key not in dropped}


def tokens_of(text: Mapping[str, Any], where: Path) -> Tokens:
    """The tokenizer of a `text_cfg`: of the folder, else of the local hub cache. Mistake where there is none."""
    name = str(text.get("hf_tokenizer_name") or text.get("hf_model_name") or "")
    settings = text.get("tokenizer_kwargs") or {}
    unknown = [f"{key}={value}" for key, value in settings.items() if key not in ("clean", "strip_sep_token")]
    if text.get("tokenizer_mode") or unknown:
        raise ValueError(", ".join([*unknown, f"tokenizer_mode={text.get('tokenizer_mode')}"][:1]))
    clean = str(settings.get("clean", "whitespace"))
    if not name:
        library = (where / "tokenizer.json").is_file() or (where / "vocab.json").is_file()
        return Tokens.load(where, "clip") if library else tokens_near(where, "clip")
    folders = [where, *filter(None, [cached(name)])]
    holds = next((one for one in folders if any((one / file).is_file() for file in FILES)), None)
    if holds is None:
        raise Mistake(
            f"There is no tokenizer beside {where}.",
            f"Its texts are read by the tokenizer of '{name}', which is not in the local hub cache.",
            f"Put the tokenizer.json of {name} into the folder.",
        )
    tokens = Tokens.load(holds, clean)
    return _without_end(tokens) if settings.get("strip_sep_token") else tokens


def padding_of(tokens: Tokens, where: Path) -> int:
    """The id that the library of a tokenizer fills texts up with: as its config says, else the usual one."""
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        word = read_json(where / file).get("pad_token")
        word = word.get("content") if isinstance(word, Mapping) else word
        if isinstance(word, str) and (number := tokens.tokenizer.token_to_id(word)) is not None:
            return number
    return tokens.pad


def _without_end(tokens: Tokens) -> Tokens:
    """The tokenizer with id 0, that of padding, in place of the end of a text, as CLIPA's texts are."""
    tokenizer = Tokenizer.from_str(tokens.to_json())
    marks = [(tokenizer.id_to_token(number), number) for number in (tokens.cls, 0)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[marks[0][0], "$A", marks[1][0]], special_tokens=marks
    )
    return Tokens(tokenizer)
