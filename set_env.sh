# Source me: sets up this shell, and on first use makes .venv and installs the project. Works in bash and zsh.
#   INSITU_SITE=polaris|aurora|perlmutter|frontier|generic   overrides the site that is guessed
#   INSITU_EXTRAS=test,mpich                                 what the first use installs beside the core
# shellcheck shell=bash

if [ -n "${ZSH_VERSION:-}" ]; then
  eval '_insitu_self=${(%):-%x}'
else
  _insitu_self=${BASH_SOURCE[0]}
fi
INSITU_HOME=$(cd "$(dirname "$_insitu_self")" && pwd)
export INSITU_HOME

_insitu_site() {
  if [ -n "${INSITU_SITE:-}" ]; then echo "$INSITU_SITE"; return; fi
  case "${NERSC_HOST:-}${LMOD_SYSTEM_NAME:-}${PBS_O_HOST:-}$(hostname 2>/dev/null)" in
    *perlmutter*) echo perlmutter ;;
    *frontier*) echo frontier ;;
    *polaris*) echo polaris ;;
    *aurora*) echo aurora ;;
    *) echo generic ;;
  esac
}

_insitu_modules() {
  case "$1" in
    polaris) module use /soft/modulefiles && module load conda && conda activate base ;;
    aurora) module load frameworks ;;
    perlmutter) module load python cudatoolkit ;;
    frontier) module load cray-python rocm ;;
  esac
  case "$1" in
    polaris) export INSITU_GPU_ORDER=reverse ;; # the first cores are nearest to the last GPU
  esac
}

_insitu_install() {
  _insitu_python=${INSITU_PYTHON:-python3}
  if ! "$_insitu_python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "set_env.sh: Python 3.11 or newer is expected, got $("$_insitu_python" -V 2>&1); set INSITU_PYTHON" >&2
    return 1
  fi
  echo "set_env.sh: first use, installing into $INSITU_HOME/.venv (a few minutes)" >&2
  _insitu_flags='' _insitu_extras=${INSITU_EXTRAS:-test,mpich} _insitu_pins=$INSITU_HOME/constraints.txt
  if [ "$1" != generic ]; then
    # A site's Python brings torch and an mpi4py built on the site's MPI; they stay where they are new enough.
    _insitu_flags=--system-site-packages _insitu_extras=${INSITU_EXTRAS:-test} _insitu_pins=/dev/null
  fi
  case "$1" in
    polaris | perlmutter | frontier) _insitu_mpicc='cc -shared' ;; # Cray's compiler, for an mpi4py that is new enough
    *) _insitu_mpicc='' ;;
  esac
  "$_insitu_python" -m venv ${_insitu_flags:+"$_insitu_flags"} "$INSITU_HOME/.venv" &&
    "$INSITU_HOME/.venv/bin/python" -m pip install --quiet --upgrade pip &&
    MPICC=${_insitu_mpicc:-${MPICC:-}} "$INSITU_HOME/.venv/bin/python" -m pip install --quiet --constraint "$_insitu_pins" \
      ${_insitu_mpicc:+--no-binary=mpi4py} --editable "${INSITU_HOME}[${_insitu_extras}]" &&
    touch "$INSITU_HOME/.venv/.insitu-installed"
}

_insitu_activate() {
  if [ ! -e "$INSITU_HOME/.venv/.insitu-installed" ]; then
    _insitu_install "$1" || {
      echo "set_env.sh: the installation failed; mend what is said above and source me again" >&2
      return 1
    }
  fi
  # shellcheck disable=SC1091
  . "$INSITU_HOME/.venv/bin/activate"
}

# Cray MPICH aborts at its start where GPU support is asked for and its library for the GPUs is not linked.
_insitu_gpu_messages() {
  case "$1" in
    polaris | perlmutter | frontier) ;;
    *) return 0 ;;
  esac
  _insitu_python=$(python -c 'import importlib.util as u; print(u.find_spec("mpi4py.MPI").origin)') || return 0
  if [ -z "${MPICH_GPU_SUPPORT_ENABLED:-}" ] && ldd "$_insitu_python" | grep -q libmpi_gtl; then
    export MPICH_GPU_SUPPORT_ENABLED=1
  fi
}

_insitu_name=$(_insitu_site)
if [ "${INSITU_ENV_LOADED:-}" != "$INSITU_HOME" ]; then
  _insitu_modules "$_insitu_name"
fi
_insitu_activate "$_insitu_name"
_insitu_status=$?
if [ "$_insitu_status" -eq 0 ]; then
  export INSITU_ENV_LOADED=$INSITU_HOME
  export MPIR_CVAR_POLLS_BEFORE_YIELD=${MPIR_CVAR_POLLS_BEFORE_YIELD:-10}
  _insitu_gpu_messages "$_insitu_name"
fi

unset -f _insitu_site _insitu_modules _insitu_install _insitu_activate _insitu_gpu_messages
unset _insitu_self _insitu_name _insitu_python _insitu_flags _insitu_extras _insitu_pins _insitu_mpicc
eval "unset _insitu_status; [ $_insitu_status -eq 0 ]"
