"""The rules NumPy and torch test their own DLPack exchange by, applied to device memory."""

import ctypes
import gc

import numpy as np
import pytest
import torch

import solver

capsule_name = ctypes.pythonapi.PyCapsule_GetName
capsule_name.restype, capsule_name.argtypes = ctypes.c_char_p, (ctypes.py_object,)


@pytest.fixture
def memory(host_device):
    memory = host_device.allocate((3, 4))
    memory.copy_from(np.arange(12.0).reshape(3, 4))
    return memory


@pytest.mark.parametrize(
    ("max_version", "name"),
    [
        (None, b"dltensor"),
        ((0, 8), b"dltensor"),
        ((1, 0), b"dltensor_versioned"),
        ((1, 3), b"dltensor_versioned"),
        ((2, 0), b"dltensor_versioned"),
    ],
)
def test_the_capsule_is_as_new_as_asked_for(memory, max_version, name):
    assert capsule_name(memory.__dlpack__(max_version=max_version)) == name


@pytest.mark.parametrize("max_version", [(1, 0), None])
def test_a_capsule_is_consumed_once(memory, max_version):
    capsule = memory.__dlpack__(max_version=max_version)
    tensor = torch.from_dlpack(capsule)
    assert tensor.data_ptr() == memory.pointer
    assert capsule_name(capsule).startswith(b"used_dltensor")
    with pytest.raises((RuntimeError, ValueError)):
        torch.from_dlpack(capsule)


@pytest.mark.parametrize("max_version", [(1, 0), None])
def test_an_unconsumed_capsule_is_released(memory, max_version):
    capsule = memory.__dlpack__(max_version=max_version)
    assert memory.views == ["DLPack view of shape (3, 4)"]
    del capsule
    assert memory.views == []
    memory.free()


@pytest.mark.parametrize("consume", [np.from_dlpack, torch.from_dlpack])
def test_a_consumed_capsule_is_released_with_its_consumer(memory, consume):
    array = consume(memory)
    part = array[1:]
    del array
    gc.collect()
    assert memory.views == ["DLPack view of shape (3, 4)"]
    del part
    gc.collect()
    assert memory.views == []


def test_the_device_is_the_host(memory):
    assert tuple(memory.__dlpack_device__()) == (1, 0)


def test_host_memory_has_no_stream(memory):
    memory.__dlpack__(stream=None)
    for stream in (0, 1, -1, 2):
        with pytest.raises(BufferError, match="stream must be None"):
            memory.__dlpack__(stream=stream)


def test_another_device_is_refused(memory):
    memory.__dlpack__(dl_device=(1, 0))
    memory.__dlpack__(dl_device=memory.__dlpack_device__())
    for device in ((2, 0), (1, 1), (10, 0)):
        with pytest.raises(BufferError, match="own device only"):
            memory.__dlpack__(dl_device=device)
    assert np.from_dlpack(memory, device="cpu").ctypes.data == memory.pointer


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_version": 1},
        {"max_version": (1,)},
        {"max_version": ("1", 0)},
        {"dl_device": 1},
        {"dl_device": ("cpu", 0)},
    ],
)
def test_malformed_requests_are_type_errors(memory, arguments):
    with pytest.raises(TypeError):
        memory.__dlpack__(**arguments)
    with pytest.raises(TypeError):
        memory.__dlpack__(None)
    assert memory.views == []


@pytest.mark.parametrize("copy", [None, False])
def test_no_copy_shares(memory, copy):
    assert np.from_dlpack(memory, copy=copy).ctypes.data == memory.pointer
    assert torch.from_dlpack(memory, copy=copy).data_ptr() == memory.pointer


@pytest.mark.parametrize("key", [np.s_[:], np.s_[:, 1:3], np.s_[::2]], ids=str)
@pytest.mark.parametrize("consume", [np.from_dlpack, torch.from_dlpack])
def test_a_copy_is_apart_and_equal(memory, consume, key):
    part = memory[key]
    expected = part.to_host()
    copy = consume(part, copy=True)
    assert copy.tolist() == expected.tolist()
    copy[...] = -1.0
    np.testing.assert_array_equal(part.to_host(), expected)
    assert all("DLPack" not in name for name in memory.views)


def test_read_only_memory_is_read_only_to_who_can_know(host_device):
    array = np.arange(4.0)
    array.setflags(write=False)
    memory = host_device.wrap(array)
    assert memory.readonly and memory[1:].readonly
    assert not np.from_dlpack(memory).flags.writeable
    assert not np.asarray(memory).flags.writeable
    with pytest.raises(BufferError, match="read-only"):
        memory.__dlpack__()
    assert np.from_dlpack(memory, copy=True).flags.writeable
    with pytest.raises(solver.ShapeError, match="read-only"):
        memory.copy_from(np.zeros(4))


def test_a_legacy_producer_can_be_wrapped(host_device):
    class Legacy:
        def __init__(self, array):
            self.array = array

        def __dlpack_device__(self):
            return (1, 0)

        def __dlpack__(self, stream=None):
            assert stream is None
            return self.array.__dlpack__()

    values = np.arange(3.0)
    memory = host_device.wrap(Legacy(values))
    assert memory.pointer == values.ctypes.data


def test_what_the_producer_raises_comes_through(host_device):
    class Failing:
        def __dlpack_device__(self):
            return (1, 0)

        def __dlpack__(self, **keywords):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        host_device.wrap(Failing())


def test_a_producer_without_a_capsule_is_refused(host_device):
    class Wrong:
        def __dlpack_device__(self):
            return (1, 0)

        def __dlpack__(self, **keywords):
            return None

    with pytest.raises(BufferError, match="unused DLPack capsule"):
        host_device.wrap(Wrong())


def test_a_tensor_that_requires_grad_is_refused(host_device):
    with pytest.raises(BufferError, match="requires gradient|require"):
        host_device.wrap(torch.ones(3, requires_grad=True))
    host_device.wrap(torch.ones(3, requires_grad=True).detach())


def test_negative_strides_are_refused_and_the_array_is_let_go(host_device):
    import weakref

    class Array(np.ndarray):
        pass

    array = np.arange(5.0).view(Array)
    kept = weakref.ref(array)
    with pytest.raises(solver.ShapeError, match="negative strides"):
        host_device.wrap(array[::-1])
    del array
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("kind", ["float16", "complex64", "int8", "bool", "uint32"])
def test_other_types_are_refused(host_device, kind):
    with pytest.raises(solver.ShapeError, match="dtype must be one of"):
        host_device.wrap(np.zeros(3, kind))


@pytest.mark.parametrize("thing", [3, [1.0, 2.0], "text", None])
def test_what_is_no_array_is_refused(host_device, thing):
    with pytest.raises(solver.ShapeError, match="__dlpack__"):
        host_device.wrap(thing)


@pytest.mark.parametrize("where", [(2, 0), (10, 0), (4, 0)])
def test_an_array_of_another_device_is_refused(host_device, where):
    class Elsewhere:
        def __dlpack_device__(self):
            return where

        def __dlpack__(self, **keywords):
            raise AssertionError("must not be asked")

    with pytest.raises(solver.DeviceError, match="must live on"):
        host_device.wrap(Elsewhere())


def test_a_meta_tensor_is_refused(host_device):
    with pytest.raises(Exception, match=".") as caught:
        host_device.wrap(torch.empty(3, device="meta"))
    assert isinstance(caught.value, (solver.SolverError, BufferError, ValueError))
