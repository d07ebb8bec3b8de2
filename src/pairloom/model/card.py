"""Model card: the README.md of a model folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from pairloom.model.model import Model


def card(model: Model) -> str:
    """The model card: a YAML header that the hub reads, then what is known, by topic."""
    module = sys.modules[type(model.system).__module__]
    count = sum(value.numel() for value in model.system.parameters() if value.requires_grad)
    rows = {
        "system": model.name,
        "parameters": f"{count:,}",
        "tokens": f"{model.tokens.size:,}",
        **model.about,
    }
    lines = [f"| {topic} | {_cell(value)} |" for topic, value in rows.items()]
    paper = " ".join((module.__doc__ or model.name).split("\n\n")[0].split())
    return "\n".join(
        ["---", "library_name: pairloom", f"tags: [image-text, {json.dumps(model.name)}]", "---"]
        + [f"# {model.name}", "", paper, "", "| | |", "|---|---|", *lines, ""]
        + ["```python", "import pairloom", 'model = pairloom.load("this folder")', "```", ""]
    )


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{key} {_cell(inner)}" for key, inner in value.items())
    return (f"{value:.4g}" if isinstance(value, float) else str(value)).replace("|", "\\|").replace("\n", " ")
