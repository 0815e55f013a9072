"""`insitu.InSitu` learns from an application's own arrays what `insitu.run` learns from the solver's, and copies no more."""

import gc
import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.applications import CASE, LIGHT, QUICK, MiniApp

import insitu
from insitu import InSitu
from solver import Device, DivergenceError, Field, Grid, MemoryInUseError, Neumann


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    insitu.run(CASE, QUICK, folder)
    return folder


@pytest.fixture
def coupling(tmp_path):
    return InSitu(CASE, QUICK, tmp_path / "out")


@pytest.fixture
def light(tmp_path):
    return InSitu(CASE, LIGHT, tmp_path / "out")


def follow(coupling, application, steps):
    due = 1
    for step in range(1, steps + 1):
        application.step()
        if step >= due:
            due = coupling.step(step * application.dt, step)


def test_modes_and_forecast_are_those_of_the_command(coupling, reference):
    application = MiniApp(coupling)
    coupling.register("u", application.u, ghost=1)
    follow(coupling, application, QUICK["time.steps"])
    report = coupling.finish()
    assert report.status == "finished"
    own, its = np.load(coupling.folder / "basis.npz"), np.load(reference / "basis.npz")
    assert all(np.array_equal(own[name], its[name]) for name in its)
    assert (coupling.folder / "series.csv").read_text() == (reference / "series.csv").read_text()
    told = json.loads((reference / "report.json").read_text())
    for split, numbers in told["learning"].items():
        for model, its in numbers["models"].items():
            assert report.learning[split]["models"][model]["field_error"] == its["field_error"]
    loop = next(stage for stage in report.stages if stage["name"] == "time loop")
    assert (loop["copies"], loop["through_host"], loop["steps"]) == (0, 0, QUICK["time.steps"])
    with pytest.raises(insitu.CaseError, match="the run has ended"):
        coupling.step(1.0)


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_fields_are_seen_in_place_and_let_go(coupling, make):
    u = np.zeros(258)
    coupling.register("u", make(u), ghost=1)
    coupling.step(0.1)
    [view] = coupling._fields.views
    assert view.data_ptr() == u.ctypes.data + 8
    u[7] = 3.0
    assert view[0, 6] == 3.0
    kept = weakref.ref(u)
    del u, view
    coupling.fail(RuntimeError("enough"))
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("kind", ["memory", "field"])
def test_memory_and_fields_of_the_solver_may_be_registered(kind, tmp_path):
    device = Device.open("Serial")
    memory = device.allocate((256,))
    if kind == "field":
        field = Field(device, Grid(points=(256,), extent=((0.0, 1.0),)))
        memory = field.memory
    memory.copy_from(np.zeros(memory.shape))
    coupling = InSitu(CASE, QUICK, tmp_path)
    coupling.register("u", field if kind == "field" else memory)
    coupling.step(0.1)
    coupling.step(0.2)
    coupling.fail(RuntimeError("enough"))


@pytest.mark.parametrize("move", ["data", "set_", "resize_"])
def test_a_tensor_whose_values_went_elsewhere_is_refused(coupling, move):
    u = torch.zeros(256, dtype=torch.float64)
    coupling.register("u", u)
    coupling.step(0.1)
    if move == "data":
        u.data = torch.ones(256, dtype=torch.float64)
    elif move == "set_":
        u.set_(torch.ones(256, dtype=torch.float64))
    else:
        u.resize_(1 << 20)
    with pytest.raises(MemoryInUseError, match="that of u was freed or moved before step 2"):
        coupling.step(0.2)
    coupling.fail(RuntimeError("enough"))


def test_steps_between_samples_need_not_be_told(tmp_path):
    coupling = InSitu(CASE, QUICK | {"sampling.every": 7}, tmp_path)
    application = MiniApp(coupling)
    coupling.register("u", application.u, ghost=1)
    told = []
    due = 1
    for step in range(1, 50):
        application.step()
        if step >= due:
            due = coupling.step(step * application.dt, step)
            told.append(step)
    assert told == [1, 7, 14, 21, 28, 35, 42, 49]
    assert [moment.step for moment in coupling._recording.sampler.moments] == told[1:]


def test_several_fields_are_one_state(tmp_path):
    """A vector with ghosts beside a scalar without: rows hold both, forecasts come back in the shape of each."""
    case = tmp_path / "case.yaml"
    case.write_text("sampling: {window: 40}\nlearning: {reduction: {init_args: {rank: 2}}}\n")
    coupling = InSitu(case, LIGHT, tmp_path / "out")
    coupling.declare(Grid((6, 5), ((0.0, 1.0), (0.0, 1.0)), ((Neumann(), Neumann()),) * 2))
    velocity, pressure = np.full((2, 8, 9), np.nan), np.empty((6, 5))
    coupling.register("velocity", velocity, components=2, ghost=(1, 2))
    coupling.register("pressure", pressure)
    x, y = np.meshgrid(np.arange(6.0), np.arange(5.0), indexing="ij")
    rows = []
    for step in range(40):
        velocity[0, 1:-1, 2:-2], velocity[1, 1:-1, 2:-2] = np.sin(x + 0.1 * step), np.cos(y)
        pressure[:] = np.cos(x - 0.1 * step)
        rows.append(np.concatenate([velocity[:, 1:-1, 2:-2].ravel(), pressure.ravel()]))
        coupling.step(0.1 * (step + 1))
    assert np.array_equal(coupling._recording.sampler.snapshots.numpy(), rows)
    coupling.learn()
    whole = coupling.forecast(3)
    assert torch.equal(coupling.forecast(3, "velocity"), whole[:2])
    assert torch.equal(coupling.forecast(3, "pressure"), whole[2:])
    assert whole.shape == (3, 6, 5)


