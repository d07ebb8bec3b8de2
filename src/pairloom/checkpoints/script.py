"""Reader of TorchScript archives (OpenAI's CLIP files): their tensors, without running or importing any of their code.

Fact: such an archive is a zip with `data.pkl`, a program of pickle opcodes that builds a tree of modules, and one file of
raw numbers for each tensor. torch refuses it under weights_only, and loading it as a script would execute its code. Here
the opcodes are interpreted as data: they can build containers, numbers, strings and tensors, classes stay names, and a
call gives a tensor or nothing.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy
import torch
from torch import Tensor

from pairloom.errors import Mistake

TYPES = {
    "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16, "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
TENSORS = ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor")
PARAMETER = "torch._utils _rebuild_parameter"
LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
STRINGS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "SHORT_BINSTRING")
MARK = object()


class _Name(str):
    """The name of a class or function in the archive; it is never imported."""


class _Module(dict[str, Any]):
    """The attributes of an object whose class is not imported."""


def is_script(where: Path) -> bool:
    """Whether a file is a TorchScript archive: a zip with code beside its data."""
    if not zipfile.is_zipfile(where):
        return False
    with zipfile.ZipFile(where) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_script(where: Path) -> dict[str, Tensor]:
    """Read an archive: dotted name -> tensor. Mistake where it holds anything but a tree of modules."""
    with zipfile.ZipFile(where) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/constants.pkl")).rpartition("/")[0]

        def storage(key: str, kind: str, count: int) -> Tensor:
            raw = numpy.frombuffer(bytearray(archive.read(f"{root}/data/{key}")), numpy.uint8)
            tensor = torch.from_numpy(raw).view(TYPES[kind])
            if len(tensor) < count:
                raise ValueError(f"tensor {key} is cut off")
            return tensor

        try:
            tree = _walk(archive.read(f"{root}/data.pkl"), storage)
        except (KeyError, ValueError, IndexError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
            raise Mistake(
                f"{where} cannot be read as a TorchScript archive.",
                f"{type(error).__name__}: {error}".split("\n")[0],
                "Save its state dict as .safetensors where it was made, and give that.",
            ) from error
    return dict(_leaves(tree, ""))


def _leaves(tree: Any, path: str) -> list[tuple[str, Tensor]]:
    if isinstance(tree, Tensor):
        return [(path, tree)]
    if not isinstance(tree, _Module):
        return []
    return [leaf for name, part in tree.items() for leaf in _leaves(part, f"{path}.{name}".lstrip("."))]


def _walk(program: bytes, storage: Callable[[str, str, int], Tensor]) -> Any:
    """The tree of modules that the opcodes build. ValueError for an opcode that no archive of modules needs."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    held: dict[str, Tensor] = {}

    def above_mark() -> list[Any]:
        at = max(index for index, value in enumerate(stack) if value is MARK)
        values = stack[at + 1 :]
        del stack[at:]
        return values

    for code, operand, _ in pickletools.genops(program):
        name, argument = code.name, cast(Any, operand)
        if name in ("PROTO", "FRAME"):
            continue
        elif name == "STOP":
            return stack.pop()
        elif name in LITERALS:
            stack.append(LITERALS[name])
        elif name in NUMBERS or name in STRINGS:
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "BINPERSID":
            stack.append(_held(stack.pop(), held, storage))
        else:
            _build(name, argument, stack, above_mark)
    raise ValueError("the program does not end")


def _build(name: str, argument: Any, stack: list[Any], above_mark: Callable[[], list[Any]]) -> None:
    """Interpret an opcode that builds containers, modules or tensors."""
    if name == "MARK":
        stack.append(MARK)
    elif name == "GLOBAL":
        stack.append(_Name(argument))
    elif name in ("EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"):
        stack.append({"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}[name]())
    elif name == "TUPLE":
        stack.append(tuple(above_mark()))
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        size = int(name[-1])
        stack[-size:] = [tuple(stack[-size:])]
    elif name in ("APPEND", "APPENDS"):
        values = above_mark() if name == "APPENDS" else [stack.pop()]
        stack[-1].extend(values)
    elif name in ("SETITEM", "SETITEMS"):
        values = above_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
        stack[-1].update(zip(values[::2], values[1::2]))
    elif name in ("NEWOBJ", "REDUCE"):
        arguments, function = stack.pop(), stack.pop()
        stack.append(_called(function, arguments))
    elif name == "BUILD":
        state = stack.pop()
        if isinstance(stack[-1], _Module) and isinstance(state, dict):
            stack[-1].update(state)
    else:
        raise ValueError(f"opcode {name} has no place in a model's data")


def _called(function: Any, arguments: tuple[Any, ...]) -> Any:
    """Interpret a call: a tensor over its storage, or an object that only holds its attributes."""
    if function in TENSORS:
        storage, offset, size, stride = arguments[:4]
        return torch.as_strided(storage, size, stride, offset).clone()
    if function == PARAMETER:
        return arguments[0]
    return _Module()


def _held(key: Any, held: dict[str, Tensor], storage: Callable[[str, str, int], Tensor]) -> Tensor:
    """The storage that ("storage", type, key, device, count) names, read once."""
    _, kind, name, _, count = key
    kind = str(kind).rpartition(" ")[2]
    if name not in held:
        held[name] = storage(str(name), kind, int(count))
    return held[name]
