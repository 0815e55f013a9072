import numpy as np
import pytest
from helpers.kernels import AXPY, ECHO
from helpers.processes import output_of

import solver

I64 = 2**63 - 1


@pytest.fixture
def axpy(device):
    return device.build(AXPY, "axpy", {"real": "double"})


@pytest.fixture
def pair(device):
    x, y = device.allocate((10,)), device.allocate((10,))
    x.copy_from(np.arange(10.0))
    y.copy_from(np.ones(10))
    return x, y


@pytest.mark.parametrize(
    ("i", "l"),
    [(-7, -(2**40)), (2**31 - 1, I64), (-(2**31), -I64 - 1), (np.int32(3), np.int64(-7))],
)
def test_scalars_arrive_exactly(device, i, l):  # noqa: E741
    longs, doubles = device.allocate((2,), "int64"), device.allocate((2,))
    device.build(ECHO, "echo")(i, l, np.float32(0.1), 1 / 3, longs, doubles)
    assert longs.to_host().tolist() == [i, l]
    assert doubles.to_host().tolist() == [float(np.float32(0.1)), 1 / 3]


def test_a_python_float_reaches_a_float_parameter(device):
    longs, doubles = device.allocate((2,), "int64"), device.allocate((2,))
    device.build(ECHO, "echo")(True, 0, 1.5, 2, longs, doubles)
    assert doubles.to_host().tolist() == [1.5, 2.0]
    assert longs.to_host().tolist() == [1, 0]


@pytest.mark.parametrize("kind", ["int32", "int64", "float32", "float64"])
def test_arrays_of_every_type_are_read_and_written(device, kind):
    spelled = {"int32": "int", "int64": "long", "float32": "float", "float64": "double"}[kind]
    x, y = device.allocate((100,), kind), device.allocate((100,), kind)
    values = np.arange(100).astype(kind) - 50
    x.copy_from(values)
    y.copy_from(np.zeros(100, kind))
    device.build(AXPY, "axpy", {"real": spelled})(100, 3, x, y)
    np.testing.assert_array_equal(y.to_host(), 3 * values)


def test_the_right_arguments_give_the_right_result(axpy, pair):
    x, y = pair
    axpy(10, 2.0, x, y)
    assert y.to_host().tolist() == [1 + 2.0 * i for i in range(10)]
    assert axpy.parameters == [
        ("n", "int32", False, True),
        ("a", "float64", False, True),
        ("x", "float64", True, True),
        ("y", "float64", True, False),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, a, x, y: (n, a, x), r"expected 4 arguments \(n, a, x, y\), got 3"),
        (lambda n, a, x, y: (n, a, x, y, y), "expected 4 arguments.*got 5"),
        (lambda n, a, x, y: (2.0, a, x, y), r"'n': expected an integer \(int32\), got float"),
        (lambda n, a, x, y: ("2", a, x, y), "'n': expected an integer.*got str"),
        (
            lambda n, a, x, y: (2**31, a, x, y),
            "'n': expected a value that fits int32, got 2147483648",
        ),
        (lambda n, a, x, y: (-(2**31) - 1, a, x, y), "'n': expected a value that fits int32"),
        (lambda n, a, x, y: (2**64, a, x, y), "'n': expected a value that fits int32"),
        (lambda n, a, x, y: (n, "a", x, y), r"'a': expected a number \(float64\), got str"),
        (lambda n, a, x, y: (n, None, x, y), "'a': expected a number.*got NoneType"),
        (lambda n, a, x, y: (n, a, 5, y), "'x': expected float64 memory, got int"),
        (lambda n, a, x, y: (n, a, np.ones(10), y), r"'x': expected.*got ndarray.*device\.wrap"),
        (lambda n, a, x, y: (11, a, x, y), "'x': expected at least 11 elements, got .*10"),
    ],
)
def test_a_bad_argument_is_named_and_nothing_is_launched(axpy, pair, change, message):
    x, y = pair
    with pytest.raises(solver.ArgumentError, match="kernel 'axpy'.*" + message):
        axpy(*change(10, 2.0, x, y))
    assert y.to_host().tolist() == [1.0] * 10


def test_keywords_are_refused(axpy, pair):
    with pytest.raises(solver.ArgumentError, match="by position"):
        axpy(10, 2.0, *pair, out=None)


def test_another_dtype_is_refused(device, axpy, pair):
    for other in ("float32", "int64"):
        with pytest.raises(
            solver.ArgumentError, match=f"'x': expected float64 memory, got {other}"
        ):
            axpy(10, 2.0, device.allocate((10,), other), pair[1])


def test_memory_of_another_device_is_refused(device, axpy, pair):
    other = solver.Device.open("Serial").allocate((10,))
    with pytest.raises(solver.ArgumentError, match="'y': expected memory of this kernel's device"):
        axpy(10, 2.0, pair[0], other)


def test_strided_memory_is_refused(device, axpy, pair):
    with pytest.raises(solver.ArgumentError, match="'x': expected contiguous memory, got strided"):
        axpy(5, 2.0, pair[0][::2], pair[1])


