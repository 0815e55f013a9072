"""Large host memories exchange what they hold without a copy: addresses and views stay, and so do the bits of a simulation."""

import platform
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from solver import (
    Burgers,
    Device,
    Dirichlet,
    DivergenceError,
    Grid,
    Neumann,
    Recorder,
    Simulation,
)
from solver._occa import Memory
from solver.steppers import METHODS

VERSION = tuple(int(part) for part in platform.release().split(".")[:2] if part.isdigit())
LEAST = 1 << 20  # float64 values
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or VERSION < (5, 7), reason="pages move on Linux, from 5.7 on"
)
REFUSALS = """
#include <sys/mman.h>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <sys/syscall.h>
#include <unistd.h>

static int calls = 0;

// Fails in the REFUSED-th call, what lay at the goal being gone, as on Linux.
extern "C" void *mremap(void *from, size_t old_bytes, size_t bytes, int flags, ...) noexcept {
  va_list rest;
  va_start(rest, flags);
  void *to = va_arg(rest, void *);
  va_end(rest);
  if (++calls == std::atoi(std::getenv("REFUSED"))) {
    munmap(to, bytes);
    errno = EFAULT;
    return MAP_FAILED;
  }
  return reinterpret_cast<void *>(syscall(SYS_mremap, from, old_bytes, bytes, flags, to));
}
"""
EXCHANGE = """
import sys
import numpy as np
import solver

device = solver.Device.open("Serial")
first, second = (device.allocate(((1 << 20) + 11,), "float64") for _ in range(2))
views = np.asarray(first), np.asarray(second)
views[0][:], views[1][:] = np.arange(first.size), 2.0
done = first.exchange(second)
old, new = views if not done else views[::-1]
assert (old == np.arange(first.size)).all() and (new == 2).all()
print(done, first.is_exchangeable)
"""


def numbers(device, size, dtype="float64"):
    memory = device.allocate((size,), dtype)
    memory.copy_from(np.arange(size, dtype=dtype))
    return memory


@pytest.mark.parametrize("more", [0, 1, 511, 3 << 18])
def test_addresses_and_views_stay(host_device, more):
    first, second = numbers(host_device, LEAST + more), numbers(host_device, LEAST + more)
    array, tensor = np.asarray(first), torch.from_dlpack(second)
    tensor.neg_()
    before = first.pointer, second.pointer, array.ctypes.data, tensor.data_ptr()
    for sign in (-1, 1, -1):
        assert first.exchange(second)
        assert np.array_equal(array, sign * np.arange(array.size))
        assert torch.equal(tensor, -torch.from_numpy(array))
    assert before == (first.pointer, second.pointer, array.ctypes.data, tensor.data_ptr())


def test_what_lies_on_no_pages_of_its_own_stays_where_it_is(host_device):
    whole = numbers(host_device, LEAST)
    others = [
        numbers(host_device, LEAST - 1),
        numbers(host_device, LEAST + 1),
        numbers(host_device, LEAST + 64)[64:],
        host_device.wrap(np.zeros(LEAST)),
        whole,
    ]
    assert not any(whole.exchange(other) or other.exchange(whole) for other in others)
    assert [other.is_exchangeable for other in others] == [False, True, False, False, True]
    assert np.array_equal(np.asarray(whole), np.arange(LEAST))


def test_a_reader_in_another_thread_is_not_disturbed(host_device):
    first, second = (host_device.allocate((LEAST,), "float64") for _ in range(2))
    view, other = np.asarray(first), np.asarray(second)
    view[:], other[:] = 1.0, 2.0
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            seen.update(np.unique(view[::512]).tolist())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(500):
        assert first.exchange(second)
    stop.set()
    reader.join()
    assert seen <= {0.0, 1.0, 2.0} and {1.0, 2.0} == {view[0], other[0]}


