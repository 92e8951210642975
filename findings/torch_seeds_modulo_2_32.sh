#!/usr/bin/env bash
# Two seeds that differ by 2 ** 32 give the same numbers on a CPU.
#
# With:     torch 2.13.0
# Expected: a seed has 64 bits, and each gives a sequence of its own, as with NumPy's generators.
# Seen:     initial_seed() tells two seeds apart, but their numbers are the same: the generator of
#           CPUs takes the lower 32 bits alone.
# Here:     plugins/ffcv_plugins/torch/seeding.py seeds by 64 mixed bits, so that any 32 of them do; a
#           seed such as `epoch << 32 | number` would repeat each epoch.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import torch


def numbers(seed):
    generator = torch.Generator().manual_seed(seed)
    assert generator.initial_seed() == seed
    return torch.rand(1000, generator=generator)


for seed in (0, 7, 2**31):
    same = [torch.equal(numbers(seed), numbers(seed + (k << 32))) for k in (1, 2, 1000)]
    print(f"torch {torch.__version__}: seed {seed} and those 2**32 further: same numbers: {same}")
    assert all(same)
assert not torch.equal(numbers(7), numbers(8))
PYTHON
