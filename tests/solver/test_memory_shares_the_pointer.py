import numpy as np
import pytest
import torch
from helpers.kernels import AXPY

import solver

DTYPES = ["int32", "int64", "float32", "float64"]
VIEWS = {
    "numpy.asarray": np.asarray,
    "numpy.from_dlpack": np.from_dlpack,
    "torch.from_dlpack": torch.from_dlpack,
    "torch.asarray": torch.asarray,
}


@pytest.fixture(params=DTYPES)
def kind(request):
    return request.param


@pytest.fixture(params=VIEWS)
def view(request):
    return VIEWS[request.param]


def address(array):
    return array.data_ptr() if isinstance(array, torch.Tensor) else array.ctypes.data


def strides(array):
    if isinstance(array, torch.Tensor):
        return tuple(stride * array.element_size() for stride in array.stride())
    return array.strides


def kind_of(array):
    return str(array.dtype).removeprefix("torch.")


def filled(device, shape, kind):
    memory = device.allocate(shape, kind)
    memory.copy_from(np.arange(memory.size).astype(kind).reshape(shape))
    return memory


def test_a_view_has_the_same_pointer_shape_strides_and_dtype(host_device, kind, view):
    memory = filled(host_device, (3, 4, 5), kind)
    seen = view(memory)
    assert address(seen) == memory.pointer
    assert tuple(seen.shape) == memory.shape == (3, 4, 5)
    assert strides(seen) == memory.strides
    assert kind_of(seen) == str(memory.dtype) == kind
    assert float(seen[2, 3, 4]) == 59


def test_writes_are_seen_both_ways(host_device, kind, view):
    memory = filled(host_device, (8,), kind)
    seen = view(memory)
    seen[3] = 77
    assert memory.to_host().tolist() == [0, 1, 2, 77, 4, 5, 6, 7]
    memory.copy_from(np.full(8, 5, kind))
    assert seen.tolist() == [5] * 8


def test_a_kernel_s_writes_are_seen_in_a_view(host_device, dtype, view):
    real = {"float32": "float", "float64": "double"}[dtype]
    memory = filled(host_device, (100,), dtype)
    seen = view(memory)
    host_device.build(AXPY, "axpy", {"real": real})(100, 1.0, memory, memory)
    assert seen.tolist() == [2.0 * i for i in range(100)]


SLICES = [
    np.s_[1:3],
    np.s_[:, 1:-1],
    np.s_[1, 2:4],
    np.s_[::2, ::3],
    np.s_[..., 1:4],
    np.s_[-1],
    np.s_[2, 3, 4],
    np.s_[1:1],
    np.s_[0:1, 2:3],
    np.s_[5:2],
    np.s_[1, ..., 2],
]


@pytest.mark.parametrize("key", SLICES, ids=str)
def test_slices_and_strided_views_are_numpy_s(host_device, key, view):
    memory = filled(host_device, (4, 5, 6), "float64")
    whole = np.from_dlpack(memory)
    part, expected = memory[key], whole[key]
    seen = view(part)
    assert part.shape == tuple(seen.shape) == np.shape(expected)
    np.testing.assert_array_equal(np.asarray(seen), expected)
    np.testing.assert_array_equal(part.to_host(), expected)
    if part.size:
        assert address(seen) == part.pointer
        seen[...] = -1.0
        np.testing.assert_array_equal(whole[key], -np.ones(np.shape(expected)))
        assert (whole == -1).sum() == part.size


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 4), (2, 0, 5)])
def test_zero_size_memory_is_seen_with_its_shape(device, kind, shape):
    memory = device.allocate(shape, kind)
    assert memory.shape == shape
    assert memory.to_host().shape == shape
    if device.is_host:
        for name in VIEWS:
            assert tuple(VIEWS[name](memory).shape) == shape
    memory.copy_from(np.empty(shape, kind))


