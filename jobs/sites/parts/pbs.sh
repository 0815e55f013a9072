# PBS tells nobody when the job will end: the run is told when it has to stop; in a session, whose age is not the script's, it
# asks qstat.
if [ "${PBS_ENVIRONMENT:-}" != PBS_INTERACTIVE ]; then
  export INSITU_JOB_END_TIME=$(($(date +%s) + limit - margin - SECONDS))
fi
number=${INSITU_RESUBMISSION:-0} job=$PBS_JOBID
submit_again() {
  local wait=(-W "depend=afterany:$PBS_JOBID") next=INSITU_RESUBMISSION=$((number + 1))
  if [ -n "$member" ]; then
    # PBS knows no dependency on one member of an array.
    wait=(-a "$(date -d '+1 minute' +%Y%m%d%H%M.%S)") next+=,INSITU_MEMBER=$member
  fi
  (cd {{run}} && qsub "${wait[@]}" -v "$next" "$script")
}
