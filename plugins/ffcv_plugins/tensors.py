"""What plugins share that work on NumPy's arrays and on torch's tensors.

That is above all NumPy's and torch's names for the same number types. bfloat16, which NumPy lacks,
is ``ffcv.pipeline.bfloat16`` there, and goes by its name as well. torch is imported only where
somebody asks for a thing of torch's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline.dtypes import bfloat16
from ffcv.pipeline.state import State

if TYPE_CHECKING:
    import torch

__all__ = [
    "check_numbers",
    "is_integer",
    "numpy_dtype",
    "require_tensor",
    "same_kind",
    "tensor_of",
    "torch_dtype",
]

_KINDS = "biufc"


def _is_number(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in _KINDS or dtype == bfloat16


def _is_torch(dtype: Any) -> bool:
    """Whether ``dtype`` is a ``torch.dtype``; if it is one, torch has been imported already."""
    return type(dtype).__module__ == "torch"


def numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """The NumPy dtype of a number type.

    Args:
        dtype: anything that ``numpy.dtype`` accepts, or a ``torch.dtype``.

    Raises:
        TypeError: it is no number type, or NumPy has no such type (``torch.float8_e5m2``).
    """
    name = str(dtype).removeprefix("torch.") if _is_torch(dtype) else dtype
    if isinstance(name, str) and name == "bfloat16":
        return bfloat16
    try:
        result = np.dtype(name)
    except TypeError:
        if _is_torch(dtype):
            raise TypeError(f"NumPy has no equivalent of {dtype}") from None
        raise TypeError(f"expected a NumPy or torch dtype, got {dtype!r}") from None
    if dtype is None or not _is_number(result):
        raise TypeError(f"expected a dtype of numbers or bools, got {dtype!r}")
    return result


def is_integer(dtype: Any) -> bool:
    """Whether NumPy's or torch's dtype is one of integers."""
    if _is_torch(dtype):
        return str(dtype).removeprefix("torch.").startswith(("int", "uint"))
    return bool(np.dtype(dtype).kind in "iu")


def torch_dtype(dtype: Any) -> Any:
    """The torch dtype of a number type; the reverse of :func:`numpy_dtype`.

    Raises:
        TypeError: it is no number type, or torch has no such type.
    """
    import torch

    if isinstance(dtype, torch.dtype):
        return dtype
    array_type = numpy_dtype(dtype)
    if array_type == bfloat16:
        return torch.bfloat16
    found = getattr(torch, array_type.name, None)
    if not isinstance(found, torch.dtype) or not array_type.isnative:
        raise TypeError(f"torch has no equivalent of NumPy's {array_type.str} ({array_type.name})")
    return found


def same_kind(dtype: Any, state: State) -> Any:
    """``dtype`` as a torch dtype for a tensor ``state``, as a NumPy dtype for any other."""
    return torch_dtype(dtype) if state.is_tensor else numpy_dtype(dtype)


def check_numbers(name: str, state: State) -> None:
    """Raise a ``ValueError`` unless the batch holds numbers or bools."""
    if not state.is_tensor and not _is_number(state.dtype):
        raise ValueError(f"{name} works on numbers and gets an {state}")


def require_tensor(name: str, state: State) -> None:
    """Raise a ``ValueError`` unless ``state`` is a torch tensor.

    Args:
        name: the operation, for the error.
        state: what comes in.
    """
    if not _is_torch(state.dtype):
        raise ValueError(
            f"{name} works on tensors and gets an {state}; insert ToTensor() before it"
        )


def tensor_of(array: NDArray[Any]) -> torch.Tensor:
    """A tensor that shares an array's memory; ``torch.from_numpy`` does not know bfloat16."""
    import torch

    if array.dtype == bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