@pytest.mark.parametrize(
    ("call", "said"),
    [("0", "True True"), ("1", "False False"), ("2", "True True"), ("3", "True True")],
)
def test_what_the_system_refuses_is_copied_or_left(tmp_path, monkeypatch, call, said):
    source, library = tmp_path / "refusals.cpp", tmp_path / "refusals.so"
    source.write_text(REFUSALS)
    subprocess.run(["g++", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("REFUSED", call)
    ran = subprocess.run([sys.executable, "-c", EXCHANGE], capture_output=True, text=True)
    assert (ran.stdout.strip(), ran.stderr) == (said, "")


WAYS = {
    "exchanged": {},
    "copied": {"exchange": lambda self, other: False},
    "in pairs": {"is_exchangeable": False},
}


def by_every_way(monkeypatch, run):
    """Return what ``run`` gives where the state comes back by its pages, by a copy and by a last pass."""
    results = []
    for names in WAYS.values():
        with monkeypatch.context() as patch:
            for name, value in names.items():
                patch.setattr(Memory, name, value)
            results.append(run())
    return results


@pytest.mark.parametrize(
    ("points", "method"),
    [((LEAST + 1000,), "euler"), ((1032, 512), "ssp-rk2"), ((64, 48, 120), "euler")],
)
def test_a_simulation_keeps_its_bits_and_its_address(monkeypatch, points, method):
    grid = Grid(points, ((0.0, 1.0),) * len(points))
    equation = Burgers(0.02, "central")
    start = 0.1 * np.random.default_rng(0).standard_normal((len(points), *points)) + 0.2
    device = Device.open("OpenMP")
    rows = device.allocate((2, start.size), "float64")

    def run():
        simulation = Simulation(device, grid, equation, start, method=method)
        view, states = np.asarray(simulation.u), []
        recorder = Recorder(6, rows)
        for steps in (1, 5, 2, 7):
            simulation.take(0.5 * simulation.limit, steps, recorder)
            states.append(view.copy())
        simulation.discretization.steps_per_pass = 1
        simulation.take(0.5 * simulation.limit, 3)
        assert view.ctypes.data == simulation.u.memory.pointer
        return [*states, view.copy(), rows.to_host()]

    exchanged, *others = by_every_way(monkeypatch, run)
    for other in others:
        assert all(np.array_equal(*pair) for pair in zip(exchanged, other, strict=True))


def test_sides_that_depend_on_time_see_every_step(monkeypatch):
    grid = Grid((LEAST,), ((0.0, 1.0),), ((Dirichlet(lambda x, t: 1e12 * t), Neumann()),))

    def run():
        simulation = Simulation(Device.open("OpenMP"), grid, Burgers(0.02, "central"), "sin")
        simulation.advance(steps=5)
        return simulation.u.to_host()

    exchanged, *others = by_every_way(monkeypatch, run)
    assert exchanged[0, 0] > 1.0
    assert all(np.array_equal(exchanged, other) for other in others)


@pytest.mark.parametrize("steps", [60, 100], ids=["from the state", "from the other buffer"])
def test_divergence_in_a_pass_is_told_alike_and_taken_back(monkeypatch, steps):
    grid = Grid((LEAST,), ((0.0, 1.0),))
    equation, start = Burgers(0.02, "central"), np.ones((1, LEAST))
    start[0, 700_000] = 2.0
    dt = 1.2 * equation.stable_time_step(grid, 2.0, METHODS["euler"])

    def run():
        simulation = Simulation(
            Device.open("OpenMP"), grid, equation, start, dt, force=True, method="euler"
        )
        with np.errstate(all="ignore"), pytest.raises(DivergenceError) as caught:
            simulation.advance(steps=steps)
        assert np.isfinite(simulation.u.to_host()).all()
        return str(caught.value), simulation.moment, simulation.u.to_host().tobytes()

    exchanged, *others = by_every_way(monkeypatch, run)
    assert all(exchanged == other for other in others) and exchanged[1].step == 58
