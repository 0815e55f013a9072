# Slurm sends SIGUSR1 up to a minute early, perhaps before the run can take it: until then it is ignored, and the run is told when
# it has to stop, too.
export INSITU_JOB_END_TIME=$(($(date +%s) + limit - margin - SECONDS))
# shellcheck disable=SC2016
launch+=(bash -c 'trap "" USR1; exec "$@"' rank)
number=${SLURM_RESTART_COUNT:-0} job=$SLURM_JOB_ID
submit_again() { scontrol requeue "$SLURM_JOB_ID"; }
