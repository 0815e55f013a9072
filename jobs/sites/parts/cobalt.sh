flags=(--time-limit "$((limit - margin - SECONDS))" "${flags[@]}")
number=${INSITU_RESUBMISSION:-0} job=$COBALT_JOBID
submit_again() { qsub --env "INSITU_RESUBMISSION=$((number + 1))" "$script"; }
