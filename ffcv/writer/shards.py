"""Shards of a WebDataset as the writer sees them: each is encoded as a whole, by one worker."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from ffcv.errors import ArgumentError, DatasetError, DiskFullError, SampleEncodingError, WriteError
from ffcv.writer.archives import refuse_damaged, watch_streams
from ffcv.writer.encoding import EncodedSample, SampleEncoder
from ffcv.writer.spool import Spooled, Spools

__all__ = ["EncodedShard", "Pipeline", "ShardEncoder", "expand_shards"]

Pipeline = Callable[[Any], Iterable[Any]]
"""Turns a ``webdataset.WebDataset`` into samples."""


def expand_shards(shards: Any) -> list[str]:
    """The shards as paths and URLs, one by one.

    Args:
        shards: a path or URL, or several. Strings may be patterns such as ``"{000..012}.tar"``.

    Raises:
        ArgumentError: there are none, or they are something else.
        DatasetError: a local one does not exist.
        WriteError: webdataset is not installed.
    """
    _webdataset()
    given = [shards] if isinstance(shards, (str, os.PathLike)) else shards
    if not isinstance(given, Iterable):
        kind = type(shards).__qualname__
        raise ArgumentError(f"shards must be a list of paths or URLs, or a pattern, got {kind}")
    expanded = [each for shard in given for each in _expanded(shard)]
    if not expanded:
        raise ArgumentError("shards must name at least one tar file, got none")
    missing = [shard for shard in expanded if _is_local(shard) and not os.path.exists(shard)]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DatasetError(f"no such shard: {', '.join(missing[:3])}{more}")
    return expanded


@dataclass(frozen=True)
class EncodedShard:
    """What a worker says when it is done with a shard.

    Attributes:
        number: which shard.
        spooled: where its samples are.
        failure: why there is none, if so.
        trace: the worker's traceback in words, if it failed.
    """

    number: int
    spooled: Spooled | None
    failure: WriteError | None = None
    trace: str = ""


class ShardEncoder:
    """Encodes shards into spools: a map-style dataset whose indices are numbers of shards.

    Args:
        shards: paths and URLs, one for each number.
        pipeline: turns a ``webdataset.WebDataset`` into samples.
        encode: encodes one of these.
        spools: where the encoded samples go.

    Raises:
        ArgumentError: ``pipeline`` cannot be called.
    """

    def __init__(
        self, shards: Sequence[str], pipeline: Pipeline, encode: SampleEncoder, spools: Spools
    ) -> None:
        if not callable(pipeline):
            raise ArgumentError(
                "pipeline must be a function from a webdataset.WebDataset to samples, such as "
                f"lambda dataset: dataset.to_tuple('jpg', 'cls'); got {type(pipeline).__qualname__}"
            )
        self._shards, self._pipeline = shards, pipeline
        self._encode, self._spools = encode, spools

    def __getitem__(self, number: int) -> EncodedShard:
        """Encode one shard; failures are part of the answer."""
        try:
            return EncodedShard(number, self._spooled(number))
        except WriteError as error:
            trace = "".join(traceback.format_exception(error))
            return EncodedShard(number, None, error, trace)

    def describe(self, number: int) -> str:
        """Which shard this is, for messages."""
        return f"the shard {self._shards[number]}"

    def _spooled(self, number: int) -> Spooled:
        shard = self._shards[number]
        try:
            spooled = self._spools.write(self._encoded(shard))
        except DiskFullError:
            raise
        except WriteError:
            # A damaged archive is the reason for whatever its samples lack.
            _check_archive(shard)
            raise
        _check_archive(shard)
        return spooled

    def _encoded(self, shard: str) -> Generator[EncodedSample]:
        for position, sample in enumerate(self._samples(shard)):
            values = self._without_notes(sample) if isinstance(sample, Mapping) else sample
            try:
                encoded = self._encode(values, position)
            except SampleEncodingError as error:
                problem = f"{error.problem} (of the shard {shard})"
                raise SampleEncodingError(error.field, position, problem) from error
            except DatasetError as error:
                raise DatasetError(f"shard {shard}: {error}") from error
            yield encoded

    def _samples(self, shard: str) -> Generator[Any]:
        """What the pipeline makes of a shard; whatever it raises becomes a DatasetError."""
        position = 0
        try:
            for sample in self._pipeline(_open(shard)):
                yield sample
                position += 1
        except (Exception, SystemExit) as error:
            raise DatasetError(
                f"shard {shard}, sample {position}: reading it or the pipeline raised "
                f"{type(error).__name__}: {_words(error)}"
            ) from error

    def _without_notes(self, sample: Mapping[Any, Any]) -> dict[Any, Any]:
        """Without what webdataset itself puts into samples, such as ``__key__`` and ``__url__``."""
        return {
            key: value
            for key, value in sample.items()
            if key in self._encode.names or not str(key).startswith("__")
        }


def _webdataset() -> Any:
    try:
        import webdataset
    except ImportError as error:
        raise WriteError(
            "from_webdataset needs a package that is not installed: pip install webdataset"
        ) from error
    return webdataset


def _open(shard: str) -> Any:
    """One shard, all of it, in the order of the archive."""
    webdataset = _webdataset()
    dataset = webdataset.WebDataset(
        [shard],
        shardshuffle=False,
        # The writer itself gives each shard to one worker.
        nodesplitter=None,
        workersplitter=None,
        empty_check=False,
        # Without one, the global random generator would be asked for it.
        seed=0,
    )
    openers = (webdataset.cache.StreamingOpen, webdataset.cache.FileCache)
    for place, stage in enumerate(dataset.pipeline):
        if isinstance(stage, openers) and not _is_local(shard):
            dataset.pipeline.insert(place + 1, watch_streams)
            break
    return dataset


def _expanded(shard: Any) -> list[str]:
    if not isinstance(shard, (str, os.PathLike)):
        raise ArgumentError(f"a shard must be a path or a URL, got {type(shard).__qualname__}")
    if isinstance(shard, os.PathLike) or os.path.exists(shard):
        return [os.fsdecode(shard)]
    expand: Callable[[str], list[str]] = _webdataset().shardlists.expand_urls
    return [_without_scheme(each) for each in expand(shard)]


def _without_scheme(shard: str) -> str:
    """``file:`` URLs as paths."""
    url = urlparse(shard)
    return url2pathname(url.path) if url.scheme == "file" else shard


def _is_local(shard: str) -> bool:
    """Whether webdataset opens it as a file, not by another program."""
    return not urlparse(shard).scheme


def _check_archive(shard: str) -> None:
    if _is_local(shard) and os.path.isfile(shard):
        refuse_damaged(shard)


def _words(error: BaseException) -> str:
    """The message; webdataset adds open files and the like to the arguments of exceptions."""
    first = error.args[0] if error.args else ""
    return first if isinstance(first, str) and len(error.args) > 1 else str(error)
