"""Processes that measure the same case in turns, with one ffcv or another."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from _data import beton
from _pipelines import FILES

__all__ = ["Measured"]

PROGRAM = Path(__file__).with_name("_speed_of.py")


class Measured:
    """A process that measures one case whenever it is asked to, and does not run otherwise.

    It is stopped meanwhile, because the threads of some libraries go on for a while without work.
    Wait for it before the first measurement.

    Args:
        python: the interpreter.
        case: name of the case.
        workers: threads of its loader.
        seconds: how long one measurement takes.
        environment: variables that the process gets besides ours.
    """

    def __init__(
        self,
        python: str,
        case: str,
        workers: int,
        seconds: float,
        environment: Mapping[str, str] = {},
    ) -> None:
        command = [python, PROGRAM, case, beton(FILES[case]), str(workers), str(seconds)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=pipe,
            stdout=pipe,
            text=True,
            env={**os.environ, **environment},
        )

    def wait(self) -> None:
        """Wait until it is ready."""
        while self._line() != "ready":  # what a library prints when it is imported
            pass
        self._process.send_signal(signal.SIGSTOP)

    def speed(self) -> float:
        """Images per second."""
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        print(file=self._process.stdin, flush=True)
        measured = float(self._line())
        self._process.send_signal(signal.SIGSTOP)
        return measured

    def end(self) -> None:
        """Let it end."""
        self._process.send_signal(signal.SIGCONT)
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args[0]} ended with {self._process.wait()}")  # type: ignore[index]
        return line.strip()
