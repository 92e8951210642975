"""Tests for image codecs to inherit from: what decoders, fields and hostile files do to them.

They need pytest, and nothing that ffcv needs not. Derive a class with a name that pytest collects,
and say which codec it is.

Example:
    >>> from ffcv_plugins.images.native import NativeCodec
    >>> from ffcv_plugins.images.opencv import OpenCVCodec
    >>> class Jpeg(OpenCVCodec, NativeCodec):
    ...     name = "jpeg"
    >>> class TestJpeg(CodecConformance):
    ...     codec = Jpeg
    ...     tolerance = 16
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import MOST_PARTS, WHOLE
from ffcv.testing.fences import fenced, first_failure
from ffcv_plugins.images.codec import Codec, ImageInfo, RegionCodec, parts_address
from ffcv_plugins.images.decoded import DECODED

__all__ = ["CodecConformance"]

_Box = tuple[int, int, int, int]

_NO_INDEX = np.empty(0, np.uint8)

_FOREIGN = (b"", b"\0", b"\xff" * 64, b"\x89PNG\r\n\x1a\n" + bytes(64), bytes(1000))


class CodecConformance:
    """Tests for a :class:`Codec`, and, if it is one, a :class:`RegionCodec`.

    Attributes:
        codec: its class.
        tolerance: how far a pixel of a smooth image may be from what was encoded; 0 for codecs that
            lose nothing.
        refuses_truncation: whether all streams that break off are refused.
    """

    codec: type
    tolerance: int = 0
    refuses_truncation: bool = True

    def images(self) -> list[NDArray[np.uint8]]:
        """Images to try, ``(H, W, 3)`` uint8: smooth, flat and, where nothing is lost, random."""
        sizes = [(1, 1), (1, 40), (33, 1), (7, 9), (64, 50), (90, 131)]
        found = [_smooth(*size) for size in sizes] + [np.full((30, 41, 3), 200, np.uint8)]
        if self.tolerance == 0:
            drawing = np.random.default_rng(1)
            found += [drawing.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
            found.append(np.repeat(found[-1][:, :9], 15, 1))
        return found

    def index(self, stream: NDArray[np.uint8]) -> bytes:
        """What a file has in its side index for a stream; nothing by default."""
        return b""

    def _made(self) -> Codec:
        codec = self.codec()
        assert isinstance(codec, Codec), f"{self.codec} lacks name, probe, decode or encode"
        return codec

    def _streams(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Images with what is encoded of them."""
        codec = self._made()
        for image in self.images():
            yield image, np.frombuffer(codec.encode(image, 90), np.uint8)

    def _decoded(
        self, stream: NDArray[np.uint8], size: tuple[int, ...], fill: int = 0
    ) -> NDArray[np.uint8]:
        pixels = np.full((*size, 3), fill, np.uint8)
        returned: object = self._made().decode(stream, pixels)  # type: ignore[func-returns-value]
        assert returned is None, "decode fills its destination and returns nothing"
        return pixels

    def test_it_has_a_name_and_is_made_without_arguments(self) -> None:
        """Files hold its name; whoever reads them makes it."""
        codec = self._made()
        assert isinstance(codec.name, str)
        assert codec.name.isidentifier()
        assert isinstance(getattr(codec, "version", ""), str)
        assert getattr(codec, "pixels_per_byte", 1) >= 1

    def test_headers_tell_the_size(self) -> None:
        """``probe`` says what was encoded, and refuses what is none of its own."""
        codec = self._made()
        for image, stream in self._streams():
            info = codec.probe(stream)
            assert isinstance(info, ImageInfo)
            assert (info.height, info.width) == image.shape[:2]
        for data in _FOREIGN:
            assert _is_refused(codec.probe, np.frombuffer(data, np.uint8)), f"takes {data[:9]!r}"

    def test_pixels_survive(self) -> None:
        """What is decoded is what was encoded, whatever was in the destination before."""
        for image, stream in self._streams():
            assert stream.size, f"encode gives no bytes for {image.shape}"
            before = image.copy()
            pixels = self._decoded(stream, image.shape[:2])
            again = self._decoded(stream, image.shape[:2], fill=0xA5)
            np.testing.assert_array_equal(pixels, again)
            difference = np.abs(pixels.astype(int) - image).max()
            assert difference <= self.tolerance, f"{image.shape}: {difference} levels off"
            assert self._made().encode(image, 90) == stream.tobytes(), "other bytes the next time"
            np.testing.assert_array_equal(image, before)

    def test_other_sizes_are_refused(self) -> None:
        """A destination of another size is an error, not half an image."""
        codec = self._made()
        for image, stream in self._streams():
            height, width = image.shape[:2]
            for size in ((height + 1, width), (height, width + 1)):
                wrong = np.zeros((*size, 3), np.uint8)
                assert _is_refused(codec.decode, stream, wrong), f"{image.shape} fills {size}"

    def test_claims_are_credible(self) -> None:
        """Images have at most as many pixels as ``pixels_per_byte`` says."""
        most = getattr(self._made(), "pixels_per_byte", 1024)
        flat = np.full((500, 700, 3), 77, np.uint8)
        stream = self._made().encode(flat, 50)
        assert flat.shape[0] * flat.shape[1] <= most * len(stream)

    def test_damage_gives_pixels_or_an_error(self) -> None:
        """Damaged streams raise ``ValueError`` and nothing else, or give some pixels."""
        codec = self._made()
        for image, stream in self._streams():
            for damaged in _damaged(stream):
                _is_refused(codec.probe, damaged)
                _is_refused(codec.decode, damaged, np.zeros_like(image))

    def test_what_breaks_off_is_refused(self) -> None:
        """A library that conceals what is missing would train a model on it."""
        if not self.refuses_truncation:
            return
        codec = self._made()
        for image, stream in self._streams():
            for length in sorted({*range(0, stream.size // 2, 97), stream.size // 2}):
                cut = stream[:length]
                assert _is_refused(codec.decode, cut, np.zeros_like(image)), f"{length} bytes do"

    def test_threads_share_it(self) -> None:
        """Several threads may decode at once."""
        codec = self._made()
        streams = list(self._streams())

        def decoded(number: int) -> bool:
            image, stream = streams[number % len(streams)]
            pixels = np.zeros_like(image)
            codec.decode(stream, pixels)
            return bool(np.abs(pixels.astype(int) - image).max() <= self.tolerance)

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(decoded, range(8 * len(streams))))

    def test_parts_are_those_of_the_whole(self) -> None:
        """Compiled code gives the pixels that the library gives, and tells the image's size."""
        codec = self.codec()
        if not isinstance(codec, RegionCodec):
            return
        for image, stream in self._streams():
            whole = self._decoded(stream, image.shape[:2])
            for box in _boxes(*image.shape[:2]):
                part, size = _part(codec, stream, image.shape[:2], box)
                if part is not None:  # others are decoded by the library
                    y, x, height, width = box
                    np.testing.assert_array_equal(part, whole[y : y + height, x : x + width])
                    assert size == image.shape[:2]

    def test_no_other_parts_are_read(self) -> None:
        """Where it names the parts of a stream that a region needs, nothing depends on others."""
        codec = self.codec()
        if not isinstance(codec, RegionCodec) or not parts_address(codec):
            return
        for image, stream in self._streams():
            size, index = image.shape[:2], np.frombuffer(self.index(stream), np.uint8)
            for box in _boxes(*size):
                there = _only_parts(codec, stream, size, box, index)
                if there is not None:
                    whole, _ = _part(codec, stream, size, box, index=index)
                    part, _ = _part(codec, there, size, box, index=index)
                    np.testing.assert_array_equal(part, whole)

    def test_parts_of_hostile_streams_touch_no_foreign_memory(self) -> None:
        """It runs in a forked process, between fences."""
        codec = self.codec()
        if not isinstance(codec, RegionCodec):
            return
        codec.rgb.address  # noqa: B018 - compiles it before the fork
        cases = [
            (image.shape[:2], damaged, box)
            for image, stream in self._streams()
            for damaged in (stream, *_damaged(stream))
            for box in _boxes(*image.shape[:2])
        ]
        problem = first_failure(functools.partial(_problem, codec, *case) for case in cases)
        assert problem is None, f"{cases[problem[0]]}: {problem[1]}"


def _smooth(height: int, width: int) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(rows / 9 + columns / (11 + channel)) for channel in range(3)]
    return np.stack(waves, -1).astype(np.uint8)


def _damaged(stream: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """The stream cut, lengthened, and with some of its bytes changed; the same each time."""
    drawing = random.Random(stream.size)
    yield stream[:-1]
    yield stream[: stream.size // 2]
    yield np.concatenate([stream, stream])
    for place in [*range(min(stream.size, 24)), *(drawing.randrange(stream.size) for _ in "abc")]:
        for value in (0, 0xFF, int(stream[place]) ^ 1):
            changed = stream.copy()
            changed[place] = value
            yield changed


def _is_refused(function: object, *arguments: object) -> bool:
    """Whether a function raises ``ValueError``; all else that it raises goes through."""
    assert callable(function)
    try:
        function(*arguments)
    except ValueError:
        return True
    return False


def _boxes(height: int, width: int) -> list[_Box]:
    """Parts of an image: all of it, its corners, a row, and something in the middle."""
    half_height, half_width = (height + 1) // 2, (width + 1) // 2
    return [
        (0, 0, height, width),
        (height - half_height, width - half_width, half_height, half_width),
        (height - 1, 0, 1, width),
        (height // 3, width // 3, half_height, half_width),
    ]


def _part(
    codec: RegionCodec,
    stream: NDArray[np.uint8],
    size: tuple[int, ...],
    box: _Box,
    fill: int = 0,
    index: NDArray[np.uint8] = _NO_INDEX,
) -> tuple[NDArray[np.uint8] | None, tuple[int, int]]:
    """A part of an image by compiled code, ``None`` if that returns an error; and the size that it
    says the image has."""
    data = fenced(stream.shape, np.dtype(np.uint8), at_end=True)
    data[:] = stream
    target = fenced((*box[2:], 3), np.dtype(np.uint8), at_end=True)
    target[...] = fill
    memory = codec.memory(stream.size, size[0], size[1])  # all of which the state points to
    state = memory.state
    problem = codec.rgb(
        state.ctypes.data, data.ctypes.data, data.size, *box, target.ctypes.data, 3 * box[3],
        index.ctypes.data, index.size,
    )  # fmt: skip
    decoded = state[: DECODED.itemsize // state.itemsize].view(DECODED)[0]
    told = int(decoded["height"]), int(decoded["width"])
    return (None if problem else target), told


def _only_parts(
    codec: Any,
    stream: NDArray[np.uint8],
    size: tuple[int, ...],
    box: _Box,
    index: NDArray[np.uint8],
) -> NDArray[np.uint8] | None:
    """A stream with random bytes in the place of those that a codec says it does not read."""
    ranges = np.zeros((MOST_PARTS, 2), np.int64)
    entry = index.ctypes.data, index.size
    number = codec.parts(stream.size, *size, *box, *entry, ranges.ctypes.data)
    if number == WHOLE:
        return None
    there = np.random.default_rng(0).integers(0, 256, stream.size, np.uint8)
    for offset, nbytes in ranges[:number].tolist():
        assert 0 <= offset <= stream.size - nbytes
        there[offset : offset + nbytes] = stream[offset : offset + nbytes]
    return there


def _problem(
    codec: RegionCodec, size: tuple[int, ...], stream: NDArray[np.uint8], box: _Box
) -> str | None:
    """What is wrong with what compiled code does to a hostile stream, in words."""
    one, _ = _part(codec, stream, size, box)
    other, _ = _part(codec, stream, size, box, fill=0xA5)
    if one is not None and other is not None and not np.array_equal(one, other):
        return "it left bytes of the target as they were, and reported no failure"
    return None
