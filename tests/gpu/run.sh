#!/usr/bin/env bash
# Builds against this machine's CUDA, torch and CuPy without a network, runs the gpu tests, the main job and the benchmark of the
# equations in CUDA mode, and prints one summary. Needs: nvcc, a C++ compiler, and a python3 with torch, CuPy, scikit-learn, matplotlib, pytest.
#
#   INSITU_OCCA_SOURCE=occa-0.4.1.tar.gz [INSITU_WHEELS=folder] tests/gpu/run.sh [OUTPUT]
#
# INSITU_OCCA_SOURCE  the OCCA release archive, carried along
# INSITU_WHEELS       wheels of what python3 lacks of: scikit-build-core pybind11 ninja jsonargparse docstring_parser
#                     typeshed_client importlib_resources jaxtyping wadler_lindig beartype mpi4py mpich tqdm pytest-timeout
# OUTPUT              where summary.json, the test log and the run directory go; ./gpu-check where it is left out
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
output=$(mkdir -p "${1:-gpu-check}" && cd "${1:-gpu-check}" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

python3 -m venv --system-site-packages "$scratch/venv"
# shellcheck disable=SC1091
. "$scratch/venv/bin/activate"
# A venv made from a venv does not see its packages: name their folder.
outer=$(deactivate && python3 -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent.parent)')
echo "$outer" > "$(python -c 'import site; print(site.getsitepackages()[0])')/outer.pth"

if [ -n "${INSITU_WHEELS:-}" ]; then
  python -m pip install --quiet --no-index --no-deps --find-links "$INSITU_WHEELS" "$INSITU_WHEELS"/*.whl
fi
export CUDA_HOME=${CUDA_HOME:-/usr/local/cuda}
export PATH=$PATH:$CUDA_HOME/bin
begin=$SECONDS
python -m pip install --quiet --no-build-isolation --no-deps --no-index -C build-dir="$scratch/build" "$root"
built=$((SECONDS - begin))

cd "$scratch"
cp -r "$root/tests" "$root/pyproject.toml" "$root/jobs" .
failed=0
INSITU_REQUIRE_MODES=CUDA python -m pytest -q -m gpu -W default -p no:cacheprovider tests/gpu 2>&1 | tee "$output/gpu-tests.log" || failed=1
python -m insitu run jobs/burgers.yaml --device CUDA --output "$output/run" || failed=1
python "$root/benchmarks/equations.py" --contenders insitu cuda torch jax --modes CUDA --repeats 7 --output "$output/equations.json" ||
  failed=1
python "$root/tests/gpu/summary.py" "$output" "$built" "$failed"
exit "$failed"
