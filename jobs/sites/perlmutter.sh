#!/bin/bash -l
#% scheduler = "slurm"
#% host = "perlmutter"
#% environment = "perlmutter"
#% needs = []
#% queue = "regular"
#% ranks_per_node = 4
#% cores_per_node = 128
#% unchained = ["debug", "interactive"]
#SBATCH --job-name={{name}}
#SBATCH --account={{account}}
#SBATCH --qos={{queue}}
#SBATCH --constraint=gpu
#SBATCH --nodes={{nodes}}
#SBATCH --ntasks-per-node={{ranks_per_node}}
#SBATCH --cpus-per-task={{cores}}
#SBATCH --gpus-per-node=4
#SBATCH --time={{time}}
#SBATCH --signal=USR1@{{margin}}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH {{directive}}

# Perlmutter, NERSC: Slurm; a GPU node has 64 cores of 2 threads and 4 A100.
# Confirmed in NERSC's pages: without a QOS the job goes to debug, hence regular here; without an account one's default project
# pays. An older copy of them forbids chains in debug. Not confirmed, for no current page was found: that a job without a
# constraint is refused. Every rank sees all four GPUs, which GPU-aware MPI within a node needs, and takes its own by its number
# on the node; others count them in reverse there: INSITU_GPU_ORDER=reverse in the shell that submits does so.
{{setup.sh}}
launch=(srun --ntasks={{ranks}} --ntasks-per-node={{ranks_per_node}} --cpus-per-task={{cores}} --cpu-bind=cores
  --gpus-per-node=4 --gpu-bind=none)

{{slurm.sh}}
{{run.sh}}
