"""Run Python code in a process of its own, or a command on several ranks."""

import os
import shutil
import subprocess
import sys


def environment(**variables):
    """Return this process's environment with some variables set, or removed where None."""
    merged = {**os.environ, **{key: str(value) for key, value in variables.items()}}
    return {key: value for key, value in merged.items() if variables.get(key, "") is not None}


def start_python(code, *arguments, **variables):
    """Start ``python -c code``; warnings are errors in it."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_ranks(count, *command, **variables):
    """Start a command on some ranks under the mpirun beside this Python, or the first on PATH; they may outnumber the cores."""
    variables = {
        "MPIR_CVAR_POLLS_BEFORE_YIELD": 10,  # MPICH
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",  # Open MPI
        **variables,
    }
    folders = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    return subprocess.Popen(
        [shutil.which("mpirun", path=folders), "-n", str(count), *map(str, command)],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, timeout=120):
    """Wait for a process; return (exit code, stdout, stderr)."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    return process.returncode, out, err


def run_python(code, *arguments, timeout=120, **variables):
    """Run ``python -c code``; return (exit code, stdout, stderr)."""
    return finish(start_python(code, *arguments, **variables), timeout)


def output_of(code, *arguments, timeout=120, **variables):
    """Run ``python -c code``, which must succeed in silence on stderr; return its stdout."""
    status, out, err = run_python(code, *arguments, timeout=timeout, **variables)
    assert (status, err) == (0, ""), f"exit code {status}\n{out}\n{err}"
    return out
