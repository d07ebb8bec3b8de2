"""What pairloom writes, read back by the libraries that are installed here; and that a difference is seen."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from experiments import read_back

LIBRARIES = ("datasets", "webdataset", "pycocotools")


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, str]]]:
    return read_back.write_sets(tmp_path_factory.mktemp("sets"))


def test_every_format_has_a_reader(wanted: dict[str, dict[str, dict[str, str]]]) -> None:
    from pairloom import registry

    assert set(read_back.SAVED) == set(registry.names("data.formats"))
    assert set(wanted) == set(LIBRARIES)
    for sets in wanted.values():
        assert all(any(Path(one["folder"]).iterdir()) for one in sets.values())


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_installed_version_reads_all_as_it_was(
    library: str, wanted: dict[str, dict[str, dict[str, str]]]
) -> None:
    if not find_spec(library):
        pytest.skip(
            f"{library} is not installed: python -m experiments.read_back builds environments that have it"
        )
    for name, sets in read_back.results(sys.executable, {library: wanted[library]}).items():
        assert {f"{name} {one}": differs for one, differs in sets.items() if differs} == {}


def test_a_difference_is_named() -> None:
    raw = {"train": {"features": [["a", "int"], ["b", "str"]], "rows": [{"a": 1, "b": "x"}]}}
    turned = {"train": {"features": [["b", "str"], ["a", "int"]], "rows": [{"a": 1, "b": "x"}]}}
    kind = {"train": {"features": [["a", "int"], ["b", "str"]], "rows": [{"a": 1.0, "b": "x"}]}}
    seen = {"s/raw": raw, "t/raw": raw, "u/raw": raw, "s/out": raw, "t/out": turned, "u/out": kind}
    assert read_back.difference(seen, "s") == ""
    assert "'a' became 'b'" in read_back.difference(seen, "t")
    assert "1 became 1.0" in read_back.difference(seen, "u")
    assert "cleaned: broken" in read_back.difference({"s/raw": raw, "s/out": {"error": "broken"}}, "s")
    assert read_back.absent({"saved/table": {"rows": list(reversed(read_back.TEXTS))}}, "table") != ""
