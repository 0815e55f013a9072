"""What in-situ learning adds to the steps of a C++ application, the mini-app of examples/cpp, alone and coupled in turn.

    python benchmarks/application_overhead.py [--rounds 15] [--output benchmarks/results/application_overhead.json]

Needs what building the example needs. One process runs both in alternation, a burst of steps each; medians of the bursts of the
slowest rank count, of the time that passed and of the processor's time in the thread that steps, which other jobs on the machine
disturb less. The ring holds 16 snapshots and is overwritten.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from burgers_miniapp import cpu

from insitu.information import cmake_directory

HERE = Path(__file__).parent
CASE = HERE.parent / "examples" / "application.yaml"
PAIRS = [(points, every) for points in (256, 65536, 1 << 20) for every in (1, 10)]
LISTS = """
cmake_minimum_required(VERSION 3.21)
project(overhead LANGUAGES CXX)
set(CMAKE_BUILD_TYPE Release)
find_package(insitu REQUIRED COMPONENTS MPI)
add_executable(overhead {source})
target_include_directories(overhead PRIVATE {example})
target_link_libraries(overhead PRIVATE insitu::insitu)
target_compile_definitions(overhead PRIVATE OKL_FILE="{example}/burgers.okl")
"""


def built(folder):
    example = HERE.parent / "examples" / "cpp"
    text = LISTS.format(source=HERE / "application_overhead.cpp", example=example)
    (folder / "CMakeLists.txt").write_text(text)
    flags = [f"-Dinsitu_DIR={cmake_directory()}", f"-DINSITU_PYTHON={sys.executable}"]
    subprocess.run(["cmake", "-S", folder, "-B", folder / "build", *flags], check=True)
    subprocess.run(["cmake", "--build", folder / "build"], check=True)
    return folder / "build" / "overhead"


def measured(program, folder, ranks, rounds):
    command = ["mpirun", "-n", ranks, program, CASE, folder / "out", rounds]
    for points, every in PAIRS:
        most = 1000 if ranks == 1 else 100  # ranks that share cores take turns, some ms each
        command += [points, every, max(30, min(most, (1 << 24) // points))]
    done = subprocess.run(
        [str(part) for part in command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    print(done.stdout, flush=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def summary(rows, rounds):
    for row in rows:
        for kind in ("", "cpu_"):
            alone, coupled = row[f"alone_{kind}us"], row[f"coupled_{kind}us"]
            row[f"{kind}added"] = coupled / alone - 1
            row[f"snapshot_{kind}us"] = (coupled - alone) * row["every"]
    return {
        "benchmark": "application_overhead",
        "cpu": cpu(),
        "rounds": rounds,
        "rows": rows,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        program = built(folder)
        rows = [
            row
            for ranks in options.ranks
            for row in measured(program, folder, ranks, options.rounds)
        ]
    finally:
        shutil.rmtree(folder)
    result = summary(rows, options.rounds)
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
