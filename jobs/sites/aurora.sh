#!/bin/bash -l
#% scheduler = "pbs"
#% host = "aurora"
#% environment = "aurora"
#% needs = ["account", "filesystems"]
#% ranks_per_node = 12
#% cores_per_node = 102
#% unchained = ["debug", "debug-scaling"]
#PBS -N {{name}}
#PBS -A {{account}}
#PBS -q {{queue}}
#PBS -l select={{nodes}}
#PBS -l place=scatter
#PBS -l walltime={{time}}
#PBS -l filesystems={{filesystems}}
#PBS -k doe
#PBS -j oe
#PBS -r y
#PBS {{directive}}

# Aurora, Argonne: PBS Pro; a node has 102 cores for users and 6 GPUs of 2 tiles, a rank takes a tile.
# Confirmed in ALCF's user guides of August 2026: account, walltime and filesystems are mandatory; the cores nearest to each
# tile; the rule of the site's gpu_tile_compact.sh. It needs ZE_FLAT_DEVICE_HIERARCHY=COMPOSITE, and the module frameworks,
# which set_env.sh loads, sets FLAT, so the rule is written out here in both numberings. Not confirmed: that a job may
# call qsub, "-r y", and the refusal of successors in debug and debug-scaling. The solver's modes know these GPUs by OpenCL only;
# not tried.
{{setup.sh}}
# shellcheck disable=SC2016
map='if [ "${ZE_FLAT_DEVICE_HIERARCHY:-COMPOSITE}" = FLAT ]; then tile=$((PALS_LOCAL_RANKID % 12))
else tile=$((PALS_LOCAL_RANKID / 2 % 6)).$((PALS_LOCAL_RANKID % 2)); fi
export ZE_ENABLE_PCI_ID_DEVICE_ORDER=1 ZE_AFFINITY_MASK=$tile; exec "$@"'
here={{ranks_per_node}} near=1-8:9-16:17-24:25-32:33-40:41-48:53-60:61-68:69-76:77-84:85-92:93-100
if [ "$here" -le 12 ]; then
  cores=(--cpu-bind "list:$(cut -d: -f"1-$here" <<< "$near")")
else
  cores=(--depth={{cores}} --cpu-bind depth)
fi
launch=(mpiexec -n {{ranks}} --ppn "$here" "${cores[@]}" bash -c "$map" rank)

{{pbs.sh}}
{{run.sh}}
