"""Datasets in which something goes wrong, for workers of any start method."""

from __future__ import annotations

import multiprocessing.connection
import os
import signal
import time


class Faulty:
    """Samples ``(i, bytes)``; at position ``at`` something happens.

    Args:
        length: number of samples.
        at: where it happens.
        what: name of a method.
    """

    def __init__(self, length, at, what):
        self.length, self.at, self.what = length, at, what

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index == self.at:
            return getattr(self, self.what)(index)
        return index, bytes([index % 256]) * index

    def nothing(self, index):
        return index, b"nothing"

    def killed(self, index):
        os.kill(os.getpid(), signal.SIGKILL)

    def leaves(self, index):
        os._exit(3)

    def interrupts(self, index):
        raise KeyboardInterrupt

    def crashes(self, index):
        os.kill(os.getpid(), signal.SIGSEGV)

    def raises(self, index):
        raise LookupError(f"no picture {index}")

    def wrong_value(self, index):
        return "seven", b""

    def wrong_arity(self, index):
        return index, b"", 3

    def killed_while_sending(self, index):
        """The worker dies when half of its answer is in the pipe."""
        send = multiprocessing.connection.Connection._send

        def send_half(connection, data, *rest):
            if len(data) > 100_000:
                os.write(connection.fileno(), data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return send(connection, data, *rest)

        multiprocessing.connection.Connection._send = send_half
        return index, bytes(1_000_000)


class Slow:
    """Samples that take a while; each leaves the number of its process in a file.

    Args:
        length: number of samples.
        log: path of that file.
    """

    def __init__(self, length, log):
        self.length, self.log = length, log

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        with open(self.log, "a") as log:
            log.write(f"{os.getpid()}\n")
        time.sleep(0.02)
        return index, b"x" * 100_000
