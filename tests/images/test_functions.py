"""``decode_image`` and ``resize``, as people call them who have no file and no loader."""

from __future__ import annotations

import io
import mmap
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import PIL
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_reference import picture
from jpeg_samples import SEQUENTIAL, as_array, jpeg, kinds
from PIL import Image

from ffcv_plugins.images import decode_image, resize
from ffcv_plugins.images.jpeg.density import side_index
from ffcv_plugins.images.jpeg.stream import read_stream
from ffcv_plugins.images.kernels import block_size
from ffcv_plugins.raster.resizing.arrays import resize_array
from ffcv_plugins.raster.resizing.weights import FILTERS

SIZE = (90, 130)
PIXELS = picture(*SIZE)
KINDS = kinds(*SIZE) | {"CMYK": jpeg(PIXELS, "CMYK")}
PLAIN = KINDS["4:2:0"]
CORNERS = [(0, 0, 1, 1), (89, 129, 1, 1), (37, 51, 20, 33), (0, 100, 90, 30), (64, 0, 26, 130)]
PILLOW_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def by_opencv(data):
    return cv2.imdecode(as_array(data), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def by_pillow(image, size, interpolation):
    return np.asarray(Image.fromarray(image).resize(size[::-1], PILLOW_FILTERS[interpolation]))


def by_library(image, size, interpolation):
    """``None`` where no library does the same."""
    if interpolation in PILLOW_FILTERS:
        return by_pillow(image, size, interpolation)
    shrinks = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    if interpolation == "area" and shrinks:
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    return None


def cut(image, region):
    y, x, height, width = region
    return image[y : y + height, x : x + width]


def index_of(data):
    return side_index(read_stream(as_array(data)))


@pytest.mark.parametrize("kind", KINDS)
def test_whole_images_and_parts_are_those_of_a_library(kind):
    data = KINDS[kind]
    whole = by_opencv(data)
    np.testing.assert_array_equal(decode_image(data), whole)
    for region in CORNERS:
        for index in {b"", index_of(data)}:
            part = decode_image(data, region, side_index=index)
            np.testing.assert_array_equal(part, cut(whole, region))
            assert part.base is None, "a part must not keep the whole image alive"


@pytest.mark.parametrize("kind", ["4:2:0", "grey", "progressive", "CMYK", "restart markers"])
@pytest.mark.parametrize("interpolation", FILTERS)
def test_exact_mode_resizes_what_was_decoded(kind, interpolation):
    part = cut(by_opencv(KINDS[kind]), (10, 20, 61, 83))
    for size in ((1, 1), (16, 50), (61, 20), (100, 200)):
        got = decode_image(KINDS[kind], (10, 20, 61, 83), size, interpolation=interpolation)
        expected = resize_array(part, (0, 0, 61, 83), size, interpolation)
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(resize(part, size, interpolation=interpolation), expected)
        reference = by_library(part, size, interpolation)
        if reference is not None:
            assert np.abs(got.astype(int) - reference).max() <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_fast_mode_is_close_and_exact_where_a_library_decodes(kind):
    region = (10, 20, 61, 83)
    for size in ((12, 8), (40, 50), (100, 200)):
        exact = decode_image(KINDS[kind], region, size)
        fast = decode_image(KINDS[kind], region, size, mode="fast")
        difference = np.abs(fast.astype(int) - exact)
        if kind in (*SEQUENTIAL, "restart markers"):
            assert difference.mean() < 4
        else:
            np.testing.assert_array_equal(fast, exact)


def test_fast_mode_without_resizing_is_exact():
    for region in (None, *CORNERS):
        fast = decode_image(PLAIN, region, mode="fast")
        np.testing.assert_array_equal(fast, decode_image(PLAIN, region))


@pytest.mark.parametrize("size", [(12, 8), (40, 50), (100, 200)])
def test_nearest_chooses_pixels_in_fast_mode_too(size):
    for region in CORNERS:
        got = decode_image(PLAIN, region, size, interpolation="nearest", mode="fast")
        exact = decode_image(PLAIN, region, size, interpolation="nearest")
        np.testing.assert_array_equal(got, exact)
        colors = {tuple(color) for color in cut(by_opencv(PLAIN), region).reshape(-1, 3).tolist()}
        assert {tuple(color) for color in got.reshape(-1, 3).tolist()} <= colors


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="the bound is Pillow 13's")
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_exact_mode_is_within_two_levels_of_pillow_on_photographs(name, interpolation):
    image = getattr(pytest.importorskip("skimage.data"), name)()
    stream = jpeg(image)
    pixels = Image.open(io.BytesIO(stream)).convert("RGB")
    rng = np.random.default_rng(0)
    for height, width in [(64, 96), (96, 300), (224, 224), *rng.integers(20, 320, (5, 2)).tolist()]:
        h, w = (int(rng.integers(side // 4, side)) for side in image.shape[:2])
        y, x = int(rng.integers(image.shape[0] - h)), int(rng.integers(image.shape[1] - w))
        got = decode_image(stream, (y, x, h, w), (height, width), interpolation=interpolation)
        method = Image.Resampling[interpolation.upper()]
        part = pixels.crop((x, y, x + w, y + h)).resize((width, height), method)
        assert np.abs(got.astype(int) - np.asarray(part)).max() <= 2


@pytest.mark.parametrize("seed", range(3))
def test_fast_mode_on_photographs(seed):
    data = pytest.importorskip("skimage.data")
    image = (data.astronaut, data.chelsea, data.coffee)[seed]()
    stream, exact = jpeg(image), np.asarray(Image.open(io.BytesIO(jpeg(image))))
    rng = np.random.default_rng(seed)
    for _ in range(6):
        height, width = (int(rng.integers(side // 4, side)) for side in image.shape[:2])
        y, x = rng.integers(image.shape[0] - height), rng.integers(image.shape[1] - width)
        region = (int(y), int(x), height, width)
        fast = decode_image(stream, region, 160, mode="fast")
        expected = by_pillow(cut(exact, region), (160, 160), "bilinear")
        difference = fast.astype(int) - expected
        is_reduced = block_size(height, width, 160, 160) < 8
        assert np.abs(difference).mean() < (2.5 if is_reduced else 0.6)
        assert np.abs(difference).max() < 64
        assert abs(difference.mean()) < 0.1


@given(st.data())
def test_any_part_at_any_size(data):
    height, width = (data.draw(st.integers(1, 40), side) for side in "hw")
    kind = data.draw(st.sampled_from(["4:2:0", "4:2:2", "4:4:4", "L", "progressive"]))
    options = {"subsampling": kind} if ":" in kind else {"progressive": kind == "progressive"}
    stream = jpeg(picture(height, width), "L" if kind == "L" else "RGB", **options)
    y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    region = (y, x, data.draw(st.integers(1, height - y)), data.draw(st.integers(1, width - x)))
    size = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 90))
    part = cut(by_opencv(stream), region)
    method = data.draw(st.sampled_from(sorted(FILTERS)))
    expected = resize_array(part, (0, 0, *region[2:]), size, method)
    got = decode_image(stream, region, size, interpolation=method)
    np.testing.assert_array_equal(got, expected)
    assert decode_image(stream, region, size, interpolation=method, mode="fast").shape == got.shape


class TestData:
    """What the stream may be given as."""

    def read_only(self):
        array = as_array(PLAIN).copy()
        array.flags.writeable = False
        return array

    @pytest.mark.parametrize(
        "make",
        [
            bytes, bytearray, memoryview, as_array, np.array,
            lambda data: memoryview(np.repeat(as_array(data), 2))[::2],
            lambda data: np.repeat(as_array(data), 3)[::3],
            lambda data: as_array(data)[::-1].copy()[::-1],
        ],
    )  # fmt: skip
    def test_any_bytes(self, make):
        data = make(PLAIN) if make is not np.array else self.read_only()
        np.testing.assert_array_equal(decode_image(data), by_opencv(PLAIN))

    def test_a_mapped_file(self, tmp_path):
        (tmp_path / "x.jpg").write_bytes(PLAIN)
        with (
            (tmp_path / "x.jpg").open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            np.testing.assert_array_equal(decode_image(data), by_opencv(PLAIN))

    @pytest.mark.parametrize(
        ("data", "error", "words"),
        [
            ("x.jpg", TypeError, r"expected bytes or uint8 \(N,\), got str; read the file: Path"),
            ([255, 216], TypeError, r"data: expected bytes or uint8 \(N,\), got list$"),
            (None, TypeError, "got NoneType$"),
            (np.zeros(9), ValueError, r"data: expected bytes or uint8 \(N,\), got float64"),
            (np.zeros((9, 9), np.uint8), ValueError, r"data: .* got uint8 \(9, 9\)"),
            (np.zeros(9, np.int8), ValueError, "data: .* got int8"),
            (b"", ValueError, "does not begin with FF D8"),
            (b"\x89PNG\r\n\x1a\n" + bytes(99), ValueError, "does not begin with FF D8"),
            (bytes(1000), ValueError, "does not begin with FF D8"),
        ],
    )
    def test_what_is_no_jpeg(self, data, error, words):
        with pytest.raises(error, match=words):
            decode_image(data)

    @pytest.mark.parametrize("kind", ["4:2:0", "restart markers", "progressive", "grey"])
    def test_truncated(self, kind):
        data = KINDS[kind]
        for eighth in range(8):
            broken = data[: len(data) * eighth // 8]
            with pytest.raises(ValueError, match="JPEG stream"):
                decode_image(broken)
            # What a part needs may be there nevertheless, and if so it is right.
            try:
                top = decode_image(broken, (0, 0, 8, 130))
            except ValueError:
                continue
            np.testing.assert_array_equal(top, cut(by_opencv(data), (0, 0, 8, 130)))

    def test_sizes_that_lie(self):
        frame = PLAIN.index(b"\xff\xc0")
        claim = PLAIN[: frame + 5] + b"\xff" * 4 + PLAIN[frame + 9 :]
        for region in (None, (0, 0, 8, 8), (65000, 65000, 8, 8)):
            with pytest.raises(ValueError, match="claims 65535×65535 pixels, more than .* bytes"):
                decode_image(claim, region)


class TestSideIndex:
    REGION = (57, 33, 21, 50)
    EXPECTED = cut(by_opencv(PLAIN), REGION)

    def same(self, index):
        for mode in ("exact", "fast"):
            got = decode_image(PLAIN, self.REGION, side_index=index, mode=mode)
            np.testing.assert_array_equal(got, self.EXPECTED)

    def test_the_right_one(self):
        assert len(index_of(PLAIN)) > 8
        self.same(index_of(PLAIN))

    @pytest.mark.parametrize("size", [SIZE, (91, 130), (90, 140), (16, 16)])
    def test_that_of_another_image(self, size):
        other = index_of(jpeg(picture(*size, 9)))
        assert other != index_of(PLAIN)
        self.same(other)

    def test_other_lengths(self):
        index = index_of(PLAIN)
        for other in (*(index[:n] for n in range(len(index))), index + b"\0", index * 2):
            self.same(other)

    @given(st.binary(max_size=300))
    def test_garbage(self, garbage):
        self.same(garbage)

    @given(st.integers(8, 400), st.integers(0, 255))
    def test_damage_never_reads_beyond_the_stream(self, place, value):
        # Without a checksum it cannot always be told; in files the index has one.
        index = bytearray(index_of(PLAIN))
        index[place % len(index)] = value
        try:
            part = decode_image(PLAIN, self.REGION, side_index=bytes(index))
        except ValueError:
            return
        assert part.shape == (21, 50, 3)

    @pytest.mark.parametrize("index", ["text", None, np.zeros(20)])
    def test_what_has_no_bytes(self, index):
        with pytest.raises((TypeError, ValueError), match="bytes-like|side_index: expected bytes"):
            decode_image(PLAIN, side_index=index)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"region": (0, 0, 91, 1)}, ValueError, "region: expected a part of .* 130×90 pixels"),
        ({"region": (-1, 0, 2, 2)}, ValueError, "region: expected a part"),
        ({"region": (90, 0, 1, 1)}, ValueError, "region: expected a part"),
        ({"region": (0, 0, 0, 1)}, ValueError, "region: expected a part"),
        ({"region": (0, 1, 1, 2**63)}, ValueError, "region: expected a part"),
        ({"region": (0, 0, 1)}, ValueError, "region: expected integers"),
        ({"region": (0, 0, 1, 1.5)}, ValueError, "region: expected integers"),
        ({"region": 3}, ValueError, "region: expected integers"),
        ({"size": 0}, ValueError, "size: expected 1 to 65535"),
        ({"size": (4, -1)}, ValueError, "size: expected 1 to 65535"),
        ({"size": 70000}, ValueError, "size: expected 1 to 65535"),
        ({"size": True}, TypeError, "size: expected integers"),
        ({"size": (4, False)}, TypeError, "size: expected integers"),
        ({"size": (4.5, 4)}, TypeError, "size: expected integers"),
        ({"size": 4.5}, TypeError, "size: expected integers"),
        ({"size": (1, 2, 3)}, ValueError, "size: expected .height, width"),
        ({"size": 8, "interpolation": "linear"}, ValueError, "interpolation: expected .* 'linear'"),
        ({"size": 8, "interpolation": 2}, ValueError, "interpolation: expected"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        decode_image(PLAIN, **arguments)
    with pytest.raises(error, match=words):
        resize(PIXELS, **{"size": 8} | arguments)


@pytest.mark.parametrize("mode", ["quick", "", None, ["fast"]])
def test_wrong_modes(mode):
    with pytest.raises(ValueError, match="mode: expected 'exact' or 'fast'"):
        decode_image(PLAIN, mode=mode)


class TestResize:
    @pytest.mark.parametrize(
        "image",
        [
            PIXELS[::2, ::3],
            PIXELS[::-1, ::-1],
            PIXELS.transpose(1, 0, 2),
            np.broadcast_to(PIXELS[:1, :1], (20, 30, 3)),
            PIXELS[..., ::-1],
            np.asfortranarray(PIXELS),
        ],
    )
    def test_any_strides(self, image):
        before = image.copy()
        expected = resize_array(before, (0, 0, *image.shape[:2]), (17, 23))
        np.testing.assert_array_equal(resize(image, (17, 23)), expected)
        np.testing.assert_array_equal(image, before)

    def test_the_same_size_is_a_copy(self):
        image = PIXELS.copy()
        result = resize(image, SIZE)
        np.testing.assert_array_equal(result, image)
        assert not np.shares_memory(result, image)
        part = resize(image, (5, 6), region=(3, 4, 5, 6))
        np.testing.assert_array_equal(part, image[3:8, 4:10])
        assert not np.shares_memory(part, image)

    @pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1), (1, 65535), (65535, 1)])
    @pytest.mark.parametrize("size", [(1, 1), (2, 40), (40, 2), (64, 64)])
    @pytest.mark.parametrize("interpolation", ["bilinear", "lanczos"])
    def test_extreme_shapes(self, shape, size, interpolation):
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
        expected = resize_array(image, (0, 0, *shape), size, interpolation)
        got = resize(image, size, interpolation=interpolation)
        np.testing.assert_array_equal(got, expected)

    def test_sides_that_are_too_long(self):
        image = np.full((1, 70000, 3), 7, np.uint8)
        with pytest.raises(ValueError, match="region: expected 1 to 65535 a side, got 70000×1"):
            resize(image, 4)
        with pytest.raises(ValueError, match="region: expected 1 to 65535 a side, got 65536×1"):
            resize(image, (1, 4), region=(0, 9, 1, 65536))
        part = resize(image, (1, 4), region=(0, 60000, 1, 9000))
        assert part.tolist() == [[[7] * 3] * 4]

    @pytest.mark.parametrize(
        "image",
        [
            np.zeros((9, 9, 3), np.float32),
            np.zeros((9, 9), np.uint8),
            np.zeros((9, 9, 4), np.uint8),
            np.zeros((0, 9, 3), np.uint8),
            np.zeros((2, 9, 9, 3), np.uint8),
            [[1, 2, 3]],
        ],
    )
    def test_what_is_no_image(self, image):
        with pytest.raises(ValueError, match=r"expected an image \(H, W, 3\) uint8, got"):
            resize(image, 4)


def test_threads_do_not_disturb_each_other():
    streams = [KINDS[kind] for kind in ("4:2:0", "4:4:4", "grey", "progressive")]
    streams += [jpeg(picture(height, width)) for height, width in ((7, 400), (300, 9), (200, 220))]
    jobs = [
        (stream, size, mode)
        for stream in streams
        for size in (None, (30, 40))
        for mode in ("exact", "fast")
    ]

    def work(job):
        return decode_image(job[0], None, job[1], mode=job[2])

    expected = [work(job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        for got, alone in zip(pool.map(work, jobs * 12), expected * 12, strict=True):
            np.testing.assert_array_equal(got, alone)
