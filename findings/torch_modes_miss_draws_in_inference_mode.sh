#!/usr/bin/env bash
# A TorchDispatchMode that hands a generator to every function that takes one misses dropout in inference mode.
#
# With:     torch 2.13.0
# Expected: torch.inference_mode() is a quicker torch.no_grad(), and a mode sees the same functions in both.
# Seen:     with no_grad, dropout reaches a mode as bernoulli_, which takes a generator. In inference mode
#           it arrives whole, as aten.dropout, which takes none, and draws from the global generator.
#           The same holds for a kernel that somebody added by torch.library: inside it the mode is off.
# Here:     plugins/ffcv_plugins/torch/seeding.py takes such functions apart, and runs such kernels with
#           the mode on; tests/transforms/test_torch_seeding.py draws by each function in all three.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Seeded(TorchDispatchMode):
    """Gives a generator to each function that takes one."""

    def __init__(self):
        super().__init__()
        self.generator, self.called = torch.Generator().manual_seed(1), []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        self.called.append(str(func))
        if any(argument.name == "generator" for argument in func._schema.arguments):
            kwargs["generator"] = self.generator
        return func(*args, **kwargs)


@torch.library.custom_op("findings::noise", mutates_args=())
def noise(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x).normal_()


def draws_globally(context, function):
    before = torch.get_rng_state()
    with context(), Seeded() as mode:
        function(torch.ones(100))
    print(f"{context.__name__}: the mode sees {mode.called}")
    return not torch.equal(before, torch.get_rng_state())


drop = torch.nn.functional.dropout
print(f"torch {torch.__version__}")
assert not draws_globally(torch.no_grad, drop)
assert draws_globally(torch.inference_mode, drop)
assert draws_globally(torch.no_grad, noise)
PYTHON
