"""Plugin: tensors, devices and modules of PyTorch in a pipeline."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

from ffcv.plugin.hookspecs import hookimpl
from ffcv.plugin.records import Contribution, Kind

__all__ = ["ffcv_adapt", "ffcv_operations", "ffcv_seed_draws"]


def _transform(name: str, module: str, summary: str, default: bool = False) -> Contribution:
    return Contribution(
        name,
        Kind.TRANSFORM,
        f"ffcv_plugins.torch.{module}:{name}",
        summary,
        requires="torch",
        appended_by_default=default,
    )


@hookimpl
def ffcv_operations() -> list[Contribution]:
    """The transforms of this plugin."""
    return [
        _transform("ToTensor", "tensor", "make torch tensors of NumPy batches", default=True),
        _transform("ToDevice", "device", "copy tensors to a device"),
        _transform("ToTorchImage", "image", "put the channels of images first, as torch wants"),
        _transform("ModuleWrapper", "module", "run a torch.nn.Module on each batch"),
    ]


@hookimpl
def ffcv_adapt(step: object) -> Any:
    """Let a ``torch.nn.Module`` stand in a pipeline as it is."""
    torch = sys.modules.get("torch")  # where it was never imported, nobody has a module of it
    if torch is None or not isinstance(step, torch.nn.Module):
        return None
    from ffcv_plugins.torch.module import ModuleWrapper

    return ModuleWrapper(step)


@hookimpl
def ffcv_seed_draws() -> Callable[[int], contextlib.AbstractContextManager[Any]]:
    """Let torch draw from generators of the loader's."""
    return _seeded


def _seeded(key: int) -> contextlib.AbstractContextManager[Any]:
    if "torch" not in sys.modules:
        return contextlib.nullcontext()
    from ffcv_plugins.torch.seeding import SeededDraws

    return SeededDraws(key)
