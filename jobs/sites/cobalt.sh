#!/bin/bash -l
#% scheduler = "cobalt"
#% environment = "generic"
#% needs = ["account", "queue"]
#% ranks_per_node = 8
#COBALT -n {{nodes}}
#COBALT -q {{queue}}
#COBALT -A {{account}}
#COBALT -t {{time}}
#COBALT --attrs filesystems={{filesystems}}
#COBALT --jobname {{name}}
#COBALT {{directive}}

# ALCF's Cobalt, as in "qsub -n 1 -q training-gpu -A PROJ -t 1:00:00". Historic: no machine runs it any more, so nothing of this
# was tried. The same for PBS: -n N is -l select=N, -t is -l walltime=, --attrs filesystems=a,b is -l filesystems=a:b.
{{setup.sh}}
read -ra launch <<< "${INSITU_LAUNCHER:-mpirun -n {{ranks}} -ppn {{ranks_per_node}} -hostfile $COBALT_NODEFILE}"

{{cobalt.sh}}
{{run.sh}}
