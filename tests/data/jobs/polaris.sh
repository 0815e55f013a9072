#!/bin/bash -l
#PBS -N burgers
#PBS -A PROJ
#PBS -q somewhere
#PBS -l select=2:system=polaris
#PBS -l place=scatter
#PBS -l walltime=1:00:00
#PBS -l filesystems=home:eagle
#PBS -k doe
#PBS -j oe
#PBS -r y

# Polaris, Argonne: PBS Pro; a node has 32 cores and 4 A100.
# Confirmed in ALCF's user guides of August 2026: account, walltime and filesystems are mandatory, "-k doe" is enforced, the
# queue is prod (10 nodes or more) where none is named; GPUs in reverse order of the ranks, which see one each. Not confirmed
# there: that a job may call qsub, and that debug and debug-scaling, one job a user, refuse a successor while its predecessor
# runs; no chain is tried in these.
export INSITU_SITE=polaris
# shellcheck source=/dev/null
source /home/user/insitu/set_env.sh || exit 1
cd /scratch/user || exit 1

run=/scratch/user/run script=/scratch/user/run/job.sh
limit=3600 margin=300 # seconds
most=10              # jobs that may follow this one
flags=()
member=${INSITU_MEMBER:-${PBS_ARRAY_INDEX:-${SLURM_ARRAY_TASK_ID:-}}}
if [ -n "$member" ]; then
  # A line of flags for each member, quoted for a shell by insitu submit.
  eval "flags+=($(sed -n "$((member + 1))p" "$run/members"))"
  run=$run/member-$(printf %03d "$member")
fi
# shellcheck disable=SC2016
map='export CUDA_VISIBLE_DEVICES=$((3 - PMI_LOCAL_RANK % 4)); exec "$@"'
launch=(mpiexec -n 8 --ppn 4 --depth=8 --cpu-bind depth bash -c "$map" rank)

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
  (cd /scratch/user/run && qsub "${wait[@]}" -v "$next" "$script")
}
shopt -s nullglob
say() { echo "insitu: job $job: $*"; }
state() { sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p" "$run/state.json" 2> /dev/null; }
saved() {
  local whole=("$run"/checkpoints/step-*)
  echo "${whole[*]##*/}"
}

# Submits this script once more, unless it stands on a terminal, there were too many or there is nothing new.
continue_later() {
  if [ -t 1 ]; then say "$run is unfinished; run $script again to continue"
  elif [ -e "$run/STOP" ] || [ "$(state reason)" = "STOP file" ]; then say "not submitted again: stopped by the file STOP"
  elif [ "$number" -ge "$most" ]; then say "not submitted again: $most resubmissions are all that were asked for"
  elif [ "$1" = "$before" ]; then say "not submitted again: no new checkpoint, before there was ${before:-none}"
  else
    is_continued=yes
    say "unfinished, submits itself again"
    submit_again || say "that failed; insitu submit continues it"
  fi
}

# The scheduler's end comes as SIGTERM, seconds before SIGKILL; so does qdel, but seldom that late.
# shellcheck disable=SC2317,SC2329
end_of_time() {
  if [ "$SECONDS" -lt $((limit - margin)) ]; then say "told to end before its time, not submitted again"
  elif [ -z "$is_continued" ]; then continue_later unknown; fi
  is_told=yes
}

mkdir -p "$run"
is_told='' is_continued='' before=$(saved) last=$(tail -n 1 "$run/jobs.log" 2> /dev/null)
if [ "$number" -gt 0 ] && [ "$(state status)" = finished ]; then say "$run is finished"; exit 0; fi
if [ "$number" -gt 0 ] && [ -n "$last" ] && [ "${last#*: }" = "$before" ]; then say "stops: the job before left no new checkpoint"; exit 1; fi
echo "$(date -u +%FT%TZ) job $job, resubmission $number, began at: $before" >> "$run/jobs.log"

trap end_of_time TERM
"${launch[@]}" insitu run /home/user/insitu/jobs/burgers.yaml --output "$run" "${flags[@]}" &
child=$!
while kill -0 "$child" 2> /dev/null; do wait "$child"; done
wait "$child"
code=$?
if [ -z "$is_told" ] && [ "$(state status)" = unfinished ]; then continue_later "$(saved)"; fi
exit "$code"
