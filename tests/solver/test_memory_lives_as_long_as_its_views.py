import gc
import weakref

import numpy as np
import pytest
import torch
from helpers.kernels import AXPY
from helpers.processes import output_of

import solver

VIEWS = {
    "numpy.asarray": np.asarray,
    "numpy.from_dlpack": np.from_dlpack,
    "torch.from_dlpack": torch.from_dlpack,
    "torch.asarray": torch.asarray,
    "capsule": lambda memory: torch.from_dlpack(memory.__dlpack__()),
}


class Producer(np.ndarray):
    """A NumPy array that can be watched."""


def watched(size=4):
    array = np.arange(float(size)).view(Producer)
    return array, weakref.ref(array)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_keeps_the_memory_after_every_other_reference_is_dropped(host_device, name):
    array, alive = watched(6)
    memory = host_device.wrap(array)
    view = VIEWS[name](memory[1:4])
    part = view[1:]
    del array, memory, view
    gc.collect()
    assert alive() is not None
    assert part.tolist() == [2.0, 3.0]
    del part
    gc.collect()
    assert alive() is None


def test_a_slice_keeps_its_parent(host_device):
    array, alive = watched(8)
    part = host_device.wrap(array)[2:][1:3]
    del array
    gc.collect()
    assert alive() is not None
    assert part.to_host().tolist() == [3.0, 4.0]
    del part
    gc.collect()
    assert alive() is None


# glibc overwrites what is freed, so that a dangling slice or view shows.
DANGLING = f"""
import gc, sys, numpy as np, solver
device = solver.Device.open(sys.argv[1])
axpy = device.build({AXPY!r}, "axpy", {{"real": "double"}})
kept = []
for size in (64, 4096, 200_000):
    memory = device.allocate((size,))
    memory.copy_from(np.arange(float(size)))
    kept.append((size, memory[32:][:16], memory.reshape((4, size // 4))[1:]))
    if device.is_host:
        kept[-1] += (np.asarray(memory)[32:48],)
    del memory
gc.collect()
others = [device.allocate((size,)) for size in (64, 4096, 200_000)]
for other in others:
    other.copy_from(np.full(other.size, -1.0))
for size, part, rows, *views in kept:
    expected = np.arange(32.0, 48.0)
    assert np.array_equal(part.to_host(), expected), part.to_host()
    assert np.array_equal(rows.to_host().ravel(), np.arange(size // 4, size))
    axpy(16, 1.0, part, part)
    assert np.array_equal(part.to_host(), 2 * expected)
    for view in views:
        assert np.array_equal(view, 2 * expected)
"""


def test_slices_outlive_their_parent_s_name(device):
    assert output_of(DANGLING, device.mode, MALLOC_PERTURB_=165) == ""


# Freeing the middle of a NumPy array aborts the process.
FOREIGN = f"""
import gc, sys, numpy as np, solver
device = solver.Device.open(sys.argv[1])
axpy = device.build({AXPY!r}, "axpy", {{"real": "double"}})
base = np.ones(100)
for start in range(0, 50):
    memory = device.wrap(base[start : start + 50])
    axpy(50, 1.0, memory, memory)
    part = memory[10:]
    axpy(40, 1.0, part, part)
    del memory, part
    gc.collect()
assert np.isfinite(base).all() and base[0] == 2
"""


def test_wrapped_memory_is_never_freed(host_device):
    assert output_of(FOREIGN, host_device.mode) == ""


def test_allocations_are_given_back(host_device):
    """3 GB in turn."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(30):
        memory = host_device.allocate((12_500_000,))
        memory[:1000].copy_from(np.zeros(1000))
        np.asarray(memory)[::512] = 1.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


EXHAUSTED = """
import resource, sys, solver
device = solver.Device.open(sys.argv[1])
device.allocate((1000,))
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))
try:
    device.allocate((device.memory_bytes // 10,))
except solver.DeviceError as error:
    print(error)
"""


def test_exhausted_host_memory_is_an_error(host_device):
    assert "could not allocate" in output_of(EXHAUSTED, host_device.mode)


@pytest.mark.parametrize("name", VIEWS)
def test_free_is_refused_while_a_view_lives_and_names_it(host_device, name):
    memory = host_device.allocate((3, 4))
    view = VIEWS[name](memory)
    kind = "array" if name == "numpy.asarray" else "DLPack view"
    assert memory.views == [f"{kind} of shape (3, 4)"]
    with pytest.raises(solver.MemoryInUseError, match=rf"in use by: {kind} of shape \(3, 4\)"):
        memory.free()
    view[0, 0] = 1
    del view
    gc.collect()
    memory.free()


def test_every_view_is_named(device):
    memory = device.allocate((4, 4))
    row, column = memory[1], memory[:, 2]
    with pytest.raises(
        solver.MemoryInUseError, match=r"slice of shape \(4,\), slice of shape \(4,\)"
    ):
        memory.free()
    with pytest.raises(solver.MemoryInUseError, match="slice cannot be freed"):
        row.free()
    del row, column
    memory.free()


def test_freed_memory_cannot_be_used(device):
    memory, other = device.allocate((4,)), device.allocate((4,))
    memory.free()
    memory.free()
    assert "freed" in repr(memory)
    uses = [
        memory.to_host,
        lambda: memory.pointer,
        lambda: memory[0],
        lambda: memory.reshape((2, 2)),
        lambda: memory.copy_from(np.zeros(4)),
        lambda: memory.copy_to(np.zeros(4)),
        lambda: memory.copy_from(other),
        lambda: other.copy_from(memory),
        lambda: memory.__dlpack__(),
        lambda: np.asarray(memory),
    ]
    for use in uses:
        with pytest.raises(solver.MemoryInUseError, match="has been freed"):
            use()


def test_free_lets_the_producer_go(host_device):
    array, alive = watched()
    memory = host_device.wrap(array)
    del array
    gc.collect()
    assert alive() is not None
    memory.free()
    gc.collect()
    assert alive() is None


def test_memory_of_a_device_outlives_the_device_s_name():
    memory = solver.Device.open("Serial").allocate((3,))
    gc.collect()
    memory.copy_from(np.ones(3))
    assert memory.to_host().tolist() == [1, 1, 1]


def test_a_chain_of_wraps_ends_without_deadlock(host_device):
    """The last reference to one memory is dropped while another of the same device is released."""
    array, alive = watched()
    memory = host_device.wrap(array)
    for _ in range(10):
        memory = host_device.wrap(np.asarray(host_device.wrap(memory)))
    del array
    gc.collect()
    assert alive() is not None
    memory.free()
    gc.collect()
    assert alive() is None
