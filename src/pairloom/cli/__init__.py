"""The command line: one file, one command. Nothing here imports torch before a command runs."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

import pairloom
from pairloom import folder
from pairloom.errors import Mistake

ORDER = "demo check clean why score train caption match claims systems".split()
GROUPS = {"demo": "The main job", "train": "Models", "systems": "About"}


def build() -> typer.Typer:
    """The application: every module of this room is a command, in the order of the design, the rest by name."""
    app = typer.Typer(
        name="pairloom",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Find the bad image-text pairs of a data set, rewrite or drop them, and see why.",
    )

    @app.callback()
    def top(version: bool = typer.Option(False, "--version", is_eager=True, callback=_version)) -> None:
        pass

    found = folder.names("cli")
    for name in sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)):
        module = folder.find("cli", name)
        app.command(
            name=name.replace("_", "-"), help=module.__doc__, no_args_is_help=getattr(module, "NEEDS", True)
        )(module.command)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pairloom {pairloom.__version__}")
        raise typer.Exit()


def main() -> None:
    """Entry point of the console script. Exit codes: 0 fine, 1 findings or failures, 2 wrong use."""
    try:
        build()()
    except Mistake as mistake:
        console = Console(stderr=True, highlight=False)
        console.print(f"[bold red]Mistake[/] {_plain(mistake.what)}")
        for line in (mistake.why, mistake.do):
            if line:
                console.print(f"        {_plain(line)}")
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("Stopped. Run the same command again to go on from here.")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
