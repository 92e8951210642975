"""The rules of the command line, for every command that there is, and one of a plugin's."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ffcv.cli import main
from ffcv.cli.command import command
from ffcv.cli.report import Report, good
from ffcv.plugin import registry
from ffcv.testing.conformance import CommandConformance

OURS = [name for places in main.sections.values() for name in places]

SOURCE = '''
import click
from ffcv.cli.command import command
from ffcv.cli.options import file_argument
from ffcv.cli.report import Report, bad, good
from ffcv.plugin import Contribution, Kind, hookimpl
from ffcv.reader import Reader


@hookimpl
def ffcv_commands():
    return [
        Contribution("count_samples", Kind.COMMAND, "counting_plugin:count", "Count samples."),
        Contribution("info", Kind.COMMAND, "counting_plugin:count", "Not what ours does."),
        Contribution("no_command", Kind.COMMAND, "counting_plugin:plain", "No command of ours."),
        Contribution("no_report", Kind.COMMAND, "counting_plugin:no_report", "Give no report."),
        Contribution("odd_lines", Kind.COMMAND, "counting_plugin:odd_lines", "Give a number."),
    ]


@command(examples=["ffcv count-samples train.beton", "ffcv count-samples --most 50 train.beton"])
@file_argument
@click.option("--most", type=int, default=100, help="More than these are too many.")
def count(file, most):
    """Count samples."""
    with Reader(file) as reader:
        number = reader.num_samples
    line = (bad if number > most else good)(f"{number} samples")
    return Report({"num_samples": number}, [line], has_problems=number > most)


@click.command()
def plain():
    pass


@command(examples=["ffcv no-report"])
def no_report():
    """Give no report."""
    return "hello"


@command(examples=["ffcv odd-lines"])
def odd_lines():
    """Give a number."""
    return Report({}, [17])
'''


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An installed plugin that adds a command."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "counting_plugin-1.0.dist-info"
    info.mkdir()
    (folder / "counting_plugin.py").write_text(SOURCE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ffcv]\ncounting = counting_plugin\n")
    sys.path.insert(0, str(folder))
    registry.reset()
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("counting_plugin", None)
    registry.reset()


@pytest.fixture
def train(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder has a file ``train.beton``."""
    monkeypatch.chdir(tmp_path)
    return shutil.copy(pristine, tmp_path / "train.beton")


class Examples(CommandConformance):
    @pytest.fixture(autouse=True)
    def dataset(self, pristine: Path) -> None:
        self.pristine = pristine

    def prepare(self, folder: Path) -> None:
        shutil.copy(self.pristine, folder / "train.beton")


class TestInfo(Examples):
    command = "info"


class TestVerify(Examples):
    command = "verify"


class TestIndex(CommandConformance):
    command = "index"

    def prepare(self, folder: Path) -> None:
        import numpy as np

        from ffcv import DatasetWriter
        from ffcv.fields import RGBImageField

        fields = {"image": RGBImageField(write_mode="jpg")}
        writer = DatasetWriter(folder / "train.beton", fields, num_workers=0, side_indexes=False)
        writer.from_indexed_dataset([(np.zeros((32, 32, 3), np.uint8),)] * 2)


