"""What mode CUDA asks of the driver, seen by a mock that logs every call; nvcc compiles."""

import json
import shutil
import struct

import pytest
from conftest import skip
from helpers.kernels import ECHO
from helpers.mock_cuda import build_driver, run_on_mock

import solver._occa as _occa

SCRIPT = """
import gc, json, threading, weakref
ECHO = {echo!r}
mark("open")
device = solver.Device.open("CUDA:0")
mark("allocate")
longs = device.allocate((2,), "int64"); doubles = device.allocate((2,))
mark("build")
kernel = device.build(ECHO, "echo")
result = {{"own": device.stream.handle, "longs": longs.pointer, "doubles": doubles.pointer}}
result["cuda_stream"] = device.stream.__cuda_stream__()
mark("launch")
kernel(-7, -(2**40), 1.5, -2.25, longs, doubles)
mark("copy_in"); before = device.transfers
doubles.copy_from(np.arange(2.0))
mark("copy_out")
assert doubles.to_host().tolist() == [0.0, 1.0]
mark("copy_within")
other = device.allocate((2,))
mark("copy_within_now"); other.copy_from(doubles); mark("after_copies")
result["moved"] = [device.transfers[key] - before[key] for key in sorted(before)]
assert np.array(other.to_host()).tolist() == [0.0, 1.0]
for stream in (0xABC0, 1, 2):
    mark(f"external_{{stream}}")
    with device.launch_on(stream):
        assert device.stream.handle == stream
        mark(f"launch_{{stream}}")
        kernel(1, 2, 3.0, 4.0, longs, doubles)
        mark(f"finish_{{stream}}")
        device.finish()
        mark(f"leave_{{stream}}")
    mark(f"left_{{stream}}")
    assert device.stream.handle == result["own"]
class Torch: cuda_stream = 0xAB10
class CuPy: ptr = 0xAB20
class Protocol:
    def __cuda_stream__(self): return (0, 0xAB30)
for stream in (Torch(), CuPy(), Protocol()):
    with device.launch_on(stream):
        result.setdefault("objects", []).append(device.stream.handle)
mark("thread")
failures = []
def work():
    try:
        kernel(1, 2, 3.0, 4.0, longs, doubles)
        doubles.copy_from(np.ones(2)); doubles.to_host(); device.allocate((3,)); device.finish()
        first = device.tag(); first.wait()
    except BaseException as error:
        failures.append(repr(error))
thread = threading.Thread(target=work); thread.start(); thread.join()
result["failures"] = failures
mark("tags")
with device.launch_on(0xABC0):
    first = device.tag(); second = device.tag()
mark("elapsed")
result["seconds"] = first.seconds_until(second)
mark("interface")
result["interface"] = doubles.__cuda_array_interface__
result["has_host"] = hasattr(doubles, "__array_interface__")
result["empty"] = device.allocate((0,)).__cuda_array_interface__["data"]
mark("dlpack_none"); doubles.__dlpack__()
mark("dlpack_1"); doubles.__dlpack__(stream=1)
mark("dlpack_stream"); doubles.__dlpack__(stream=0xF00, max_version=(1, 0))
mark("dlpack_same"); doubles.__dlpack__(stream=device.stream.handle)
mark("dlpack_minus_1"); doubles.__dlpack__(stream=-1)
mark("dlpack_end")
result["dlpack_device"] = doubles.__dlpack_device__()
for stream in (0, -2):
    try: doubles.__dlpack__(stream=stream)
    except BufferError as error: result.setdefault("refused", []).append(str(error))
refused = result["host_refused"] = []
for attempt in (
    lambda: np.asarray(doubles),
    lambda: np.from_dlpack(doubles),
    lambda: device.wrap(np.ones(2)),
    lambda: doubles.__dlpack__(dl_device=(1, 0)),
):
    try: attempt(); refused.append("accepted")
    except (BufferError, RuntimeError, TypeError, solver.DeviceError) as error:
        refused.append(type(error).__name__)

class Foreign:
    "An array of another library on this device, which records the stream it was asked for."
    def __init__(self, memory): self.memory, self.asked = memory, []
    def __dlpack_device__(self): return self.memory.__dlpack_device__()
    def __dlpack__(self, **given):
        self.asked.append(given.get("stream")); return self.memory.__dlpack__(**given)
foreign = Foreign(doubles)
wrapped = device.wrap(foreign)
result["asked"] = foreign.asked
assert wrapped.pointer == doubles.pointer
mark("wrapped_launch"); kernel(1, 2, 3.0, 4.0, longs, wrapped)
mark("wrapped_copy"); wrapped.copy_from(np.array([5.0, 6.0]))
assert wrapped.to_host().tolist() == [5.0, 6.0]
mark("wrapped_slice"); assert wrapped[1:].to_host().tolist() == [6.0]
alive = weakref.ref(foreign)
del foreign; gc.collect(); assert alive() is not None
mark("wrapped_drop"); del wrapped; gc.collect(); assert alive() is None
mark("wrapped_dropped")
for bad in (
    (1, 2, 3.0, 4.0, longs),
    (1, 2, 3.0, 4.0, doubles, doubles),
    (2**31, 2, 3.0, 4.0, longs, doubles),
):
    mark("refused_launch")
    try: kernel(*bad)
    except solver.ArgumentError as error: result.setdefault("arguments", []).append(str(error))
mark("free"); other.free()
mark("end")
try: solver.Device.open("CUDA:1")
except solver.DeviceError as error: result["absent"] = str(error)
BAD = ("@kernel void bad(double *x) {{ "
       "for (int i = 0; i < 1; ++i; @tile(1, @outer, @inner)) {{ x[i] = missing_name; }} }}")
try: device.build(BAD, "bad")
except solver.KernelBuildError as error: result["compile_error"] = str(error)
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    if "CUDA" not in _occa.modes_built():
        skip("nvcc", "mode CUDA is not built in")
    if shutil.which("nvcc") is None:
        skip("nvcc", "nvcc is not found")
    return build_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="module")
def run(mock, tmp_path_factory):
    status, out, err, log = run_on_mock(
        mock, tmp_path_factory.mktemp("log"), SCRIPT.format(echo=ECHO)
    )
    assert (status, err) == (0, ""), f"exit code {status}\n{out}\n{err}"
    return json.loads(out), log


def pointer(number):
    return f"0x{number:x}"


def of(log, section, name):
    return [call for call in log.sections[section] if call.name == name]


def test_the_primary_context_is_used_and_no_private_one_made(run):
    _, log = run
    assert of(log, "open", "cuDevicePrimaryCtxRetain")
    assert not [call for call in log.calls if call.name == "cuCtxCreate"]


def test_a_launch_is_one_call_on_the_device_s_stream(run):
    result, log = run
    assert log.names("launch") == ["cuLaunchKernel"]
    assert log.sections["launch"][0]["stream"] == pointer(result["own"])
    assert result["cuda_stream"] == [0, result["own"]]


def test_launch_arguments_arrive_with_their_type_and_value(run):
    result, log = run
    call = log.sections["launch"][0]
    expected = [
        (4, struct.pack("<i", -7)),
        (8, struct.pack("<q", -(2**40))),
        (4, struct.pack("<f", 1.5)),
        (8, struct.pack("<d", -2.25)),
        (8, struct.pack("<Q", result["longs"])),
        (8, struct.pack("<Q", result["doubles"])),
    ]
    arrived = [call[f"arg{i}"].split(":") for i in range(6)]
    assert [(int(w), int(v, 16)) for w, v in arrived] == [
        (width, int.from_bytes(data, "little")) for width, data in expected
    ]
    assert "arg6" not in call


@pytest.mark.parametrize(
    ("section", "name"), [("copy_in", "cuMemcpyHtoDAsync"), ("copy_out", "cuMemcpyDtoHAsync")]
)
def test_a_host_copy_is_asynchronous_on_the_stream_then_waited_for(run, section, name):
    result, log = run
    assert log.names(section) == [name, "cuStreamSynchronize"]
    assert {call["stream"] for call in log.sections[section]} == {pointer(result["own"])}


def test_a_copy_on_the_device_is_asynchronous_and_not_waited_for(run):
    result, log = run
    assert log.names("copy_within_now") == ["cuMemcpyDtoDAsync"]
    assert log.sections["copy_within_now"][0]["stream"] == pointer(result["own"])


def test_copies_are_counted_by_direction(run):
    result, _ = run
    keys = ["copies", "device_to_device", "device_to_host", "host_to_device", "synchronizations"]
    assert dict(zip(keys, result["moved"], strict=True)) == {
        "copies": 3,
        "device_to_device": 16,
        "device_to_host": 16,
        "host_to_device": 16,
        "synchronizations": 2,
    }


@pytest.mark.parametrize("stream", [0xABC0, 1, 2])
def test_an_external_stream_is_used_as_given_and_ordered_by_events(run, stream):
    result, log = run
    own, other = pointer(result["own"]), pointer(stream)
    for section, before, after in (
        (f"external_{stream}", own, other),
        (f"leave_{stream}", other, own),
    ):
        record, wait, destroy = log.sections[section]
        assert (record.name, record["stream"]) == ("cuEventRecord", before)
        assert (wait.name, wait["stream"]) == ("cuStreamWaitEvent", after)
        assert wait["event"] == record["event"] == destroy["event"]
    assert [call["stream"] for call in log.sections[f"launch_{stream}"]] == [other]
    assert log.names(f"finish_{stream}") == ["cuStreamSynchronize"]
    assert log.sections[f"finish_{stream}"][0]["stream"] == other


def test_streams_of_others_are_never_destroyed(run):
    _, log = run
    destroyed = {call["stream"] for call in log.calls if call.name == "cuStreamDestroy"}
    created = {call["stream"] for call in log.calls if call.name == "cuStreamCreate"}
    assert destroyed <= created


def test_streams_of_torch_cupy_and_the_protocol_are_understood(run):
    result, _ = run
    assert result["objects"] == [0xAB10, 0xAB20, 0xAB30]


def test_another_python_thread_gets_the_context(run):
    result, log = run
    assert result["failures"] == []
    assert not [call for call in log.calls if "error" in call]
    assert of(log, "thread", "cuLaunchKernel")


def test_tags_are_recorded_on_the_current_stream(run):
    result, log = run
    records = of(log, "tags", "cuEventRecord")
    assert [call["stream"] for call in records[1:3]] == [pointer(0xABC0)] * 2
    assert log.names("elapsed")[0] == "cuEventSynchronize"
    assert result["seconds"] == pytest.approx(1e-3)


def test_the_cuda_array_interface_names_pointer_and_stream(run):
    result, log = run
    assert result["interface"] == {
        "version": 3,
        "shape": [2],
        "typestr": "<f8",
        "strides": [8],
        "data": [result["doubles"], False],
        "stream": result["own"],
    }
    assert result["empty"] == [0, False]
    assert not result["has_host"]
    assert set(log.names("interface")) <= {"cuMemAlloc", "cuMemFree"}


@pytest.mark.parametrize(
    ("section", "stream"), [("dlpack_none", "0x1"), ("dlpack_1", "0x1"), ("dlpack_stream", "0xf00")]
)
def test_an_export_makes_the_consumer_s_stream_wait_and_not_the_host(run, section, stream):
    result, log = run
    record, wait, _ = log.sections[section]
    assert (record.name, record["stream"]) == ("cuEventRecord", pointer(result["own"]))
    assert (wait.name, wait["stream"], wait["event"]) == (
        "cuStreamWaitEvent",
        stream,
        record["event"],
    )
    assert log.names(section) == ["cuEventRecord", "cuStreamWaitEvent", "cuEventDestroy"]


@pytest.mark.parametrize("section", ["dlpack_same", "dlpack_minus_1"])
def test_an_export_on_the_same_stream_or_none_calls_nothing(run, section):
    assert run[1].names(section) == []


def test_ambiguous_streams_are_refused(run):
    result, _ = run
    assert len(result["refused"]) == 2
    assert "stream 0 is not allowed for mode CUDA" in result["refused"][0]
    assert result["dlpack_device"] == [2, 0]


def test_device_memory_never_poses_as_host_memory(run):
    result, _ = run
    assert len(result["host_refused"]) == 4
    assert "accepted" not in result["host_refused"]


def test_a_wrapped_array_is_asked_for_our_stream_used_in_place_and_not_freed(run):
    result, log = run
    assert result["asked"] == [result["own"]]
    call = of(log, "wrapped_launch", "cuLaunchKernel")[0]
    assert int(call["arg5"].split(":")[1], 16) == result["doubles"]
    assert log.names("wrapped_copy")[0] == "cuMemcpyHtoDAsync"
    # Its library may hand the bytes to another stream at once, so the last kernel must be done.
    assert log.names("wrapped_drop") == ["cuStreamSynchronize"]


def test_bad_arguments_never_reach_the_driver(run):
    result, log = run
    assert log.sections["refused_launch"] == []
    assert len(result["arguments"]) == 3
    assert all("kernel 'echo'" in text for text in result["arguments"])


def test_free_gives_the_memory_back(run):
    assert run[1].names("free") == ["cuMemFree"]


def test_an_absent_gpu_is_an_error(run):
    assert "CUDA:1" in run[0]["absent"]


def test_a_compile_error_has_nvcc_s_own_text(run):
    assert 'identifier "missing_name" is undefined' in run[0]["compile_error"]


STAGING = """
device = solver.Device.open("CUDA")
memory = device.allocate((300,))
buffer = device.host_buffer((300,))
buffer[:] = 1.0
mark("copies")
memory.copy_from(buffer)
memory.copy_to(buffer)
mark("drop")
del buffer
mark("end")
"""


def test_buffers_for_staging_are_pinned_as_long_as_they_live(mock, tmp_path):
    status, out, err, log = run_on_mock(mock, tmp_path, STAGING)
    assert (status, out, err) == (0, "", "")
    (pinned,) = of(log, "start", "cuMemHostRegister")
    assert int(pinned["bytes"]) >= 2400
    assert "cuMemHostUnregister" not in log.names("copies")
    assert of(log, "drop", "cuMemHostUnregister")[0]["pointer"] == pinned["pointer"]


ORDERS = """
import itertools, sys
device = solver.Device.open("CUDA")
memory = device.allocate((2,)); kernel = device.build({echo!r}, "echo"); tag = device.tag()
part = memory[1:]; capsule = memory.__dlpack__(stream=-1); stream = device.stream
with device.launch_on(0xABC0):
    kernel(1, 2, 3.0, 4.0, device.allocate((2,), "int64"), memory)
for name in sys.argv[1].split(","):
    del globals()[name]
"""


def test_any_order_of_destruction_is_silent(mock, tmp_path):
    names = ["device", "memory", "kernel", "tag", "part", "capsule", "stream"]
    for order in (names, names[::-1], names[3:] + names[:3], []):
        script = ORDERS.format(echo=ECHO).replace("sys.argv[1]", repr(",".join(order or ["names"])))
        if not order:
            script = script.replace("for name in", "names = 1\nfor name in")
        status, out, err, log = run_on_mock(mock, tmp_path, script)
        assert (status, out, err) == (0, "", "")
        assert not [call for call in log.calls if "error" in call]
