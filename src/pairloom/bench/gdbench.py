"""GDBench (Krojer et al. 2023, arXiv 2305.16397): a suite of seven families of image-text matching and a measure of bias; and
the runner of all benchmarks, alone or as this suite.

Each benchmark is one file here with CLAIM, FOLDERS, read(root), measures(cases, grids) and mini(out, seed). Does not
know: the content of a benchmark, the scores of a system.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from pairloom import registry
from pairloom.bench import _report, _results
from pairloom.bench._judging import scorers
from pairloom.bench._results import BenchmarkResult, Entrant
from pairloom.checkpoints.hub import cached
from pairloom.data.disk import check_output
from pairloom.errors import Mistake, nearest
from pairloom.model.folder import MARK, read_config, read_json
from pairloom.verbs import Declares, able, demand_way

CLAIM = "GDBench: all of its tasks, with blind baselines, intervals, cost, and the measure of bias"
SUITE = (
    "flickr30k", "winoground", "aro_relation", "aro_attribution", "coco_order", "flickr_order", "imagecode", "svo_probes",
    "clevr", "pets", "mmbias",
)  # fmt: skip
NAME = "gdbench"
DIFFUSION = ("steps", "protocol", "race")  # settings that apply to diffusion models alone


@dataclass(frozen=True)
class BenchRequest:
    """Request for a benchmark run. data: the folder of the benchmark (of a suite: the folder of their folders); None: a
    miniature.

    limit: most cases of each, evenly spaced; 0: all. earlier: the results.json of a run to compare with. settings: of the
    systems, for the record.
    """

    name: str
    out: Path
    data: Path | None = None
    limit: int = 0
    seed: int = 0
    earlier: Path | None = None
    settings: Mapping[str, Any] | None = None


def benchmarks() -> dict[str, ModuleType]:
    """The modules of all benchmarks by name."""
    modules = {name: registry.find("bench", name) for name in registry.names("bench")}
    return {name: module for name, module in modules.items() if hasattr(module, "read")}


def only_way(name: str) -> str:
    """The only score that a benchmark allows; "" where it allows all, or there is no such benchmark."""
    return str(getattr(benchmarks().get(name), "WAY", ""))


def run(
    request: BenchRequest, entrants: Sequence[Entrant], tell: _results.Tell = lambda *arguments, **more: None
) -> dict[str, Any]:
    """Run a benchmark or the suite: score cases that have no score yet, write OUT/results.json and OUT/report.html, and return
    the results.

    Mistake for an unknown benchmark, for files in another layout than the release's, and for an OUT of other files.
    Benchmarks of the suite without files are listed in "absent".
    """
    known = benchmarks()
    earlier = _results.read_earlier(request.earlier)
    if request.data is not None:
        check_output(request.out, request.data)
    claim(request.out)
    roots, absent = _roots(request, known)
    outcomes = _read(request, known, roots, absent)
    _results.run(known, outcomes, entrants, request.out / "scores", tell)
    facts = {
        "name": request.name, "data": "miniature" if request.data is None else str(request.data), "limit": request.limit,
        "seed": request.seed, "absent": absent, **(request.settings or {}),
    }  # fmt: skip
    results = _results.document(outcomes, entrants, facts, earlier)
    _results.write(request.out / "results.json", results)
    _report.write(request.out / "report.html", results, outcomes, [entrant.name for entrant in entrants])
    return results


def _roots(
    request: BenchRequest, known: Mapping[str, ModuleType]
) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """The possible folders of each benchmark, and the reasons why others of the suite are absent."""
    if request.name != NAME and request.name not in known:
        raise Mistake(f"There is no benchmark '{request.name}'.", "", nearest(request.name, [NAME, *known]))
    names = SUITE if request.name == NAME else (request.name,)
    if request.data is None:
        return {name: [_miniature(known[name], name, request)] for name in names}, {}
    if request.name != NAME:
        return {request.name: [request.data]}, {}
    if not request.data.is_dir():
        raise Mistake(
            f"There is no folder {request.data}.", "", "Give the folder that holds the benchmarks' folders."
        )
    roots, absent = {}, {}
    for name in names:
        places = [request.data / place for place in known[name].FOLDERS if (request.data / place).is_dir()]
        if places:
            roots[name] = places
        else:
            absent[name] = f"no folder {' or '.join(known[name].FOLDERS)}"
    return roots, absent


def _read(
    request: BenchRequest,
    known: Mapping[str, ModuleType],
    roots: Mapping[str, Sequence[Path]],
    absent: dict[str, str],
) -> list[BenchmarkResult]:
    """Read the cases of each benchmark, from the first of its folders that can be read. A benchmark of the suite that cannot be
    read is added to `absent`; Mistake where that is all of them."""
    outcomes = []
    for name, places in roots.items():
        for place in places:
            try:
                outcomes.append(_results.prepare(name, known[name], place, request.limit))
                absent.pop(name, None)
                break
            except Mistake as mistake:
                if request.name != NAME:
                    raise
                absent.setdefault(name, " ".join(str(mistake).splitlines()))
    if not outcomes:
        raise Mistake(
            f"{request.data} holds none of GDBench.",
            " ".join(f"{name}: {why}." for name, why in absent.items()),
            "docs/bench.md shows every layout.",
        )
    return outcomes


def _miniature(module: ModuleType, name: str, request: BenchRequest) -> Path:
    """The folder of a miniature, OUT/mini/NAME-SEED, which is drawn once."""
    root = request.out / "mini" / f"{name}-{request.seed}"
    if not root.exists():
        part = root.with_name(f".{root.name}.part")
        shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
        module.mini(part, request.seed)
        part.rename(root)
    return root


def claim(out: Path) -> None:
    """Create OUT, or accept it where it is empty or of an earlier `bench`. Mistake where it has other files."""
    if out.exists() and not out.is_dir():
        raise Mistake(f"{out} is a file.", "", "Name a folder for --out.")
    seen = (
        {entry.name for entry in out.iterdir() if not entry.name.startswith(".")} if out.is_dir() else set()
    )
    ours = {"scores", "mini", "results.json", "report.html"}
    if seen - ours or ("results.json" in seen and "benchmarks" not in read_json(out / "results.json")):
        raise Mistake(
            f"{out} is not a folder of `pairloom bench`.",
            f"It holds {', '.join(sorted(seen)[:3])}.",
            "Name an empty or a new folder.",
        )


def entrants(
    models: Sequence[str], make: Callable[[str], Any], settings: Mapping[str, Any], blind: bool
) -> list[Entrant]:
    """An entrant for each model, by the name of its folder; make(where) builds its scorers. Settings of DIFFUSION apply to
    diffusion models alone. Mistake where a model is named twice, where one does not have the score of the settings, and where
    a setting of DIFFUSION applies to none of them."""
    if len(set(models)) < len(models):
        raise Mistake("A model is named twice.", ", ".join(models), "Name each --model once.")
    systems = {where: declared(where) for where in models}
    for system in filter(None, systems.values()):
        demand_way(system, settings.get("way"))
    hears = {where: denoises(where, system) for where, system in systems.items()}
    unheard = [f"--{name} {settings[name]}" for name in DIFFUSION if settings.get(name)]
    if unheard and not any(hears.values()) and all(_folder(where).exists() for where in models):
        raise Mistake(
            f"{' and '.join(unheard)} would change nothing.",
            f"{'It applies' if len(unheard) == 1 else 'They apply'} to diffusion models; {', '.join(models)} is none.",
            "Leave it out, or name a diffusion model.",
        )
    names = [Path(where).name or where for where in models]
    names = [name if names.count(name) == 1 else where for name, where in zip(names, models)]
    options = {name: value for name, value in settings.items() if name not in DIFFUSION}
    return [
        Entrant(
            name,
            fingerprint(where, settings if hears[where] else options),
            lambda where=where: make(where),  # type: ignore[misc]
            blind,
            f"{' and '.join(unheard)} {'says' if len(unheard) == 1 else 'say'} nothing to {name}"
            if unheard and not hears[where]
            else "",
        )
        for name, where in zip(names, models)
    ]


def declared(where: str) -> Declares | None:
    """The system of a model folder of pairloom, built without weights, for its abilities; None for other layouts."""
    document = read_json(_folder(where) / "config.json")
    if MARK not in document or str(document.get("system")) not in registry.names("systems"):
        return None
    with torch.device("meta"):
        system: Declares = registry.find("systems", str(document["system"])).System(read_config(document))
    return system


def denoises(where: str, system: Declares | None) -> bool:
    """Whether a model is a diffusion model, decided without reading its weights."""
    if system is None:
        return (_folder(where) / "model_index.json").is_file()
    return able(system, "denoise") is not None


def _folder(where: str) -> Path:
    """The folder of a model, from its path or its hub id in the local cache."""
    place = Path(where)
    return place if place.exists() else cached(where) or place


def fingerprint(where: str, settings: Mapping[str, Any]) -> str:
    """Hash of a model's files (or of its name, where there are none) and of its settings."""
    digest = hashlib.blake2b(repr(sorted(settings.items())).encode(), digest_size=12)
    place = _folder(where)
    for path in _files(place):
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        with open(path, "rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    digest.update(b"" if place.exists() else where.encode())
    return digest.hexdigest()


def _files(where: Path) -> Iterator[Path]:
    if where.is_file():
        yield where
    elif where.is_dir():
        yield from sorted(path for path in where.rglob("*") if path.is_file())


def lost(results: Mapping[str, Any]) -> int:
    """Number of cases without a score because a file is missing or broken."""
    documents: Sequence[Mapping[str, Any]] = list(results["benchmarks"].values())
    return sum(problem["cases"] for one in documents for problem in one["problems"])


__all__ = [
    "CLAIM",
    "NAME",
    "SUITE",
    "BenchRequest",
    "Entrant",
    "BenchmarkResult",
    "benchmarks",
    "entrants",
    "lost",
    "run",
    "scorers",
]
