"""The writer of ``.beton`` files."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
import xxhash
from numpy.typing import NDArray

from ffcv.beton.builder import BetonBuilder
from ffcv.beton.extension import schema_hash
from ffcv.beton.field import Field
from ffcv.beton.layout import MIN_PAGE_SIZE
from ffcv.beton.side_index import section_name
from ffcv.errors import ArgumentError, DatasetError, WorkerDiedError, WriteError
from ffcv.progress import Advance, progress_bar
from ffcv.whole import at_least, whole
from ffcv.writer.arguments import check_arguments, checked_resume, checked_workers, shard_limit
from ffcv.writer.encoding import DatasetEncoder, EncodedSample, SampleEncoder
from ffcv.writer.entries import EntryCount, fields_with_side_index
from ffcv.writer.manifest import describe_fields
from ffcv.writer.parallel import encoded_samples, encoded_shards, number_of_workers
from ffcv.writer.samples import IndexedDataset, dataset_length, sample_order
from ffcv.writer.sharding import OneFile, ShardedOutput
from ffcv.writer.shards import Pipeline, ShardEncoder, expand_shards
from ffcv.writer.spool import Spooled, Spools, spools_beside

__all__ = ["DatasetWriter"]

_Path = str | os.PathLike[str]


class DatasetWriter:
    """Writes a dataset to one ``.beton`` file, or to a folder of them.

    ``DatasetWriter(fname, fields)`` or ``DatasetWriter(num_samples, fname, fields)``; the second
    refuses a dataset of another length. The file appears under its name when it is complete, not
    before; on any failure nothing appears, and a file that was there stays. The same samples give
    the same bytes for any number of workers.

    Called by itself, a method writes and finishes the file. In a ``with`` block the file is
    finished at the block's end, and given up if the block raises.

    Args:
        num_samples: how many samples the dataset must have.
        fname: where to write; the directory must exist.
        fields: field for each name, in the order of a sample's values. Names are 1 to 16
            printable ASCII characters.
        page_size: bytes in a page of the file, a power of two from 2 MiB to 2 GiB. Larger values
            of a sample get several pages.
        num_workers: processes that read and encode samples; -1: as many as there are cores for
            this process; 0: none, all is done in this process. Without torch they are threads.
        metadata: anything of yours that JSON can hold; kept in the file.
        class_names: for fields of labels, the names of the classes; kept in the file.
        progress: whether to show a bar on stderr; ``None``: if that is a terminal.
        side_indexes: whether fields that can make their data quicker to read by a side index, a
            few bytes for each sample, get one. Readers that do not know it never notice it. A
            ``UserWarning`` says if it could not be computed for some samples.
        shard_size: most bytes of records and data in a file, as ``"256MB"``, ``"1GiB"`` or a
            number. With this or the next, ``fname`` is a folder that is made, and in it as many
            files as it takes, with a manifest by which they are opened quickly. A sample that is
            larger gets a file of its own.
        samples_per_shard: most samples in a file.
        resume: whether shards that are complete stay when something goes wrong, or when the
            process is killed, and the same call goes on behind them. The dataset has to give the
            same samples again. For datasets with indices only.

    Raises:
        ArgumentError: arguments are wrong; the message lists all that is.

    >>> import os, tempfile
    >>> from ffcv.fields import IntField
    >>> path = os.path.join(tempfile.mkdtemp(), "squares.beton")
    >>> writer = DatasetWriter(path, {"square": IntField()}, num_workers=0)
    >>> writer.from_indexed_dataset([0, 1, 4, 9])
    >>> os.path.exists(path)
    True
    """

    @overload
    def __init__(
        self,
        fname: _Path,
        fields: Mapping[str, Field],
        page_size: int = 4 * MIN_PAGE_SIZE,
        num_workers: int = -1,
        *,
        metadata: Any = None,
        class_names: Mapping[str, Sequence[str]] | None = None,
        progress: bool | None = None,
        side_indexes: bool = True,
        shard_size: int | str | None = None,
        samples_per_shard: int | None = None,
        resume: bool = False,
    ) -> None: ...

    @overload
    def __init__(
        self,
        num_samples: int,
        fname: _Path,
        fields: Mapping[str, Field],
        page_size: int = 4 * MIN_PAGE_SIZE,
        num_workers: int = -1,
        *,
        metadata: Any = None,
        class_names: Mapping[str, Sequence[str]] | None = None,
        progress: bool | None = None,
        side_indexes: bool = True,
        shard_size: int | str | None = None,
        samples_per_shard: int | None = None,
        resume: bool = False,
    ) -> None: ...

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        count = kwargs.pop("num_samples", None)
        if count is None and args and not isinstance(args[0], (str, os.PathLike)):
            count, *args = args  # type: ignore[assignment]
        self._num_samples = None if count is None else at_least("num_samples", count, 0)
        self._configure(*args, **kwargs)

    def _configure(
        self,
        fname: _Path,
        fields: Mapping[str, Field],
        page_size: int = 4 * MIN_PAGE_SIZE,
        num_workers: int = -1,
        *,
        metadata: Any = None,
        class_names: Mapping[str, Sequence[str]] | None = None,
        progress: bool | None = None,
        side_indexes: bool = True,
        shard_size: int | str | None = None,
        samples_per_shard: int | None = None,
        resume: bool = False,
    ) -> None:
        self._limit = shard_limit(shard_size, samples_per_shard)
        self._resume = checked_resume(resume, self._limit)
        check_arguments(fname, fields, page_size, metadata, class_names, self._limit is not None)
        self._path = Path(fname)
        self._fields = dict(fields)
        self._page_size = whole(page_size)
        self._num_workers = checked_workers(num_workers)
        self._metadata = metadata
        self._class_names = class_names
        self._progress = progress
        self._side_indexes = fields_with_side_index(self._fields) if side_indexes else {}
        self._in_block = False
        self._pending: OneFile | ShardedOutput | None = None

    def __repr__(self) -> str:
        """Path and names of the fields."""
        return f"DatasetWriter({os.fspath(self._path)!r}, fields: {', '.join(self._fields)})"

    def from_indexed_dataset(
        self,
        dataset: IndexedDataset,
        indices: Sequence[int] | NDArray[Any] | None = None,
        chunksize: int = 100,
        shuffle_indices: bool = False,
        *,
        seed: int = 0,
    ) -> None:
        """Write a dataset that has a length and gives samples by position.

        A sample is a tuple or list with one value per field, a mapping from the fields' names to
        values, or, with one field, the value itself.
        :class:`~ffcv.writer.samples.SampleSplitter` says how arrays are taken.

        Args:
            dataset: anything with ``__len__`` and ``__getitem__``, such as a torch ``Dataset``,
                a list of tuples, an array of shape ``(N, F, …)``. With worker processes it is
                copied to each of them.
            indices: positions in the dataset to write, in this order; ``None``: all.
            chunksize: most samples that a worker hands over at a time.
            shuffle_indices: whether to write them in a random order.
            seed: decides the random order.

        Raises:
            ArgumentError: an argument is out of its range.
            DatasetError: the dataset has another length than ``num_samples``, it raised, or a
                sample does not have one value per field.
            SampleEncodingError: a field refused a value.
            WorkerDiedError: an encoding process was killed.
            DiskFullError: no space is left.
        """
        self._write(
            dataset, indices, chunksize, shuffle_indices, seed=seed, num_workers=self._num_workers
        )

    def write_pytorch_dataset(
        self, dataset: IndexedDataset, num_workers: int | None = None, chunksize: int = 100
    ) -> None:
        """Write all of a dataset: :meth:`from_indexed_dataset` under its founding name.

        Args:
            dataset: as there.
            num_workers: as in the constructor; ``None``: what was given there.
            chunksize: as there.
        """
        workers = self._num_workers if num_workers is None else num_workers
        self._write(dataset, None, chunksize, False, seed=0, num_workers=workers)

    def from_webdataset(self, shards: _Path | Iterable[_Path], pipeline: Pipeline) -> None:
        """Write the samples of a WebDataset: tar files, which are read once, from begin to end.

        The samples lie in the order of the shards, and within one as the pipeline gives them. A
        worker takes whole shards. Until all are encoded, their number is not known; so they wait
        on the same disk, which needs room for them, and their space is given back shard by shard
        while the file is written.

        Args:
            shards: paths or URLs of tar files, also as patterns that webdataset expands, such as
                ``"train-{000..146}.tar"``.
            pipeline: gets a ``webdataset.WebDataset`` of one shard and returns its samples: tuples
                in the order of the fields, or mappings by name. Names that begin with two
                underscores are webdataset's own and are left out unless a field is called so.

        Raises:
            ArgumentError: an argument is of the wrong kind, or there are no shards.
            DatasetError: a shard is missing or damaged, the pipeline raised, a sample does not
                have one value per field, or there are not ``num_samples`` of them.
            SampleEncodingError: a field refused a value; ``sample`` counts within the shard.
            WorkerDiedError: an encoding process was killed.
            DiskFullError: no space is left.
            WriteError: webdataset is not installed.
        """
        self._check_unused()
        if self._resume:
            raise ArgumentError(
                "resume=True needs a dataset whose samples have indices: from_indexed_dataset"
            )
        urls = expand_shards(shards)
        workers = number_of_workers(self._num_workers, len(urls))
        with self._explaining(), spools_beside(self._path, max(workers, 1)) as spools:
            encode_sample = SampleEncoder(self._fields, side_indexes=bool(self._side_indexes))
            encode = ShardEncoder(urls, pipeline, encode_sample, spools)
            spooled = self._spooled(encode, len(urls), workers)
            count = sum(shard.count for shard in spooled)
            self._check_count(count)
            with self._building(count) as target:
                self._add(target, _unspooled(spools, spooled), count)

    def _spooled(self, encode: ShardEncoder, number: int, workers: int) -> list[Spooled]:
        """Where the samples of each shard are, once all are encoded."""
        spooled: dict[int, Spooled] = {}
        bar = self._bar(number, "shards")
        with closing(encoded_shards(encode, number, workers)) as shards, bar as advance:
            for shard in shards:
                if shard.spooled is not None:
                    spooled[shard.number] = shard.spooled
                advance()
        return [spooled[shard] for shard in range(number)]

    def _write(
        self,
        dataset: IndexedDataset,
        indices: Sequence[int] | NDArray[Any] | None,
        chunksize: int,
        shuffle: bool,
        *,
        seed: int,
        num_workers: int,
    ) -> None:
        asked = checked_workers(num_workers)
        limit = at_least("chunksize", chunksize, 1)
        positions = sample_order(dataset_length(dataset), indices, shuffle, seed)
        self._check_unused()
        self._check_count(len(positions))
        workers = number_of_workers(asked, len(positions))
        encode = DatasetEncoder(dataset, self._fields, bool(self._side_indexes))
        with self._explaining(), self._building(len(positions), positions) as target:
            left = positions[target.done :]
            samples = encoded_samples(encode, left, workers, limit)
            self._add(target, samples, len(left))

    def _add(
        self, target: OneFile | ShardedOutput, samples: Generator[EncodedSample], count: int
    ) -> None:
        bar = self._bar(count, "samples")
        counts = [EntryCount(field, kind) for field, kind in self._side_indexes.items()]
        with closing(samples), bar as advance:
            target.add(_counted(samples, counts, advance, target.done), count)
        for complaint in filter(None, (count.complaint() for count in counts)):
            warnings.warn(f"{self._path}: {complaint}", stacklevel=4)

    def _bar(self, total: int, unit: str) -> AbstractContextManager[Advance]:
        return progress_bar(total, unit, name=self._path.name, wanted=self._progress)

    def _check_unused(self) -> None:
        if self._pending is not None:
            raise WriteError(
                f"{self._path}: a dataset was already written in this with block; "
                "write both at once as one dataset, or to two files"
            )

    def _check_count(self, count: int) -> None:
        if self._num_samples is not None and count != self._num_samples:
            raise DatasetError(
                f"the writer was made for {self._num_samples} samples, the dataset has {count}"
            )

    @contextmanager
    def _building(
        self, count: int, positions: NDArray[np.int64] | None = None
    ) -> Iterator[OneFile | ShardedOutput]:
        """What is finished, or kept for the end of the block; or given up on errors."""
        target = self._target(count, positions)
        try:
            yield target
            if self._in_block:
                self._pending = target
            else:
                target.finish()
        except BaseException as error:
            target.abort()
            if isinstance(target, ShardedOutput) and target.kept is not None:
                error.add_note(target.kept)
            raise

    def _target(self, count: int, positions: NDArray[np.int64] | None) -> OneFile | ShardedOutput:
        if self._limit is None:
            return OneFile(self._builder(self._path, count))
        descriptors, manifest = describe_fields(self._fields, self._class_names)
        digest = None if positions is None else xxhash.xxh3_64_hexdigest(positions.tobytes())
        plan = {
            "schema": schema_hash(descriptors, manifest),
            "page_size": self._page_size,
            "metadata": self._metadata,
            "class_names": self._class_names,
            "side_indexes": self._side_indexes,
            "size of shards": self._limit,
            "samples": [count, digest],
        }
        return ShardedOutput(self._path, self._limit, self._builder, plan, self._resume)

    def _builder(self, path: Path, count: int) -> BetonBuilder:
        """Begin a file of so many samples."""
        descriptors, manifest = describe_fields(self._fields, self._class_names)
        return BetonBuilder(
            path,
            count,
            descriptors,
            [field.metadata_type for field in self._fields.values()],
            self._page_size,
            manifest,
            self._metadata,
            [section_name(kind, field) for field, kind in self._side_indexes.items()],
        )

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Say with every exception that there is no file."""
        try:
            yield
        except WorkerDiedError:
            raise  # the last line is what to do
        except BaseException as error:
            error.add_note(f"Nothing was written to {self._path}.")
            raise

    def __enter__(self) -> Self:
        """Begin a block at whose end the file is finished."""
        self._in_block = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file, or give it up if the block raised.

        Raises:
            WriteError: the block ended without having written anything.
        """
        self._in_block = False
        target, self._pending = self._pending, None
        if kind is not None:
            if target is not None:
                target.abort()
        elif target is None:
            raise WriteError(f"{self._path}: nothing was written in the with block")
        else:
            try:
                target.finish()
            except BaseException:
                target.abort()
                raise


def _counted(
    samples: Iterable[EncodedSample], counts: Sequence[EntryCount], advance: Advance, first: int
) -> Iterator[EncodedSample]:
    """The same samples, while it is counted how many there are and what their entries are."""
    for position, sample in enumerate(samples, first):
        for count, entry in zip(counts, sample.entries, strict=True):
            count.counted(position, entry)
        yield sample
        advance()


def _unspooled(spools: Spools, shards: Iterable[Spooled]) -> Generator[EncodedSample]:
    for shard in shards:
        yield from spools.read(shard)


# The two spellings share one __init__; what help() and editors show is the usual one.
setattr(DatasetWriter.__init__, "__signature__", inspect.signature(DatasetWriter._configure))  # noqa: B010
