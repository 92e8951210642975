"""Names of FFCV 1.x that programs build on, and that nothing else here needs.

They are imported under the paths that they had, see :mod:`ffcv.compat.paths`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.field import Field
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import DESCRIPTOR_DTYPE, HEADER_DTYPE, REGION_DTYPE, VERSION, record_dtype
from ffcv.compat.compiler import Compiler
from ffcv.kernels import is_compiled, kernel, python_only
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.state import State
from ffcv.reader import Reader
from ffcv.storage.guard import watching
from ffcv.storage.regions import Storage, memory_read

__all__ = [
    "ALLOC_TABLE_TYPE",
    "CURRENT_VERSION",
    "BasicDecoder",
    "FieldDescType",
    "HeaderType",
    "OSCacheManager",
    "align_to_page",
    "chunks",
    "decode_null_terminated_string",
    "get_metadata_type",
    "is_power_of_2",
    "memcpy",
]

CURRENT_VERSION = VERSION
HeaderType, FieldDescType, ALLOC_TABLE_TYPE = HEADER_DTYPE, DESCRIPTOR_DTYPE, REGION_DTYPE
"""What a file consists of."""


def chunks(lst: Any, n: int) -> Iterator[Any]:
    """Pieces of ``n`` elements of a sequence, the last one perhaps shorter.

    Example:
        >>> list(chunks("abcde", 2))
        ['ab', 'cd', 'e']
    """
    return (lst[i : i + n] for i in range(0, len(lst), n))


def is_power_of_2(n: int) -> bool:
    """Whether ``n`` is 1, 2, 4, 8 and so on."""
    return n > 0 and n & (n - 1) == 0


def align_to_page(ptr: int, page_size: int) -> int:
    """``ptr``, or where the next page begins if it lies inside of one.

    Example:
        >>> align_to_page(5, 4), align_to_page(8, 4)
        (8, 8)
    """
    return -(-ptr // page_size) * page_size


def decode_null_terminated_string(bytes: NDArray[np.uint8]) -> str:
    """The ASCII text before the first zero byte.

    Example:
        >>> decode_null_terminated_string(np.frombuffer(b"ab" + bytes(3), np.uint8))
        'ab'
    """
    return bytes.tobytes().split(b"\0")[0].decode("ascii")


def get_metadata_type(handlers: Sequence[Field]) -> np.dtype[Any]:
    """The dtype of records of these fields."""
    return record_dtype([handler.metadata_type for handler in handlers])


@python_only
def _copy(room: Any, given: Any) -> None:
    room[: given.size] = given


@kernel
def memcpy(source: Any, dest: Any) -> None:
    """Copy the bytes of one array to the beginning of another, whatever their types and shapes.

    For compiled code and for Python.

    Args:
        source: any array; the bytes of its elements in C order.
        dest: a C-contiguous array. Bytes behind those of ``source`` stay as they are.

    Raises:
        ValueError: ``dest`` is smaller than ``source``, or not contiguous. (Compiled code that
            can hold no other array than one that is not contiguous does not compile.)

    Example:
        >>> numbers = np.zeros(3, np.uint16)
        >>> memcpy(np.array([1, 0, 2], np.uint8), numbers)
        >>> numbers
        array([1, 2, 0], dtype=uint16)
    """
    if not dest.flags.c_contiguous:
        raise ValueError("memcpy: the destination is not contiguous")
    given = np.ascontiguousarray(source).reshape(-1).view(np.uint8)
    room = dest.reshape(-1).view(np.uint8)
    if given.size > room.size:
        raise ValueError("memcpy: the destination is smaller than the source")
    if is_compiled():
        # A loop is compiled to copies of whole vectors, unlike the assignment to a slice.
        for i in range(given.size):
            room[i] = given[i]
    else:
        _copy(room, given)


class BasicDecoder(Operation):
    """Base of batch decoders of fields whose records are the values, one a sample.

    A subclass says of which type they are: by the class attribute ``dtype``, or by a property.
    Batches are ``(B, 1)``. New decoders are :class:`~ffcv.pipeline.sample.SampleDecoder`.
    """

    dtype: Any = None

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, AllocationQuery]:
        """One value of ``dtype`` a sample.

        Raises:
            TypeError: the subclass has no ``dtype``.
        """
        if self.dtype is None:
            name = type(self).__name__
            raise TypeError(f"{name}: a BasicDecoder needs the attribute dtype, the type of values")
        dtype = np.dtype(self.dtype)
        state = replace(previous_state, jit_mode=True, shape=(1,), dtype=dtype)
        return state, AllocationQuery((1,), dtype)

    def generate_code(self) -> Callable[..., Any]:
        """Copy the records of a batch."""

        def decode(indices: Any, destination: Any, metadata: Any, storage_state: Any) -> Any:
            for i in range(len(indices)):
                destination[i, 0] = metadata[indices[i]]
            return destination[: len(indices)]

        return decode


class OSCacheManager:
    """Reads the regions of a file without a loader, through the map of the file.

    Args:
        reader: the open file.

    Example:
        >>> import tempfile
        >>> from ffcv import DatasetWriter, Reader
        >>> from ffcv.fields import BytesField
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     writer = DatasetWriter(file.name, {"text": BytesField()}, num_workers=0)
        ...     writer.from_indexed_dataset([(b"first",), (b"second",)])
        ...     manager = OSCacheManager(Reader(file.name))
        >>> read, pointers = manager.compile_reader(), manager.reader.metadata["f0"]["ptr"]
        >>> with manager.schedule_epoch([0, 1]) as context:
        ...     bytes(read(pointers[1], context.state))
        b'second'
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def schedule_epoch(self, batches: Any) -> StorageContext:
        """A context with the state that the function of :meth:`compile_reader` wants.

        Args:
            batches: what will be read; the operating system keeps it in memory by itself.
        """
        return StorageContext(self.reader.file)

    def compile_reader(self) -> Callable[..., Any]:
        """The function ``read(pointer, state)`` that gives the bytes of a region, ``(N,)`` uint8.

        It is compiled if :class:`~ffcv.pipeline.compiler.Compiler` is enabled, and raises
        ``ValueError`` where there is no region at ``pointer``.
        """
        return Compiler.compile(memory_read)


class StorageContext:
    """What :meth:`OSCacheManager.schedule_epoch` gives: reading happens within its ``with`` block.

    Args:
        file: the open file.

    Attributes:
        state: the same, as compiled code sees it.

    Raises:
        TruncatedFileError, ChangedFileError: at the end, if the file is not what it was.
    """

    def __init__(self, file: BetonFile) -> None:
        file.region_table().need_all()  # a pointer may be searched for anywhere
        self.state, self._file = Storage.of(file), file.opened

    def __enter__(self) -> StorageContext:
        self._watching = watching(self._file)
        self._watching.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._watching.__exit__(*error)
