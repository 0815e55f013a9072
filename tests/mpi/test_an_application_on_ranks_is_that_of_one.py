"""Blocks on several ranks give an application the modes and forecasts of one, however its grid is cut; errors reach all ranks."""

import numpy as np
import pytest
import torch
from helpers.applications import CASE, LIGHT, MiniApp
from torch import nn

import insitu
from insitu import InSitu
from insitu.closure import ClosureSettings
from solver import DivergenceError, Grid


def learnt(folder, comm):
    coupling = InSitu(CASE, LIGHT, folder, comm)
    application = MiniApp(coupling, comm)
    coupling.declare(begin=(application.begin,), points=(application.points,))
    coupling.register("u", application.u, ghost=1)
    for step in range(1, LIGHT["time.steps"] + 1):
        application.step()
        coupling.step(step * application.dt)
    result = coupling.learn()["published"]
    return result.basis.modes_.numpy(), coupling.forecast(20).numpy(), coupling


def test_modes_and_forecast_are_those_of_one_rank(comm, shared_path, tmp_path):
    modes, ahead, coupling = learnt(shared_path / "ranks", comm)
    whole_modes = np.concatenate(comm.allgather(modes), axis=1)
    whole_ahead = np.concatenate(comm.allgather(ahead), axis=1)
    coupling.fail(RuntimeError("enough"))
    alone_modes, alone_ahead, alone = learnt(tmp_path / "alone", None)
    alone.fail(RuntimeError("enough"))
    assert whole_modes.shape == alone_modes.shape == (3, 256)
    assert np.abs(whole_modes - alone_modes).max() < 1e-12
    assert np.abs(whole_ahead - alone_ahead).max() < 1e-9


@pytest.fixture
def coupling(comm, shared_path):
    case = shared_path / "case.yaml"
    if comm.rank == 0:
        case.write_text("sampling: {window: 20}\nlearning: {model: DMD}\n")
    comm.Barrier()
    return InSitu(case, None, shared_path / "out", comm)


def test_an_array_that_one_rank_cannot_show_is_an_error_on_all(comm, coupling):
    grid = Grid((4 * comm.size,), ((0.0, 1.0),))
    coupling.declare(grid, (4 * comm.rank,), (4,))
    array = np.zeros(4) if comm.rank < comm.size - 1 else "no array"
    with pytest.raises((AttributeError, insitu.CaseError)):
        coupling.register("u", array)
    coupling.register("u", np.zeros(4))


@pytest.mark.ranks(2, 3, 4)
def test_a_field_has_one_type_on_all_ranks(comm, coupling):
    coupling.declare(Grid((4 * comm.size,), ((0.0, 1.0),)), (4 * comm.rank,), (4,))
    with pytest.raises(insitu.CaseError, match="one type on every rank, got float64, .*float32"):
        coupling.register("u", np.zeros(4, np.float32 if comm.rank else np.float64))
    coupling.register("u", np.zeros(4))


def test_messages_of_the_application_are_left_alone(comm, coupling):
    """A receive from anyone, of anything, is under way while the learning talks."""
    grid = Grid((4 * comm.size,), ((0.0, 1.0),))
    awaited = comm.irecv()
    coupling.declare(grid, (4 * comm.rank,), (4,))
    coupling.register("u", u := np.zeros(4))
    random = np.random.default_rng(comm.rank)
    for step in range(1, 21):
        u[:] = random.standard_normal(4)
        coupling.step(0.1 * step)
    coupling.learn()
    comm.send(f"from {comm.rank}", (comm.rank + 1) % comm.size, tag=7)
    assert awaited.wait() == f"from {(comm.rank - 1) % comm.size}"


@pytest.mark.ranks(2, 3, 4)
def test_any_cut_will_do_and_each_point_has_one_owner(comm, coupling):
    """Strips of unlike width, highest rank first."""
    widths = [rank + 1 for rank in range(comm.size)]
    begin = sum(widths[comm.rank + 1 :])
    grid = Grid((sum(widths), 3), ((0.0, 1.0), (0.0, 1.0)))
    coupling.declare(grid, (begin, 0), (widths[comm.rank], 3))
    own = np.full((widths[comm.rank], 3), float(comm.rank))
    coupling.register("u", own)
    coupling.step(0.1)
    assert np.array_equal(coupling._recording.sampler.snapshots.numpy()[0], own.ravel())


@pytest.mark.ranks(2, 3, 4)
def test_blocks_that_overlap_are_refused_on_all_ranks(comm, coupling):
    coupling.declare(Grid((4 * comm.size,), ((0.0, 1.0),)), (comm.rank,), (4,))
    with pytest.raises(insitu.CaseError, match="blocks of ranks 0 and 1 that overlap"):
        coupling.register("u", np.zeros(4))


class Upwind(nn.Module):
    """Sees one point to either side of a periodic line."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
        self.layer.double().weight.data = torch.tensor([[[-1.0, 3.0, 0.5]]], dtype=torch.float64)
        self.influence = self.layer

    def forward(self, states):
        return self.layer(states)


def answering(comm, folder, begin, points):
    coupling = InSitu(CASE, {"sampling.window": 20}, folder, comm)
    settings = ClosureSettings(model=Upwind())
    object.__setattr__(coupling.case, "closure", settings)
    coupling.declare(begin=(begin,), points=(points,))
    return coupling


@pytest.mark.ranks(2, 3, 4)
def test_a_closure_sees_its_neighbours(comm, shared_path):
    begin, end = 256 * comm.rank // comm.size, 256 * (comm.rank + 1) // comm.size
    coupling = answering(comm, shared_path / "even", begin, end - begin)
    whole = np.random.default_rng(1).normal(size=256)
    forcing = np.zeros(end - begin)
    coupling.register("u", whole[begin:end].copy())
    coupling.register_target("forcing", forcing)
    coupling.update()
    expected = -np.roll(whole, 1) + 3.0 * whole + 0.5 * np.roll(whole, -1)
    assert np.abs(forcing - expected[begin:end]).max() < 1e-14


@pytest.mark.ranks(2, 3, 4)
def test_a_closure_on_an_unlike_cut_is_refused(comm, shared_path):
    begins = [0, *(256 * rank // comm.size + 1 for rank in range(1, comm.size)), 256]
    begin, end = begins[comm.rank : comm.rank + 2]
    coupling = answering(comm, shared_path / "odd", begin, end - begin)
    coupling.register("u", np.zeros(end - begin))
    coupling.register_target("forcing", np.zeros(end - begin))
    with pytest.raises(insitu.CaseError, match=r"needs blocks as solver\.Decomposition cuts them"):
        coupling.update()


@pytest.mark.ranks(2, 3, 4)
def test_what_fails_on_one_rank_is_told_on_all_with_its_origin(comm, coupling):
    coupling.declare(Grid((4 * comm.size,), ((0.0, 1.0),)), (4 * comm.rank,), (4,))
    u = np.zeros(4)
    coupling.register("u", u)
    coupling.step(0.1)
    if comm.rank == comm.size - 1:
        u[2] = np.nan
    coupling.step(0.2)
    with pytest.raises(DivergenceError, match="not at step 2") as caught:
        coupling.learn()
    if comm.rank == 0:
        [note] = caught.value.__notes__
        assert note.startswith(f"raised on rank {comm.size - 1}:") and "require_finite" in note
