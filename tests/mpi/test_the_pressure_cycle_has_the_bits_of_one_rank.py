"""A multigrid cycle gives every cell the bits of one rank, on any grid and process grid; only sums are rounded anew."""

import functools
import math

import numpy as np
import pytest
from helpers.flows import PERIODIC
from helpers.ranks import same_on_all_ranks
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from solver import Device, Grid, ParameterError, Wall
from solver.decomposition import Decomposition
from solver.grid import Block
from solver.messages import Gathering, Messages
from solver.multigrid import Multigrid
from solver.patch import Patch
from solver.poisson import Poisson

WALLS = (Wall(), Wall())


def block_of(comm, grid, ranks):
    if comm.size == 1:
        return grid
    return Block(grid, Decomposition(grid.points, ranks, grid.is_periodic, comm.rank), comm)


def box(points, sides):
    return Grid(points, ((0.0, 1.0),) * len(points), sides)


def on_device(device, values, dtype="float64"):
    memory = device.allocate((values.size,), dtype)
    memory.copy_from(np.ascontiguousarray(values, dtype).ravel())
    return memory


def noise(grid):
    return np.random.default_rng(4).standard_normal(grid.points)


def cycle(part, r):
    """The multigrid of a grid or a block, the result of the second of two cycles, with margins, and its products."""
    device = Device.open("Serial")
    multigrid = Multigrid(device, part, "float64")
    memory = on_device(device, multigrid.patch.around(r))
    multigrid.cycle(memory, 0.5, 1.0)
    multigrid.cycle(memory, r.mean(), 2.0)
    result = multigrid.result.to_host().reshape(multigrid.patch.shape)
    return multigrid, result, multigrid.products()


@functools.lru_cache(maxsize=2)
def on_one_rank(grid):
    return cycle(grid, noise(grid))[1:]


def require_same_bits(comm, grid, ranks):
    shared, padded, products = cycle(block_of(comm, grid, ranks), noise(grid))
    whole, expected = on_one_rank(grid)
    assert np.array_equal(padded, shared.patch.around(whole))
    assert np.allclose(products, expected, rtol=1e-11)
    assert comm.allgather(products) == [products] * comm.size
    return shared


def process_grids(size, points):
    every = np.ndindex(*(size + 1,) * len(points))
    return [
        ranks
        for ranks in every
        if math.prod(ranks) == size and all(r <= n for r, n in zip(ranks, points, strict=True))
    ]


@pytest.mark.ranks(1, 2, 3, 4, 6, 8)
@pytest.mark.parametrize("points", [(150, 132), (96, 250), (72, 68, 76)], ids=str)
def test_every_process_grid(comm, points):
    sides = (WALLS, PERIODIC, WALLS)[: len(points)]
    for ranks in process_grids(comm.size, points):
        shared = require_same_bits(comm, box(points, sides), ranks)
        assert len(shared.levels) > 1


@pytest.mark.ranks(2, 3, 4, 6)
@settings(same_on_all_ranks, max_examples=20)
@given(data=st.data())
def test_any_grid_on_any_process_grid(comm, data):
    axes = data.draw(st.integers(2, 3), "axes")
    sizes = st.integers(2, 55 if axes == 2 else 14)
    halvings = data.draw(st.integers(1, 2), "halvings")
    points = tuple(2**halvings * n for n in data.draw(st.tuples(*[sizes] * axes), "points"))
    sides = data.draw(st.tuples(*[st.sampled_from([PERIODIC, WALLS])] * axes), "sides")
    ranks = data.draw(st.sampled_from(process_grids(comm.size, points)), "ranks")
    grid = box(points, sides)
    try:
        require_same_bits(comm, grid, ranks)
    except ParameterError as error:
        assert "use fewer ranks" in str(error) or "halve down" in str(error)
        assume(False)


@pytest.mark.ranks(1, 2, 3, 4)
@pytest.mark.parametrize("sides", [PERIODIC, WALLS], ids=["periodic", "walls"])
@pytest.mark.parametrize("points", [(64, 64), (256, 256), (64, 64, 64)], ids=str)
def test_iterations_are_those_of_one_rank(comm, points, sides):
    grid = box(points, (sides,) * len(points))
    f = np.random.default_rng(1).standard_normal(points)
    device, counts, found = Device.open("Serial"), [], []
    for part in (block_of(comm, grid, process_grids(comm.size, points)[0]), grid):
        poisson = Poisson(device, part, "float64")
        right = on_device(device, poisson.patch.around(f))
        x = on_device(device, np.zeros(poisson.patch.shape))
        poisson.solve(right, x)
        counts.append(poisson.iterations)
        found.append(x.to_host().reshape(poisson.patch.shape))
    assert counts[0] == counts[1] <= 7
    patch = Patch(block_of(comm, grid, process_grids(comm.size, points)[0]), 4)
    assert np.allclose(found[0], patch.around(found[1]), rtol=0, atol=1e-11 * np.abs(f).max())


@pytest.mark.ranks(2, 3, 4)
def test_a_cycle_makes_two_exchanges_a_shared_level(comm, monkeypatch):
    made = []
    for kind, name in ((Messages, "start"), (Gathering, "exchange")):
        own = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda self, own=own: (made.append(type(self)), own(self)))
    grid = box((512, 512), (WALLS, WALLS))
    shared, _, _ = cycle(block_of(comm, grid, (1, comm.size)), noise(grid))
    levels = len(shared.levels) - 1
    assert levels == 3
    assert made.count(Messages) == 2 * (2 * levels - 1)
    assert made.count(Gathering) == 2
