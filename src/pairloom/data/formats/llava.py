"""LLaVA conversations (Liu et al. 2023): a JSON array of {"id", "image", "conversations": [{"from", "value"}, ...]}.

Each answer is a text; what was said before it stays with it, so that writing gives the conversation back.
Does not know: chat templates. What follows the last answer is not carried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pairloom.data.formats import _lists, _parts, _tables
from pairloom.data.formats._finder import Finder
from pairloom.data.formats._texts import pair_of
from pairloom.data.pair import Blob, Pair, Text
from pairloom.data.shards import ColumnNames, Shard

CLAIM = 'LLaVA conversations: JSON [{"image", "conversations"}, ...]'
HOLDS = ("source", "meta")  # beyond image and texts
DEFAULT = "conversations.json"
ANSWERS = ("gpt", "assistant")
ASK = [{"from": "human", "value": "<image>\nDescribe the image."}]


def _is_row(row: dict[str, Any]) -> bool:
    return isinstance(row.get("conversations"), list)


def sniff(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """A JSON array whose first object has conversations."""
    return _lists.fits(path, _is_row, columns=columns)


def shards(path: Path, columns: ColumnNames = ColumnNames()) -> list[Shard]:
    """Spans of the array."""
    return _lists.shards(path, "llava", _is_row, columns=columns)


def read(shard: Shard) -> Iterator[Pair]:
    """One pair a conversation; one without image has the problem "no image"."""
    finder = Finder(shard.root, shard.file)
    for number, row in enumerate(_lists.rows(shard)):
        known = f"{shard.name}:{number}"
        if isinstance(row, str):
            yield pair_of(known, Blob(), [], problem=row)
            continue
        name = _tables.word(row.get("image"))
        blob, problem, notes = finder.find(name or row.get("image"))
        meta = {key: value for key, value in row.items() if key not in ("image", "conversations")}
        texts = _answers(row.get("conversations"))
        yield pair_of(str(row.get("id", known)), blob, texts, meta, problem, notes=notes)


def _answers(turns: Any) -> list[Text]:
    texts: list[Text] = []
    before: list[Any] = []
    for turn in turns if isinstance(turns, list) else []:
        if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
            continue
        if turn.get("from") in ANSWERS:
            own = {key: value for key, value in turn.items() if key not in ("value", "source")}
            texts.append(
                Text(turn["value"], str(turn.get("source", "original")), {"before": before, "turn": own})
            )
            before = []
        else:
            before.append(turn)
    return texts


def write(out: Path, shard: str, pairs: Iterable[Pair], like: Shard | None = None) -> None:
    """Images linked (or copied) and the shard's conversations; a text that was no answer answers "Describe the image."."""
    rows, order = [], _lists.order(like, "llava")
    for pair, name in _lists.store(out, list(pairs)):
        turns: list[dict[str, Any]] = []
        for text in pair.texts:
            turns += text.meta.get("before", ASK)
            source = {} if text.source == "original" else {"source": text.source}
            turns.append({**text.meta.get("turn", {"from": "gpt"}), "value": text.text, **source})
        row = {"id": pair.name, **pair.meta, "image": name, "conversations": turns}
        rows.append(_parts.in_order(row, order))
    _parts.write_lines(out, shard, rows)


def finish(out: Path, shards: list[str]) -> None:
    """Merge the parts into the list."""
    _lists.finish(out, shards, DEFAULT)
