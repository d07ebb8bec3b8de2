"""Sets of examples on disk: whose layout is it, of what kind, and its examples.

Does not know: how any one layout lies on disk (that is `examples/NAME.py`), tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pairloom import registry
from pairloom.data.pair import Example
from pairloom.errors import Mistake

Kind = str  # "questions", "statements", "dialogs" or "documents"


def kind_of(path: Path) -> tuple[Kind, str]:
    """The kind of a set's examples and the name of its layout; ("", "") where it is none that is known.

    Raises Mistake where it fits several.
    """
    fits = [
        (kind, name)
        for name in registry.names("data.examples")
        for kind in [_module(name).sniff(path)]
        if kind
    ]
    if len(fits) > 1:
        raise Mistake(
            f"{path} fits several layouts: {', '.join(name for _, name in fits)}.",
            "Annotation files of different kinds lie together.",
            "Name one file.",
        )
    return fits[0] if fits else ("", "")


def open_examples(path: Path | str, kind: Kind) -> Iterator[Example]:
    """The examples of a set, streaming; broken ones carry a problem. Mistake where it is not there or of another kind."""
    path = Path(path)
    if not path.exists():
        raise Mistake(f"There is nothing at {path}.", "The path does not exist.", "Check the spelling.")
    own_kind, name = kind_of(path)
    if own_kind != kind:
        known = "".join(f"\n  {other}: {_module(other).CLAIM}" for other in registry.names("data.examples"))
        raise Mistake(
            f"{path} is not a set of {kind}.",
            f"It holds {own_kind}." if own_kind else "Its layout is not known.",
            f"Known:{known}",
        )
    return iter(_module(name).read(path))


def _module(name: str):  # type: ignore[no-untyped-def]
    return registry.find("data.examples", name)
