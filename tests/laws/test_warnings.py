"""A warning about our own code is an error, whoever raises it; what a library deprecates inside itself is a finding."""

import warnings

import pytest

DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


def warn(module: str, category: type[Warning]) -> None:
    warnings.warn_explicit("old", category, f"{module}.py", 1, module)


@pytest.mark.parametrize("category", [*DEPRECATIONS, UserWarning, ResourceWarning, RuntimeWarning])
@pytest.mark.parametrize("module", ["pairloom.blocks.causal", "tests.laws.test_warnings", "test_warnings"])
def test_ours_are_errors(module: str, category: type[Warning]) -> None:
    with pytest.raises(category, match="old"):
        warn(module, category)


@pytest.mark.parametrize("category", DEPRECATIONS)
def test_a_library_may_deprecate(category: type[Warning]) -> None:
    with warnings.catch_warnings(record=True) as found:
        warn("transformers.modeling_layers", category)
    assert [one.category for one in found] == [category]


@pytest.mark.parametrize("category", [UserWarning, ResourceWarning, RuntimeWarning])
def test_all_else_is_an_error_from_a_library_too(category: type[Warning]) -> None:
    with pytest.raises(category, match="old"):
        warn("torch.nn", category)
