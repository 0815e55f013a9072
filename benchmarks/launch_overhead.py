"""What a launch from Python costs over OCCA's own from C++, in microseconds.

    python benchmarks/launch_overhead.py [--mode Serial] [--output FILE]

Both sides launch the same empty kernel with 2 and with 6 arguments; repeats alternate between them
and the best of each counts.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import solver
from solver import _occa, jit

EMPTY = """
@kernel void empty2(const int n, double *a) {
  for (int o = 0; o < 1; ++o; @outer) { for (int i = 0; i < 1; ++i; @inner) { } }
}
@kernel void empty6(const int n, const double s, const double *a, const double *b, double *c,
                    double *d) {
  for (int o = 0; o < 1; ++o; @outer) { for (int i = 0; i < 1; ++i; @inner) { } }
}
"""
KERNELS = {"empty2": 1, "empty6": 4}  # the number of pointers
LAUNCHES, REPEATS = 20_000, 5


def compile_native(folder: Path) -> Path:
    """Compile the C++ side against the OCCA this package uses."""
    occa = jit.occa_directory()
    program = folder / "launch_overhead"
    command = ["g++", "-O3", "-std=c++17", f"-I{occa}/include", "-o", program]
    command += [Path(__file__).with_suffix(".cpp"), f"-L{occa}/lib", f"-Wl,-rpath,{occa}/lib"]
    command += ["-locca", "-Wl,--unresolved-symbols=ignore-in-shared-libs", "-fopenmp"]
    subprocess.run(command, check=True)
    return program


def time_native(program: Path, source: Path, mode: str, kernel: str, pointers: int) -> float:
    """Return the best microseconds per launch of OCCA itself."""
    flags = f"-O3 -I{jit.stub_directory()}"
    properties = {"mode": mode, "kernel": {"compiler_flags": flags, "type_validation": False}}
    occa = f"{jit.occa_directory()}/"
    output = subprocess.run(
        [program, json.dumps(properties), source, kernel, str(pointers), str(LAUNCHES), "1"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OCCA_DIR": occa, "OCCA_CACHE_DIR": str(source.parent / "cache")},
    ).stdout
    return float(output.split()[-1])


def time_python(kernel: solver.Kernel, arguments: tuple) -> float:
    """Return microseconds per launch from Python."""
    launches = range(LAUNCHES)
    begin = time.perf_counter()
    for _ in launches:
        kernel(*arguments)
    return 1e6 * (time.perf_counter() - begin) / LAUNCHES


def measure(mode: str) -> dict:
    """Return microseconds per launch on both sides, by kernel."""
    device = solver.Device.open(mode)
    result = {}
    with tempfile.TemporaryDirectory() as name:
        program = compile_native(Path(name))
        source = Path(name) / "empty.okl"
        source.write_text(EMPTY)
        for kernel, pointers in KERNELS.items():
            built = device.build(EMPTY, kernel)
            scalars = (1,) if pointers == 1 else (1, 2.0)
            arguments = (*scalars, *(device.allocate((1,)) for _ in range(pointers)))
            native, python = [], []
            for _ in range(REPEATS):
                native.append(time_native(program, source, mode, kernel, pointers))
                python.append(time_python(built, arguments))
            result[f"{len(arguments)} arguments"] = {
                "occa_us": round(min(native), 3),
                "python_us": round(min(python), 3),
                "overhead_us": round(min(python) - min(native), 3),
            }
    return {"benchmark": "launch_overhead", "mode": mode, "occa": _occa.occa_version, **result}


def main() -> None:
    """Print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", default="Serial", choices=("Serial", "OpenMP"))
    parser.add_argument("--output", type=Path, help="write the JSON there as well")
    options = parser.parse_args()
    text = json.dumps(measure(options.mode), indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
