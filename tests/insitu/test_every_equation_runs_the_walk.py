"""insitu run takes any equation of the solver: several axes and components, sides, ensembles, steps that vary."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import insitu
import solver
from insitu import cli
from insitu.config import as_yaml, load_case
from insitu.flows import DoubleShearLayer, TaylorGreenVortex

JOBS = Path(__file__).parent.parent.parent / "jobs"
TWO_PI = 6.283185307179586
LEARNING = {"model": "DMD", "baselines": ["Persistence"]}
SIDES = [
    ["Periodic", "Periodic"],
    [{"class_path": "Dirichlet", "init_args": {"value": 1.5}}, "Neumann"],
]
BURGERS_2D = {
    "grid": {"points": [24, 20], "extent": [[0, TWO_PI], [0, TWO_PI]]},
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
        "init_args": {"diffusivity": 0.05, "velocity": [1.0, 0.5]},
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
BOX = BURGERS_2D | {
    "grid": {"points": [10, 12, 8], "extent": [[0, TWO_PI]] * 3},
    "equation": {"class_path": "Burgers", "init_args": {"nu": [0.1, 0.2]}},
}
CASES = {"burgers_2d": BURGERS_2D, "channel": CHANNEL, "ensemble": ENSEMBLE, "box": BOX}


def write(folder, case):
    file = folder / "case.yaml"
    file.write_text(yaml.safe_dump(case))
    return file


def load(file):
    with np.load(file) as stored:
        return dict(stored)


def simulation_of(case, device, **options):
    made, _ = load_case(case)
    dt = None if made.time.cfl else made.sampling.interval
    return solver.Simulation(device, made.grid, made.equation, made.initial, dt, **options), made


@pytest.fixture(scope="module", params=CASES)
def walk(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    file = write(folder, CASES[request.param])
    assert cli.main(["run", str(file), "--output", str(folder / "out")]) == 0
    return request.param, file, folder / "out"


def test_it_ends_with_report_basis_and_figures(walk):
    name, file, out = walk
    report = json.loads((out / "report.json").read_text())
    case, _ = load_case(file)
    shape = {
        "burgers_2d": [2, 24, 20],
        "channel": [1, 20, 16],
        "ensemble": [3, 1, 32],
        "box": [2, 3, 10, 12, 8],
    }[name]
    assert report["status"] == "finished" and report["simulation"]["shape"] == shape
    assert load(out / "basis.npz")["modes"].shape == (3, np.prod(shape))
    assert report["simulation"]["time"] == pytest.approx(case.time.until, abs=1e-14)
    assert report["sampling"]["held"] == round(case.time.until / case.sampling.interval)
    loop = next(stage for stage in report["stages"] if stage["name"] == "time loop")
    assert loop["host_to_device"] == loop["device_to_host"] == 0
    for figure in ("field_evolution", "modes", "mode_0_forecast"):
        assert (out / "figures" / f"{figure}.png").stat().st_size > 5000


def test_the_saved_model_gives_states_of_that_shape(walk):
    _, _, out = walk
    assert cli.main(["forecast", str(out), "--steps", "4"]) == 0
    forecast = load(out / "forecast.npz")
    u = forecast["u"].reshape(-1, *forecast["shape"])
    assert len(u) == 4 and np.isfinite(u).all()


def test_the_resolved_case_is_the_case(walk, tmp_path):
    _, file, out = walk
    _, plain = load_case(file)
    again, same = load_case(out / "case.yaml")
    assert same == plain
    assert load_case(write(tmp_path, yaml.safe_load(as_yaml(plain))))[1] == plain
    assert again.grid == load_case(file)[0].grid


def test_the_configuration_that_is_printed_is_a_case(walk, tmp_path, capsys):
    _, file, _ = walk
    assert cli.main(["run", str(file), "--print_config"]) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    assert load_case(printed)[1] == load_case(file)[1]


def test_the_snapshots_are_the_solvers_states_at_equal_times(tmp_path):
    file = write(tmp_path, CHANNEL)
    cli.main(["run", str(file), "--output", str(tmp_path), "--learning.reduction.rank=40"])
    saved = load(tmp_path / "snapshots.npz")  # the rank is refused, so the run ends early
    device = solver.Device.open("auto")
    simulation, _ = simulation_of(file, device)
    assert saved["time"] == pytest.approx(0.01 * np.arange(1, 21), abs=1e-14)
    assert tuple(saved["shape"]) == simulation.u.shape and saved["y"].shape == (16,)
    for time, u in zip(saved["time"], saved["u"], strict=True):
        simulation.advance(until=float(time))
        assert u.reshape(simulation.u.shape) == pytest.approx(simulation.u.to_host(), abs=3e-4)


def test_members_share_one_basis_and_differ(tmp_path):
    report = insitu.run(write(tmp_path, ENSEMBLE), output=tmp_path)
    modes = load(tmp_path / "basis.npz")["modes"].reshape(3, 3, 32)
    assert np.abs(modes[:, 0] - modes[:, 2]).max() > 1e-3
    assert np.abs(np.einsum("amx,bmx->ab", modes, modes) - np.eye(3)).max() < 1e-12
    assert report.simulation["shape"] == [3, 1, 32]


def test_members_without_parameters_of_their_own_start_alike(tmp_path):
    case = ENSEMBLE | {
        "equation": {"class_path": "Burgers", "init_args": {"nu": 0.1}},
        "members": 2,
    }
    insitu.run(write(tmp_path, case), output=tmp_path)
    modes = load(tmp_path / "basis.npz")["modes"].reshape(3, 2, 32)
    assert modes[:, 0] == pytest.approx(modes[:, 1], abs=1e-13)


def test_method_and_cfl_reach_the_solver(tmp_path):
    file = write(tmp_path, BURGERS_2D)
    plain = insitu.run(file, output=tmp_path / "a")
    half = insitu.run(file, {"time.cfl": 0.1, "time.method": "rk4"}, output=tmp_path / "b")
    assert half.simulation["steps"] > plain.simulation["steps"]
    assert half.case["time"]["method"] == "rk4"


def test_a_run_starts_from_a_function_named_in_the_case(tmp_path):
    shear = {"class_path": "insitu.flows.DoubleShearLayer", "init_args": {"sharpness": 5.0}}
    grid = {"points": [24, 20], "extent": [[0, 1], [0, 1]]}
    file = write(tmp_path, CASES["burgers_2d"] | {"initial": shear, "grid": grid})
    made, plain = load_case(file, {"initial.sharpness": 8.0})
    assert plain["initial"]["init_args"] == {"sharpness": 8.0, "perturbation": 0.05}
    x, y = made.grid.coordinates()
    assert made.initial(x, y)[0] == pytest.approx(
        np.tanh(8 * np.where(y <= 0.5, y - 0.25, 0.75 - y))
    )
    short = {"time.until": 0.2, "sampling.interval": 0.01}
    report = insitu.run(file, short, output=tmp_path / "out")
    again = insitu.run(tmp_path / "out" / "case.yaml", output=tmp_path / "again")
    assert again.learning == report.learning and again.case == report.case


def test_flows_have_no_divergence():
    x = np.arange(32) * (2 * np.pi / 32)
    u = TaylorGreenVortex()(*np.meshgrid(x, x, x, indexing="ij"))
    slopes = [np.roll(u[a], -1, a) - np.roll(u[a], 1, a) for a in range(3)]
    assert np.abs(sum(slopes)).max() < 1e-14 and np.abs(slopes[0]).max() > 0.1
    with pytest.raises(solver.ParameterError, match="sharpness must be positive, got 0"):
        DoubleShearLayer(sharpness=0.0)


@pytest.mark.parametrize(
    "name", ["burgers", "burgers_2d", "advection_diffusion", "ensemble", "shear_layer"]
)
def test_the_shipped_cases_load(name):
    case, plain = load_case(JOBS / f"{name}.yaml")
    assert isinstance(case.equation, solver.Equation) and plain["time"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--sampling.interval=null"], "time.cfl need sampling.interval, got every 1 steps"),
        (["--sampling.interval=null", "--sampling.every=3"], "got every 3 steps"),
        (["--sampling.every=3"], "sampling needs every or interval, got 3 and 0.05"),
        (["--sampling.interval=0"], "sampling.interval must be a positive time, got 0"),
        (["--time.until=null", "--time.steps=9"], "needs time.until, got steps alone"),
        (["--time.dt=0.01"], "given instead of dt, got cfl 0.8 and dt 0.01"),
        (["--time.cfl=null", "--time.dt=0.003"], "must be a multiple of time.dt = 0.003, got 0.05"),
        (["--time.cfl=2"], "time cfl must be a fraction"),
        (["--time.method=leapfrog"], "time method must be one of euler"),
        (["--members=3", "--equation.nu=[0.1,0.2]"], "one number for each of 3 members, got 2"),
        (["--initial=waves"], "initial must be one of gaussian, sin, a function"),
        (["--initial={class_path: insitu.flows.DoubleShearLayer, init_args: {sharpness: -1}}"], "sharpness must be positive"),
        (["--members=0"], "members must be 1 or more, got 0"),
        (["--equation.nu=[a]"], "equation.nu must be float, got a"),
        (["--equation.viscosity=1"], "equation must have parameters of solver.Burgers, got viscosity"),
        (["--equation=solver.Heat"], "has no attribute 'Heat'"),
        (["--equation=solver.Equation"], "Equation"),
        (["--equation.scheme=conservative"], "takes one periodic axis, got 2 axes"),
        (["--grid.boundaries=[[Dirichlet,Dirichlet]]"], "one (low, high) pair of boundaries for each of 2 axes"),
        (["--grid.boundaries=[[Dirichle,Neumann]]"], "grid.boundaries must name a known class"),
        (["--grid.boundaries=[[Periodic,Neumann],[Periodic,Periodic]]"], "contradict each other"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_code_2(flags, sentence, tmp_path, capsys):
    file = write(tmp_path, BURGERS_2D)
    assert cli.main(["run", str(file), "--output", str(tmp_path / "out"), *flags]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("insitu: error: ") and sentence in error and "\n" not in error


def test_a_run_that_diverges_between_output_times_keeps_finite_snapshots(tmp_path):
    case = CHANNEL | {
        "time": {"until": 100.0, "dt": 0.05, "force": True},
        "sampling": {"interval": 0.2},
    }
    file = write(tmp_path, case)
    assert cli.main(["run", str(file), "--output", str(tmp_path)]) == 3
    saved = load(tmp_path / "snapshots.npz")
    assert len(saved["u"]) > 1 and np.isfinite(saved["u"]).all()