def test_a_forecast_is_the_models_from_the_newest_snapshot(light):
    application = MiniApp(light)
    light.register("u", application.u, ghost=1)
    follow(light, application, LIGHT["time.steps"])
    result = light.learn()["published"]
    model = next(iter(result.forecasts.values())).model
    rolled = model.forecast(result.coefficients[-model.history :], 5)
    lifted = result.basis.inverse_transform(rolled)
    assert torch.equal(light.forecast(5), lifted[-1:].reshape(1, -1))
    assert torch.equal(light.coefficients(), result.coefficients[-1])


def test_results_during_the_run_do_not_end_it(light):
    application = MiniApp(light)
    light.register("u", application.u, ghost=1)
    follow(light, application, 60)
    early = light.learn()["published"].train
    for step in range(61, 81):
        application.step()
        light.step(step * application.dt)
    assert light.learn()["published"].train == early + 10


def wrong_size(coupling):
    coupling.register("u", np.zeros(3))


def components_last(coupling):
    coupling.register("u", np.zeros((256, 2)), components=2)


def other_ghosts(coupling):
    coupling.register("u", np.zeros(254), ghost=-1)


def no_array(coupling):
    coupling.register("u", [0.0] * 256)


def wrong_type(coupling):
    coupling.register("u", np.zeros(256, np.int64))


def other_grid(coupling):
    coupling.declare(Grid((16,), ((0.0, 1.0),)))


def half_the_grid(coupling):
    coupling.declare(points=(128,))
    coupling.register("u", np.zeros(128))


def twice(coupling):
    coupling.register("u", np.zeros(256))
    coupling.register("u", np.zeros(256))


def two_types(coupling):
    coupling.register("u", np.zeros(256))
    coupling.register("v", np.zeros(256, np.float32))


def backwards(coupling):
    coupling.register("u", np.zeros(256))
    coupling.step(0.2, 2)
    coupling.step(0.1, 1)


def nothing(coupling):
    coupling.step(0.1)


def too_early(coupling):
    coupling.register("u", np.zeros(256))
    coupling.forecast(1)


def unknown_key(coupling):
    coupling.value("grid.spacing")


def test_a_field_that_does_not_fit_is_what_a_with_statement_tells(coupling):
    with pytest.raises(insitu.CaseError, match="field u must hold"), coupling:
        wrong_size(coupling)
    assert not coupling.is_open


def test_a_field_of_exchanged_axes_is_not_taken_for_its_block(tmp_path):
    case = tmp_path / "case.yaml"
    case.write_text("grid: {points: [6, 4], extent: [[0, 1], [0, 1]]}\nsampling: {window: 5}\n")
    coupling = insitu.InSitu(case, output=tmp_path / "out")
    with pytest.raises(insitu.CaseError, match=r"got float64 of shape \(4, 6\)"):
        coupling.register("u", np.zeros((4, 6)))
    for name, shape in (("a", 24), ("b", (6, 4)), ("c", (1, 6, 4)), ("d", (1, 24))):
        coupling.register(name, np.zeros(shape))
    coupling.register("e", np.zeros((2, 24)), components=2)
    assert coupling._fields.components == 6


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (wrong_size, "field u must hold 1 x 256 float32 or float64 values"),
        (components_last, r"in this order\), got float64 of shape \(256, 2\)"),
        (other_ghosts, "0 ghosts or more along each of 1 axes, got 1 and -1"),
        (no_array, "seen in place, got list"),
        (wrong_type, "got int64"),
        (other_grid, "the application's grid must be the case's"),
        (half_the_grid, "must cover the 256 points of the grid, got 128"),
        (twice, "registered once, got u again"),
        (two_types, "must have one type, got float32 for v after float64"),
        (backwards, "told in order, got 1 after 2"),
        (nothing, "nothing is registered"),
        (too_early, "nothing has been learnt"),
        (unknown_key, "must have a key grid.spacing"),
    ],
)
def test_wrong_use_is_one_sentence(coupling, wrong, text):
    with pytest.raises(insitu.CaseError, match=text):
        wrong(coupling)


