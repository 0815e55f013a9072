import os
import re

import numpy as np
import pytest
from helpers.kernels import AXPY
from helpers.processes import output_of

import solver
import solver._occa as _occa

CONSTANT = """
@kernel void constant(REAL *out) {
  for (int o = 0; o < 1; ++o; @outer) { for (int i = 0; i < 1; ++i; @inner) { out[i] = VALUE; } }
}
"""

is_occa_1 = _occa.occa_version_number < 20000


def constant(device, value, real="long"):
    dtype = {"long": "int64", "double": "float64"}[real]
    out = device.allocate((1,), dtype)
    device.build(CONSTANT, "constant", {"VALUE": value, "REAL": real})(out)
    return out.to_host()[0]


@pytest.mark.parametrize(
    "value",
    [0, -1, 2**31 - 1, 2**31, -(2**31), 2**40, -(2**40), 2**63 - 1, True, np.int64(-(2**40))],
)
def test_an_integer_define_arrives_exactly(device, value):
    assert constant(device, value) == int(value)


@pytest.mark.parametrize("value", [0.1, -2.5e-300, 1e22, np.float64(1 / 3), np.float32(0.1)])
def test_a_real_define_arrives_exactly(device, value):
    assert constant(device, value, "double") == float(value)


@pytest.mark.parametrize("value", [2**63, float("nan"), float("inf"), [1], None])
def test_a_define_that_has_no_literal_is_refused(host_device, value):
    with pytest.raises(solver.KernelBuildError, match="define must be"):
        host_device.build(CONSTANT, "constant", {"VALUE": value, "REAL": "long"})


def test_defines_distinguish_kernels(device):
    assert [constant(device, value) for value in (1, 2, 1)] == [1, 2, 1]


def test_a_changed_include_gives_the_new_kernel(device, tmp_path):
    header = tmp_path / "value.h"
    source = tmp_path / "included.okl"
    source.write_text('#include "value.h"\n' + CONSTANT.replace("REAL", "long"))
    results = []
    for value in (3, 4):
        header.write_text(f"#define VALUE {value}")
        out = device.allocate((1,), "int64")
        device.build(source, "constant")(out)
        results.append(out.to_host()[0])
    assert results == [3, 4]


def test_an_include_may_be_followed_by_code(host_device, tmp_path):
    (tmp_path / "value.h").write_text("#define VALUE 5\n")
    source = tmp_path / "tight.okl"
    source.write_text('#include "value.h"' + CONSTANT.replace("REAL", "long"))
    out = host_device.allocate((1,), "int64")
    host_device.build(str(source), "constant")(out)
    assert out.to_host()[0] == 5


def test_includes_in_a_circle_are_refused(host_device, tmp_path):
    (tmp_path / "a.h").write_text('#include "b.h"\n')
    (tmp_path / "b.h").write_text('#include "a.h"\n')
    source = tmp_path / "circle.okl"
    source.write_text('#include "a.h"\n' + AXPY)
    with pytest.raises(solver.KernelBuildError, match="includes itself"):
        host_device.build(source, "axpy")


def test_host_kernels_are_optimised(host_device):
    """``__OPTIMIZE__`` is defined by the compiler with -O and not without."""
    assert constant(host_device, "__OPTIMIZE__") == 1


def test_host_kernels_round_as_numpy_does(host_device):
    rng = np.random.default_rng(5)
    a = rng.random(1000)
    x, y = rng.random((2, 1000))
    source = """
    @kernel void fuse(const double *a, const double *x, double *y) {
      for (int i = 0; i < 1000; ++i; @tile(100, @outer, @inner)) { y[i] = a[i] * x[i] + y[i]; }
    }"""
    memory = host_device.wrap(y.copy())
    host_device.build(source, "fuse")(host_device.wrap(a), host_device.wrap(x), memory)
    np.testing.assert_array_equal(memory.to_host(), a * x + y)


def test_a_compile_error_has_the_compiler_s_text(device):
    source = CONSTANT.replace("VALUE", "missing_name")
    with pytest.raises(solver.KernelBuildError) as caught:
        device.build(source, "constant", {"REAL": "double"})
    assert "kernel 'constant'" in str(caught.value)
    assert re.search(
        r"error:.*missing_name|missing_name.*was not declared|undeclared", str(caught.value)
    )


def test_a_syntax_error_has_occa_s_text(device):
    with pytest.raises(solver.KernelBuildError, match=r"Expected a \[;\]|Expected"):
        device.build(
            CONSTANT.replace("VALUE;", "VALUE"), "constant", {"REAL": "double", "VALUE": 1}
        )


