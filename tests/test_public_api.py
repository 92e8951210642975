"""The page that lists the public names says what is there."""

from __future__ import annotations

import importlib
import re

import pytest

from ffcv.loader import OrderOption
from ffcv.reader import Reader
from tools import public_api


def test_the_page_lists_what_is_there() -> None:
    changes = public_api.changes()
    hint = "if this is meant, run `python3 dev.py api` and say it in the changelog"
    assert not changes, "\n".join(["the public API has changed; " + hint, *changes])


def test_changes_are_told_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def close(self, wait: bool = True) -> None:
        """Another signature."""

    before = public_api.changes()
    monkeypatch.setattr(Reader, "close", close)
    monkeypatch.setattr(public_api.importlib.import_module("ffcv.kernels"), "__all__", ["kernel"])
    changes = [line for line in public_api.changes() if line not in before]
    assert "-ffcv.reader.Reader: def close(self) -> None" in changes
    assert "+ffcv.reader.Reader: def close(self, wait: bool = True) -> None" in changes
    assert "-ffcv.kernels: def is_compiled() -> bool" in changes
    assert all(line.startswith(("-ffcv.kernels", "-ffcv.reader", "+ffcv.r")) for line in changes)


def test_other_peoples_names_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    import ffcv.transforms

    before = public_api.listing()

    class Theirs:
        __module__ = "ffcv_of_somebody"

    monkeypatch.setattr(ffcv.transforms, "Theirs", Theirs, raising=False)
    names = [*ffcv.transforms.__all__, "Theirs"]
    monkeypatch.setattr(ffcv.transforms, "__all__", names, raising=False)
    assert public_api.listing() == before


@pytest.mark.parametrize("module", public_api.MODULES)
def test_every_public_module_says_what_is_public(module: str) -> None:
    imported = public_api.importlib.import_module(module)
    assert imported.__all__
    assert imported.__doc__


def test_members_of_enumerations_are_listed() -> None:
    text = public_api.listing()
    for option in OrderOption:
        assert f"    {option.name} = {option.value!r}\n" in text


def _documented() -> list[str]:
    pages = (public_api.ROOT / "docs").rglob("*.md")
    found = (re.findall(r"^::: ([\w.]+)", page.read_text("utf-8"), re.M) for page in pages)
    return sorted({name for several in found for name in several})


@pytest.mark.parametrize("name", _documented())
def test_what_the_reference_explains_is_listed(name: str) -> None:
    public = {id(v) for m in public_api.MODULES for _, v in public_api.exported(m)}
    try:
        values = [value for _, value in public_api.exported(name)]
    except ModuleNotFoundError:  # a page may explain one class
        module, _, attribute = name.rpartition(".")
        values = [getattr(importlib.import_module(module), attribute)]
    assert values
    assert all(id(value) in public for value in values)
