"""``ffcv plugins``, and the group itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from ffcv.cli import main
from ffcv.cli.text import as_json, as_table, printable, readable_bytes
from ffcv.plugin import registry

PLUGIN_KEYS = {"name", "distribution", "version", "status", "load_ms", "provides"}
CONTRIBUTION_KEYS = {"name", "kind", "summary", "location", "aliases", "requires", "available"}


def test_json_has_its_documented_form(ffcv) -> None:
    listing = json.loads(ffcv("plugins", "--json").stdout)
    assert set(listing) == {"plugins", "problems"}
    for plugin in listing["plugins"]:
        assert set(plugin) == PLUGIN_KEYS
        assert plugin["status"] in ("loaded", "disabled", "broken")
        assert isinstance(plugin["load_ms"], float)
        for contribution in plugin["provides"]:
            assert set(contribution) == CONTRIBUTION_KEYS
    for problem in listing["problems"]:
        assert set(problem) == {"plugin", "distribution", "text"}
    scalars = next(p for p in listing["plugins"] if p["name"] == "scalars")
    assert (scalars["distribution"], scalars["version"]) == ("ffcv", version("ffcv"))
    assert [c["name"] for c in scalars["provides"]][:2] == ["FloatField", "IntField"]


def test_text_names_everything(ffcv) -> None:
    text = ffcv("plugins").stdout
    for registered in registry.contributions():
        assert registered.name in text
        assert registered.contribution.summary in text
    assert "BytesField = ByteField" in text


def test_problems_and_missing_requirements_are_shown(ffcv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFCV_DISABLE_PLUGINS", "scalars,nothing")
    monkeypatch.setitem(sys.modules, "torch", None)
    registry.reset()
    try:
        text = ffcv("plugins").stdout
    finally:
        monkeypatch.undo()
        registry.reset()
    assert f"scalars (ffcv {version('ffcv')}): disabled" in text
    assert "nothing (-): FFCV_DISABLE_PLUGINS names it" in text
    assert "(needs torch)" in text


def test_help_lists_all_commands_and_imports_none() -> None:
    code = (
        "import sys\n"
        "from ffcv.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print([m for m in sys.modules if m in ('numpy', 'torch', 'cv2', 'numba')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    for command in ("info", "plugins", "verify"):
        assert f"  {command}" in done.stdout


def test_command_is_installed() -> None:
    (script,) = entry_points(group="console_scripts", name="ffcv")
    assert script.load() is main
    path = Path(sys.executable).with_name("ffcv")
    assert os.access(path, os.X_OK)
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    assert version("ffcv") in shown.stdout


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1 << 21, "2 MiB"),
        (3 << 29, "1.5 GiB"),
        (2**63, "8 EiB"),
        (2**73, "8192 EiB"),
    ],
)
def test_readable_bytes(count: int, text: str) -> None:
    assert readable_bytes(count) == text


def test_table_is_aligned() -> None:
    assert as_table([["a", "b", "c"], ["long", "", "d"]], "  ") == "  a     b  c\n  long     d"


def test_json_of_numpy_values() -> None:
    import numpy as np

    value = {"a": np.int64(3), "b": np.arange(3), "c": np.float32(0.5), "d": Path("x"), "e": "ü"}
    assert json.loads(as_json(value)) == {"a": 3, "b": [0, 1, 2], "c": 0.5, "d": "x", "e": "ü"}
    assert as_json(value).isascii()


def test_all_that_is_written_as_json_is_json() -> None:
    import numpy as np

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    infinite = {"a": np.inf, "b": [np.float32("nan"), float("-inf")], 3: np.array([np.nan, 1.0])}
    text = as_json({**infinite, (1, 2): b"x", "e": b"\xff", "f": np.datetime64("2020", "ns")})
    assert json.loads(text, parse_constant=refuse) == {
        "a": None,
        "b": [None, None],
        "3": [None, 1.0],
        "(1, 2)": "x",
        "e": "\\xff",
        "f": 1577836800000000000,
    }


def test_text_of_others_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2J\nü\udcff\x9b") == "a\\x1b[2J\nü\\udcff\\x9b"


PLUGIN = """
from ffcv.plugin import Contribution, Kind, hookimpl
@hookimpl
def ffcv_operations():
    return [
        Contribution("Absent", Kind.TRANSFORM, "absent_plugin:NoSuchClass", "nothing"),
        Contribution("Nowhere", Kind.TRANSFORM, "no_such_module:Nowhere", "nothing"),
        Contribution("NoTransform", Kind.TRANSFORM, "pathlib:Path", "no operation"),
        Contribution("Leaves", Kind.DECODER, "leaving_module:Leaves", "ends the process"),
        Contribution("NoClass", Kind.TRANSFORM, "absent_plugin:ffcv_operations", "a function"),
        Contribution("There", Kind.TRANSFORM, "ffcv_plugins.augment.flip:RandomHorizontalFlip", ""),
        Contribution("Optional", Kind.TRANSFORM, "nothing:Nothing", "", requires="no_such_package"),
    ]
@hookimpl
def ffcv_fields():
    return [Contribution("NoField", Kind.FIELD, "pathlib:Path", "no field")]
@hookimpl
def ffcv_image_codecs():
    return [
        Contribution("no_codec", Kind.IMAGE_CODEC, "pathlib:Path", "no codec"),
        Contribution("mask", Kind.IMAGE_CODEC, "ffcv_plugins.images.opencv:OpenCVCodec", "opencv"),
    ]
"""


def test_classes_that_do_not_exist_are_told(tmp_path: Path) -> None:
    info = tmp_path / "absent_plugin-1.0.dist-info"
    info.mkdir()
    (tmp_path / "absent_plugin.py").write_text(PLUGIN)
    (tmp_path / "leaving_module.py").write_text("raise SystemExit(3)")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: absent-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ffcv]\nabsent = absent_plugin\n")
    paths = os.pathsep.join([str(tmp_path), *sys.path])

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    done = run("-m", "ffcv.cli", "plugins", "--json")
    assert done.returncode == 1, done.stderr
    listing = json.loads(done.stdout)
    told = {problem["text"].split()[0]: problem for problem in listing["problems"]}
    wrong_classes = {"NoTransform", "NoField", "no_codec", "mask"}
    assert set(told) == {"Absent", "Nowhere", "Leaves", "NoClass"} | wrong_classes
    assert all(p["distribution"] == "absent-plugin" for p in told.values())
    assert "NoSuchClass" in told["Absent"]["text"]
    assert "SystemExit: 3" in told["Leaves"]["text"]
    assert "Path is no operation" in told["NoTransform"]["text"]
    assert "Path has neither name, probe, decode and encode" in told["no_codec"]["text"]
    assert "OpenCVCodec calls itself 'opencv'" in told["mask"]["text"]
    # Nobody who does not use them is harmed, or kept waiting by imports.
    code = (
        "import sys; from ffcv.plugin import registry; print(registry.lookup('There').__name__); "
        "print([m for m in sys.modules if m in ('absent_plugin', 'leaving_module', 'torch')])"
    )
    done = run("-c", code)
    assert done.stdout.split() == ["RandomHorizontalFlip", "['absent_plugin']"], done.stderr


def test_nothing_is_wrong_with_ours(ffcv) -> None:
    result = ffcv("plugins")
    assert result.exit_code == 0, result.stdout
    assert "problems" not in result.stdout
