"""Moving tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ffcv.pipeline import Operation, State
from ffcv_plugins.tensors import require_tensor

__all__ = ["ToDevice"]


def _parse(device: Any) -> torch.device:
    if isinstance(device, torch.device):
        return device
    if isinstance(device, bool) or not isinstance(device, int | str):
        raise TypeError(f"ToDevice: device must be a torch.device, a name or a number: {device!r}")
    try:
        # A number means CUDA, whatever accelerator this machine has or lacks.
        return torch.device(device if isinstance(device, str) else f"cuda:{device}")
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"ToDevice: {device!r} is no device: {reason}") from None


class ToDevice(Operation):
    """Copy tensors to a device; tensors that are there already pass through.

    Args:
        device: a ``torch.device``, its name (``"cuda:1"``, ``"cpu"``), or the number of a CUDA
            device. ``"cuda"`` is the device that is current when the loader is built.
        non_blocking: let copies to a CUDA device run in the background; ``False`` makes the
            pipeline wait for them. Either way the batch is there for whoever gets it from the
            loader. Copies to other devices, the CPU among them, always wait.

    Raises:
        TypeError, ValueError: ``device`` is none.

    Attributes:
        device: the ``torch.device``.

    Example:
        >>> ToDevice("cuda:1").device
        device(type='cuda', index=1)
    """

    compiled = False
    draws_from_frameworks = False

    def __init__(self, device: Any, non_blocking: bool = True) -> None:
        self.device = _parse(device)
        self.non_blocking = non_blocking
        self._declared: torch.device | None = None

    def _resolved(self) -> torch.device:
        """The device with its number: that of another thread, or of another time, may differ.

        Raises:
            ValueError: it is a CUDA device that this machine does not have.
        """
        if self.device.type != "cuda":
            return self.device
        # Unlike is_available, this does not keep children from using CUDA after a fork.
        count = torch.cuda.device_count()
        index: int | None = self.device.index
        if (index or 0) >= count:
            raise ValueError(
                f"ToDevice: there is no device {self.device}; torch sees {count} CUDA devices"
            )
        return torch.device("cuda", torch.cuda.current_device() if index is None else index)

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        """The same on the device.

        Raises:
            ValueError: the input is no tensor, or this machine has no such device.
        """
        require_tensor("ToDevice", previous_state)
        self._declared = self._resolved()
        return replace(previous_state, jit_mode=False, device=self._declared), None

    def generate_code(self) -> Callable[..., Any]:
        """``f(batch, memory)``; the copy is queued on the stream that is current when it runs."""
        device = self._declared or self._resolved()
        # Of other devices nobody knows when a copy in the background has ended.
        non_blocking = self.non_blocking and device.type == "cuda"

        def to_device(batch: Any, memory: Any) -> Any:
            return batch.to(device, non_blocking=non_blocking)

        return to_device
