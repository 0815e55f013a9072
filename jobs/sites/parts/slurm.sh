# Slurm sends SIGUSR1 up to a minute early, perhaps before the run can take it: until then it is ignored, and the run is told when
# it has to stop, too. A session may be older than the script.
end=$(($(date +%s) + limit - SECONDS))
if [ "${SLURM_JOB_END_TIME:-$end}" -lt "$end" ]; then end=$SLURM_JOB_END_TIME; fi
export INSITU_JOB_END_TIME=$((end - margin))
# shellcheck disable=SC2016
launch+=(bash -c 'trap "" USR1; exec "$@"' rank)
number=${SLURM_RESTART_COUNT:-0} job=$SLURM_JOB_ID
submit_again() { scontrol requeue "$SLURM_JOB_ID"; }