class TestPlugins(CommandConformance):
    command = "plugins"

    @pytest.fixture(autouse=True)
    def sound(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Without the plugin that has something wrong in it."""
        monkeypatch.setenv("FFCV_DISABLE_PLUGINS", "counting")
        registry.reset()
        yield
        monkeypatch.undo()
        registry.reset()


class TestOfAPlugin(Examples):
    command = "count-samples"


def test_every_command_of_ours_is_tested_here() -> None:
    tested = {cls.command for cls in CommandConformance.__subclasses__() if hasattr(cls, "command")}
    tested |= {cls.command for cls in Examples.__subclasses__()}
    assert tested >= set(OURS)


def test_commands_are_listed_in_groups(ffcv) -> None:
    text = ffcv("--help").stdout
    titles = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert titles == ["Options", *main.sections, "From plugins"]
    assert "count-samples" in text.partition("From plugins:")[2]
    assert "Count samples." in text


def test_problems_found_have_status_1(ffcv, train: Path) -> None:
    result = ffcv("count-samples", "--most", "3", train)
    assert (result.exit_code, result.stdout) == (1, "20 samples\n")
    result = ffcv("count-samples", "--most", "3", "--json", train)
    assert (result.exit_code, json.loads(result.stdout)) == (1, {"num_samples": 20})


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("inof", "info"), ("Verify", "verify"), ("count_samples", "count-samples")],
)
def test_misspelled_commands_are_told(ffcv, typed: str, meant: str) -> None:
    result = ffcv(typed, "train.beton")
    assert result.exit_code == 2
    assert f"there is no command {typed!r}; did you mean {meant!r}" in result.stderr


def test_commands_that_are_like_no_other(ffcv) -> None:
    result = ffcv("\x1bzzz")
    assert result.exit_code == 2
    assert "there are info, verify, index, plugins, count-samples, no-command" in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("command", ["index"])
def test_misspelled_fields_are_told(ffcv, train: Path, command: str) -> None:
    result = ffcv(command, "--fields", "labell", train)
    assert result.exit_code == 2
    assert "did you mean 'label'?" in result.stderr


def test_what_a_plugin_calls_a_command_must_be_one(ffcv) -> None:
    result = ffcv("no-command")
    assert result.exit_code == 2
    assert "expected a command, made by ffcv.cli.command.command" in result.stderr
    result = ffcv("plugins")
    assert result.exit_code == 1
    problems = result.stdout.partition("problems")[2]
    assert "no_command" in problems
    assert "info is disabled: ffcv has a command of that name" in problems
    assert "What a .beton file holds." in ffcv("info", "--help").stdout
    assert ffcv("--help").stdout.count("info") == 1


@pytest.mark.parametrize("examples", [[], "ffcv empty"], ids=repr)
def test_commands_need_examples(examples) -> None:
    with pytest.raises(TypeError, match="the command 'empty' needs examples, a list"):
        command(examples=examples, name="empty")(lambda: None)


@pytest.mark.parametrize("option", ["--json", "--as-json/--no-json"])
def test_the_option_for_json_is_ours(option) -> None:
    given = click.option(option, "json", is_flag=True)(lambda json: None)
    with pytest.raises(TypeError, match="the command 'twice' has an argument or option 'json' of"):
        command(examples=["ffcv twice"], name="twice")(given)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-report", "the command 'no-report' gave str 'hello'; its function must return a"),
        ("odd-lines", "a report has a line that is no text, but int 17"),
    ],
)
def test_what_is_no_report_is_told(ffcv, name: str, words: str) -> None:
    result = ffcv(name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("lines", ["hello", good("hello"), None, 3], ids=repr)
def test_a_report_has_a_list_of_lines(lines) -> None:
    with pytest.raises(TypeError, match="lines: expected a list of lines, got"):
        Report({}, lines)


def test_a_plugin_with_problems_may_be_where_a_command_is(
    ffcv, plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "problems with plugins" not in ffcv("my-command").stderr
    info = tmp_path / "broken_plugin-1.0.dist-info"
    info.mkdir()
    (tmp_path / "broken_plugin.py").write_text("import no_such_module\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ffcv]\nbroken = broken_plugin\n")
    with monkeypatch.context() as context:
        context.syspath_prepend(str(tmp_path))
        registry.reset()
        result = ffcv("my-command")
    registry.reset()
    assert result.exit_code == 2
    assert "problems with plugins: 1; `ffcv plugins` lists them" in result.stderr


def test_failures_of_our_own_are_told_apart(ffcv, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("a slip")

    monkeypatch.setattr("ffcv.cli.plugins.listing", fail)
    result = ffcv("plugins")
    assert result.exit_code == 3
    assert "Traceback" in result.stderr
    assert "RuntimeError: a slip" in result.stderr
    assert not result.stdout

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ffcv.cli.plugins.listing", interrupt)
    result = ffcv("plugins")
    assert (result.exit_code, result.stdout) == (130, "")
    assert "Aborted" in result.stderr


@pytest.mark.parametrize("extra", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_a_real_terminal(train: Path, extra: dict[str, str]) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "ffcv.cli", "verify", train],
        stdout=theirs,
        stderr=theirs,
        env=environment | {"TERM": "xterm"} | extra,
    ) as process:
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
    os.close(ours)
    assert process.returncode == 0, shown
    assert b"every checksum is right" in shown
    assert (b"\x1b[32m" in shown) is not bool(extra)


def test_a_reader_that_goes_away(train: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    call = [sys.executable, "-m", "ffcv.cli", "info", train]
    done = subprocess.run(call, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_disk_that_is_full(train: Path) -> None:
    for options in ([], ["--json"]):
        call = [sys.executable, "-m", "ffcv.cli", "info", train, *options]
        with open("/dev/full", "w") as full:
            done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        words = "Error: the report cannot be written to stdout: No space left on device\n"
        assert (done.returncode, done.stderr) == (2, words)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that the other side is closed
        return b""


def test_help_of_the_group_has_no_command_without_a_line() -> None:
    context = click.Context(main)
    for name in OURS:
        found = main.get_command(context, name)
        (line,) = (places[name].line for places in main.sections.values() if name in places)
        assert found.help.splitlines()[0] == line
