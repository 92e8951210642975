"""What every command must keep to, see :mod:`ffcv.cli`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ffcv.cli import main
from ffcv.cli.command import Command
from ffcv.cli.group import BROKEN

__all__ = ["CommandConformance"]

_ESCAPE = "\x1b"


class CommandConformance:
    """Tests for one command. Derive from it, and say which.

    Attributes:
        command: what is typed behind ``ffcv``, such as ``"count-labels"``; the plugin that it comes
            from is installed.
    """

    command: str

    def prepare(self, folder: Path) -> None:
        """Put what the examples in the command's help need into an empty folder.

        They are run in it, and must all end well.
        """

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The current folder, with what the examples need."""
        self.prepare(tmp_path)
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        return tmp_path

    def _command(self) -> Command:
        given = getattr(self, "command", None)
        if not isinstance(given, str):
            raise NotImplementedError("say in `command` which command is to be tested")
        found = main.get_command(click.Context(main), given)
        assert isinstance(found, Command), f"there is no command {given!r}"
        return found

    def _examples(self) -> Iterator[list[str]]:
        for example in self._command().examples:
            words = shlex.split(example)
            assert words[:2] == ["ffcv", self.command], f"{example!r} is no call of {self.command}"
            yield words[1:]

    def test_its_help_shows_examples(self) -> None:
        """``--help`` shows each example on a line, and the first line of its description is what
        the list of all commands says."""
        shown = _run(self.command, "--help")
        assert shown.exit_code == 0, shown.output
        lines = [line.strip() for line in shown.stdout.splitlines()]
        for example in self._command().examples:
            assert example in lines
        listed, line = " ".join(_run("--help").stdout.split()), (self._command().help or "?")
        assert f"{self.command} {line.splitlines()[0]}" in listed

    def test_its_examples_run(self, folder: Path) -> None:
        """Each of them, in this order, has exit status 0, and a report on stdout."""
        for words in self._examples():
            result = _run(*words)
            assert result.exit_code == 0, f"{words}: {result.output}"
            assert bool(result.stdout) or not self._command().reports, f"{words} says nothing"

    def test_its_report_is_json(self, folder: Path) -> None:
        """With ``--json``, stdout is one document, without colors."""
        if not self._command().reports:
            return
        for words in self._examples():
            result = _run(*words, *(["--json"] if "--json" not in words else []), color=True)
            assert _ESCAPE not in result.stdout
            assert json.loads(result.stdout) is not None

    def test_its_colors_are_for_terminals_that_want_them(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file gets none, and nor does a terminal with ``NO_COLOR``."""
        for words in self._examples():
            assert _ESCAPE not in _run(*words).output
            with monkeypatch.context() as context:
                context.setenv("NO_COLOR", "1")
                assert _ESCAPE not in _run(*words, color=True).output

    def test_misspelled_options_are_told(self) -> None:
        """The closest option is named, and the status is 2."""
        for parameter in self._command().params:
            for name in parameter.opts if isinstance(parameter, click.Option) else ():
                if len(name) > 4:
                    result = _run(self.command, f"{name[:-2]}{name[-1]}{name[-2]}x")
                    assert result.exit_code == 2
                    assert name in result.stderr
                    assert not result.stdout

    def test_wrong_usage_has_status_2(self, folder: Path) -> None:
        """So have arguments that nobody asked for, and files that do not exist."""
        command = self._command()
        arguments = [p for p in command.params if isinstance(p, click.Argument)]
        if not any(argument.nargs < 0 for argument in arguments):
            too_many = ["no-such-file"] * (1 + sum(argument.nargs for argument in arguments))
            _is_refused(_run(self.command, *too_many))
        if any(argument.required for argument in arguments):
            _is_refused(_run(self.command))
            needed = [["no-such-file"] * max(a.nargs, 1) for a in arguments if a.required]
            _is_refused(_run(self.command, *(word for words in needed for word in words)))


def _is_refused(result: Result) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.strip()
    assert not result.stdout


def _run(*words: str, color: bool = False) -> Result:
    """Call ``ffcv``; what it writes goes to a terminal if ``color`` says so, or else to a file."""
    result = CliRunner().invoke(main, list(words), color=color)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code != BROKEN, result.stderr
    return result
