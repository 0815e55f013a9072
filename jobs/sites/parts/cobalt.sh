export INSITU_JOB_END_TIME=$(($(date +%s) + limit - margin - SECONDS))
number=${INSITU_RESUBMISSION:-0} job=$COBALT_JOBID
submit_again() { qsub --env "INSITU_RESUBMISSION=$((number + 1))" "$script"; }
