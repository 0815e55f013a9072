"""Field files read by VTK and xarray hold the states of the simulation to the bit, whichever ranks wrote them."""

import warnings

import numpy as np
import pytest

from insitu.bridge import as_torch
from insitu.case_errors import CaseError
from insitu.config import Sampling, Time
from insitu.fields import FieldFile, Fields
from insitu.fields.writer import FieldWriter
from insitu.sampler import Sampler
from insitu.schedule import schedule_of
from solver import (
    AdvectionDiffusion,
    Burgers,
    Device,
    Dirichlet,
    Grid,
    NavierStokes,
    Neumann,
    Simulation,
    on_centres,
)

pytestmark = pytest.mark.ranks(1, 2, 3, 4)

SIDES = ((Dirichlet(1.0), Neumann(0.0)), None)
CASES = {
    "line": (Grid((33,), ((0.0, 1.0),)), Burgers(0.1), "float64"),
    "plane": (Grid((18, 13), ((0.0, 1.0), (-1.0, 1.0))), Burgers(0.1), "float32"),
    "box": (Grid((9, 6, 10), ((0.0, 1.0),) * 3), Burgers(0.1), "float64"),
    "ensemble": (Grid((10, 8), ((0.0, 1.0),) * 2), AdvectionDiffusion([0.1, 0.2, 0.4, 0.5, 0.6]), "float64"),
    "flow": (Grid((16, 12), ((0.0, 1.0),) * 2), NavierStokes(0.01), "float64"),
}  # fmt: skip
EVERY, STEPS = 2, 12


def swirl(x, y):
    return [np.sin(6.3 * x) * np.cos(6.3 * y), np.cos(9.4 * x) * np.sin(6.3 * y)]


def begin(name, comm, folder, settings, at=0, initial=None):
    """Return a simulation with a sampler that has gone ``at`` steps, and its file."""
    grid, equation, dtype = CASES[name]
    initial = initial or (swirl if name in ("flow", "plane") else "gaussian" if name == "ensemble" else "sin")  # fmt: skip
    device = Device.open("Serial", comm)
    simulation = Simulation(device, grid, equation, initial, dtype=dtype, dt=1e-4, comm=comm)
    schedule = schedule_of(simulation, Time(steps=STEPS), Sampling(every=EVERY))
    sampler = Sampler(device, simulation.u.interior.size, schedule.snapshots, EVERY, dtype)
    for _ in sampler.follow(simulation, steps=at):
        pass
    return simulation, sampler, FieldWriter(settings, simulation, sampler, schedule, Time(steps=STEPS), folder)  # fmt: skip


def go(simulation, sampler, fields, steps, most=None):
    for _ in fields.beside(sampler.follow(simulation, steps=steps, most=most)):
        pass


def run(name, comm, folder, settings):
    """Return a finished simulation, its states of this rank, (time, [members,] components, *points), and the summary."""
    simulation, sampler, fields = begin(name, comm, folder, settings)
    first = simulation.u.to_host()
    go(simulation, sampler, fields, STEPS, fields.most)
    summary = fields.finish(simulation.step)
    rest = as_torch(simulation.u).new_tensor(sampler.snapshots.numpy()).numpy()
    return simulation, np.stack([first, *rest.reshape(-1, *first.shape)]), summary


def own(simulation):
    grid = simulation.grid
    return tuple(slice(b, b + n) for b, n in zip(grid.begin, grid.points, strict=True))


def by_xarray(path):
    xarray = pytest.importorskip("xarray")
    return xarray.open_dataset(path, engine="zarr", chunks=None)


def by_vtk(path):
    """Return times, and arrays (time, x[, y[, z]]) by name, as VTK's own reader has them."""
    modules = pytest.importorskip("vtkmodules.vtkIOHDF")
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline

    reader = modules.vtkHDFReader()
    reader.SetFileName(str(path))
    reader.UpdateInformation()
    times = reader.GetOutputInformation(0).Get(vtkStreamingDemandDrivenPipeline.TIME_STEPS())
    found = {}
    for time in times:
        reader.UpdateTimeStep(time)
        image = reader.GetOutputDataObject(0)
        for n in range(image.GetPointData().GetNumberOfArrays()):
            array = image.GetPointData().GetArray(n)
            values = vtk_to_numpy(array).reshape(image.GetDimensions()[::-1]).T.copy()
            found.setdefault(array.GetName(), []).append(values)
    return times, {name: np.array(values) for name, values in found.items()}, image


