"""Tensors in a pipeline: ToTensor, ToDevice, ToTorchImage, ModuleWrapper, NormalizeImage."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transform_support import as_array, normalize_reference, random_batch, run_batch

from ffcv.pipeline import State, bfloat16
from ffcv.testing import apply
from ffcv_plugins.augment.normalize import NormalizeImage
from ffcv_plugins.torch import ffcv_adapt
from ffcv_plugins.torch.device import ToDevice
from ffcv_plugins.torch.image import ToTorchImage
from ffcv_plugins.torch.module import ModuleWrapper
from ffcv_plugins.torch.tensor import ToTensor

MEAN, STD = [123.68, 116.28, 103.53], [58.395, 57.12, 57.375]


def _tensor(*shape, dtype=torch.uint8):
    return State(False, "cpu", shape, dtype)


def _array(*shape, dtype=np.uint8):
    return State(True, "cpu", shape, dtype)


@pytest.mark.parametrize(
    "dtype",
    ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", "c16"],
)
def test_to_tensor(dtype):
    batch = (np.arange(24).reshape(2, 3, 4) % 3).astype(dtype)
    tensor = run_batch(ToTensor(), batch)
    np.testing.assert_array_equal(tensor.numpy(), batch, strict=True)
    assert tensor.data_ptr() == batch.ctypes.data
    assert run_batch(ToTensor(), tensor) is tensor


def test_to_tensor_of_bfloat16():
    numbers = torch.randn(2, 3, 4).bfloat16()
    batch = numbers.view(torch.int16).numpy().view(bfloat16)
    tensor = run_batch(ToTensor(), batch)
    assert torch.equal(tensor, numbers)
    assert tensor.data_ptr() == batch.ctypes.data
    assert torch.equal(run_batch(ToTensor(), batch[:, ::-1]), numbers.flip(1))


def test_to_tensor_copies_what_a_tensor_cannot_share():
    read_only = np.arange(6).reshape(2, 3)
    read_only.flags.writeable = False
    assert run_batch(ToTensor(), read_only).tolist() == read_only.tolist()
    assert run_batch(ToTensor(), read_only[::-1]).tolist() == read_only[::-1].tolist()


@pytest.mark.parametrize("dtype", ["S4", "U4", "datetime64[s]", ">i4", [("a", "i4")], object])
def test_to_tensor_refuses_what_torch_does_not_know(dtype):
    with pytest.raises(ValueError, match=r"ToTensor cannot make a tensor of an array.*Convert"):
        ToTensor().declare_state_and_memory(_array(3, dtype=np.dtype(dtype)))


@pytest.mark.parametrize("size", [1, 4, 5])
@pytest.mark.parametrize("channels", [1, 3, 4, 7])
@pytest.mark.parametrize("channels_last", [False, True])
def test_to_torch_image(size, channels, channels_last):
    batch = torch.from_numpy(random_batch((size, 6, 9, channels), np.uint8))
    result = run_batch(ToTorchImage(channels_last), batch)
    np.testing.assert_array_equal(result.numpy(), batch.numpy().transpose(0, 3, 1, 2))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert result.is_contiguous(memory_format=layout)
    if channels_last:
        assert result.data_ptr() == batch.data_ptr()


def test_to_torch_image_of_a_part_of_a_batch():
    batch = torch.from_numpy(random_batch((8, 6, 9, 3), np.uint8))[::2, 1:]
    result = run_batch(ToTorchImage(), batch)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(result, batch.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("operation", "state", "words"),
    [
        (ToTorchImage(), _array(8, 8, 3), r"ToTorchImage works on tensors.*insert ToTensor\(\)"),
        (ToTorchImage(), _tensor(8, 8), r"shape \(height, width, channels\)"),
        (ToTorchImage(), _tensor(3, 32, 32), "first already; is it there twice"),
        (ToDevice("cpu"), _array(8), r"ToDevice works on tensors.*insert ToTensor\(\)"),
        (ModuleWrapper(torch.nn.ReLU()), _array(8), r"ModuleWrapper\(ReLU\) works on tensors"),
        (NormalizeImage(MEAN, STD, "f4"), _tensor(4), "NormalizeImage works on images"),
        (NormalizeImage(MEAN, STD, "f4"), _tensor(8, 8), "3 values.*not the channels"),
        (NormalizeImage(MEAN, STD, "f4"), _tensor(4, 8, 8), "3 values.*not the channels"),
        (NormalizeImage(MEAN, STD, "f4"), _tensor(3, 8, 3), "put NormalizeImage before ToTensor"),
    ],
)
def test_inputs_that_do_not_fit(operation, state, words):
    with pytest.raises(ValueError, match=words):
        operation.declare_state_and_memory(state)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpu", torch.device("cpu")),
        (torch.device("meta"), torch.device("meta")),
        (0, torch.device("cuda", 0)),
        ("cuda:3", torch.device("cuda", 3)),
    ],
)
def test_to_device_takes_what_torch_takes(device, expected):
    assert ToDevice(device).device == expected


@pytest.mark.parametrize(
    ("device", "error"),
    [("gpu", ValueError), (-1, ValueError), (None, TypeError), (True, TypeError), (0.0, TypeError)],
)
def test_what_is_no_device(device, error):
    with pytest.raises(error, match="ToDevice: "):
        ToDevice(device)


def test_to_device_on_the_cpu_passes_tensors_through():
    tensor = torch.arange(3)
    assert run_batch(ToDevice("cpu"), tensor) is tensor


def test_to_device_declares_where_tensors_go():
    state, _ = ToDevice("meta").declare_state_and_memory(_tensor(3))
    assert state.device == torch.device("meta")
    assert run_batch(ToDevice("meta"), torch.arange(3)).device == torch.device("meta")


def test_to_device_refuses_devices_that_are_not_there():
    with pytest.raises(ValueError, match=r"no device cuda:99; torch sees \d+ CUDA devices"):
        ToDevice(99).declare_state_and_memory(_tensor(3))


class Asked:
    """In the place of a tensor: tells how it is to be copied."""

    def to(self, device, non_blocking):
        return device, non_blocking


@pytest.fixture
def two_devices(monkeypatch):
    """Let torch say that there are two CUDA devices; the second one is current."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    # It would keep a child of this process from using CUDA.
    monkeypatch.delattr(torch.cuda, "is_available")


