#!/bin/bash -l
#% scheduler = "pbs"
#% environment = "generic"
#% needs = []
#% ranks_per_node = 1
#PBS -N {{name}}
#PBS -A {{account}}
#PBS -q {{queue}}
#PBS -l select={{nodes}}:ncpus={{node_cores}}:mpiprocs={{ranks_per_node}}{{gpus_per_node|:ngpus=}}
#PBS -l place=scatter
#PBS -l walltime={{time}}
#PBS -l filesystems={{filesystems}}
#PBS -j oe
#PBS -r y
#PBS {{directive}}

# A site with PBS Pro or OpenPBS. Ranks take the GPUs they see in turn. INSITU_LAUNCHER replaces mpirun and its flags, which are
# those of MPICH and its relatives.
{{setup.sh}}
read -ra launch <<< "${INSITU_LAUNCHER:-mpirun -n {{ranks}} -ppn {{ranks_per_node}}}"

{{pbs.sh}}
{{run.sh}}