def test_scalar_memory_is_zero_dimensional(host_device, kind, view):
    memory = filled(host_device, (), kind)
    assert memory.shape == () and memory.size == 1
    seen = view(memory)
    assert tuple(seen.shape) == () and float(seen) == 0
    seen[...] = 3
    assert memory.to_host() == 3
    with pytest.raises(TypeError, match="no length"):
        len(memory)


def producers():
    return {
        "numpy": lambda values: values,
        "torch": lambda values: torch.from_numpy(values),
        "memory": lambda values: solver.Device.open("Serial").wrap(values),
    }


@pytest.mark.parametrize("library", producers())
def test_wrapping_shares_the_pointer_and_writes_both_ways(host_device, kind, library):
    values = np.arange(12).astype(kind).reshape(3, 4)
    array = producers()[library](values)
    memory = host_device.wrap(array)
    assert memory.pointer == values.ctypes.data
    assert memory.shape == (3, 4)
    assert str(memory.dtype) == kind
    memory.copy_from(values * 2)
    assert values[2, 3] == 22
    values[0, 0] = 9
    assert memory.to_host()[0, 0] == 9


def test_a_kernel_reads_and_writes_a_torch_tensor_in_place(host_device, dtype):
    real = {"float32": "float", "float64": "double"}[dtype]
    x = torch.arange(1000, dtype=getattr(torch, dtype))
    y = torch.ones_like(x)
    where = y.data_ptr()
    axpy = host_device.build(AXPY, "axpy", {"real": real})
    axpy(1000, 2.0, host_device.wrap(x), host_device.wrap(y))
    assert y.data_ptr() == where
    assert torch.equal(y, 1 + 2 * x)


def test_wrapped_strided_arrays_keep_their_strides(host_device):
    base = np.arange(60.0).reshape(6, 10)
    for key in (np.s_[::2, 1::3], np.s_[:, 4], np.s_[1:3]):
        memory = host_device.wrap(base[key])
        assert memory.strides == base[key].strides
        np.testing.assert_array_equal(np.asarray(memory), base[key])
        np.testing.assert_array_equal(memory.to_host(), base[key])
    row = host_device.wrap(base[:, 2:6])[5]
    host_device.build(AXPY, "axpy", {"real": "double"})(4, 1.0, row, row)
    np.testing.assert_array_equal(base[5, 2:6], 2 * np.arange(52.0, 56.0))


def test_wrapped_memory_can_be_wrapped_again(host_device):
    values = np.arange(4.0)
    memory = host_device.wrap(values)
    for _ in range(5):
        memory = host_device.wrap(memory)
    assert memory.pointer == values.ctypes.data
    del memory


def test_reshape_is_a_view(device):
    memory = device.allocate((4, 6))
    memory.copy_from(np.arange(24.0).reshape(4, 6))
    other = memory.reshape((2, 12))
    np.testing.assert_array_equal(other.to_host(), np.arange(24.0).reshape(2, 12))
    for shape in ((5, 5), (-4, -6), (2**32, 2**32)):
        with pytest.raises(solver.ShapeError, match="must hold 24 elements"):
            memory.reshape(shape)
    with pytest.raises(solver.ShapeError, match="contiguous"):
        memory[:, 1:].reshape((20,))


def test_iteration_and_indexing_end_where_they_should(device):
    memory = device.allocate((3,))
    memory.copy_from(np.arange(3.0))
    assert [float(part.to_host()) for part in memory] == [0.0, 1.0, 2.0]
    for key in (3, -4):
        with pytest.raises(IndexError):
            memory[key]
    for key in (1.5, "a", None):
        with pytest.raises(TypeError):
            memory[key]
    with pytest.raises(solver.ShapeError, match="at most 1 entries"):
        memory[0, 0]
    with pytest.raises(solver.ShapeError, match="step forward"):
        memory[::-1]


