"""A newcomer's path, from an empty folder to the first figure: python benchmarks/newcomer.py [SOURCE].

Clones SOURCE (this checkout) and runs the README's first command in it with an empty home: no .venv, no kernels, no packages.
Needs git, Python, a C++ compiler and a package index.
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
KEPT = re.compile(r"PIP_|.*CA_BUNDLE|SSL_|.*_proxy$|.*_PROXY$|PYENV_|LANG|TERM")


def first_command():
    """Return the first line of the README's first block of code."""
    return re.search(r"^```\n(.*?)\n", (ROOT / "README.md").read_text(), re.MULTILINE)[1]


def bare(home):
    """Return an environment without this one's Python packages and caches."""
    path = [
        folder
        for folder in os.environ["PATH"].split(":")
        if not (Path(folder).parent / "pyvenv.cfg").exists()
    ]
    kept = {name: value for name, value in os.environ.items() if KEPT.match(name)}
    return kept | {"PATH": ":".join(path), "HOME": str(home), "MPLBACKEND": "Agg"}


def main(source):
    command = first_command()
    with tempfile.TemporaryDirectory() as scratch:
        folder, home = Path(scratch) / "insitu", Path(scratch) / "home"
        home.mkdir()
        begin = time.time()
        subprocess.run(["git", "clone", "-q", str(source), str(folder)], check=True)
        subprocess.run(["bash", "-c", command], cwd=folder, env=bare(home), check=True)
        end = time.time()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        figures = [file.stat().st_mtime for file in folder.glob("out/*/figures/*.png")]
        installed = (folder / ".venv" / ".insitu-installed").stat().st_mtime
    result = {
        "commands": ["git clone", command],
        "installed_seconds": installed - begin,
        "first_figure_seconds": min(figures) - begin,
        "seconds": end - begin,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
    }
    (ROOT / "benchmarks" / "results" / "newcomer.json").write_text(
        json.dumps(result, indent=1) + "\n"
    )
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ROOT)
