"""Write the blocks that let editors and type checkers see what lazy namespaces show.

``python -m ffcv.plugin.generate_namespaces`` brings the files of all of them up to date;
``--check`` only says which ones are not. The blocks name what the distribution ``ffcv`` itself
provides.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from pathlib import Path

from ffcv.plugin import registry
from ffcv.plugin.discovery import BUILT_IN, normalized
from ffcv.plugin.namespaces import LAZY_NAMESPACES, LazyNamespace

__all__ = ["main", "stale"]

_LINE_LENGTH = 100
_BLOCK = re.compile(r"(?<=^if TYPE_CHECKING:\n).*?(?=^else:\n)", re.DOTALL | re.MULTILINE)
_NOTE = "    # Written by `python -m ffcv.plugin.generate_namespaces`.\n"


def main() -> int:
    """Write the blocks, or check them; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if any is stale")
    only_check = parser.parse_args().check
    files = stale()
    for path, text in files.items():
        print(f"{'stale' if only_check else 'written'}: {path}")
        if not only_check:
            path.write_text(text, "utf-8")
    return int(only_check and bool(files))


def stale() -> dict[Path, str]:
    """Files whose block is not what the plugins provide, and what they should contain."""
    result = {}
    for module, namespace in LAZY_NAMESPACES.items():
        path = _path(module)
        old = path.read_text("utf-8")
        block = _block(namespace)
        new, count = _BLOCK.subn(lambda _, block=block: block, old)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"{path}: expected one block 'if TYPE_CHECKING: … else:'")
        if new != old:
            result[path] = new
    return result


def _path(module: str) -> Path:
    path = Path(__file__).parents[2].joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _block(namespace: LazyNamespace) -> str:
    imports: dict[str, list[str]] = defaultdict(list)
    shown = set(namespace.own)
    for registered in registry.contributions(*namespace.kinds):
        contribution = registered.contribution
        module, _, cls = contribution.location.partition(":")
        for name in filter(namespace.shows, (contribution.name, *contribution.aliases)):
            if normalized(registered.distribution) == BUILT_IN:
                imports[module].append(cls if name == cls else f"{cls} as {name}")
                beside = [
                    other for other, companion in namespace.beside.items() if companion == name
                ]
                imports[module].extend(beside)
                shown.update((name, *beside))
    lines = [_import(module, imports[module]) for module in sorted(imports)]
    return f"{_NOTE}{''.join(lines)}\n{_all(sorted(shown, key=_order))}\n"


def _import(module: str, names: list[str]) -> str:
    names = sorted(names, key=_order)
    aliased = [name for name in names if " as " in name]
    plain = [name for name in names if name not in aliased]
    # The formatter puts renamed imports into statements of their own.
    return "".join(
        _wrapped(f"    from {module} import ", group, ("(", ")"))
        for group in (plain, *([name] for name in aliased))
        if group
    )


def _all(names: list[str]) -> str:
    one = f"    __all__ = [{', '.join(map(_quoted, names))}]\n"
    if len(one) <= _LINE_LENGTH + 1:
        return one
    return _wrapped("    __all__ = ", [_quoted(name) for name in names], ("[", "]"))


def _wrapped(start: str, names: list[str], brackets: tuple[str, str]) -> str:
    one = f"{start}{', '.join(names)}\n"
    if brackets[0] == "(" and len(one) <= _LINE_LENGTH + 1:
        return one
    inner = "".join(f"        {name},\n" for name in names)
    return f"{start}{brackets[0]}\n{inner}    {brackets[1]}\n"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _order(name: str) -> tuple[bool, list[object], str]:
    """Sorts as the linter does: constants first, numbers by their value."""
    pieces = re.split(r"(\d+)", name)
    numbered = [int(piece) if piece.isdigit() else piece for piece in pieces]
    return not name.isupper(), numbered, name


if __name__ == "__main__":
    sys.exit(main())
