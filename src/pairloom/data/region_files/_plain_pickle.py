"""A reader of pickles that hold plain values: dicts, lists, texts, bytes, numbers. Nothing is called and nothing is imported, so a
pickle that would run a function is refused, by the name of that function.

The machine is that of Python's documentation of `pickletools`, without the operations that build objects.
"""

from __future__ import annotations

import pickletools
from typing import Any

from pairloom.data.pixels import Unreadable

PUSHED = {
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BININT", "BININT1",
    "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT",
}  # fmt: skip
CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NEEDLESS = {"PROTO", "FRAME"}
MARK = object()
CALLS = (
    "GLOBAL",
    "STACK_GLOBAL",
    "REDUCE",
    "BUILD",
    "INST",
    "OBJ",
    "NEWOBJ",
    "NEWOBJ_EX",
    "BINPERSID",
    "PERSID",
    "EXT1",
)


def is_pickle(data: bytes) -> bool:
    """Whether bytes begin as a pickle of protocol 2 to 5 does."""
    return len(data) > 2 and data[0] == 0x80 and 2 <= data[1] <= 5


def read(data: bytes) -> Any:
    """The plain value of a pickle. Unreadable where it is not whole, or is more than plain values."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for operation, argument, _ in pickletools.genops(data):
            name = operation.name
            if name in CALLS:
                raise Unreadable(_refusal(stack, argument))
            if name == "STOP":
                return stack.pop()
            _carry_out(name, argument, stack, memo)
    except (LookupError, TypeError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"its pickle is not whole: {error}") from error
    raise Unreadable("its pickle is not whole")


def _refusal(stack: list[Any], argument: Any) -> str:
    name = argument or " ".join(str(one) for one in stack[-2:] if isinstance(one, str))
    return (
        f"it is pickled and would call {name or 'a function'}, which is never done: "
        "write the record with base64 text in place of arrays, or as npz"
    )


def _carry_out(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    """One operation. ValueError for one that is not of plain values."""
    if name in PUSHED:
        stack.append(argument)
    elif name in CONSTANTS:
        stack.append(CONSTANTS[name])
    elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "MARK"):
        stack.append({"EMPTY_DICT": {}, "EMPTY_LIST": [], "EMPTY_TUPLE": (), "MARK": MARK}[name])
    elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"):
        memo[len(memo) if argument is None else int(argument)] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET", "GET"):
        stack.append(memo[int(argument)])
    elif name in ("SETITEM", "SETITEMS"):
        values = _popped(stack, 2 if name == "SETITEM" else 0)
        stack[-1].update(zip(values[::2], values[1::2]))
    elif name in ("APPEND", "APPENDS"):
        values = _popped(stack, 1 if name == "APPEND" else 0)
        stack[-1].extend(values)
    elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
        values = _popped(stack, int(name[5:] or 0))
        stack.append(tuple(values))
    elif name not in NEEDLESS:
        raise ValueError(f"{name} is no operation of plain values")


def _popped(stack: list[Any], count: int) -> list[Any]:
    """The last values of the stack: so many, or those behind the last mark, which goes too."""
    first = len(stack) - count if count else max(at for at, value in enumerate(stack) if value is MARK) + 1
    values = stack[first:]
    del stack[first - (not count) :]
    return values
