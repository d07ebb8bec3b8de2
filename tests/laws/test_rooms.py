"""The house: floors, forbidden imports, no cycles, file length, what the command line may import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "pairloom"
FILES = sorted(SOURCE.rglob("*.py"))
FLOORS = {
    "errors": 0, "config": 0, "config_json": 0, "registry": 0, "abilities": 0,
    "blocks": 1, "objectives": 1, "metrics": 1, "data": 1,
    "verbs": 2, "world": 2, "checkpoints": 2, "systems": 3,
    "runtime": 4, "scale": 4, "model": 5, "towers": 5, "regression": 6, "frozen": 6, "weights": 7, "tasks": 8, "train": 9,
    "bench": 10, "clean": 10, "search": 10,
    "api": 11, "cli": 12, "web": 12, "__main__": 13,
}  # fmt: skip
FORBIDDEN = {
    "metrics": {"torch"},
    "errors": {"torch"},
    "config": {"torch"},
    "config_json": {"torch"},
    "registry": {"torch"},
    "abilities": {"torch"},
    "cli": {"torch", "numpy", "pyarrow", "PIL"},
}
COMMAND_LINE = 1500  # lines of the whole room, which parses, calls and shows


def room_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(file: Path) -> list[tuple[str, bool]]:
    """(dotted name, at module level?) of every import, lazy ones too."""
    tree = ast.parse(file.read_text())
    top = set(map(id, tree.body))
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found += [(name, id(node) in top) for name in names]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_only_fall(file: Path) -> None:
    room = room_of(file)
    if room == "__init__":
        return  # the front door reaches every floor, lazily
    for name, _ in imports(file):
        assert name.split(".")[0] not in FORBIDDEN.get(room, ()), f"{room} must not know {name}"
        if not name.startswith("pairloom.") or name == "pairloom.__version__":
            continue
        other = name.split(".")[1]
        if (
            other in ("registry", "errors", "config", "config_json", "abilities", "verbs")
            or other == room
            or other not in FLOORS
        ):
            continue
        assert FLOORS[other] < FLOORS[room], f"{file.relative_to(SOURCE)} ({room}) imports {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_private_modules_stay_in_their_room(file: Path) -> None:
    for name, _ in imports(file):
        parts = name.split(".")
        if parts[0] == "pairloom" and len(parts) > 2 and parts[1] != room_of(file):
            private = [part for part in parts[2:] if part.startswith("_")]
            assert not private, f"{file.relative_to(SOURCE)} imports {name}, which is private to {parts[1]}"


def test_systems_do_not_borrow_pieces_of_each_other() -> None:
    for file in (SOURCE / "systems").glob("*.py"):
        for name, _ in imports(file):
            if name.startswith("pairloom.systems.") and file.name != "__init__.py":
                assert name.count(".") == 2, f"{file.name} takes a piece of another system: {name}"


def test_no_cycles() -> None:
    edges = {}
    for file in FILES:
        dotted = ".".join(("pairloom", *file.relative_to(SOURCE).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        edges[dotted] = {name for name, top in imports(file) if top and name.startswith("pairloom")}
    known = set(edges)
    graph = {
        here: {other if other in known else other.rpartition(".")[0] for other in others} & known - {here}
        for here, others in edges.items()
    }
    state: dict[str, int] = {}

    def visit(node: str, path: tuple[str, ...]) -> None:
        assert state.get(node) != 1, f"import cycle: {' -> '.join((*path, node))}"
        if state.get(node) == 2:
            return
        state[node] = 1
        for following in graph[node]:
            visit(following, (*path, node))
        state[node] = 2

    for node in graph:
        visit(node, ())


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_files_are_one_noun_each(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 500, f"{file.name} holds more than one idea"
    assert ast.get_docstring(ast.parse(text)), f"{file.name} does not say what it is"
    assert file.stem not in {"utils", "helpers", "common", "misc", "base", "manager"}


def test_the_command_line_is_a_thin_shell() -> None:
    lines = {file.name: len(file.read_text().splitlines()) for file in FILES if room_of(file) == "cli"}
    assert sum(lines.values()) < COMMAND_LINE, f"product logic belongs below cli/: {lines}"


def test_only_the_registry_imports_dynamically() -> None:
    users = [
        file.name
        for file in FILES
        if any(
            name.startswith("importlib")
            and not name.startswith(("importlib.resources", "importlib.metadata", "importlib.util"))
            for name, _ in imports(file)
        )
    ]
    assert users == ["registry.py"]


def test_nothing_unpickles() -> None:
    for file in FILES:
        names = {name.split(".")[0] for name, _ in imports(file)}
        assert not names & {"pickle", "joblib", "dill", "shelve"}, file
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert any(
                    word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in node.keywords
                ), file
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
                assert not any(word.arg == "allow_pickle" for word in node.keywords), file


def test_the_command_line_answers_without_torch() -> None:
    check = """
import sys
from pairloom.cli import main
sys.argv = ["pairloom", "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code
print("LOADED", sorted({"torch", "transformers", "pyarrow"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "clean" in done.stdout and "LOADED []" in done.stdout
