"""The image decoders, on honest and on hostile records."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_reference import picture, resize
from remarks import uncopied

from ffcv.errors import SampleError
from ffcv.kernels.entry import compiled_entries
from ffcv.pipeline import ASSIST
from ffcv.testing import decode
from ffcv.testing.harness import sample_keys
from ffcv.testing.memory import Encoded, GuardedArray, encode_values
from ffcv_plugins.images.choice import Codecs
from ffcv_plugins.images.decoders import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
    SimpleRGBImageDecoder,
)
from ffcv_plugins.images.field import RGBImageField
from ffcv_plugins.images.jpeg.memory import plane_bytes
from ffcv_plugins.images.layout import JPEG
from ffcv_plugins.images.opencv import OpenCVCodec
from ffcv_plugins.images.statistics import image_statistics
from ffcv_plugins.raster.crops import center_crop, random_resized_crop
from ffcv_plugins.raster.resizing.arrays import resize_array
from ffcv_plugins.scalars.fields import IntField
from tests.support import FIXTURES, unpack_fixture

MODES = ("raw", "jpg", "proportion")
SIZES = [(40, 60), (61, 33), (24, 24), (7, 90)]
CROPS = [
    RandomResizedCropRGBImageDecoder(24),
    RandomResizedCropRGBImageDecoder((9, 31), scale=(0.3, 0.5), ratio=(1, 1)),
    CenterCropRGBImageDecoder((24, 24), 1),
    CenterCropRGBImageDecoder((10, 45), 0.7),
]


def encoded(mode, sizes=SIZES):
    return encode_values(RGBImageField(mode), [picture(*size, n) for n, size in enumerate(sizes)])


def originals(images: Encoded):
    """The stored images, JPEG ones as the codec decodes them."""
    for record in images.records:
        data = images.regions.by_pointer[int(record["data_ptr"])]
        pixels = np.zeros((int(record["height"]), int(record["width"]), 3), np.uint8)
        if record["mode"] == 1:
            pixels[...] = data.reshape(pixels.shape)
        else:
            OpenCVCodec().decode(data, pixels)
        yield pixels


def part_of(decoder, height, width, key):
    if isinstance(decoder, CenterCropRGBImageDecoder):
        return center_crop(height, width, decoder.ratio)
    return random_resized_crop(height, width, *decoder.scale, *decoder.ratio, key)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("decoder", CROPS, ids=lambda d: type(d).__name__)
def test_crops_equal_the_reference(mode, decoder):
    images = encoded(mode)
    got = decode(images.field, images, decoder, seed=5, epoch=2, slot=1)
    keys = sample_keys(np.arange(len(SIZES)), seed=5, epoch=2, slot=1)
    for result, image, key in zip(got, originals(images), keys, strict=True):
        y, x, h, w = part_of(decoder, *image.shape[:2], int(key))
        expected = resize_array(image, (y, x, h, w), decoder.output_size)
        np.testing.assert_array_equal(result, expected)
        as_pillow = resize(image[y : y + h, x : x + w], *decoder.output_size)
        assert np.abs(result.astype(int) - as_pillow).max() <= 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("decoder", CROPS, ids=lambda d: type(d).__name__)
def test_python_equals_compiled_code(mode, decoder):
    images = encoded(mode)
    compiled = decode(images.field, images, decoder, seed=1)
    np.testing.assert_array_equal(
        decode(images.field, images, decoder, seed=1, jit=False), compiled
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("jit", [True, False])
def test_whole_images(mode, jit):
    images = encoded(mode, [(20, 30)] * 5)
    got = decode(images.field, images, SimpleRGBImageDecoder(), jit=jit)
    np.testing.assert_array_equal(got, np.stack(list(originals(images))))


@pytest.mark.parametrize("mode", MODES)
def test_center_crop_of_everything_is_the_image(mode):
    images = encoded(mode, [(32, 32)] * 6)
    got = decode(images.field, images, CenterCropRGBImageDecoder(32, 1.0))
    np.testing.assert_array_equal(got, np.stack(list(originals(images))))


def test_whole_images_of_several_sizes_are_refused():
    images = encoded("raw")
    with pytest.raises(ValueError, match="several .*24×24.*use RandomResizedCropRGBImageDecoder"):
        SimpleRGBImageDecoder().declare(images.stored())


def test_other_fields_are_refused():
    numbers = encode_values(IntField(), [1, 2])
    with pytest.raises(
        TypeError, match="expected a field RGBImageField or ImageField, got IntField"
    ):
        SimpleRGBImageDecoder().declare(numbers.stored())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CenterCropRGBImageDecoder(0, 1.0), "output_size: expected 1 to 65535"),
        (lambda: CenterCropRGBImageDecoder((4, 4, 3), 1.0), "output_size: expected .height, width"),
        (lambda: CenterCropRGBImageDecoder((4.5, 4), 1.0), "output_size: expected integers"),
        (lambda: CenterCropRGBImageDecoder("ab", 1.0), "output_size: expected integers"),
        (lambda: CenterCropRGBImageDecoder(4, 1.1), "ratio: expected more than 0 and at most 1"),
        (lambda: CenterCropRGBImageDecoder(4, None), "ratio: expected a number"),
        (lambda: RandomResizedCropRGBImageDecoder(-1), "output_size"),
        (lambda: RandomResizedCropRGBImageDecoder(9, scale=(1, 0.1)), "scale: .* low <= high <= 1"),
        (lambda: RandomResizedCropRGBImageDecoder(9, scale=(0, 0.1)), "scale: .*0 < low"),
        (lambda: RandomResizedCropRGBImageDecoder(9, scale=0.5), "scale: expected two numbers"),
        (lambda: RandomResizedCropRGBImageDecoder(9, ratio=(2, 1)), "ratio: .* low <= high, got"),
        (lambda: RandomResizedCropRGBImageDecoder(9, ratio=(1, float("inf"))), "ratio"),
        (lambda: RandomResizedCropRGBImageDecoder(9, ratio=(float("nan"), 1)), "ratio"),
    ],
)
def test_wrong_arguments_are_refused(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_attributes_may_change_between_epochs():
    images = encoded("proportion")
    decoder = RandomResizedCropRGBImageDecoder(16)
    for size, scale in [(12, (0.5, 0.6)), ((30, 20), (0.08, 1.0))]:
        decoder.output_size, decoder.scale = size, scale
        fresh = RandomResizedCropRGBImageDecoder(size, scale)
        expected = decode(images.field, images, fresh)
        np.testing.assert_array_equal(decode(images.field, images, decoder), expected)
    decoder.scale = (2, 1)
    with pytest.raises(ValueError, match="scale"):
        decode(images.field, images, decoder)


def test_a_worker_that_gave_up_leaves_nothing_to_the_next_sample():
    images = encoded("jpg", [(20, 20), (20, 20)])
    decoder = SimpleRGBImageDecoder()
    decoder.declare(images.stored())
    workspace = decoder.workspace()
    first, second = images.records
    data = [images.regions.by_pointer[int(r["data_ptr"])] for r in images.records]
    out = np.zeros((20, 20, 3), np.uint8)

    def run_second():
        return decoder.kernel(second, data[1], out, decoder.params(), 0, 1, workspace)

    with compiled_entries(False):
        decoder.assist(first, data[0], workspace)
        assert run_second() == ASSIST
        decoder.assist(second, data[1], workspace)
        assert run_second() == 0
        np.testing.assert_array_equal(out, list(originals(images))[1])
        assert run_second() == ASSIST


def nbytes(part):
    return sum(map(nbytes, part)) if isinstance(part, tuple) else part.nbytes


def hostile(stored_as, sample=1, **members):
    images = encoded(stored_as, [(20, 30)] * 3)
    for name, value in members.items():
        images.records[name][sample] = value
    return images


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize(
    ("images", "words"),
    [
        (hostile("raw", mode=7), "a mode that its field does not know"),
        (hostile("raw", height=21), "another size than width"),
        (hostile("raw", width=65535, height=65535), "another size than width"),
        (hostile("raw", width=0), "width or a height of 0"),
        (hostile("raw", mode=0), "does not begin with FF D8"),
        (hostile("jpg", mode=1), "another size than width"),
        (hostile("jpg", height=21), "expected an image of 30×21 .* 30×20"),
        (hostile("jpg", width=65535, height=65535), "more pixels than its codec"),
        (hostile("jpg", height=0), "width or a height of 0"),
    ],
)
def test_lies_are_told_by_sample(images, words, jit):
    decoder = uncopied(CenterCropRGBImageDecoder(8, 1.0))
    with pytest.raises((SampleError, ValueError), match=words) as caught:
        decode(images.field, images, decoder, jit=jit)
    if isinstance(caught.value, SampleError):
        assert caught.value.sample == 1
    # The other samples are not harmed, and the lie costs no memory to speak of.
    assert nbytes(decoder.workspace()) < 64 * 2**20


@pytest.mark.parametrize("mode", ["raw", "jpg"])
def test_whole_images_that_all_lie_are_refused_at_once(mode):
    images = encoded(mode, [(20, 30)] * 3)
    images.records["width"] = images.records["height"] = 65535
    with pytest.raises(ValueError, match="claim images of 65535×65535 .* damaged"):
        SimpleRGBImageDecoder().declare(images.stored())


def test_broken_jpegs_are_told():
    for change in ("cut", "noise"):
        images = encoded("jpg", [(20, 30)] * 2)
        pointer = int(images.records["data_ptr"][1])
        region = images.regions.by_pointer[pointer]
        if change == "cut":
            region[region.size // 2 :] = 0
        else:
            region[:] = 0x55
        with pytest.raises((SampleError, ValueError), match="JPEG stream"):
            decode(images.field, images, SimpleRGBImageDecoder())


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["mode", "width", "height"]),
            st.integers(0, 2),
            st.integers(0, 40) | st.integers(0, 65535),
        ),
        max_size=4,
    )
)
def test_no_record_writes_out_of_bounds(changes):
    images = encoded("proportion", [(20, 30), (21, 9), (5, 30)])
    for name, sample, value in changes:
        images.records[name][sample] = value & 0xFF if name == "mode" else value
    guards = []

    def allocate(shape, dtype):
        guards.append(GuardedArray(shape, dtype, 0))
        return guards[-1].array

    for decoder in CROPS[:1] + CROPS[2:3]:
        try:
            decode(images.field, images, decoder, allocate=allocate)
        except (SampleError, ValueError) as error:
            assert str(error)  # noqa: PT017 - either outcome is right
        assert all(guard.intact() for guard in guards)


def test_statistics_count_credible_jpegs_only():
    images = encoded("jpg", [(20, 30), (25, 10), (12, 40)])
    images.records["width"][1] = images.records["height"][1] = 60000
    seen = image_statistics(images.stored(), Codecs((), None))
    assert (seen.height, seen.width, seen.pixels) == (60000, 60000, {JPEG: 600})
    assert seen.planes == {JPEG: plane_bytes(20, 30)}


def read_1x(name, folder):
    """Records and regions of a file that FFCV 1.x wrote: an image field and a label."""
    memory = np.fromfile(unpack_fixture(name, folder), np.uint8)
    num_fields = int(memory[2:4].view("<u2")[0])
    num_samples, table = (int(n) for n in memory[8:24].view("<u8"))
    layout = np.dtype([("", RGBImageField().metadata_type), ("", "<i8")], align=True)
    start = 24 + 1041 * num_fields
    records = memory[start : start + num_samples * layout.itemsize].view(layout)
    images = encode_values(RGBImageField(), [])
    images.records = records["f0"].copy()
    for _, pointer, size in memory[table:].view("<u8").reshape(-1, 3).tolist():
        images.regions.by_pointer[pointer] = memory[pointer : pointer + size]
    images.regions._next = len(memory)
    return images, records["f1"].copy()


def test_reads_raw_files_of_ffcv_1(tmp_path):
    images, labels = read_1x("images_raw", tmp_path)
    expected = np.load(FIXTURES / "images_raw.npz")
    for label, image in zip(labels, originals(images), strict=True):
        np.testing.assert_array_equal(image, expected[str(label)])
    got = decode(images.field, images, CenterCropRGBImageDecoder(32, 1.0))
    for result, image in zip(got, originals(images), strict=True):
        y, x, h, w = center_crop(*image.shape[:2], 1.0)
        np.testing.assert_array_equal(result, resize_array(image, (y, x, h, w), (32, 32)))


def test_reads_small_files_of_ffcv_1(tmp_path):
    images, labels = read_1x("images_32", tmp_path)
    expected = np.load(FIXTURES / "images_32.npz")
    np.testing.assert_array_equal(labels, expected["label"].reshape(-1))
    np.testing.assert_array_equal(decode(images.field, images), expected["image"])


@pytest.mark.parametrize("name", ["images_jpg", "images_proportion"])
def test_reads_jpeg_files_of_ffcv_1(name, tmp_path):
    from ffcv_plugins.images.inputs import shrink

    images, labels = read_1x(name, tmp_path)
    expected = np.load(FIXTURES / "images_raw.npz")
    modes = images.records["mode"]
    assert (modes == 0).any()
    for label, mode, image in zip(labels, modes, originals(images), strict=True):
        reference = expected[str(label)]
        if name == "images_jpg":
            reference = shrink(reference, 120)
        assert abs(image.shape[0] - reference.shape[0]) <= 1
        assert abs(image.shape[1] - reference.shape[1]) <= 1
        if image.shape == reference.shape:
            difference = np.abs(image.astype(int) - reference).mean()
            assert difference == 0 if mode == 1 else difference < 6
    assert decode(images.field, images, CenterCropRGBImageDecoder(16, 1.0)).shape[1:] == (16, 16, 3)
