"""List every public name with its signature, so that no change of one goes unseen.

``python3 dev.py api`` brings the list in ``docs/public_api.md`` up to date; ``--check`` only shows
what is not as it says there.
"""

from __future__ import annotations

import argparse
import difflib
import enum
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ForwardRef

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "public_api.md"
MARK = "<!-- Written by `python3 dev.py api`. -->\n"

MODULES = (
    "ffcv.loader",
    "ffcv.reader",
    "ffcv.writer",
    "ffcv.writer.indexing",
    "ffcv.fields",
    "ffcv.fields.decoders",
    "ffcv.transforms",
    "ffcv.errors",
    "ffcv.pipeline",
    "ffcv.pipeline.dtypes",
    "ffcv.kernels",
    "ffcv.kernels.entry",
    "ffcv.kernels.random",
    "ffcv.kernels.structs",
    "ffcv.kernels.vectors",
    "ffcv.plugin",
    "ffcv.plugin.hookspecs",
    "ffcv.plugin.records",
    "ffcv.plugin.registry",
    "ffcv.storage",
    "ffcv.testing",
    "ffcv.testing.harness",
    "ffcv.testing.conformance",
    "ffcv.testing.strategies",
    "ffcv.cli.command",
    "ffcv.cli.options",
    "ffcv.cli.report",
    "ffcv_plugins.images.functions",
    "ffcv_plugins.images.codec",
    "ffcv_plugins.images.conformance",
    "ffcv_plugins.images.decoded",
    "ffcv_plugins.images.hookspecs",
    "ffcv_plugins.raster.epilogue",
    "ffcv_plugins.raster.normalization",
    "ffcv",
)
"""Public modules. A name that several of them have is shown where it comes first."""

SHOWN_SPECIAL = {"__call__", "__enter__", "__exit__", "__getitem__", "__iter__", "__len__"}


def main() -> int:
    """Write the list, or compare it; the status is 1 if it is not as it was to be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    only_check = parser.parse_args().check
    difference = changes()
    print("\n".join(difference))
    if difference and not only_check:
        PAGE.write_text(_head() + listing(), "utf-8")
    return int(only_check and bool(difference))


def changes() -> list[str]:
    """How what is there differs from the page: lines with - are gone, lines with + are new."""
    old = PAGE.read_text("utf-8").partition(MARK)[2]
    lines = difflib.unified_diff(_qualified(old), _qualified(listing()), lineterm="", n=0)
    return [line for line in lines if not re.match(r"---|\+\+\+|@@", line)]


def _qualified(text: str) -> list[str]:
    """The lines of a listing, each with the module and the class that it belongs to."""
    result, module, owner = [], "", ""
    for line in filter(None, text.splitlines()):
        if line.startswith("## "):
            module = line[3:]
        elif line.startswith(" "):
            result.append(f"{module}.{owner}: {line.strip()}")
        elif not line.startswith("```"):
            owner = re.split(r"\W", line.removeprefix("class "))[0]
            result.append(f"{module}: {line}")
    return result


def listing() -> str:
    """All public modules, each with its names."""
    homes: dict[int, str] = {}
    for module in MODULES:
        for _, value in exported(module):
            homes.setdefault(id(value), module)
    blocks = []
    for module in sorted(MODULES):
        lines = []
        for name, value in exported(module):
            home = homes[id(value)]
            if home == module or not (inspect.isclass(value) or inspect.isroutine(value)):
                lines += _described(name, value, set(homes))
            else:
                lines.append(f"{name}: see {home}")
        blocks.append(f"\n## {module}\n\n```text\n" + "\n".join(lines) + "\n```\n")
    return "".join(blocks)


def _head() -> str:
    return PAGE.read_text("utf-8").partition(MARK)[0] + MARK


def exported(module_name: str) -> Iterator[tuple[str, Any]]:
    """Names of a module and their values, without those of other people's plugins."""
    module = importlib.import_module(module_name)
    for name in sorted(module.__all__):
        value = getattr(module, name)
        is_named = inspect.isclass(value) or inspect.isroutine(value)
        if not is_named or _is_ours(_module_of(value)):
            yield name, value


