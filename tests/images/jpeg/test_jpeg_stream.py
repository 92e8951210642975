"""What stands in front of a JPEG stream's scan, and the index that the stream gets."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_reference import picture
from jpeg_samples import as_array, jpeg, kinds
from PIL import Image

from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.decoder import PLANES_ENTRY
from ffcv_plugins.images.jpeg.density import BYTES_AN_ENTRY, side_index
from ffcv_plugins.images.jpeg.memory import allocate
from ffcv_plugins.images.jpeg.row_index import row_index
from ffcv_plugins.images.jpeg.stream import PROGRESSIVE, read_stream

KINDS = kinds(50, 70)


@pytest.mark.parametrize("kind", KINDS)
def test_reads_what_pillow_reads(kind):
    stream = read_stream(as_array(KINDS[kind]))
    image = Image.open(io.BytesIO(KINDS[kind]))
    assert (stream.width, stream.height) == image.size == (70, 50)
    assert (stream.process == PROGRESSIVE) == bool(image.info.get("progressive"))
    assert [(c.across, c.down) for c in stream.components] == [layer[1:3] for layer in image.layer]
    # Pillow gives the tables row by row.
    quantisers = [image.quantization[layer[3]] for layer in image.layer]
    assert [sorted(c.quantiser) for c in stream.components] == [sorted(q) for q in quantisers]
    assert [c.quantiser[:4] for c in stream.components] == [
        tuple(q[place] for place in (0, 1, 8, 16)) for q in quantisers
    ]
    assert stream.is_common


def test_cmyk_is_not_common():
    stream = read_stream(as_array(jpeg(picture(8, 8), "CMYK")))
    assert len(stream.components) == 4
    assert not stream.is_common


def test_arithmetic_coding_is_not_common():
    data = KINDS["4:2:0"].replace(b"\xff\xc0\0\x11", b"\xff\xc9\0\x11")
    assert not read_stream(as_array(data)).is_common


@pytest.mark.parametrize(
    ("kind", "rows", "columns"),
    [("4:2:0", 4, 5), ("4:2:2", 7, 5), ("4:4:4", 7, 9), ("grey", 7, 9), ("progressive", 4, 5)],
)
def test_grid_of_mcus(kind, rows, columns):
    assert read_stream(as_array(KINDS[kind])).mcu_grid == (rows, columns)


def test_sampling_factors_of_a_single_component_mean_nothing():
    data = KINDS["grey"].replace(b"\1\1\x11\0", b"\1\1\x22\0")
    assert data != KINDS["grey"]
    assert read_stream(as_array(data)).mcu_grid == (7, 9)


def dqt(*contents):
    return b"".join(b"\xff\xdb" + struct.pack(">H", 2 + len(c)) + c for c in contents)


def with_tables(tables):
    """A stream whose quantisation tables are replaced by ``tables``."""
    data = KINDS["grey"]
    at = data.index(b"\xff\xdb")
    return data[:at] + tables + data[at + 2 + 67 :]


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        (dqt(b"\0" + bytes(range(1, 65))), tuple(range(1, 65))),
        (dqt(b"\x10" + b"".join(struct.pack(">H", 300 + i) for i in range(64))),
         tuple(range(300, 364))),
        (dqt(b"\1" + bytes([9] * 64) + b"\0" + bytes([7] * 64)), (7,) * 64),
        (dqt(b"\0" + bytes([9] * 64), b"\0" + bytes([7] * 64)), (7,) * 64),
        (dqt(b"\1" + bytes([9] * 64)), None),
        (dqt(b"\0" + bytes([9] * 30)), None),
        (b"", None),
    ],
)  # fmt: skip
def test_quantisers(tables, expected):
    stream = read_stream(as_array(with_tables(tables)))
    assert stream.components[0].quantiser == expected
    assert stream.is_no_finer_than(stream) == (expected is not None)


def test_comparing_with_another_stream():
    fine, coarse = (read_stream(as_array(jpeg(picture(8, 8), quality=q))) for q in (90, 70))
    gray = read_stream(as_array(jpeg(picture(8, 8), "L", quality=80)))
    assert coarse.is_no_finer_than(fine)
    assert fine.is_no_finer_than(fine)
    assert not fine.is_no_finer_than(coarse)
    assert gray.is_no_finer_than(fine)
    assert not gray.is_no_finer_than(coarse)
    assert coarse.is_no_finer_than(gray)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[: data.index(b"\xff\xc0") + 12], "cut short|ends before"),
        (lambda data: data.replace(b"\3\1\x22\0", b"\3\1\x02\0"), "sampling factors of 0×2"),
        (lambda data: data.replace(b"\3\1\x22\0", b"\3\1\x25\0"), "sampling factors of 2×5"),
        (lambda data: data.replace(b"\xff\xc0\0\x11", b"\xff\xc0\0\x09"), "cut short|no marker"),
        (lambda data: data.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "8 bits a value"),
        (lambda data: data.replace(b"\xff\xc0\0\x11", b"\xff\xe5\0\x11"), "no frame header"),
    ],
)
def test_headers_that_make_no_sense_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        read_stream(as_array(change(KINDS["4:2:0"])))


@pytest.mark.parametrize("kind", ["4:2:0", "4:4:4", "grey"])
def test_small_images_have_one_entry_a_row(kind):
    stream = read_stream(as_array(KINDS[kind]))
    assert side_index(stream) == row_index(stream.data)


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_large_images_have_several_entries_a_row(subsampling):
    noise = np.random.default_rng(0).integers(0, 256, (64, 3000, 3), np.uint8)
    stream = read_stream(as_array(jpeg(noise, subsampling=subsampling)))
    rows, columns = stream.mcu_grid
    entries = (len(side_index(stream)) - 8) // 10
    # Each row's first entry serves twice as many bytes as the others.
    assert 0.8 < (entries + rows) * BYTES_AN_ENTRY / stream.data.size <= 1
    assert side_index(stream) == row_index(stream.data, -(-columns * rows // entries))


@given(st.data())
def test_a_region_is_the_same_with_the_index(data):
    size = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 900)))
    pixels = np.random.default_rng(size).integers(0, 256, (*size, 3), np.uint8)
    subsampling = data.draw(st.sampled_from(["4:2:0", "4:2:2", "4:4:4"]))
    stream = read_stream(as_array(jpeg(pixels, subsampling=subsampling)))
    y, x = (data.draw(st.integers(0, side - 1)) for side in size)
    region = y, x, data.draw(st.integers(1, size[0] - y)), data.draw(st.integers(1, size[1] - x))
    index = as_array(side_index(stream))
    for with_it, without in zip(
        planes(stream, region, index), planes(stream, region, index[:0]), strict=True
    ):
        np.testing.assert_array_equal(with_it, without)


def planes(stream, region, index):
    memory = allocate(stream.data.size, stream.height, stream.width)
    code = PLANES_ENTRY(
        memory.state.ctypes.data, stream.data.ctypes.data, stream.data.size, *region, 8,
        index.ctypes.data, index.size,
    )  # fmt: skip
    assert code == 0
    assert (memory.state[s.ACCESS] == 2) == bool(index.size)
    for number in range(3):
        words = memory.state[s.PLANES + s.PLANE_WORDS * number :][: s.PLANE_WORDS]
        start = int(words[s.P_ADDRESS]) - memory.planes.ctypes.data
        shape = int(words[s.P_ROWS]), int(words[s.P_COLUMNS])
        plane = memory.planes[start:]
        yield np.lib.stride_tricks.as_strided(plane, shape, (int(words[s.P_PITCH]), 1)).copy()
