"""The modes and types every test runs in, and one kernel cache for the session."""

import functools
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

import solver

pytest_plugins = ["helpers.ranks"]

settings.register_profile("suite", deadline=None)  # a first example builds kernels
settings.load_profile("suite")

HOST_MODES = ("Serial", "OpenMP")
MODES = (*HOST_MODES, "OpenCL")

# What must not be skipped here: modes, and "nvcc".
REQUIRED = {name for name in os.environ.get("INSITU_REQUIRE_MODES", "").split(",") if name}


def skip(name: str, reason: str) -> None:
    """Skip for want of ``name``, or fail where it is required."""
    if name in REQUIRED:
        pytest.fail(f"{reason}, but INSITU_REQUIRE_MODES names {name}")
    pytest.skip(reason)


@functools.cache
def _open(mode: str) -> solver.Device:
    return solver.Device.open(mode)


def _device(mode: str) -> solver.Device:
    if mode not in solver.modes_present():
        skip(mode, f"mode {mode} is not present")
    return _open(mode)


@pytest.fixture(scope="session", autouse=True)
def kernel_cache(request: pytest.FixtureRequest, shared_folder: str) -> Iterator[str]:
    """A kernel cache, fresh or in $INSITU_TEST_KERNELS, which subprocesses inherit.

    Ranks that share tests out have one each, so that all build at once; where all run the same tests, one builds for all.
    """
    folder = os.environ.get("INSITU_TEST_KERNELS", shared_folder)
    ranks = request.config.pluginmanager.get_plugin("ranks of the session")
    rank = 0 if ranks is None or ranks.are_together(request.session) else ranks.comm.rank
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCCA_CACHE_DIR", os.path.join(folder, f"kernels-{rank}"))
        yield os.environ["OCCA_CACHE_DIR"]


@pytest.fixture(params=MODES)
def device(request: pytest.FixtureRequest) -> solver.Device:
    """Every mode that runs without a GPU; OpenCL stands for memory apart from the host's."""
    return _device(request.param)


@pytest.fixture(params=HOST_MODES)
def host_device(request: pytest.FixtureRequest) -> solver.Device:
    """A device whose memory is the host's."""
    return _device(request.param)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    """The two precisions a solver runs in."""
    return request.param


@pytest.fixture
def gpu_device() -> solver.Device:
    """The GPU of a test marked ``gpu``."""
    return _open(next(mode for mode in ("CUDA", "HIP") if mode in solver.modes_present()))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not {"CUDA", "HIP"} & set(solver.modes_present()):
        skip("HIP" if "HIP" in REQUIRED else "CUDA", "no CUDA or HIP device is present")
