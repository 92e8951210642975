"""What a decoder does in the place of other operations has the very same result."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_reference import picture
from jpeg_samples import jpeg

from ffcv.errors import CompilationError, SampleError
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
    SimpleRGBImageDecoder,
)
from ffcv.kernels.random import integer
from ffcv.loader import Loader
from ffcv.pipeline import State, kernel, sample_program
from ffcv.transforms import (
    Cutout,
    NormalizeImage,
    RandomBrightness,
    RandomContrast,
    RandomHorizontalFlip,
    RandomSaturation,
    ToTorchImage,
)
from ffcv.writer import DatasetWriter
from ffcv_plugins.raster.epilogue import (
    FLOAT16,
    FLOAT32,
    SATURATION,
    FusableOperation,
    Fusion,
    Phase,
    add_color,
    fill_rectangle,
    normalization,
    sample_width,
    set_mirror,
    set_normalization,
    set_nothing,
    set_table,
)

MEAN, STD = [120.0, 110.5, 99.0], [60.0, 55.5, 51.0]


def crop(**arguments):
    return RandomResizedCropRGBImageDecoder((21, 35), **arguments)


def area():
    return RandomResizedCropRGBImageDecoder((48, 16), interpolation="area")


def normalize(dtype, mean=MEAN, std=STD):
    return NormalizeImage(mean, std, dtype)


def planar():
    return ToTorchImage(channels_last=False)


COMBINATIONS = {
    "flip, bytes": lambda: [crop(), RandomHorizontalFlip(), planar()],
    "all phases": lambda: [
        area(),
        RandomHorizontalFlip(),
        Cutout(9, (3.9, 200.5, 17.1)),
        normalize(np.float16),
        planar(),
    ],
    "pixel by pixel": lambda: [area(), Cutout(5, 77), normalize(np.float16)],
    "bfloat16": lambda: [crop(), RandomHorizontalFlip(), normalize(torch.bfloat16)],
    "bfloat16, all phases": lambda: [
        area(),
        RandomHorizontalFlip(),
        RandomBrightness(0.4),
        Cutout(9, (3, 200, 17)),
        normalize("bfloat16"),
        planar(),
    ],
    "constants of [0, 1]": lambda: [
        crop(),
        NormalizeImage([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], np.float16, max_value=255),
    ],
    "float32": lambda: [crop(), RandomHorizontalFlip(1.0), normalize(np.float32, 127.5, 127.5)],
    "some apart": lambda: [
        CenterCropRGBImageDecoder((32, 32), 0.8),
        RandomHorizontalFlip(),
        RandomBrightness(0.5, 0.5),
        RandomContrast(0.5, 0.5),
        RandomSaturation(0.5, 0.5),
        Cutout(5, 77),
        normalize(np.float16),
        planar(),
    ],
    "colours": lambda: [
        crop(),
        RandomHorizontalFlip(),
        RandomBrightness(0.4, 0.7),
        RandomSaturation(0.4, 0.7),
    ],
    "colours, all phases": lambda: [
        crop(),
        RandomHorizontalFlip(),
        RandomSaturation(3, 0.7),
        RandomBrightness(0.4, 0.7),
        Cutout(9, (3, 200, 17)),
        normalize(np.float16),
        planar(),
    ],
    "dtype that no decoder writes": lambda: [crop(), Cutout(9), normalize(np.float64), planar()],
    "whole images": lambda: [
        SimpleRGBImageDecoder(),
        RandomHorizontalFlip(),
        normalize(np.float32),
    ],
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Ten images of one size, half of them JPEG."""
    path = tmp_path_factory.mktemp("fusion") / "images.beton"
    fields = {"image": RGBImageField("proportion", jpeg_quality=95), "label": IntField()}
    samples = [(picture(60, 50, seed), seed) for seed in range(10)]
    DatasetWriter(str(path), fields, num_workers=0).from_indexed_dataset(samples)
    return str(path)


def batches(path, steps, jit=True):
    """All images, and the plan."""
    options = {"num_workers": 1, "seed": 1, "drop_last": False, "jit": jit}
    with Loader(path, 4, pipelines={"image": steps, "label": None}, **options) as loader:
        found = [np.array(images) for (images,) in loader]
        return np.concatenate(found), loader.explain()


@pytest.mark.parametrize("name", COMBINATIONS)
def test_fused_and_separate_operations_agree(path, name):
    fused, plan = batches(path, COMBINATIONS[name]())
    apart, plan_apart = batches(path, COMBINATIONS[name](), jit=False)
    assert "by the decoder" in plan
    assert "by the decoder" not in plan_apart
    assert fused.dtype == apart.dtype
    np.testing.assert_array_equal(fused.view(np.uint8), apart.view(np.uint8))


