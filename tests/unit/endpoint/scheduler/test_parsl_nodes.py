"""Our keys are the arguments of Parsl's classes, with Parsl's defaults."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from chamberlain_endpoint.rendered import launchers, providers
from chamberlain_endpoint.scheduler.parsl_nodes import parsl_class

REMOTE = [model for model in providers.PROVIDERS if model is not providers.LocalProvider]
# Keys that all our providers have and some of Parsl's have not.
MISSING = {
    "AzureProvider": {"nodes_per_block"},
    "GoogleCloudProvider": {"nodes_per_block", "worker_init"},
}
# Ours are one answer for all schedulers, or None where Parsl's own is an empty text.
OTHER_DEFAULTS = {"launcher", "project", "environment", "vm_reference"}


def arguments(kind: Any) -> dict[str, inspect.Parameter]:
    taken = dict(inspect.signature(kind.__init__).parameters)
    del taken["self"]
    return taken


@pytest.mark.parametrize("model", REMOTE, ids=lambda model: model.__name__)
def test_a_provider_has_the_keys_and_defaults_of_parsls(model: Any) -> None:
    theirs = arguments(parsl_class(model.__name__))
    ours = set(model.model_fields) - {"type"}
    assert ours - MISSING.get(model.__name__, set()) == set(theirs)
    for name in ours & set(theirs) - OTHER_DEFAULTS:
        field, parameter = model.model_fields[name], theirs[name]
        assert field.is_required() == (parameter.default is inspect.Parameter.empty), name
        if not field.is_required():
            default = field.get_default(call_default_factory=True)
            assert (default or None) == (parameter.default or None), name


@pytest.mark.parametrize("model", launchers.LAUNCHERS, ids=lambda model: model.__name__)
def test_a_launcher_has_the_keys_and_defaults_of_parsls(model: Any) -> None:
    from parsl import launchers as theirs

    taken = arguments(getattr(theirs, model.__name__))
    assert set(model.model_fields) - {"type"} == set(taken)
    for name, parameter in taken.items():
        if parameter.default is not inspect.Parameter.empty:
            assert model.model_fields[name].default == parameter.default