@pytest.mark.parametrize("name", ["line", "plane", "box", "ensemble"])
def test_vtk_reads_the_states(name, comm, shared_path):
    simulation, states, summary = run(name, comm, shared_path, FieldFile("vtkhdf"))
    times, arrays, image = by_vtk(shared_path / "fields.vtkhdf")
    np.testing.assert_allclose(times, 1e-4 * EVERY * np.arange(STEPS // EVERY + 1), rtol=1e-12)
    whole, axes = simulation.grid.whole, len(simulation.grid.points)
    assert image.GetOrigin()[:axes] == tuple(axis[0] for axis in whole.axes())
    assert image.GetSpacing()[:axes] == whole.spacing
    first = simulation.share.begin
    lead = states.shape[1] if simulation.members is not None else 1
    for member in range(lead):
        for n, component in enumerate("uvw"[: simulation.u.components]):
            label = component if simulation.members is None else f"{component}_{first + member}"
            read = arrays[label]
            read = read.reshape(len(times), *whole.points, -1)[..., 0]
            truth = states[:, member, n] if simulation.members is not None else states[:, n]
            assert read.dtype == truth.dtype
            np.testing.assert_array_equal(read[(slice(None), *own(simulation))], truth)
    assert summary["states"] == len(times)


@pytest.mark.parametrize("name", ["line", "plane", "box", "ensemble", "flow"])
def test_xarray_reads_the_states(name, comm, shared_path):
    simulation, states, _ = run(name, comm, shared_path, FieldFile("zarr"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = by_xarray(shared_path / "fields.zarr")
    np.testing.assert_allclose(data.time, 1e-4 * EVERY * np.arange(STEPS // EVERY + 1), rtol=1e-12)
    np.testing.assert_array_equal(data.step, EVERY * np.arange(STEPS // EVERY + 1))
    for label, axis in zip("xyz", simulation.grid.whole.axes(), strict=False):
        np.testing.assert_array_equal(data[label], axis)
    for n, component in enumerate("uvw"[: simulation.u.components]):
        array, box = data[component], own(simulation)
        if simulation.members is not None:
            box = (slice(simulation.share.begin, simulation.share.end), *box)
        truth = states[:, :, n] if simulation.members is not None else states[:, n]
        assert array.dtype == truth.dtype
        np.testing.assert_array_equal(array.values[(slice(None), *box)], truth)
    if name == "ensemble":
        np.testing.assert_array_equal(data.diffusivity, [0.1, 0.2, 0.4, 0.5, 0.6])
        assert data.u.dims == ("time", "member", "x", "y")
    if name == "flow":
        assert data.v.dims == ("time", "x", "y_face")
        np.testing.assert_allclose(data.y_face, data.y - simulation.grid.spacing[1] / 2, atol=1e-15)


def test_a_flow_in_vtk_is_at_the_points_with_its_pressure_and_vorticity(comm, shared_path):
    wanted = ["u", "v", "pressure", "vorticity"]
    simulation, states, _ = run("flow", comm, shared_path, FieldFile("vtkhdf", variables=wanted))
    with Fields(shared_path / "fields.vtkhdf") as fields:
        assert list(fields.variables) == wanted
        last, box = len(fields) - 1, own(simulation)
        pressure = as_torch(simulation.discretization.pressure).numpy()
        np.testing.assert_array_equal(fields.state("pressure", last, box=box), pressure)
        assert np.isnan(fields.state("pressure", 0)).all()
        u, v = (fields.state(name, last) for name in "uv")
        turning = fields.state("vorticity", last)
    whole = states[-1]
    if comm.size > 1:
        parts = comm.allgather((own(simulation), whole))
        whole = np.empty((2, *simulation.grid.whole.points))
        for place, part in parts:
            whole[(slice(None), *place)] = part
    np.testing.assert_array_equal(np.stack([u, v]), on_centres(whole))
    dx, dy = simulation.grid.spacing
    slope = (np.roll(v, -1, 0) - np.roll(v, 1, 0)) / (2 * dx)
    slope -= (np.roll(u, -1, 1) - np.roll(u, 1, 1)) / (2 * dy)
    np.testing.assert_allclose(turning, slope, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["vtkhdf", "zarr"])
@pytest.mark.parametrize("name", ["plane", "ensemble"])
def test_a_resumed_run_leaves_the_file_of_one_without_interruption(name, kind, comm, shared_path):
    (shared_path / "whole").mkdir(exist_ok=True)
    (shared_path / "parts").mkdir(exist_ok=True)
    run(name, comm, shared_path / "whole", FieldFile(kind))
    simulation, sampler, fields = begin(name, comm, shared_path / "parts", FieldFile(kind))
    go(simulation, sampler, fields, STEPS - 2)
    fields.finish(simulation.step)
    simulation, sampler, fields = begin(name, comm, shared_path / "parts", FieldFile(kind), at=5)
    go(simulation, sampler, fields, STEPS - 5)
    fields.finish(simulation.step)
    require_alike(shared_path, kind)


@pytest.mark.parametrize("kind", ["vtkhdf", "zarr"])
def test_other_ranks_may_go_on(kind, comm, shared_path):
    for place in ("whole", "parts"):
        (shared_path / place).mkdir(exist_ok=True)
    run("plane", comm, shared_path / "whole", FieldFile(kind))
    simulation, sampler, fields = begin("plane", comm, shared_path / "parts", FieldFile(kind))
    go(simulation, sampler, fields, 7)
    fields.finish(simulation.step)
    if comm.rank == 0:
        simulation, sampler, fields = begin(
            "plane", None, shared_path / "parts", FieldFile(kind), at=6
        )
        go(simulation, sampler, fields, 3)
        fields.finish(simulation.step)
    comm.Barrier()
    simulation, sampler, fields = begin("plane", comm, shared_path / "parts", FieldFile(kind), at=8)
    go(simulation, sampler, fields, STEPS - 8)
    fields.finish(simulation.step)
    require_alike(shared_path, kind)
    assert not (shared_path / "parts" / ".fields").exists()


def require_alike(folder, kind):
    with Fields(folder / "whole" / f"fields.{kind}") as one, Fields(folder / "parts" / f"fields.{kind}") as other:  # fmt: skip
        np.testing.assert_array_equal(one.steps, other.steps)
        np.testing.assert_array_equal(one.times, other.times)
        for n in range(len(one)):
            for name in one.variables:
                for member in one.members or (None,):
                    np.testing.assert_array_equal(one.state(name, n, member), other.state(name, n, member))  # fmt: skip


def test_members_and_times_can_be_chosen(comm, shared_path):
    settings = FieldFile("zarr", every=2 * EVERY, members=[3, 1])
    simulation, states, _ = run("ensemble", comm, shared_path, settings)
    with Fields(shared_path / "fields.zarr") as fields:
        assert fields.members == (1, 3)
        np.testing.assert_array_equal(fields.steps, [0, 4, 8, 12])
        for member in (1, 3):
            if simulation.share.begin <= member < simulation.share.end:
                np.testing.assert_array_equal(
                    fields.state("u", 2, member, own(simulation)),
                    states[4, member - simulation.share.begin, 0],
                )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (FieldFile(every=3), "fields.every must be a multiple of the 2 steps"),
        (FieldFile(interval=3e-4), "fields.interval must be a multiple of the time between snapshots, 0.0002"),
        (FieldFile(variables=["u", "T"]), r"fields.variables must name variables of Burgers here, u, v, vorticity, got 'T'"),
        (FieldFile(members=[0]), "fields.members must be numbers of an ensemble of 0 members, got 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_told(settings, message, comm, shared_path):
    with pytest.raises(CaseError, match=message):
        begin("plane", comm, shared_path, settings)
