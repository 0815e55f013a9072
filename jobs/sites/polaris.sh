#!/bin/bash -l
#% scheduler = "pbs"
#% host = "polaris"
#% environment = "polaris"
#% needs = ["account", "filesystems"]
#% ranks_per_node = 4
#% cores_per_node = 32
#% unchained = ["debug", "debug-scaling"]
#PBS -N {{name}}
#PBS -A {{account}}
#PBS -q {{queue}}
#PBS -l select={{nodes}}:system=polaris
#PBS -l place=scatter
#PBS -l walltime={{time}}
#PBS -l filesystems={{filesystems}}
#PBS -k doe
#PBS -j oe
#PBS -r y
#PBS {{directive}}

# Polaris, Argonne: PBS Pro; a node has 32 cores and 4 A100.
# Confirmed in ALCF's user guides of August 2026: account, walltime and filesystems are mandatory, "-k doe" is enforced, the
# queue is prod (10 nodes or more) where none is named; GPUs in reverse order of the ranks, which see one each. Not confirmed
# there: that a job may call qsub, and that debug and debug-scaling, one job a user, refuse a successor while its predecessor
# runs; no chain is tried in these.
{{setup.sh}}
# shellcheck disable=SC2016
map='export CUDA_VISIBLE_DEVICES=$((3 - PMI_LOCAL_RANK % 4)); exec "$@"'
launch=(mpiexec -n {{ranks}} --ppn {{ranks_per_node}} --depth={{cores}} --cpu-bind depth bash -c "$map" rank)

{{pbs.sh}}
{{run.sh}}