@pytest.mark.parametrize(
    "flags", [{"takeover": {"model": {}}}, {"members": 3}], ids=["takeover", "members"]
)
def test_what_needs_the_own_solver_is_refused(tmp_path, flags):
    with pytest.raises(insitu.CaseError):
        InSitu(CASE, flags, tmp_path)


def test_a_window_is_needed_where_no_length_is_known(tmp_path):
    case = tmp_path / "case.yaml"
    case.write_text("grid: {points: [8], extent: [[0, 1]]}\n")
    coupling = InSitu(case, None, tmp_path / "out")
    coupling.register("u", np.zeros(8))
    with pytest.raises(insitu.CaseError, match=r"give sampling\.window"):
        coupling.step(0.1)


def test_unequal_steps_need_an_interval(light, tmp_path):
    u = np.random.default_rng(0).normal(size=256)
    light.register("u", u)
    for n in range(20):
        light.step(n + 0.3 * (n % 2))
    with pytest.raises(insitu.CaseError, match="equally spaced"):
        light.learn()
    interval = {"sampling.interval": 0.5, "sampling.every": "null", "time.steps": 4000}
    other = InSitu(CASE, LIGHT | interval, tmp_path / "interval")
    other.register("u", u)
    for time in (0.2, 0.5, 0.6, 0.9, 1.0):
        other.step(time)
    assert [moment.time for moment in other._recording.sampler.moments] == [0.5, 1.0]
    with pytest.raises(insitu.CaseError, match=r"due every 0.5, step 6 went from before t = 1.5"):
        other.step(1.7)


def test_what_is_not_finite_is_named(light):
    u = np.zeros(256)
    light.register("u", u)
    for step in range(1, 30):
        u[3] = np.nan if step > 20 else step
        light.step(0.1 * step)
    with pytest.raises(DivergenceError, match="not at step 21"):
        light.finish()
    assert light.report.status == "diverged"
    assert np.load(light.folder / "snapshots.npz")["u"].shape == (29, 256)


def test_an_error_of_the_application_marks_the_run(tmp_path):
    with pytest.raises(ZeroDivisionError), InSitu(CASE, QUICK, tmp_path) as coupling:
        coupling.register("u", np.zeros(256))
        coupling.step(0.1)
        raise ZeroDivisionError("in the application")
    told = json.loads(Path(tmp_path / "report.json").read_text())
    assert (told["status"], told["error"]) == ("failed", "in the application")


def test_a_closure_answers_in_the_applications_memory(tmp_path):
    """The target gets the model's field of the present state, ghosts left alone, after every so many steps."""
    closure = {"closure": {"model": {"class_path": "torch.nn.Hardtanh"}, "every": 2}}
    coupling = InSitu(CASE, QUICK | closure, tmp_path)
    u, forcing = np.zeros(258), np.full(260, -7.0)
    coupling.register("u", u, ghost=1)
    coupling.register_target("forcing", forcing, ghost=2)
    u[1:-1] = np.linspace(-3, 3, 256)
    coupling.update()
    assert np.array_equal(forcing[2:-2], np.clip(u[1:-1], -1, 1))
    assert (forcing[[0, 1, -2, -1]] == -7.0).all()
    u[1:-1] = 0.25
    coupling.step(0.1)
    assert forcing[2] == -1.0
    coupling.step(0.2)
    assert (forcing[2:-2] == 0.25).all()
    coupling.fail(RuntimeError("enough"))
    assert coupling.report.driver["closure"]["evaluations"] == 2


def test_a_closure_needs_its_target(tmp_path):
    closure = {"closure": {"model": {"class_path": "torch.nn.Hardtanh"}}}
    coupling = InSitu(CASE, QUICK | closure, tmp_path)
    coupling.register("u", np.zeros(256))
    with pytest.raises(insitu.CaseError, match="got a closure without a target"):
        coupling.step(0.1)


def test_training_beside_an_application_is_that_of_the_command(tmp_path):
    """Interleaved training sees the same samples at the same steps, so weights and losses have the same bits."""
    flags = {"sampling.window": 40}
    model = {
        "class_path": "insitu.surrogates.Surrogate",
        "init_args": {
            "core": {
                "class_path": "insitu.surrogates.ResidualCNN",
                "init_args": {"axes": 1, "inputs": 1, "outputs": 1, "width": 4},
            },
            "components": 1,
        },
    }
    online = {"online": {"model": model, "batch_size": 4, "warm_up": 4, "every": 5, "steps": 2}}
    known = insitu.run(CASE, LIGHT | flags | online, tmp_path / "command")
    coupling = InSitu(CASE, LIGHT | flags | online, tmp_path / "application")
    application = MiniApp(coupling)
    coupling.register("u", application.u, ghost=1)
    follow(coupling, application, LIGHT["time.steps"])
    found = coupling.finish()
    assert found.online["steps"] == known.online["steps"] > 10
    assert found.online["loss"] == known.online["loss"]
    one, other = (
        torch.load(tmp_path / name / "online.pt", weights_only=True)
        for name in ("command", "application")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)
