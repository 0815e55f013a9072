import json

import pytest
from helpers.processes import output_of

import solver
import solver._occa as _occa


@pytest.mark.parametrize("name", ["Metal", "", "CUDA:x", "CUDA:0:1:2", "Serial:-1"])
def test_an_unknown_mode_is_an_error(name):
    with pytest.raises(
        solver.DeviceError, match="device must be auto, cpu, gpu or one of Serial, OpenMP"
    ):
        solver.Device.open(name)


def test_a_mode_that_is_not_built_in_is_an_error(monkeypatch):
    monkeypatch.setattr(_occa, "modes_built", lambda: ["Serial"])
    with pytest.raises(solver.DeviceError, match="HIP must be built in, this build has Serial"):
        solver.Device.open("HIP")


@pytest.mark.parametrize("mode", ["CUDA", "HIP", "OpenCL"])
def test_a_mode_without_a_device_is_an_error(mode):
    if mode in solver.modes_present():
        pytest.skip(f"mode {mode} is present")
    with pytest.raises(solver.DeviceError, match=mode):
        solver.Device.open(mode)


def test_occa_s_silent_fallback_to_serial_is_an_error(kernel_cache, capfd):
    solver.Device.open("Serial")
    with pytest.raises(solver.DeviceError, match="Nowhere was asked for, OCCA gave Serial"):
        _occa.Device("Nowhere", 0, json.dumps({"mode": "Nowhere"}))


def test_lower_case_names_open_the_mode():
    assert solver.Device.open("serial").mode == "Serial"
    assert solver.Device.open("openmp").mode == "OpenMP"


def test_auto_takes_the_environment_s_choice(monkeypatch):
    monkeypatch.setenv("INSITU_DEVICE", "Serial")
    assert solver.Device.open().mode == "Serial"
    monkeypatch.delenv("INSITU_DEVICE")
    assert solver.Device.open("auto").mode == next(
        mode for mode in ("CUDA", "HIP", "OpenMP") if mode in solver.modes_present()
    )


def test_cpu_and_gpu_are_the_best_modes_of_their_kind():
    assert solver.Device.open("cpu").mode == solver.Device.open("CPU").mode == "OpenMP"
    if not {"CUDA", "HIP"} & set(solver.modes_present()):
        message = "device gpu needs one of the modes CUDA, HIP, none has a device on this machine"
        with pytest.raises(solver.DeviceError, match=message):
            solver.Device.open("gpu")


def test_a_host_device_has_no_native_stream(host_device):
    with pytest.raises(solver.DeviceError, match="native stream exists in modes CUDA and HIP"):
        _ = host_device.stream
    with pytest.raises(solver.DeviceError, match="no native streams"), host_device.launch_on(1):
        pass


def test_a_tag_orders_and_times(device):
    first = device.tag()
    second = device.tag()
    second.wait()
    assert 0 <= first.seconds_until(second) < 10
    assert second.seconds_until(first) <= 0


WITHOUT_DRIVERS = """
import ctypes
def absent(*arguments, **keywords):
    raise OSError("no driver")
library, ctypes.CDLL = ctypes.CDLL, absent
import solver
print(*solver.modes_present())
solver.Device.open("Serial").allocate((1,))
"""


@pytest.mark.skipif(_occa.occa_origin == "site", reason="a site's OCCA may link its drivers")
def test_the_package_loads_without_any_driver():
    assert output_of(WITHOUT_DRIVERS).split() == ["Serial", "OpenMP"]