def test_read_only_memory_is_for_const_parameters(host_device):
    axpy = host_device.build(AXPY, "axpy", {"real": "double"})
    array = np.arange(4.0)
    array.setflags(write=False)
    frozen, y = host_device.wrap(array), host_device.wrap(np.ones(4))
    axpy(4, 1.0, frozen, y)
    assert y.to_host().tolist() == [1, 2, 3, 4]
    with pytest.raises(solver.ArgumentError, match="'y': expected writable memory, got read-only"):
        axpy(4, 1.0, y, frozen)


def test_freed_memory_is_refused(device, axpy):
    x, y = device.allocate((4,)), device.allocate((4,))
    x.free()
    with pytest.raises(solver.MemoryInUseError, match="has been freed"):
        axpy(4, 1.0, x, y)


def test_a_slice_is_a_contiguous_range_of_its_own(device, axpy):
    x, y = device.allocate((64,)), device.allocate((64,))
    x.copy_from(np.ones(64))
    y.copy_from(np.zeros(64))
    axpy(16, 3.0, x[:16], y[32:48])
    np.testing.assert_array_equal(np.flatnonzero(y.to_host()), np.arange(32, 48))
    with pytest.raises(solver.ArgumentError, match="at least 17 elements"):
        axpy(17, 3.0, x, y[32:48])


MISALIGNED = f"""
import sys, solver
device = solver.Device.open("OpenCL")
axpy = device.build({AXPY!r}, "axpy", {{"real": "double"}})
memory = device.allocate((64,))
for _ in range(2):
    try:
        axpy(8, 1.0, memory[:8], memory[3:])
    except solver.DeviceError as error:
        print(error)
"""


def test_a_slice_that_opencl_cannot_pass_is_an_error_and_exit_is_silent():
    if "OpenCL" not in solver.modes_present():
        pytest.skip("mode OpenCL is not present")
    lines = output_of(MISALIGNED).splitlines()
    assert len([line for line in lines if "starts at byte 24" in line]) in (0, 2)


def test_a_float_that_overflows_is_refused(device):
    x, y = device.allocate((1,), "float32"), device.allocate((1,), "float32")
    axpy = device.build(AXPY, "axpy", {"real": "float"})
    for value in (1e39, -1e300):
        with pytest.raises(solver.ArgumentError, match="'a': expected a value that fits float32"):
            axpy(1, value, x, y)


PRODUCT = """
#define TWO 2
@kernel void fill(const long n, const long m, double *y @dim(n, TWO * m + EXTRA - 1)) {
  for (int o = 0; o < 1; ++o; @outer) { for (int i = 0; i < 1; ++i; @inner) { y[0] = n + m; } }
}
"""


def test_a_declared_length_may_be_an_expression(device):
    fill = device.build(PRODUCT, "fill", {"EXTRA": 4})
    y = device.allocate((3 * 13,))
    fill(3, 5, y)
    assert y.to_host()[0] == 8
    with pytest.raises(solver.ArgumentError, match="'y': expected at least 45 elements"):
        fill(3, 6, y)


@pytest.mark.parametrize(("n", "m"), [(2**62, 2), (2**32, 2**32), (1, I64), (I64, I64)])
def test_a_declared_length_beyond_64_bits_does_not_wrap(device, n, m):
    fill = device.build(PRODUCT, "fill", {"EXTRA": 4})
    with pytest.raises(solver.ArgumentError, match="'y': expected at least"):
        fill(n, m, device.allocate((8,)))


def test_zero_size_memory_can_be_launched_on(device, axpy):
    axpy(0, 1.0, device.allocate((0,)), device.allocate((0,)))
    device.finish()


MANY = """
@kernel void many({parameters}, double *y) {{
  for (int o = 0; o < 1; ++o; @outer) {{
    for (int i = 0; i < 1; ++i; @inner) {{ y[0] = {total}; }}
  }}
}}
"""


def many(device, count):
    names = [f"a{i}" for i in range(count)]
    source = MANY.format(
        parameters=", ".join(f"const double {name}" for name in names), total=" + ".join(names)
    )
    y = device.allocate((1,))
    device.build(source, "many")(*range(count), y)
    return y.to_host()[0]


def test_forty_eight_arguments_are_passed(host_device):
    assert many(host_device, 47) == sum(range(47))


def test_more_arguments_than_occa_takes_are_refused(host_device):
    with pytest.raises(solver.KernelBuildError, match="must have at most"):
        many(host_device, 130)


def test_arguments_may_run_python_code_that_launches(host_device):
    """An ``__index__`` that launches the same kernel must not disturb the outer launch."""
    axpy = host_device.build(AXPY, "axpy", {"real": "double"})
    x, y, z = (host_device.wrap(np.ones(4)) for _ in range(3))

    class Nested:
        def __index__(self):
            axpy(1, 100.0, x, z)
            host_device.allocate((3,)).free()
            return 4

    axpy(Nested(), 2.0, x, y)
    assert y.to_host().tolist() == [3.0] * 4
    assert z.to_host().tolist() == [101.0, 1, 1, 1]
