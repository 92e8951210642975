"""Whatever the documentation shows is run: code blocks of all pages, and doctests."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SKIP = "<!-- not run -->"
FENCE = re.compile(r"^( *)(`{3,}|~{3,}) *([\w-]*)")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [*ROOT.glob("ffcv/**/*.py"), *ROOT.glob("plugins/ffcv_plugins/**/*.py")]


def script_of(page: str) -> str:
    """The Python blocks of a page as one script, each line on the line that it has in the page."""
    lines = [""] * len(page.splitlines())
    fence = previous = ""
    indent, runs = 0, False
    for number, line in enumerate(page.splitlines()):
        match = FENCE.match(line)
        if fence:
            if match and match[2].startswith(fence) and not match[3]:
                fence = ""
            elif runs:
                lines[number] = line[indent:]
        elif match:
            indent, fence = len(match[1]), match[2]
            runs = match[3] == "python" and previous != SKIP
        if line.strip():
            previous = line.strip()
    return "\n".join(lines) + "\n"


def _with_python() -> list[Path]:
    return [page for page in PAGES if script_of(page.read_text("utf-8")).strip()]


@pytest.mark.parametrize("page", _with_python(), ids=lambda page: page.name)
def test_page_runs(page: Path, tmp_path: Path) -> None:
    # A file of its own, as a user would make: kernels have a source, workers can be started.
    script = tmp_path / f"{page.stem}.py"
    script.write_text(script_of(page.read_text("utf-8")), "utf-8")
    ran = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", script.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, (
        f"{page.relative_to(ROOT)} (line numbers are the page's)\n{ran.stderr}"
    )


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part not in ("plugins", "__init__"))


@pytest.mark.parametrize(
    "name",
    sorted(_module_name(path) for path in SOURCES if ">>> " in path.read_text("utf-8")),
)
def test_doctests(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(module, optionflags=flags)
    assert result.attempted
    assert not result.failed


PLACE = re.compile(r"`((?:[\w-]+/)+(?:[\w-]+\.[a-z]+)?)`")
DOCS = ROOT / "docs"
MAPS = [DOCS / "architecture.md", DOCS / "jpeg.md", *sorted(DOCS.glob("decisions/*.md"))]


@pytest.mark.parametrize("page", MAPS, ids=lambda page: page.stem)
def test_places_on_the_map_exist(page: Path) -> None:
    plugins = ROOT / "plugins" / "ffcv_plugins"
    roots = [ROOT, ROOT / "ffcv", plugins, *(path for path in plugins.iterdir() if path.is_dir())]
    places = PLACE.findall(page.read_text("utf-8"))
    assert not [place for place in places if not any((root / place).exists() for root in roots)]


def test_the_layers_on_the_map_are_those_that_are_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = next(each for each in settings["contracts"] if each["type"] == "layers")["layers"]
    blocks = (DOCS / "architecture.md").read_text("utf-8").split("```")
    shown = next(block for block in blocks if block.startswith(f"text\n{layers[0]}\n"))
    assert shown.split()[1:] == [name for layer in layers for name in layer.split(" | ")]


PAGE = f"""Text
```python
a = 1
```
{SKIP}

```python
b = 2
```
- a list
    ```python
    if a:
        c = 3
    ```
```console
$ ls
```
"""


def test_script_of_keeps_lines_and_leaves_out_what_is_marked() -> None:
    lines = script_of(PAGE).splitlines()
    assert lines[2] == "a = 1"
    assert lines[11:13] == ["if a:", "    c = 3"]
    assert [i for i, line in enumerate(lines) if line] == [2, 11, 12]