@pytest.mark.parametrize("non_blocking", [False, True])
@pytest.mark.parametrize("device", ["cuda:0", 1, "cpu", "meta"])
def test_to_device_copies_in_the_background_to_cuda_only(two_devices, device, non_blocking):
    operation = ToDevice(device, non_blocking)
    result = operation.generate_code()(Asked(), None)
    assert result == (operation.device, non_blocking and operation.device.type == "cuda")


def test_to_device_stays_with_the_device_that_it_declared(two_devices, monkeypatch):
    operation = ToDevice("cuda")
    state, _ = operation.declare_state_and_memory(_tensor(3))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert state.device == torch.device("cuda", 1)
    assert operation.generate_code()(Asked(), None) == (state.device, True)


def test_module_runs_as_it_is_and_without_gradients():
    module = torch.nn.BatchNorm1d(3)
    wrapper = ModuleWrapper(module)
    result = run_batch(wrapper, torch.randn(4, 3))
    assert wrapper.module is module
    assert module.training
    assert module.num_batches_tracked == 1
    assert not result.requires_grad


def test_module_may_be_a_function():
    assert run_batch(ModuleWrapper(torch.neg), torch.tensor([1, 2])).tolist() == [-1, -2]
    with pytest.raises(TypeError, match="expected a module or a function"):
        ModuleWrapper(3)


def test_modules_are_adapted():
    module = torch.nn.ReLU()
    adapted = ffcv_adapt(module)
    assert isinstance(adapted, ModuleWrapper)
    assert adapted.module is module
    assert ffcv_adapt(len) is None
    assert ffcv_adapt("ReLU") is None


def test_hooks_import_nothing_heavy():
    code = (
        "import sys, ffcv_plugins.torch as t, ffcv_plugins.augment as a\n"
        "t.ffcv_operations(); a.ffcv_operations(); assert t.ffcv_adapt(print) is None\n"
        "print([m for m in ('torch', 'numba', 'cv2', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numba", "cv2"} & set(eval(done.stdout))


