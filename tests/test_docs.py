"""Every fenced block of every page runs: README, CONTRIBUTING and docs. What a block is, its info string says (the rule stands
in CONTRIBUTING.md, "Documentation"), so a new page is covered without a line here."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from pairloom import registry
from pairloom.cli import build as build_app
from pairloom.cli import main as pairloom_main

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
)
INFO = ("python", "bash", "bash parse", "text", "json")
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
# what a command gets over and above its line, so that it takes seconds
QUICK = {
    "train": ["steps=2", "batch=8"],
    "demo": ["--pairs", "64"],
    "draw": ["--steps", "2"],
    "bench": ["--limit", "8"],
}
FINDINGS = ("check", "search")  # commands that end with 1 where they find something, or nothing


class Block(NamedTuple):
    info: str
    text: str

    @property
    def lines(self) -> list[str]:
        """The commands of a bash block, without comments; a backslash joins a line with the next."""
        joined = self.text.replace("\\\n", " ").splitlines()
        return [line for line in joined if shlex.split(line, comments=True)]


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks_of(page: str) -> list[Block]:
    return [Block(*groups) for groups in FENCE.findall(text_of(page))]


def prose_of(page: str) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", text_of(page))


def running(page: str) -> str:
    """The text of all blocks of a page that run."""
    return "\n".join(block.text for block in blocks_of(page) if block.info in ("python", "bash"))


# pages and their links


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page: str) -> None:
    infos = {block.info for block in blocks_of(page)}
    assert infos <= set(INFO), f"{infos - set(INFO)} is none of {INFO}"
    assert text_of(page).count("```") == 2 * len(blocks_of(page)), "a fence is not closed, or indented"
    indented = re.findall(
        r"^ {4}(?:pairloom|python|torchrun|make|pip|import|from) .*", prose_of(page), re.MULTILINE
    )
    assert not indented, f"not fenced, so never run: {indented}"


@pytest.mark.parametrize("page", PAGES)
def test_links_and_anchors_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        there = (ROOT / page).parent / file if file else ROOT / page
        assert there.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)", there.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, (
                target
            )


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)\s#]+\.md)(?:#[^)]*)?\)", prose_of(page)):
            if "://" not in target:
                waiting.append(os.path.relpath(((ROOT / page).parent / target).resolve(), ROOT))
    assert set(PAGES) <= reached, set(PAGES) - reached


@pytest.mark.parametrize("page", PAGES)
def test_files_and_modules_that_a_page_names_exist(page: str) -> None:
    """In backticks: paths from the root, from src/pairloom or from a room of it; dotted names of the package. A path with a
    word in capitals stands for many."""
    for code in INLINE.findall(prose_of(page)):
        for path in re.findall(r"(?<![\w./-])(?:[\w-]+/)+[\w-]+\.py\b", code):
            if not re.search(r"[A-Z]{3,}", path):
                bases = (ROOT, ROOT / "src", ROOT / "src" / "pairloom")
                assert any((base / path).is_file() for base in bases), f"{page}: {path}"
        for dotted in re.findall(r"^pairloom(?:\.[A-Za-z_]\w*)+", code):
            resolve(dotted)


def resolve(dotted: str) -> object:
    """What a dotted name stands for. AttributeError or ImportError where there is no such thing."""
    first, *names = dotted.split(".")
    value: object = importlib.import_module(first)
    at = first
    for name in names:
        at = f"{at}.{name}"
        try:
            value = getattr(value, name)
        except AttributeError:
            value = importlib.import_module(at)
    return value


# commands


class Parsed(BaseException):
    """A program has read its command line, and would now begin to work."""


def program(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a program that a page names, in this process. Returns its exit code."""
    monkeypatch.setattr(sys, "argv", words)
    try:
        if words[0] == "pairloom":
            pairloom_main()
        elif words[0] == "python" and words[1] == "-m":
            monkeypatch.setattr(sys, "argv", words[2:])
            runpy.run_module(words[2], run_name="__main__", alter_sys=True)
        elif words[0] == "python":
            monkeypatch.setattr(sys, "argv", words[1:])
            runpy.run_path(str(ROOT / words[1]), run_name="__main__")
        elif words[0] == "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(words[1:]) <= set(targets), words
        else:
            raise AssertionError(f"no test knows how to run {words[0]}")
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def parse(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the program read a line as it would before its work: commands, options and settings must exist."""
    words = shlex.split(line, comments=True)
    if words[0] == "torchrun":
        from torch.distributed.run import get_args_parser

        launched = get_args_parser().parse_args(words[1:])
        words = [launched.training_script, *launched.training_script_args]
    with monkeypatch.context() as patch:
        read = argparse.ArgumentParser.parse_args

        def stop(*arguments: object, **values: object) -> None:
            if isinstance(arguments[0], argparse.ArgumentParser):
                read(*arguments, **values)
            raise Parsed

        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr(typer.core.TyperCommand, "invoke", stop)
        try:
            code = program(words, patch)
        except Parsed:
            code = 0
    assert code == 0, line
    if words[:2] == ["pairloom", "train"]:
        demand_settings(words[2:])


def demand_settings(words: list[str]) -> None:
    """The recipe, preset and settings of a line of `pairloom train` exist. Mistake where one does not."""
    from pairloom.api.closed_form import TowerNames, demand_closed_form
    from pairloom.config import override
    from pairloom.frozen import demand_on_tower
    from pairloom.regression.ridge_model import NAME as RIDGE
    from pairloom.train.order import TrainRequest

    command = typer.main.get_command(build_app()).commands["train"]  # type: ignore[attr-defined]
    options = command.make_context("train", list(words)).params
    if re.fullmatch(r"[A-Z:a-z]*SYSTEM[A-Z:a-z]*", options["system"]):
        return  # stands for any
    towers = TowerNames(options.pop("image_tower"), options.pop("text_tower"))
    values = {name: value for name, value in options.items() if name not in ("json", "settings", "mix")}
    request = TrainRequest(
        **values, settings=tuple(options["settings"] or ()), mix=tuple(options["mix"] or ())
    )
    if request.name == RIDGE:
        demand_closed_form(request)
        return
    assert towers.text is None
    if towers.image is not None:
        demand_on_tower(request.name)
    assert request.part or ":" not in request.system
    request.run()
    override(request.module.PRESETS[request.preset], request.of("model"))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_read_by_its_program(
    page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks_of(page):
        if block.info.startswith("bash"):
            for line in block.lines:
                parse(line, monkeypatch)
        elif block.info == "json":
            json.loads(block.text)


def test_every_command_in_a_sentence_exists() -> None:
    commands = typer.main.get_command(build_app()).commands  # type: ignore[attr-defined]
    papers = registry.names("claims", "experiments")
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for page in PAGES:
        for code in INLINE.findall(prose_of(page)):
            words = code.split()
            if words[0] == "make" and len(words) > 1:
                assert words[1] in targets, f"{page}: {code}"
            elif words[:3] == ["python", "-m", "experiments.claims"] and not words[3].isupper():
                assert words[3] in papers, f"{page}: {code}"
            elif words[0] == "pairloom" and len(words) > 1 and not words[1].startswith("-"):
                assert words[1] in commands, f"{page}: {code}"
                known = {
                    name for one in commands[words[1]].params for name in (*one.opts, *one.secondary_opts)
                }
                options = {word.partition("=")[0] for word in words[2:] if word.startswith("--")}
                assert options <= known, f"{page}: {code}"


# what runs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pages name without having made it: see CONTRIBUTING.md."""
    from pairloom.world import World, write_folder
    from pairloom.world.asked import write_examples
    from pairloom.world.documents import write_documents
    from pairloom.world.draw import picture

    root = tmp_path_factory.mktemp("docs")
    world = World(16, level="simple", size=64, styles=("terse", "full"), noise=0.3)
    write_folder(world, root / "raw")
    write_folder(World(12, seed=1, level="simple", size=64), root / "test")
    for kind in ("questions", "statements", "dialogs"):
        write_examples(World(12, seed=2, level="simple", size=64), root / kind, kind)
    write_documents(World(24, seed=3, level="simple", size=64), root / "pages")
    for at, name in enumerate(("beach.jpg", "city.jpg", "photo.jpg")):
        picture(world.row(at).scene, 96).save(root / name)
    (root / "names.txt").write_text("ball\ncat\nhouse\n")
    return root


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny untrained model of a system, by the system's name; each is built once."""
    from pairloom.data.tokens import Tokens
    from pairloom.model import build, save

    root = tmp_path_factory.mktemp("models")
    quoted = [text for page in PAGES for text in re.findall(r'"([^"\n]+)"', running(page))]
    tokens = Tokens.train([*quoted, "output :"] * 9, 2000)  # short: a tiny model reads a dozen tokens

    def folder(name: str) -> Path:
        if not (root / name).exists():
            save(build(name, tokens, "tiny"), root / name)
        return root / name

    return folder


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Main jobs learn for a few steps, in this process; in fp32, as bf16 takes long on processors without it."""
    from pairloom.api import cleaning
    from pairloom.clean import self_judge

    settings, seeing = cleaning.clean_settings, self_judge.seeing
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            cleaning,
            "clean_settings",
            lambda **own: settings(**{**own, "effort": 0.01, "size": 32, "seeds": 1}),
        )
        patch.setattr(self_judge, "seeing", lambda *own: replace(seeing(*own), precision="fp32"))
        patch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
        yield


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory, quick: None) -> Path:
    """A larger `raw`, large enough for the judge to decide, and `cleaned`, which `clean` made of it."""
    import pairloom
    from pairloom.world import World, write_folder

    root = tmp_path_factory.mktemp("cleaned")
    world = World(240, level="simple", size=64, styles=("terse", "full"), noise=0.3)
    write_folder(world, root / "raw")
    pairloom.open(root / "raw").clean(root / "cleaned")
    assert (root / "cleaned" / "report.html").stat().st_size > 10_000
    return root


def run_page(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every block of a page, in order, in a folder; what is Python in one namespace."""
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    for block in blocks_of(page):
        if block.info == "python":
            exec(compile(block.text, page, "exec"), names)  # noqa: S102
        elif block.info == "bash":
            for line in block.lines:
                words = shlex.split(line, comments=True)
                code = program([*words, *QUICK.get(words[1], [])], monkeypatch)
                assert code == 0 or code == 1 and words[1] in FINDINGS, f"{page}: {line}"


def is_slow(page: str) -> bool:
    """Whether a page needs a cleaned set, or trains by a command."""
    return re.search(r"\bcleaned\b|pairloom (demo|train)", running(page)) is not None


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] * is_slow(page)) for page in PAGES if running(page).strip()],
)
def test_every_block_runs(
    page: str,
    place: Path,
    models: Callable[[str], Path],
    quick: None,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = running(page)
    folder = tmp_path / "page"
    shutil.copytree(place, folder)
    if re.search(r"\bcleaned\b", text):
        shutil.rmtree(folder / "raw")
        shutil.copytree(request.getfixturevalue("cleaned"), folder, dirs_exist_ok=True)
    for name in registry.names("systems"):
        if re.search(rf"(?<![\w/]){name}(?![\w/])", text):
            if name == "latent_diffusion":
                pytest.importorskip("diffusers")
            shutil.copytree(models(name), folder / name)
    run_page(page, folder, monkeypatch)
