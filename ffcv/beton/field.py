"""How one value of a sample is stored: the interface that every field implements."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ARG_TYPE",
    "Field",
    "Location",
    "Malloc",
    "description_problem",
    "record_problem",
    "takes",
]

ARG_TYPE = np.dtype([("", "<u1", 1024)])
"""The room that a field has in the file's header for its own description."""

Malloc = Callable[[int], tuple[int, NDArray[np.uint8]]]
"""``malloc(size) -> (pointer, buffer)``: ask for ``size`` bytes of the file. The pointer goes into
the record as it is; the buffer is a zeroed uint8 array to be filled before ``encode`` returns."""


class Location(NamedTuple):
    """Where a sample's record lies, as far as the record can tell.

    Attributes:
        field: the field, as that file describes it.
        pointers: ``(k,)`` uint64: of the regions that ``encode`` asked for, in the order in which
            it did; fewer where an empty one was not stored.
    """

    field: Field
    pointers: NDArray[np.uint64]


class Field(ABC):
    """Description of one value of a sample: how it is stored and which operation reads it back.

    A field is plain data. Each sample has one fixed-size *record* of :attr:`metadata_type`; values
    of varying or large size live in *regions*, which ``malloc`` hands out and the record points to.

    Attributes:
        pointer: where a record holds the pointer to its region, for decoders of the kind
            :class:`ffcv.pipeline.sample.SampleDecoder`: the member's name, ``""`` when the whole
            record is the pointer, ``None`` (the default) when there is no region.
        side_index: the kind of side index that the field has, an identifier such as
            ``"jpeg_rows"``; ``None`` (the default) when it has none. See :meth:`side_index_entry`.
    """

    pointer: ClassVar[str | None] = None
    side_index: ClassVar[str | None] = None

    @property
    @abstractmethod
    def metadata_type(self) -> np.dtype[Any]:
        """The dtype of this field's record; little-endian."""

    @staticmethod
    @abstractmethod
    def from_binary(binary: NDArray[np.uint8]) -> Field:
        """Rebuild a field from the 1024 bytes that :meth:`to_binary` gave.

        Raises:
            ValueError: the bytes describe no such field; files are hostile until validated.
        """

    @abstractmethod
    def to_binary(self) -> NDArray[Any]:
        """Describe this field in at most 1024 bytes (an :data:`ARG_TYPE` value, or uint8)."""

    @abstractmethod
    def encode(self, destination: NDArray[Any], value: Any, malloc: Malloc) -> None:
        """Store ``value``.

        Args:
            destination: array of one :attr:`metadata_type` record, to be filled
                (``destination[0] = …`` or ``destination["member"] = …``).
            value: what the dataset gave for this field.
            malloc: gives room for data; its pointer must be written into the record.

        Raises:
            ValueError, TypeError: ``value`` does not fit, in words that say what was expected and
                what came. The writer adds the names of field and sample.
        """

    @abstractmethod
    def get_decoder_class(self) -> type:
        """The operation that decodes this field when a pipeline names none."""

    def describe(self) -> str:
        """Its arguments and modes, in one line for listings such as ``ffcv info``.

        By default its attributes.

        Example:
            >>> from ffcv.fields import NDArrayField
            >>> NDArrayField(np.dtype("float32"), (20, 4)).describe()
            'float32 array 20×4'
        """
        shown = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())

    def summarise(self, records: NDArray[Any]) -> dict[str, Any]:
        """Figures about all samples of a file, for listings; by default none.

        An image field counts its modes and its sizes here.

        Args:
            records: the field's record of each sample, ``(num_samples,)`` of :attr:`metadata_type`,
                as the file has them: read them piecewise, as they may be many, and do not trust
                them.

        Returns:
            Values that JSON can hold, by what they are called.
        """
        return {}

    def software(self) -> Mapping[str, str]:
        """The libraries that decide which bytes this field stores, and their versions.

        An optional ability, for fields of which another version of a library may make other bytes,
        such as an encoder of images. It is kept in the file, for whoever wonders where a difference
        comes from; nothing else depends on it.

        Returns:
            Names with versions, such as ``{"opus": "libopus 1.5.2"}``: one printable line each, of
            at most 1024 characters.
        """
        return {}

    def relocate(self, record: NDArray[Any], source: Location, target: Location) -> None:
        """Make a record that was copied from another file one of this file.

        Samples can be moved to another file without decoding a value: the bytes of the
        regions are copied as they are, and so is the record, in which this function changes what
        refers to the file that it came from. The default does so for a field whose record holds
        pointers only where :attr:`pointer` says. Override it where there are others, or where a
        record refers to something that all samples of the field share, as a number in a table
        that :meth:`to_binary` stores does.

        Args:
            record: array of one :attr:`metadata_type` record, to be changed.
            source: where the record came from.
            target: where it is to lie. ``target.pointers`` has the new pointer of each of
                ``source.pointers``, in the same order; ``target.field`` is this field.

        Raises:
            ValueError: the record cannot become one of this file.

        Example:
            >>> from ffcv.fields import BytesField
            >>> field, record = BytesField(), np.array([(4096, 3)], "<u8,<u8")
            >>> record.dtype.names = ("ptr", "size")
            >>> old, new = (Location(field, np.array([p], np.uint64)) for p in (4096, 9000))
            >>> field.relocate(record, old, new)
            >>> record["ptr"].tolist()
            [9000]
        """
        if self.pointer is None:
            return
        pointer = record[self.pointer] if self.pointer else record
        where = np.flatnonzero(source.pointers == pointer[0])
        # What points to none of them is a value for which nothing was stored.
        if len(where):
            pointer[0] = target.pointers[where[0]]

    def side_index_entry(self, record: Any, data: NDArray[np.uint8]) -> bytes:
        """A few bytes by which a decoder finds its way in the stored data of one sample.

        An optional ability, for fields with a :attr:`side_index`: writers and ``ffcv index`` gather
        the entries of all samples in the file, out of the way of other readers; decoders get them
        by :attr:`ffcv.pipeline.Stored.side_index`. A decoder must work without them, too. When the
        meaning of the bytes changes, the kind needs another name.

        It is asked for every sample, from several threads at once, so compiled code should release
        the GIL. The answer may depend on nothing but what is stored.

        Args:
            record: the sample's record, a scalar of :attr:`metadata_type`. The pointer in it has no
                meaning yet while a file is being written.
            data: ``(n,)`` uint8, read-only: the region that :attr:`pointer` names; empty if there
                is none.

        Returns:
            The entry; ``b""`` for a sample that needs none.

        Raises:
            ValueError: the data is damaged or of an unknown kind. The sample is stored without an
                entry then, and counted.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has the side index {self.side_index!r}, but no side_index_entry"
        )


def description_problem(kind: type[Field]) -> str | None:
    """Why a field's class cannot be asked for a field, whatever the file says of it.

    Returns:
        Words that follow the field's name, or ``None`` if nothing is wrong.
    """
    try:
        inspect.signature(kind.from_binary).bind(np.zeros(ARG_TYPE.itemsize, np.uint8))
    except TypeError as error:
        return (
            "from_binary must take the description alone, as it is called on the class: mark it "
            f"with @classmethod or @staticmethod ({error})"
        )
    except ValueError:  # a callable that does not say what it takes
        return None
    return None


def record_problem(field: Field) -> str | None:
    """What is wrong with a field's :attr:`Field.metadata_type` or :attr:`Field.pointer`.

    Returns:
        Words that follow the field's name, or ``None`` if nothing is.

    Example:
        >>> class Text(Field):
        ...     pointer = "start"
        ...     metadata_type = np.dtype([("ptr", "<u8")])
        ...     def from_binary(binary): return Text()
        ...     def to_binary(self): return np.zeros(0, np.uint8)
        ...     def encode(self, destination, value, malloc): ...
        ...     def get_decoder_class(self): ...
        >>> record_problem(Text())
        "`pointer` names the member 'start', but the members of its record are 'ptr'"
    """
    try:
        dtype = field.metadata_type
    except (Exception, SystemExit) as error:
        return f"its metadata_type raised {type(error).__name__}: {error}"
    if not isinstance(dtype, np.dtype) or dtype.hasobject or dtype.itemsize == 0:
        return f"metadata_type must be a dtype of fixed size without objects, got {dtype!r}"
    if dtype != dtype.newbyteorder("<"):
        return (
            f"records are little-endian, its metadata_type {dtype} is not; "
            'metadata_type.newbyteorder("<") is'
        )
    return _pointer_problem(field.pointer, dtype)


def _pointer_problem(pointer: Any, dtype: np.dtype[Any]) -> str | None:
    if pointer is None:
        return None
    if not isinstance(pointer, str):
        return f'`pointer` must be the name of a member, "" or None, got {pointer!r}'
    names = dtype.names or ()
    if pointer and pointer not in names:
        there = ", ".join(map(repr, names))
        what = f"the members of its record are {there}" if names else f"its record is one {dtype}"
        return f"`pointer` names the member {pointer!r}, but {what}"
    member = dtype[pointer] if pointer else dtype
    if member != np.dtype("<u8"):
        what = f"the member {pointer!r}" if pointer else "the whole record"
        return f"`pointer` names {what}, which is {member}; a pointer is <u8"
    return None


def takes(kind: type, **arguments: Any) -> bool:
    """Whether a class can be called with these arguments, by their names.

    ``Field.from_binary`` of a base class asks it about subclasses, whose constructors may want
    something else than the file says.
    """
    try:
        inspect.signature(kind).bind(**arguments)
    except TypeError:
        return False
    return True