@pytest.mark.parametrize("dtype", [np.float16, torch.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("layout", ["HWC", "CHW", "channels last"])
@pytest.mark.parametrize("size", [1, 4])
def test_normalizing_tensors_equals_normalizing_arrays(dtype, layout, size):
    batch = random_batch((size, 7, 9, 3), np.uint8)
    operation = NormalizeImage(MEAN, STD, dtype)
    expected = apply(operation, batch, jit=False)
    tensor = torch.from_numpy(batch)
    if layout != "HWC":
        tensor = run_batch(ToTorchImage(channels_last=layout == "channels last"), tensor)
        expected = expected.transpose(0, 3, 1, 2)
    result = run_batch(operation, tensor)
    np.testing.assert_array_equal(as_array(result), expected, strict=True)
    assert result.stride() == tensor.stride()


def test_normalizing_knows_a_single_channel_in_any_layout():
    operation = NormalizeImage(10, 4, torch.float32)
    for shape in [(2, 5, 6), (2, 5, 6, 3), (2, 3, 5, 6), (2, 1, 5, 6)]:
        batch = random_batch(shape, np.uint8)
        expected = normalize_reference(batch, 10, 4, np.float32)
        result = run_batch(operation, torch.from_numpy(batch))
        np.testing.assert_array_equal(result.numpy(), expected, strict=True)


@given(
    source=st.sampled_from([np.uint8, np.int16, np.float16, np.float32, np.float64]),
    result_type=st.sampled_from([np.float16, np.float32, np.float64]),
    first=st.booleans(),
)
def test_normalizing_tensors_of_any_dtype(source, result_type, first):
    batch = (random_batch((2, 4, 5, 3), np.uint8).astype(np.int64) - 100).astype(source)
    expected = normalize_reference(batch, MEAN, STD, result_type)
    tensor = torch.from_numpy(batch)
    if first:
        tensor, expected = tensor.permute(0, 3, 1, 2), expected.transpose(0, 3, 1, 2)
    result = run_batch(NormalizeImage(MEAN, STD, result_type), tensor).numpy()
    precision = 1e-3 if result_type == np.float16 else 1e-5
    np.testing.assert_allclose(result, expected, rtol=precision, atol=precision)


@pytest.mark.parametrize("source", [torch.float16, torch.bfloat16, torch.float32, torch.int16])
def test_normalizing_tensors_to_bfloat16(source):
    tensor = torch.from_numpy(random_batch((2, 4, 5, 3), np.uint8)).to(source)
    result = run_batch(NormalizeImage(MEAN, STD, torch.bfloat16), tensor)
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    assert torch.equal(result, ((tensor.float() - mean) / std).bfloat16())


@pytest.mark.parametrize("source", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("result_type", [np.float16, np.float32, np.float64])
def test_normalizing_tensors_by_constants_of_either_unit(source, result_type):
    tensor = torch.from_numpy(random_batch((2, 4, 5, 3), np.uint8).astype(source))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = run_batch(NormalizeImage(mean * 255, std * 255, result_type), tensor)
    result = run_batch(NormalizeImage(mean, std, result_type, max_value=255), tensor)
    assert torch.equal(result, expected)


def test_normalizing_follows_its_arguments():
    operation = NormalizeImage(0, 1, np.float32)
    batch = torch.full((1, 2, 2, 3), 6, dtype=torch.uint8)
    normalize = operation.generate_code()
    assert normalize(batch, None).unique().tolist() == [6]
    operation.mean, operation.std = 2, 4
    assert normalize(batch, None).unique().tolist() == [1]
    assert normalize(batch.float(), None).unique().tolist() == [1]


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda", 0, torch.device("cuda:0")])
@pytest.mark.parametrize("non_blocking", [False, True])
def test_to_device_copies_to_cuda(device, non_blocking):
    tensor = torch.from_numpy(random_batch((5, 16, 16, 3), np.uint8)).pin_memory()
    result = run_batch(ToDevice(device, non_blocking), tensor)
    torch.cuda.synchronize()
    assert result.device == torch.device("cuda", 0)
    assert torch.equal(result.cpu(), tensor)
    back = run_batch(ToDevice("cpu", non_blocking), result)
    assert torch.equal(back, tensor)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.float16, torch.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("channels_last", [False, True])
def test_normalizing_on_cuda_equals_normalizing_arrays(dtype, channels_last):
    batch = random_batch((4, 7, 9, 3), np.uint8)
    operation = NormalizeImage(MEAN, STD, dtype)
    tensor = run_batch(ToTorchImage(channels_last), torch.from_numpy(batch).cuda())
    expected = apply(operation, batch, jit=False).transpose(0, 3, 1, 2)
    result = run_batch(operation, tensor)
    np.testing.assert_array_equal(as_array(result.cpu()), expected, strict=True)