def test_copies_check_type_and_size_and_are_counted(device, kind):
    memory = device.allocate((6,), kind)
    before = device.transfers
    memory.copy_from(np.arange(6).astype(kind))
    out = np.empty(6, kind)
    memory.copy_to(out)
    assert out.tolist() == list(range(6))
    moved = {key: device.transfers[key] - before[key] for key in before}
    crossed = 0 if device.is_host else memory.nbytes
    assert (moved["host_to_device"], moved["device_to_host"]) == (crossed, crossed)
    assert moved["copies"] == 2
    for other in DTYPES:
        if other != kind:
            size = memory.nbytes // np.dtype(other).itemsize
            with pytest.raises(solver.ShapeError, match=f"6 elements of {kind}"):
                memory.copy_from(np.zeros(size, other))
    with pytest.raises(solver.ShapeError, match="must hold 6 elements"):
        memory.copy_from(np.zeros(5, kind))
    with pytest.raises(solver.ShapeError, match="C-contiguous"):
        memory.copy_from(np.zeros(12, kind)[::2])
    with pytest.raises(solver.ShapeError, match=f"6 elements of {kind}"):
        memory.copy_from(np.zeros(6, np.dtype(kind).newbyteorder()))
    out.setflags(write=False)
    with pytest.raises(solver.ShapeError, match="writable"):
        memory.copy_to(out)


def test_memory_copies_from_memory(device):
    source, target = device.allocate((32, 4)), device.allocate((32, 4))
    source.copy_from(np.arange(128.0).reshape(32, 4))
    target.copy_from(source)
    np.testing.assert_array_equal(target.to_host(), np.arange(128.0).reshape(32, 4))
    target[16:].copy_from(source[:16])
    np.testing.assert_array_equal(target.to_host()[16:].ravel(), np.arange(64.0))
    with pytest.raises(solver.ShapeError, match="must match"):
        target.copy_from(device.allocate((3,)))
    with pytest.raises(solver.DeviceError, match="one device"):
        target.copy_from(solver.Device.open("Serial").allocate((32, 4)))


@pytest.mark.parametrize(
    ("shape", "kind", "error"),
    [
        ((-1,), "float64", solver.ShapeError),
        ((4,), "float16", solver.ShapeError),
        ((4,), "complex128", solver.ShapeError),
        ((4,), "nonsense", solver.ShapeError),
        ((2**44,), "float64", solver.DeviceError),
        ((2**62, 2**62), "float64", solver.DeviceError),
        ((2**61,), "float64", solver.DeviceError),
    ],
)
def test_impossible_allocations_are_refused(device, shape, kind, error):
    with pytest.raises(error):
        device.allocate(shape, kind)


def test_types_may_be_named_in_any_of_numpy_s_ways(device):
    for kind in ("float32", np.float32, np.dtype("float32"), "f4"):
        assert device.allocate((1,), kind).dtype == np.float32


def test_device_memory_apart_from_the_host_s_is_never_read_through_a_host_pointer():
    if "OpenCL" not in solver.modes_present():
        pytest.skip("mode OpenCL is not present")
    memory = solver.Device.open("OpenCL").allocate((4,))
    for attempt in (
        np.asarray,
        np.array,
        np.from_dlpack,
        memoryview,
        torch.from_dlpack,
        torch.asarray,
    ):
        with pytest.raises((BufferError, TypeError, RuntimeError)):
            attempt(memory)
    with pytest.raises(solver.DeviceError, match="no addresses to wrap"):
        solver.Device.open("OpenCL").wrap(np.ones(4))


def test_asarray_keeps_numpy_s_rules(host_device):
    memory = filled(host_device, (4,), "float64")
    assert np.array(memory).ctypes.data != memory.pointer
    assert np.asarray(memory, copy=False).ctypes.data == memory.pointer
    assert np.asarray(memory, "float32").dtype == np.float32
    with pytest.raises(ValueError, match="copy"):
        np.asarray(memory, "float32", copy=False)
    assert np.add(memory, memory).tolist() == [0, 2, 4, 6]
    assert memory.views == []


def test_there_is_no_buffer_for_torch_asarray_to_read_as_float32(host_device):
    with pytest.raises(TypeError):
        memoryview(filled(host_device, (4,), "float64"))
