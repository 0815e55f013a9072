"""With a StreamingPOD the basis is that of all snapshots of the run, though the device holds a window of them."""

import numpy as np
import pytest
import torch
import yaml

import insitu
from insitu import cli
from insitu.config import CaseError
from insitu.reduction import StreamingPOD

TWO_PI = 6.283185307179586
EVEN = {"time": {"until": 0.7, "dt": 0.002}, "sampling": {"every": 5}}
CONTROLLED = {"time": {"until": 0.7, "cfl": 0.8}, "sampling": {"interval": 0.01}}


def case(timing, window, **rules):
    return {
        "device": "Serial",
        "grid": {"points": [64], "extent": [[0, TWO_PI]]},
        "equation": {"class_path": "Burgers", "init_args": {"nu": 0.02}},
        "time": timing["time"],
        "sampling": timing["sampling"] | {"window": window},
        "learning": {
            "reduction": {
                "class_path": "insitu.reduction.StreamingPOD",
                "init_args": {"rank": 3, **rules},
            },
            "model": "DMD",
            "baselines": ["Persistence"],
        },
    }


def write(folder, content):
    folder.mkdir(exist_ok=True)
    file = folder / "case.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.fixture(scope="module", params=[EVEN, CONTROLLED], ids=["even steps", "cfl"])
def snapshots(request, tmp_path_factory):
    """All seventy snapshots of the run, as a run without a window leaves them, and its timing."""
    held = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "insitu.pipeline.save_field",
            lambda folder, simulation, sampler, ledger: held.append(sampler.snapshots.clone()),
        )
        folder = tmp_path_factory.mktemp("whole")
        insitu.run(write(folder, case(request.param, None)), output=folder / "out")
    assert held[0].shape == (70, 64)
    return request.param, held[0]


def streamed(snapshots, parts, **settings):
    basis = StreamingPOD(rank=3, **settings)
    for part in snapshots[: sum(parts)].split(list(parts)):
        basis.partial_fit(part)
    return basis


@pytest.mark.parametrize(
    ("window", "overwritten", "rules"),
    [(70, [], {}), (20, [20, 20, 10], {}), (14, [14] * 4, {"centred": True})],
)
def test_published_sees_all_and_causal_all_before_the_forecast(
    snapshots, window, overwritten, rules, tmp_path
):
    timing, held = snapshots
    report = insitu.run(write(tmp_path, case(timing, window, **rules)), output=tmp_path / "out")
    assert (report.sampling["taken"], report.sampling["held"]) == (70, window)
    spans = {"published": window, "causal": window // 2}
    for split, span in spans.items():
        basis = streamed(held, [*overwritten, span], **rules)
        told = report.learning[split]
        assert told["basis_snapshots"] == 70 - window + span == basis.n_samples_seen_
        assert told["error_bound"] == pytest.approx(basis.error_bound_ / basis.norm_, rel=1e-9)
        last = held[70 - window + window // 2 :]
        assert told["projection_error"] == pytest.approx(basis.projection_error(last), rel=1e-9)
    with np.load(tmp_path / "out" / "basis.npz") as stored:
        modes = torch.from_numpy(stored["modes"])
    expected = streamed(held, [*overwritten, window], **rules).modes_
    torch.testing.assert_close(modes, expected, rtol=0, atol=1e-12)


def test_the_saved_basis_forecasts_again_and_goes_on(snapshots, tmp_path):
    timing, held = snapshots
    insitu.run(write(tmp_path, case(timing, 20)), output=tmp_path / "out")
    assert cli.main(["forecast", str(tmp_path / "out"), "--steps", "3"]) == 0
    basis = StreamingPOD.load(tmp_path / "out" / "basis.npz")
    assert basis.partial_fit(held[:5]).n_samples_seen_ == 75


def test_an_end_that_is_not_known_beforehand_is_refused(tmp_path):
    content = case(CONTROLLED, 20)
    content["time"] = content["time"] | {"steps": 40}
    with pytest.raises(CaseError, match="must know how many snapshots the run takes"):
        insitu.run(write(tmp_path, content), output=tmp_path / "out")
