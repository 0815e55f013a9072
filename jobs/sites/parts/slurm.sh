number=${SLURM_RESTART_COUNT:-0} job=$SLURM_JOB_ID
submit_again() { scontrol requeue "$SLURM_JOB_ID"; }
