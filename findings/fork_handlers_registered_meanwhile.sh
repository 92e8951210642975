#!/usr/bin/env bash
# What is to run behind a fork runs although it was registered too late to run in front of it.
#
# With:     CPython 3.11.7 and 3.13.0, the standard library alone
# Expected: of three handlers that os.register_at_fork is given together, all run at a fork, or none.
# Seen:     while a handler in front of the fork waits, another thread may register three more. Those
#           behind the fork run at this fork, that in front of it does not: concurrent.futures and
#           logging then release locks that nobody took, and Python prints a RuntimeError.
# Here:     ffcv/forking.py has forks wait for what other threads import, and so it imports the modules
#           of the standard library that register such handlers before the first fork.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 - 2> printed <<'PYTHON'
import os
import threading

asked, imported = threading.Event(), threading.Event()


def load():
    asked.wait()
    import concurrent.futures.thread

    imported.set()


def wait():
    asked.set()
    imported.wait()


threading.Thread(target=load, daemon=True).start()
os.register_at_fork(before=wait)
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
PYTHON
python3 --version
grep "release unlocked lock" printed
