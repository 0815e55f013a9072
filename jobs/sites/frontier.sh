#!/bin/bash -l
#% scheduler = "slurm"
#% host = "frontier"
#% environment = "frontier"
#% needs = ["account"]
#% ranks_per_node = 8
#% most_ranks_per_node = 8
#% cores_per_node = 56
#% most_cores = 7
#% unchained = ["debug"]
#SBATCH --job-name={{name}}
#SBATCH --account={{account}}
#SBATCH --partition={{queue}}
#SBATCH --nodes={{nodes}}
#SBATCH --time={{time}}
#SBATCH --signal=USR1@{{margin}}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH {{directive}}

# Frontier, Oak Ridge: Slurm; a node has 56 cores for users and 4 MI250X, which are 8 GPUs.
# Confirmed in OLCF's user documentation of July 2026: a rank for each GPU with the 7 cores nearest to it, USR1 before the end,
# partition batch where none is named, no chains of jobs in QOS debug (--directive "--qos=debug"). Not confirmed: that a job
# without an account is refused, though no example lacks one, and that jobs may be requeued.
{{setup.sh}}
launch=(srun --nodes={{nodes}} --ntasks={{ranks}} --ntasks-per-node={{ranks_per_node}} --cpus-per-task={{cores}}
  --gpus-per-task=1 --gpu-bind=closest)

{{slurm.sh}}
{{run.sh}}
