#!/usr/bin/env bash
# While torch.compile compiles in one thread, what another thread draws is drawn a second time afterwards.
#
# With:     torch 2.13.0
# Expected: compiling in a thread has no effect on numbers that another thread draws.
# Seen:     the states of the global generators are kept when tracing begins and put back after it, so
#           that draws which other threads make meanwhile come again.
# Here:     docs/making_loaders.md ("Steps that draw with torch") says to let modules compile before the
#           loop begins.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import threading

import torch

compiling, drawn = threading.Event(), threading.Event()


def slow_backend(graph, inputs):
    compiling.set()
    drawn.wait(60)
    return graph.forward


def work():
    torch.compile(lambda x: x + 1, backend=slow_backend)(torch.ones(2))


worker = threading.Thread(target=work)
worker.start()
assert compiling.wait(300)
first = torch.rand(3)
drawn.set()
worker.join()
second = torch.rand(3)
print(f"torch {torch.__version__}: drawn while another thread compiles: {first.tolist()}")
print(f"drawn after it: {second.tolist()}")
assert torch.equal(first, second)
PYTHON