def test_a_failed_build_leaves_the_output_as_it_was(host_device, capfd):
    with pytest.raises(solver.KernelBuildError):
        host_device.build(CONSTANT, "constant", {"REAL": "double", "VALUE": "missing_name"})
    os.write(1, b"after\n")
    assert capfd.readouterr() == ("after\n", "")


def test_a_build_that_works_after_one_that_failed(host_device):
    with pytest.raises(solver.KernelBuildError):
        host_device.build(CONSTANT, "constant", {"REAL": "double", "VALUE": "not_here"})
    assert constant(host_device, 7) == 7


@pytest.mark.parametrize("name", ["axpyy", "void", "a.py"])
def test_a_wrong_kernel_name_is_refused(device, name):
    with pytest.raises(solver.KernelBuildError, match="must define '@kernel void"):
        device.build(AXPY, name, {"real": "double"})


def test_a_missing_file_is_refused(host_device):
    with pytest.raises(solver.KernelBuildError, match=r"absent\.okl"):
        host_device.build("absent.okl", "f")


@pytest.mark.parametrize("declaration", ["unsigned int n", "char *n", "double n[4]", "short n"])
def test_an_argument_type_that_cannot_be_passed_is_refused(host_device, declaration):
    source = f"""@kernel void f(const {declaration}, double *y) {{
      for (int i = 0; i < 1; ++i; @tile(1, @outer, @inner)) {{ y[i] = 0; }} }}"""
    with pytest.raises(solver.KernelBuildError):
        host_device.build(source, "f")


@pytest.mark.parametrize("length", ["x", "a * n", "n +", "m"])
def test_a_length_that_cannot_be_checked_is_refused(host_device, length):
    parameters = f"const int n, const double a, const double *x, double *y @dim({length})"
    source = f"""@kernel void f({parameters}) {{
      for (int i = 0; i < n; ++i; @tile(4, @outer, @inner)) {{ y[i] = a * x[i]; }} }}"""
    with pytest.raises(solver.KernelBuildError):
        host_device.build(source, "f")


EXCLUSIVE = """
@kernel void shift(const double *x, double *y) {
  for (int o = 0; o < 1; ++o; @outer) {
    @exclusive double r;
    for (int i = 0; i < SIZE; ++i; @inner) { r = x[i]; }
    for (int i = 0; i < SIZE; ++i; @inner) { y[i] = r + 1; }
  }
}
"""


def test_exclusive_up_to_its_bound_is_right(host_device):
    x, y = host_device.allocate((256,)), host_device.allocate((256,))
    x.copy_from(np.arange(256.0))
    host_device.build(EXCLUSIVE, "shift", {"SIZE": 256})(x, y)
    np.testing.assert_array_equal(y.to_host(), np.arange(1.0, 257.0))


def test_exclusive_beyond_its_bound_is_refused_or_right(host_device):
    if is_occa_1:
        for size in (257, "2 * 256", 4096):
            with pytest.raises(solver.KernelBuildError, match="@exclusive"):
                host_device.build(EXCLUSIVE, "shift", {"SIZE": size})
    else:
        x, y = host_device.allocate((4096,)), host_device.allocate((4096,))
        x.copy_from(np.arange(4096.0))
        host_device.build(EXCLUSIVE, "shift", {"SIZE": 4096})(x, y)
        np.testing.assert_array_equal(y.to_host(), np.arange(1.0, 4097.0))


THREADS = """
import sys, numpy as np, solver
SOURCE = '''
extern "C" int gettid();
@kernel void threads(int *ids) {
  for (int o = 0; o < 2; ++o; @outer) { for (int i = 0; i < 1; ++i; @inner) { ids[o] = gettid(); } }
}
'''
for mode in sys.argv[1:]:
    device = solver.Device.open(mode)
    ids = device.allocate((2,), "int32")
    device.build(SOURCE, "threads")(ids)
    print(mode, len(set(ids.to_host().tolist())))
"""


@pytest.mark.parametrize("order", [("Serial", "OpenMP"), ("OpenMP", "Serial")])
def test_openmp_runs_threaded_and_serial_does_not_in_either_order(order, tmp_path):
    out = output_of(THREADS, *order, OCCA_CACHE_DIR=tmp_path, OMP_NUM_THREADS=2)
    assert dict(line.split() for line in out.splitlines()) == {"Serial": "1", "OpenMP": "2"}