def _module_of(value: Any) -> str | None:
    return getattr(value, "__module__", None)


def _is_ours(module: str | None) -> bool:
    return f"{module}.".startswith(("ffcv.", "ffcv_plugins."))


def _described(name: str, value: Any, public: set[int]) -> list[str]:
    if inspect.isclass(value):
        if value.__name__ != name:
            return [f"{name} = {value.__name__}"]
        bases = [b.__name__ for b in value.__bases__ if b is not object]
        head = f"class {name}{_signature(value)}"
        lines = [head, *([f"    derives from {', '.join(bases)}"] if bases else [])]
        return [*lines, *(f"    {line}" for line in _members(value, public))]
    if inspect.ismodule(value):
        return [f"module {name}"]
    if inspect.isroutine(value):
        return [f"def {name}{_signature(value)}"]
    is_plain = isinstance(value, int | float | str | tuple) and not isinstance(value, enum.Enum)
    shown = repr(value) if is_plain and name != "__version__" else type(value).__name__
    return [f"{name} = {shown}" if is_plain and name != "__version__" else f"{name}: {shown}"]


def _members(cls: type, public: set[int]) -> Iterator[str]:
    """What a class has beyond, or otherwise than, its public bases."""
    if issubclass(cls, enum.Enum):
        yield from (f"{member.name} = {member.value!r}" for member in cls)
    documented = _attributes(cls)
    if documented:
        yield f"attributes {', '.join(documented)}"
    for name in sorted(dir(cls)):
        owner = next((base for base in cls.__mro__ if name in vars(base)), None)
        if owner is None or not _is_ours(owner.__module__):
            continue
        if (name.startswith("_") and name not in SHOWN_SPECIAL) or name in documented:
            continue
        bases = [base for base in cls.__mro__[1:] if id(base) in public and hasattr(base, name)]
        known = {
            line for base in bases for line in _member(name, inspect.getattr_static(base, name))
        }
        yield from (line for line in _member(name, vars(owner)[name]) if line not in known)


def _member(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, enum.Enum):
        return
    if isinstance(value, staticmethod | classmethod):
        yield f"@{type(value).__name__} def {name}{_signature(value.__func__)}"
    elif isinstance(value, property):
        result = inspect.signature(value.fget).return_annotation if value.fget else "Any"
        yield f"{name}: {result}{'' if value.fset else ' (read only)'}"
    elif inspect.isfunction(value):
        yield f"def {name}{_signature(value)}"
    else:
        yield name


def _attributes(cls: type) -> list[str]:
    """The names in the section ``Attributes:`` of its docstring."""
    text = inspect.cleandoc(cls.__doc__ or "")
    section = re.search(r"^Attributes:\n((?:(?: {4}.*)?(?:\n|$))+)", text, re.MULTILINE)
    names = re.findall(r"^ {4}(\w[\w, ]*):", section[1], re.MULTILINE) if section else []
    return [name for several in names for name in re.split(r",\s*", several)]


class _Text(str):
    """An annotation that is shown as it was written."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _signature(function: Any) -> str:
    if inspect.isclass(function):
        if issubclass(function, enum.Enum):
            return ""  # how one is made of its value differs between releases of Python
        makers = {function.__init__, function.__new__}
        is_named_tuple = issubclass(function, tuple) and hasattr(function, "_fields")
        if not is_named_tuple and not any(_is_ours(_module_of(maker)) for maker in makers):
            return "()" if function.__init__ is object.__init__ else "(…)"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return "(…)"
    if inspect.isclass(function):
        signature = signature.replace(return_annotation=inspect.Signature.empty)
    parameters = [
        parameter.replace(annotation=_plain(parameter.annotation))
        for parameter in signature.parameters.values()
    ]
    shown = signature.replace(
        parameters=parameters, return_annotation=_plain(signature.return_annotation)
    )
    return re.sub(r" at 0x[0-9a-f]+|ForwardRef\('(.*?)'\)", r"\1", str(shown))


def _plain(annotation: Any) -> Any:
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    return _Text(annotation) if isinstance(annotation, str) else annotation


if __name__ == "__main__":
    sys.exit(main())
