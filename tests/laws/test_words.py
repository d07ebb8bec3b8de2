"""Law of words: names say what a thing is. One word for one thing in the whole tree, and none of the words that only say
that something happened to it (CONTRIBUTING.md has the glossary)."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "pairloom"
FILES = sorted(SOURCE.rglob("*.py"))
READ = [*FILES, *sorted((ROOT / "experiments").rglob("*.py"))]
# participles that name nothing: say the noun (captions, scores, rows, tensors)
PARTICIPLES = {"made", "found", "told", "said", "asked", "given", "looked"}
# terms that were ours alone, and what the field calls them
RETIRED = {
    "Sub": "Residual", "Ways": "ModeSharing", "Fold": "PackedSequence",
    "Memory": "CrossKeyValues", "Bag": "BagOfWords", "Twin": "MultiImageAttention", "Watch": "AttentionRecorder",
    "Said": "TextConditioning", "Ranks": "ProcessGroup", "Held": "InMemoryImages", "Filed": "DecodedImages",
    "Looked": "CachedImages", "Views": "AugmentedImages", "Lesson": "a dataset adapter", "Seen": "EncodedImages",
    "Asked": "LossModule", "worn": "swapped", "settle_norms": "recalibrate_batch_norm",
    "rehearse": "scheduled_sampling", "practice": "self_critical", 
    "keep": "mask", "lacks": "abilities",
}  # fmt: skip
SAME_BY_CONTRACT = {
    "Config", "System",  # every file of systems/ has them
    "Dataset",  # every file of data/datasets has one
    "Model", "PairSet",  # api/ gives users those of model/ and data/ with more methods
}  # fmt: skip


def room_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def bound_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that a file gives to something, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


@pytest.mark.parametrize("file", READ, ids=lambda file: str(file.relative_to(ROOT)))
def test_names_say_what_a_thing_is(file: Path) -> None:
    names = list(bound_names(ast.parse(file.read_text())))
    happened = [f"line {line}: {name}" for name, line in names if name.strip("_") in PARTICIPLES]
    ours = [f"line {line}: {name} is {RETIRED[name]}" for name, line in names if name in RETIRED]
    assert not happened + ours, f"{file.relative_to(ROOT)}: {'; '.join(happened + ours)}"


def test_one_class_has_one_name() -> None:
    homes = defaultdict(list)
    for file in FILES:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(file.relative_to(SOURCE)))
    doubled = {
        name: files for name, files in homes.items() if len(files) > 1 and name not in SAME_BY_CONTRACT
    }
    assert not doubled, doubled
