"""as_numpy, as_torch and from_array are the same memory, seen from both sides; see also tests/solver for Memory itself."""

import numpy as np
import pytest
import torch

import insitu
from insitu.bridge import torch_device
from solver import Burgers, Device, DeviceError, Field, Grid, Simulation

GRID = Grid(points=(32,), extent=((0.0, 2 * np.pi),))


@pytest.fixture
def field(host_device, dtype):
    field = Field(host_device, GRID, components=2, ghost=3, dtype=dtype)
    field.set(np.arange(64.0).reshape(2, 32))
    return field


def test_views_have_the_fields_pointer_shape_and_strides(field):
    tensor, array = insitu.as_torch(field), insitu.as_numpy(field)
    assert tensor.data_ptr() == array.__array_interface__["data"][0] == field.interior.pointer
    assert tensor.shape == array.shape == field.shape == (2, 32)
    assert array.strides == field.interior.strides
    assert tuple(s * tensor.element_size() for s in tensor.stride()) == array.strides
    assert str(tensor.dtype) == f"torch.{field.dtype}" and array.dtype == field.dtype
    assert field.device.transfers["host_to_device"] == 0


def test_a_write_on_one_side_is_seen_on_the_others(field):
    tensor, array = insitu.as_torch(field), insitu.as_numpy(field)
    tensor[1, 5] = -1.0
    assert array[1, 5] == -1.0 == field.to_host()[1, 5]
    array[0, :] = 7.0
    assert (tensor[0] == 7.0).all()


def test_a_view_outlives_the_field(host_device):
    tensor = insitu.as_torch(Field(host_device, GRID, dtype="float64"))
    tensor.fill_(3.0)
    assert tensor.sum() == 96.0


def test_a_tensor_follows_the_simulation(host_device):
    simulation = Simulation(host_device, GRID, Burgers(nu=0.1))
    tensor = insitu.as_torch(simulation.u)
    before = tensor.clone()
    simulation.advance(until=0.5)
    assert not torch.equal(tensor, before)
    assert np.array_equal(tensor.numpy(), simulation.u.to_host())


def test_a_tensor_changes_the_simulation(host_device):
    touched, left = (Simulation(host_device, GRID, Burgers(nu=0.1)) for _ in range(2))
    insitu.as_torch(touched.u).mul_(0.5)
    touched.advance(steps=3)
    left.advance(steps=3)
    assert not np.array_equal(touched.u.to_host(), left.u.to_host())


def test_from_array_is_in_place(host_device):
    weights = torch.linspace(0, 1, 8, dtype=torch.float64)
    memory = insitu.from_array(host_device, weights)
    assert memory.pointer == weights.data_ptr()
    insitu.as_numpy(memory)[0] = 5.0
    assert weights[0] == 5.0


def test_read_only_memory_is_refused_by_torch(host_device):
    array = np.zeros(4)
    array.flags.writeable = False
    with pytest.raises(BufferError, match="read-only"):
        insitu.as_torch(host_device.wrap(array))
    assert not insitu.as_numpy(host_device.wrap(array)).flags.writeable


def test_a_field_without_addresses_is_an_error(device):
    field = Field(device, GRID)
    if device.is_host:
        assert torch_device(device) == torch.device("cpu")
        with pytest.raises(DeviceError, match="use as_numpy or as_torch"):
            insitu.as_cupy(field)
        return
    with pytest.raises(BufferError, match="no address"):
        insitu.as_torch(field)
    with pytest.raises(DeviceError, match=r"to_host\(\)"):
        insitu.as_numpy(field)
    with pytest.raises(DeviceError, match="torch can see"):
        torch_device(device)


def test_on_stream_is_nothing_on_the_host():
    with insitu.on_stream(Device.open("Serial")):
        assert torch.ones(2).sum() == 2