@pytest.mark.parametrize("kind", [np.float16, torch.bfloat16, np.float32])
@pytest.mark.parametrize("jit", [True, False])
def test_constants_of_either_unit_give_the_same_bits(path, kind, jit):
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    of_bytes, _ = batches(path, [crop(), NormalizeImage(mean * 255, std * 255, kind)], jit=jit)
    shares, _ = batches(path, [crop(), NormalizeImage(mean, std, kind, max_value=255)], jit=jit)
    np.testing.assert_array_equal(shares.view(np.uint8), of_bytes.view(np.uint8))


PROBABILITIES = st.sampled_from([0.0, 0.5, 1.0])
COLORS = st.builds(
    lambda kind, magnitude, p: kind(magnitude, p),
    st.sampled_from([RandomBrightness, RandomSaturation]),
    st.sampled_from([0, 0.4, 2, 1e3]),
    PROBABILITIES,
)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.just((60, 50))


@settings(max_examples=12)
@given(
    size=SIZES,
    flip=st.builds(RandomHorizontalFlip, PROBABILITIES) | st.none(),
    colors=st.lists(COLORS, min_size=1, max_size=6),
    hidden=st.booleans(),
    kind=st.sampled_from([None, np.float16, torch.bfloat16, np.float32]),
    layout=st.booleans(),
)
def test_colours_in_any_order(path, size, flip, colors, hidden, kind, layout):
    ends = [Cutout(1, (9, 8, 7))] if hidden else []
    ends += [] if kind is None else [normalize(kind)]
    ends += [planar()] if layout else []
    steps = [RandomResizedCropRGBImageDecoder(size), *([flip] if flip else []), *colors, *ends]
    fused, plan = batches(path, steps)
    apart, _ = batches(path, steps, jit=False)
    # The first four changes of colour, and with a fifth nothing behind them.
    done = len(steps) - 1 if len(colors) <= 4 else 4 + bool(flip)
    assert plan.count("by the decoder") == done
    assert fused.dtype == apart.dtype
    np.testing.assert_array_equal(fused.view(np.uint8), apart.view(np.uint8))


def test_choices_of_one_sample_do_not_reach_the_next(tmp_path):
    """Neither those of one that a library decodes, nor those of one that nothing can decode."""
    images = [jpeg(picture(60, 50, seed), progressive=seed % 2 == 0) for seed in range(12)]
    path = tmp_path / "images.beton"
    writer = DatasetWriter(str(path), {"image": RGBImageField("keep")}, num_workers=0)
    writer.from_indexed_dataset([(image,) for image in images])
    intact = path.read_bytes()
    path.write_bytes(intact.replace(images[4], bytes(len(images[4]))))
    steps = [crop(), *(RandomBrightness(0.9, 0.5) for _ in range(4))]
    options = {"seed": 1, "drop_last": False, "on_error": "skip"}
    found = []
    for jit in (True, False):
        with Loader(path, 6, 1, pipelines={"image": steps}, jit=jit, **options) as loader:
            with pytest.warns(match="left out"):
                found.append(np.concatenate([np.array(images) for (images,) in loader]))
            assert loader.skipped.samples.tolist() == [4]
    # OpenCV decodes all of them eagerly, with the same pixels.
    np.testing.assert_array_equal(*found)


def test_in_fast_mode_they_agree_as_well(path, monkeypatch):
    """That mode exists in compiled code only."""
    steps = [crop(mode="fast"), RandomHorizontalFlip(), RandomSaturation(0.5), Cutout(9), planar()]
    fused, _ = batches(path, steps)
    monkeypatch.setattr(sample_program, "fuse", lambda stage, past_cache: stage)
    apart, plan = batches(path, steps)
    assert "by the decoder" not in plan
    np.testing.assert_array_equal(fused, apart)


def test_the_plan_says_what_the_decoder_does(path):
    names = {
        "RandomHorizontalFlip": RandomHorizontalFlip(),
        "RandomSaturation": RandomSaturation(0.4),
        "RandomBrightness": RandomBrightness(0.4),
        "Cutout": Cutout(4),
        "NormalizeImage": normalize(np.float16),
        "ToTorchImage": planar(),
    }
    _, plan = batches(path, [crop(), *names.values()])
    by_decoder = [line.split()[0] for line in plan.splitlines() if "by the decoder" in line]
    assert by_decoder == list(names)


def test_contrast_needs_the_whole_image_and_ends_fusion(path):
    steps = [crop(), RandomBrightness(0.4), RandomContrast(0.4), RandomSaturation(0.4)]
    _, plan = batches(path, steps)
    by_decoder = [line.split()[0] for line in plan.splitlines() if "by the decoder" in line]
    assert by_decoder == ["RandomBrightness"]


