"""Plan of a cleaning run: its settings, its fingerprint, and the folder of its unfinished work. Resuming is the default.

Does not know: the steps.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pairloom
from pairloom.data.disk import atomic_write, check_output, sync_folder, unwritable
from pairloom.data.pair import content_hash
from pairloom.data.shards import PairSet
from pairloom.errors import Mistake

WORK = ".pairloom"  # inside the output folder while a run is unfinished
NONE = "none"  # a tower that is not wanted
CLEAN = "pairs"  # the clean set, in the format of the raw one
THUMBNAILS = "thumbnails"  # of a check
RESULTS = (
    "run.json",
    "report.html",
    "pairs.parquet",
    "scores.parquet",
    "issues.parquet",
)  # the first marks a finished run
LABELS = "labels.jsonl"  # a reader's labels, which no run removes
NEXT = (
    "next"  # in the work folder: the result that replaces that of a finished run; its run.json marks it whole
)


@dataclass(frozen=True)
class CleanSettings:
    """Settings of a cleaning run.

    model: "self" (a judge that is trained on these pairs, cross-fitted) or a model folder. false_drop: largest share of the
    good pairs that may be dropped. captions: propose captions for pairs without a good text. add: also for pairs with a kept
    text (the paper's union). keep_alt_text: a replaced text stays after its replacement. decode, top_p, proposals: options
    of the proposed captions (beams are truer; CapFilt: nucleus, 0.9). accept: P(match) that a proposal needs (the paper's filter: 0.5).
    decoupled: captioner and filter are two models, fine-tuned apart (section 4.3 of BLIP); else one. trusted: a
    human-annotated set for their fine-tuning. rounds: most repetitions of judging and captioning, each trained on the result
    of the last. captioner: a model folder that proposes captions instead. self_system: "ridge" (the judge "self" is ridge
    regression between features, which takes seconds), or a system that is trained as the judge. image_tower, text_tower: where
    pretrained towers for these features are (docs/towers.md): a path or a name; None: an installed one; "none": no tower,
    but hand-made features and words.
    prove: train the same new model on raw and on clean pairs and compare; test: a set to compare on. size: pixels a
    side of the self judge's pictures. effort: its training time, 1 as measured in docs/papers/blip.md. repair: judge and write
    texts with their repairs (mojibake, page markup, runs of blanks, phrases that most texts share); the ledger keeps the originals.
    merge_copies: of copied pictures keep the best, with the texts of all; else all stay.
    """

    model: str = "self"
    false_drop: float = 0.05
    captions: bool = True
    add: bool = False
    keep_alt_text: bool = False
    decode: Literal["beam", "nucleus"] = "beam"
    top_p: float = 0.9
    proposals: int = 6
    accept: float = 0.5
    decoupled: bool = True
    trusted: str | None = None
    rounds: int = 1
    prove: bool = False
    test: str | None = None
    seeds: int = 3
    captioner: str | None = None
    self_system: str = "ridge"
    image_tower: str | None = None
    text_tower: str | None = None
    size: int = 64
    effort: float = 1.0
    seed: int = 0
    repair: bool = False
    merge_copies: bool = False

    @property
    def towers(self) -> tuple[str | None, str | None]:
        """Where the image tower and the text tower are; None for one that is not wanted."""
        image, text = (None if where == NONE else where for where in (self.image_tower, self.text_tower))
        return image, text

    def __post_init__(self) -> None:
        if self.decode not in ("nucleus", "beam"):
            raise ValueError(f"decode is nucleus or beam, got {self.decode}")
        if not 0 < self.effort < math.inf:
            raise ValueError(f"effort is a number above 0, got {self.effort}")
        for name in ("false_drop", "top_p", "accept"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, got {getattr(self, name)}")
        for name in ("proposals", "rounds", "seeds", "size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def inputs(self) -> list[tuple[str, Path]]:
        """The inputs of a run beside the set, by the names of their options."""
        named = {"trusted": self.trusted, "test": self.test, "captioner": self.captioner}
        named["model"] = None if self.model == "self" else self.model
        towers = {"image-tower": self.image_tower, "text-tower": self.text_tower}
        named |= {name: place for name, place in towers.items() if place is not None and Path(place).exists()}
        return [(f"--{name}", Path(place)) for name, place in named.items() if place is not None]


@dataclass(frozen=True)
class CheckSettings:
    """Settings of a check. against: a set whose pictures must not be in the one that is checked."""

    against: str | None = None

    def inputs(self) -> list[tuple[str, Path]]:
        """The inputs of a check beside the set."""
        return [] if self.against is None else [("--against", Path(self.against))]


def permit(sources: Sequence[Path], out: Path, settings: CleanSettings | CheckSettings) -> None:
    """Raise Mistake where the output folder lies in an input, or an input in the output folder."""
    for source in sources:
        check_output(out, source)
    for name, place in (*(("The set", source) for source in sources), *settings.inputs()):
        if place.resolve().is_relative_to(out.resolve()):
            raise Mistake(
                f"{out} cannot be the output.",
                f"{name} lies inside it: {place}.",
                "Choose another --out, or copy that folder elsewhere first.",
            )


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Context that creates and locks the output folder against a second run. The operating system releases the lock however
    the process ends."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise unwritable(out, error) from error
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        why = "Two runs would write over each other."
        raise Mistake(
            f"Another run is at work in {out}.", why, "Wait for it, or choose another --out."
        ) from error
    except (ImportError, OSError):
        pass  # operating systems and network disks without such locks
    try:
        yield
    finally:
        os.close(handle)


def prepare(
    pairs: PairSet, out: Path, settings: CleanSettings | CheckSettings, restart: bool = False,
    also: Mapping[str, Path] = MappingProxyType({}),
) -> Path:  # fmt: skip
    """Create or find the work folder of a run. also: further inputs, by name, whose change makes another run. Mistake where
    the output folder is not pairloom's, cannot be written, or holds another run."""
    plan = {"pairloom": pairloom.__version__, "settings": asdict(settings), "set": _fingerprints(pairs)}
    plan |= {"code": _code(), **{name: _fingerprint(place) for name, place in settings.inputs()}}
    plan |= {name: _fingerprint(place) for name, place in also.items()}
    plan |= {"format": pairs.format, "columns": asdict(pairs.columns)}
    if restart:
        _forget(out)
    held = _held(out)
    if held is not None and held["hash"] != _hash(plan):
        raise Mistake(
            f"{out} holds a run with other settings or another set.",
            _difference(held["settings"], settings)
            or "The pictures, the texts, the model, or the version or code of pairloom changed.",
            "Choose another --out, or add --restart to replace that run.",
        )
    try:
        if held is None:
            if any(entry.name not in (WORK, LABELS) for entry in out.iterdir()):
                why = "Nothing of yours is ever overwritten."
                raise Mistake(f"{out} is not empty.", why, "Choose a new folder for --out.")
            shutil.rmtree(out / WORK, ignore_errors=True)  # from a run that was killed before it had a plan
            with atomic_write(out / WORK / "plan.json") as file:
                file.write(json.dumps({"hash": _hash(plan), **plan}, indent=1).encode())
    except OSError as error:
        raise unwritable(out, error) from error
    return out / WORK


def already(parts: Iterable[Path]) -> str:
    """Note about a step's progress in an earlier call; "" where there is none."""
    done = [part.exists() for part in parts]
    return f"{sum(done):,} of {len(done):,} already done" if any(done) else ""


def _code() -> str:
    """Fingerprint of the program itself, which tells working copies of one version apart: only the code that began a run goes on with
    it, since parts of another may lack what is read."""
    sources = sorted(Path(pairloom.__file__).parent.rglob("*.py"))
    return content_hash(*(source.read_bytes() for source in sources))


def _fingerprints(pairs: PairSet) -> str:
    """Fingerprint of a set: of its folder or file, or of the names and contents of several."""
    if not pairs.files:
        return _fingerprint(pairs.path)
    parts = [part for name, place in zip(pairs.files, pairs.sources) for part in (name, _fingerprint(place))]
    return content_hash(*(part.encode("utf-8", "surrogateescape") for part in parts))


def _fingerprint(place: Path) -> str:
    """Fingerprint of a set or model: name, size and time of every file."""
    parts = []
    if place.is_file():
        parts.append(_stamp(place.stat()))
    for folder, inner, files in os.walk(place):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(folder, name)
            parts.append(os.path.relpath(path, place) + _stamp(os.stat(path, follow_symlinks=False)))
    return content_hash(*(part.encode("utf-8", "surrogateescape") for part in parts))


def _stamp(facts: os.stat_result) -> str:
    return f"/{facts.st_size}/{facts.st_mtime_ns}"


def _hash(plan: dict[str, Any]) -> str:
    return content_hash(json.dumps(plan, sort_keys=True).encode())


def _held(out: Path) -> dict[str, Any] | None:
    """Hash and settings of the run in a folder, finished or not; None where there is none."""
    for file, settings, mark in (
        (out / "run.json", "command", "plan"),
        (out / WORK / "plan.json", "settings", "hash"),
    ):
        known = _read(file)
        if isinstance(known.get(settings), dict) and mark in known:
            return {"hash": known[mark], "settings": known[settings]}
    return None


def _read(file: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none."""
    try:
        known = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _difference(theirs: dict[str, Any], ours: CleanSettings | CheckSettings) -> str:
    return "; ".join(
        f"{name} was {theirs[name]!r}, is {value!r}"
        for name, value in asdict(ours).items()
        if name in theirs and theirs[name] != value
    )


def _forget(out: Path) -> None:
    """Remove the files of an earlier run, and nothing else. After a kill in between, the rest is still recognised as a run."""
    held = _held(out)
    if held is None:
        return
    try:
        with atomic_write(out / WORK / "plan.json", replace=True) as file:
            file.write(json.dumps({"hash": "", "settings": held["settings"]}).encode())
        for name in (*RESULTS, CLEAN, "models", THUMBNAILS, WORK):
            entry = out / name
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error


def finished(out: Path) -> dict[str, Any] | None:
    """The content of run.json of a finished run; None where there is none."""
    return _read(out / "run.json") or None


def demand_finished(out: Path, command: str = "clean", mark: str = "counts") -> dict[str, Any]:
    """The content of run.json of a finished run of a command. mark: what only that command writes there. Mistake where there is none."""
    facts = finished(out)
    if facts is None or mark not in facts:
        raise Mistake(
            f"{out} holds no finished run of {command}.",
            "run.json is written when a run has finished.",
            f"Run: pairloom {command} PAIRS --out {out}",
        )
    return facts


def replace_result(out: Path) -> None:
    """Replace the result of a finished run by the whole one in its work folder, where there is one. A kill in between leaves
    no run.json, and the next call goes on."""
    new = out / WORK / NEXT
    if not (new / "run.json").exists():
        return
    (out / "run.json").unlink(missing_ok=True)
    for name in (CLEAN, "pairs.parquet", "report.html", "models/judge/judge.json"):
        if (new / name).is_dir():
            shutil.rmtree(out / name, ignore_errors=True)
        if (new / name).exists():
            os.replace(new / name, out / name)
    sync_folder(out)
    os.replace(new / "run.json", out / "run.json")
    tidy(out)


def tidy(out: Path) -> None:
    """Remove the work folder of a finished run."""
    shutil.rmtree(out / WORK, ignore_errors=True)
