#!/bin/bash -l
#% scheduler = "slurm"
#% environment = "generic"
#% needs = []
#% ranks_per_node = 1
#SBATCH --job-name={{name}}
#SBATCH --account={{account}}
#SBATCH --partition={{queue}}
#SBATCH --nodes={{nodes}}
#SBATCH --ntasks-per-node={{ranks_per_node}}
#SBATCH --cpus-per-task={{cores}}
#SBATCH --gpus-per-node={{gpus_per_node}}
#SBATCH --time={{time}}
#SBATCH --signal=USR1@{{margin}}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH {{directive}}

# A site with Slurm. Ranks take the GPUs they see in turn. INSITU_LAUNCHER replaces srun and its flags.
{{setup.sh}}
read -ra launch <<< "${INSITU_LAUNCHER:-srun --ntasks={{ranks}} --ntasks-per-node={{ranks_per_node}} --cpus-per-task={{cores}}}"

{{slurm.sh}}
{{run.sh}}
