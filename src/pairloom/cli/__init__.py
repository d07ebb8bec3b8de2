"""Command line: one file, one command. No module here imports torch before a command runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import TextIOWrapper

import typer
from rich.console import Console

import pairloom
from pairloom import registry
from pairloom.errors import Mistake
from pairloom.runtime.launched import run_to_exit

STOPPED = 130  # exit code of a command that was stopped by Ctrl-C
AGAIN = "Run the same command again: finished work on the disk is not repeated."
# the groups of `pairloom --help`, in this order; a command in no group comes last
GROUPS = {
    "The main job": "demo check clean why label apply",
    "Ask a model": "caption match score ask classify embed reason dialog explain prompt draw",
    "Find": "retrieve index search",
    "Train and measure": "train regions bench",
    "Models": "systems import_ export",
}
PANEL = {name: panel for panel, names in GROUPS.items() for name in names.split()}


def build() -> typer.Typer:
    """Build the application: every module of this room is a command, first those of the groups in their order, then the others
    by name."""
    app = typer.Typer(
        name="pairloom",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Find the bad image-text pairs of a data set, rewrite or drop them, and see why.",
    )

    @app.callback()
    def top(version: bool = typer.Option(False, "--version", is_eager=True, callback=_version)) -> None:
        pass

    ordered = [name for name in PANEL if name in registry.names("cli")]
    for name in [*ordered, *sorted(set(registry.names("cli")) - set(ordered))]:
        module = registry.find("cli", name)
        app.command(
            name=name.strip("_").replace("_", "-"),
            help=module.__doc__,
            rich_help_panel=PANEL.get(name, "More"),
            no_args_is_help=getattr(module, "NEEDS", True),
        )(module.command)
    return app


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"pairloom {pairloom.__version__}")
        raise typer.Exit()
    return wanted


def main() -> None:
    """Entry point of the console script."""
    run_to_exit(lambda: run(build))


def run(make: Callable[[], typer.Typer]) -> None:
    """Build an application and run it. Exit codes: 0 fine, 1 findings or failures, 2 wrong use, 130 stopped."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be UTF-8
    try:
        make()()
    except Mistake as mistake:
        _say("Mistake", mistake.what, mistake.why, mistake.do)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == STOPPED:
            _say("Stopped.", AGAIN)
        raise
    except KeyboardInterrupt:  # before a command has begun
        _say("Stopped.", AGAIN)
        sys.exit(STOPPED)
    except OSError as error:  # not foreseen by a command: a disk fails, a file disappears while it is read
        from pairloom.data.disk import REASONS

        what = f"{error.filename or 'A file'}: {error.strerror or error}"
        _say("Failed", what, *REASONS.get(error.errno or 0, ()))
        sys.exit(1)


def _say(title: str, first: str, *more: str) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]{title}[/] {_plain(first)}")
    for line in filter(None, more):
        console.print(f"        {_plain(line)}")


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