def test_what_comes_too_late_is_done_apart(path):
    steps = [SimpleRGBImageDecoder(), Cutout(4), RandomHorizontalFlip(), Cutout(6)]
    images, plan = batches(path, steps)
    assert plan.count("by the decoder") == 1
    assert images.shape == (10, 60, 50, 3)


# Operations and decoders of others


class Boxes(NamedTuple):
    """How many; and a table and constants, which may be of a wrong kind."""

    count: int
    table: np.ndarray
    constants: np.ndarray


@kernel
def left_alone(source, destination, params, key):
    pass


@kernel
def fuse_boxes(epilogue, params, key):
    for i in range(params.count):
        fill_rectangle(epilogue, i, i, i + 3, sample_width(epilogue), 9, 8, 7)


@kernel
def boxes(source, destination, params, key):
    for i in range(params.count):
        for y in range(i, min(i + 3, destination.shape[0])):
            for x in range(i, destination.shape[1]):
                for c in range(3):
                    destination[y, x, c] = 9 - c


@kernel
def fuse_colors(epilogue, params, key):
    for _ in range(params.count):
        add_color(epilogue, SATURATION, 0.5)


@kernel
def fuse_unknown_color(epilogue, params, key):
    add_color(epilogue, 7, 0.5)


@kernel
def fuse_table(epilogue, params, key):
    set_table(epilogue, params.table)


@kernel
def fuse_mirror(epilogue, params, key):
    set_mirror(epilogue, True)


@kernel
def fuse_constants(epilogue, params, key):
    set_normalization(epilogue, params.constants)


class Strange(FusableOperation):
    """An operation whose fusion may be wrong in many ways."""

    kernel = staticmethod(boxes)
    inplace = True

    def __init__(self, fusion, count=1, table=(1, 1), constants=None, dtype=np.uint8):
        self.fusion, self.count, self.dtype = fusion, count, np.dtype(dtype)
        self.table = np.zeros(table, np.uint8)
        self.constants = np.zeros(1, np.uint8) if constants is None else constants

    def declare(self, state):
        return State(True, "cpu", state.shape, self.dtype)

    def params(self):
        return Boxes(self.count, self.table, self.constants)

    def fuse_into_epilogue(self, before):
        return self.fusion


class Floats(Strange):
    """One that seems to normalize."""

    kernel = staticmethod(left_alone)
    inplace = False

    def fuse_into_epilogue(self, before):
        return super().fuse_into_epilogue(before)


def fill(count=1):
    return Fusion(Phase.FILL, fuse_boxes, count=count)


def test_many_rectangles_of_several_operations(path):
    """Up to 64 of all operations; with what goes beyond, all behind it is done apart."""
    steps = [crop(), Strange(fill(40), 40), Cutout(9), Strange(fill(23), 23)]
    fused, plan = batches(path, steps)
    assert plan.count("by the decoder") == 3
    np.testing.assert_array_equal(fused, batches(path, steps, jit=False)[0])
    steps = [*steps, Cutout(2), normalize(np.float32)]
    fused, plan = batches(path, steps)
    assert plan.count("by the decoder") == 3
    np.testing.assert_array_equal(fused, batches(path, steps, jit=False)[0])


def table(shape, dtype=np.uint8):
    strange = Strange(Fusion(Phase.TABLE, fuse_table), table=shape)
    strange.table = strange.table.astype(dtype)
    return strange


