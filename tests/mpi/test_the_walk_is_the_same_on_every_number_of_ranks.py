"""insitu run on several ranks: what it reports, writes and draws is what one rank gives."""

import csv
import json

import matplotlib.image
import numpy as np
import pytest
import yaml
from helpers.archives import arrays

from insitu.config import load_case
from insitu.pipeline import run_case
from insitu.resume import forecast_again
from solver import DivergenceError, ParameterError

pytestmark = pytest.mark.ranks(2, 3, 4)

TWO_PI = 6.283185307179586
LEARNING = {"model": "DMD", "baselines": ["Persistence"]}
SIDES = [
    [{"class_path": "Dirichlet", "init_args": {"value": 1.5}}, "Neumann"],
    ["Periodic", "Periodic"],
]
PLANE = {
    "grid": {"points": [24, 20], "extent": [[0, TWO_PI]] * 2},
    "equation": {"class_path": "Burgers", "init_args": {"nu": 0.1}},
    "time": {"until": 1.0, "cfl": 0.8},
    "sampling": {"interval": 0.05},
    "learning": LEARNING,
}
CHANNEL = {
    "initial": "gaussian",
    "grid": {"points": [20, 16], "extent": [[0, 1], [0, 1]], "boundaries": SIDES},
    "equation": {
        "class_path": "AdvectionDiffusion",
        "init_args": {"diffusivity": [0.05, 0.08], "velocity": [1.0, 0.5]},
    },
    "time": {"until": 0.2},
    "sampling": {"interval": 0.01},
    "learning": LEARNING,
}
ENSEMBLE = {
    "grid": {"points": [32], "extent": [[0, TWO_PI]]},
    "equation": {"class_path": "Burgers", "init_args": {"nu": [0.1, 0.2, 0.4]}},
    "time": {"until": 1.0},
    "sampling": {"interval": 0.05},
    "learning": LEARNING,
}
BOX = PLANE | {
    "grid": {"points": [10, 12, 8], "extent": [[0, TWO_PI]] * 3},
    "ranks": None,
}
LINE = PLANE | {"grid": {"points": [64], "extent": [[0, TWO_PI]]}}
STREAM = {
    "class_path": "insitu.reduction.StreamingPOD",
    "init_args": {"rank": 3, "oversampling": 2},
}
STREAMED = LINE | {
    "sampling": {"interval": 0.05, "window": 9},
    "learning": LEARNING | {"reduction": STREAM},
}
CASES = {
    "line": LINE,
    "streamed": STREAMED,
    "plane": PLANE,
    "channel": CHANNEL,
    "ensemble": ENSEMBLE,
    "box": BOX,
}


def run(comm, folder, case, **overrides):
    file = folder / f"case{comm.rank}.yaml"
    file.write_text(yaml.safe_dump(case))
    loaded, resolved = load_case(file, {"device": "Serial", **overrides})
    return run_case(loaded, resolved, folder / "out", comm)


def series(folder):
    with open(folder / "out" / "series.csv") as file:
        header, *rows = csv.reader(file)
    numbers = [[float(x) if x else 0.0 for n, x in enumerate(row) if n != 2] for row in rows]
    return header, np.array(numbers)


def close(one, other, tolerance):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            if key != "seconds":
                close(one[key], other[key], tolerance)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=tolerance, abs=tolerance)
    else:
        assert one == other


@pytest.mark.parametrize("name", CASES)
def test_report_series_figures_and_forecast(comm, shared_path, name):
    from mpi4py import MPI

    shared = shared_path / "shared"
    alone = shared_path / f"alone{comm.rank}"
    alone.mkdir()
    if comm.rank == 0:
        shared.mkdir()
    comm.Barrier()
    several = run(comm, shared, CASES[name])
    one = run(MPI.COMM_SELF, alone, CASES[name])
    assert len(several.simulation["ranks"]) == comm.size
    for key in ("shape", "points", "steps", "time", "dt", "stability_limit"):
        assert several.simulation[key] == one.simulation[key]
    assert several.sampling == one.sampling
    close(several.learning, one.learning, 1e-7)
    if comm.rank == 0:
        written = json.loads((shared / "out" / "report.json").read_text())
        assert written["status"] == "finished"
        assert written["simulation"] == several.simulation
        (header, numbers), (wanted, expected) = series(shared), series(alone)
        assert header == wanted
        assert np.abs(numbers - expected).max() < 1e-8 * np.abs(expected).max()
        for picture in ("field_evolution", "modes"):
            drawn, truth = (
                matplotlib.image.imread(folder / "out" / "figures" / f"{picture}.png")
                for folder in (shared, alone)
            )
            assert np.mean(np.abs(drawn - truth) > 0.02) < 1e-3
        for folder in (shared, alone):
            forecast_again(folder / "out", 3)
        again, expected = (arrays(folder / "out" / "forecast.npz") for folder in (shared, alone))
        assert np.array_equal(again["shape"], expected["shape"])
        assert np.abs(again["u"] - expected["u"]).max() < 1e-8


def test_a_run_that_diverges_leaves_what_each_rank_has(comm, shared_path):
    case = PLANE | {"time": {"steps": 400, "dt": 2.0, "force": True}, "sampling": {"every": 1}}
    with pytest.raises(DivergenceError, match="the solution must stay finite"):
        run(comm, shared_path, case)
    comm.Barrier()
    out = shared_path / "out"
    assert json.loads((out / "report.json").read_text())["status"] == "diverged"
    with np.load(out / f"snapshots-{comm.rank:04d}.npz") as held:
        assert np.isfinite(held["u"]).all()
        rows = comm.allgather(held["u"].shape)
    assert {count for count, _ in rows} == {rows[0][0]}
    assert sum(size for _, size in rows) == 2 * 24 * 20


def test_ranks_along_each_axis_may_be_given(comm, shared_path):
    report = run(comm, shared_path, PLANE, ranks=[1, comm.size])
    assert {tuple(each["begin"])[0] for each in report.simulation["ranks"]} == {0}
    with pytest.raises(ParameterError, match="must multiply to"):
        run(comm, shared_path, PLANE, ranks=[comm.size, 2])
