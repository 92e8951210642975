"""Every import path, class and parameter of FFCV 1.x that programs use exists here."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Iterator

import pytest

from ffcv.beton.layout import MIN_PAGE_SIZE
from ffcv.loader.loader import DEFAULT_OS_CACHE, OrderOption
from tests.support import FIXTURES

API = json.loads((FIXTURES / "api.json").read_text())["modules"]
NAMES = [(module, name) for module, names in API.items() for name in names]
VALUES = {
    "MIN_PAGE_SIZE": MIN_PAGE_SIZE,
    "DEFAULT_OS_CACHE": DEFAULT_OS_CACHE,
    "OrderOption": OrderOption,
}


def signatures() -> Iterator[tuple[str, str, str, list[list[str | None]]]]:
    for module, names in API.items():
        for name, about in names.items():
            if "init" in about:
                yield module, name, "__init__", about["init"]
            for method, parameters in about.get("methods", {}).items():
                yield module, name, method, parameters


def find(module: str, name: str) -> object:
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_names_can_be_imported(module, name):
    space: dict[str, object] = {}
    exec(f"from {module} import {name}", space)
    assert space[name] is find(module, name)
    if module != "ffcv" and name not in {"ARG_TYPE"}:
        assert inspect.isclass(space[name])


@pytest.mark.parametrize(("module", "name", "method", "expected"), list(signatures()))
def test_parameters_have_their_names_positions_and_defaults(module, name, method, expected):
    function = find(module, name)
    if method != "__init__":
        function = getattr(function, method)
    parameters = list(inspect.signature(function).parameters.values())
    if parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    ours = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    assert len(ours) >= len(expected) or any(p.kind is p.VAR_POSITIONAL for p in ours)
    for mine, (theirs, default) in zip(ours, expected, strict=False):
        assert mine.name == theirs.lstrip("*")
        if default is not None:
            assert mine.default == eval(default, dict(VALUES))
    for extra in ours[len(expected) :]:
        assert extra.default is not extra.empty