MISTAKES = {
    "more rectangles than it said": lambda: Strange(fill(1), 2),
    "more changes of color than it said": lambda: Strange(Fusion(Phase.COLOR, fuse_colors), 2),
    "a rectangle in the place of a color": lambda: Strange(Fusion(Phase.COLOR, fuse_boxes)),
    "a change of an unknown kind": lambda: Strange(Fusion(Phase.COLOR, fuse_unknown_color)),
    "a table of another shape": lambda: Strange(Fusion(Phase.TABLE, fuse_table), table=(3, 255)),
    "a table by value and channel": lambda: table((256, 3)),
    "a table of three dimensions": lambda: table((3, 256, 1)),
    "a table of signed numbers": lambda: table((3, 256), np.int8),
    "a table in another phase": lambda: Strange(Fusion(Phase.COLOR, fuse_table), table=(3, 256)),
    "a mirror in another phase": lambda: Strange(Fusion(Phase.COLOR, fuse_mirror)),
    "no constants": lambda: Floats(
        Fusion(Phase.NORMALIZE, set_nothing, kind=FLOAT32), dtype=np.float32
    ),
    "half of the constants": lambda: Floats(
        Fusion(Phase.NORMALIZE, fuse_constants, kind=FLOAT32),
        constants=normalization(1, 2, FLOAT32)[:-8],
        dtype=np.float32,
    ),
    "constants of another kind": lambda: Floats(
        Fusion(Phase.NORMALIZE, fuse_constants, kind=FLOAT32),
        constants=normalization(1, 2, FLOAT16),
        dtype=np.float32,
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_a_fused_operation_does_wrong_is_an_error_of_the_sample(path, name):
    words = r"an operation that it does in its own pass \((Strange|Floats)\)"
    with pytest.raises(SampleError, match=words):
        batches(path, [crop(), MISTAKES[name]()])


def test_a_second_table_in_another_phase_is_an_error_of_the_sample(path):
    steps = [crop(), table((3, 256)), Strange(Fusion(Phase.COLOR, fuse_table), table=(3, 256))]
    with pytest.raises(SampleError, match="the phase of its Fusion is another one"):
        batches(path, steps)


def test_what_declares_something_else_than_it_fuses_is_done_apart(path):
    class Wider(Strange):
        """Says that floats come out, which the decoder would not write."""

        kernel = staticmethod(left_alone)
        inplace = False

    steps = [crop(), Wider(fill(), dtype=np.float64)]
    _, plan = batches(path, steps)
    assert "by the decoder" not in plan


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"phase": Phase.NORMALIZE}, "NORMALIZE needs kind"),
        ({"phase": Phase.FILL, "kind": FLOAT16}, "no other phase has one"),
        ({"phase": Phase.NORMALIZE, "kind": 9}, "with kind 9"),
        ({"phase": Phase.COLOR, "count": 0}, "count must be at least 1, not 0"),
        ({"phase": Phase.COLOR, "count": "3"}, "count must be at least 1, not '3'"),
        ({"phase": 99}, "phase must be one of Phase.MIRROR.*not 99"),
        ({"phase": "table"}, "phase must be one of Phase.MIRROR.*not 'table'"),
        ({"phase": True}, "phase must be one of Phase.MIRROR.*not True"),
    ],
)
def test_fusions_that_make_no_sense(arguments, words):
    with pytest.raises(ValueError, match=words):
        Fusion(kernel=fuse_boxes, **arguments)


@kernel
def fuse_too_little(epilogue, params):
    pass


def test_a_fusion_whose_kernel_takes_too_little_is_named(path):
    with pytest.raises(CompilationError, match="step 2 .Strange.*2 arg.*the step is fused, as in"):
        batches(path, [crop(), Strange(Fusion(Phase.FILL, fuse_too_little))])


def test_an_operation_that_gives_no_fusion_is_named(path):
    with pytest.raises(TypeError, match="Strange.fuse_into_epilogue must return a Fusion") as info:
        batches(path, [crop(), Strange((Phase.FILL, fuse_boxes))])
    notes = info.value.__notes__
    assert any("step 2 (Strange)" in note for note in notes)
    assert any("output 'image'" in note for note in notes)


@kernel
def refuse(key):
    if integer(key, 0, 0, 2) == 0:
        raise ValueError("not this one")


@kernel
def fuse_refusal(epilogue, params, key):
    refuse(key)


@kernel
def refuse_apart(source, destination, params, key):
    refuse(key)


class Refuses(FusableOperation):
    """Raises for about half of the samples, and leaves the others alone."""

    kernel = staticmethod(refuse_apart)
    inplace = True

    def declare(self, state):
        return state

    def fuse_into_epilogue(self, before):
        return Fusion(Phase.COLOR, fuse_refusal)


def test_what_was_asked_for_a_sample_that_failed_is_forgotten(path):
    """Its kernel raises when other operations have had their say already."""
    colors = [RandomBrightness(0.9, 1.0), RandomSaturation(0.5, 1.0)]
    steps = [crop(), RandomHorizontalFlip(), *colors, Refuses()]
    options = {"seed": 1, "drop_last": False, "on_error": "skip"}
    found, skipped = [], []
    for jit in (True, False):
        pipelines = {"image": steps, "label": None}
        with Loader(path, 4, 1, pipelines=pipelines, jit=jit, **options) as loader:
            with pytest.warns(match="left out"):
                found.append(np.concatenate([np.array(images) for (images,) in loader]))
            skipped.append(sorted(loader.skipped.samples.tolist()))
    assert 0 < len(skipped[0]) < 10
    assert skipped[0] == skipped[1]
    np.testing.assert_array_equal(*found)


class NoEpilogue(IntDecoder):
    """Takes over operations, and has nothing into which they could write."""

    def fuse_operation(self, operation, before, after):
        return fuse_refusal


def test_a_decoder_without_an_epilogue_is_told(path):
    pipelines = {"label": [NoEpilogue(), Refuses()], "image": None}
    words = r"'epilogue' of its workspace, but NoEpilogue.workspace\(\) gives none"
    loader = Loader(path, 4, 1, pipelines=pipelines)
    with loader, pytest.raises(CompilationError, match=words):
        next(iter(loader))
