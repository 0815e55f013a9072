#!/bin/bash -l
#SBATCH --job-name=burgers
#SBATCH --account=PROJ
#SBATCH --qos=somewhere
#SBATCH --constraint=gpu
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=4
#SBATCH --time=1:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append

# Perlmutter, NERSC: Slurm; a GPU node has 64 cores of 2 threads and 4 A100.
# Confirmed in NERSC's pages: without a QOS the job goes to debug, hence regular here; without an account one's default project
# pays. An older copy of them forbids chains in debug. Not confirmed, for no current page was found: that a job without a
# constraint is refused. Every rank sees all four GPUs, which GPU-aware MPI within a node needs, and takes its own by its number
# on the node; others count them in reverse there: INSITU_GPU_ORDER=reverse in the shell that submits does so.
export INSITU_SITE=perlmutter
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
launch=(srun --ntasks=8 --ntasks-per-node=4 --cpus-per-task=32 --cpu-bind=cores
  --gpus-per-node=4 --gpu-bind=none)

# Slurm sends SIGUSR1 up to a minute early, perhaps before the run can take it: until then it is ignored, and the run is told when
# it has to stop, too. A session may be older than the script.
end=$(($(date +%s) + limit - SECONDS))
if [ "${SLURM_JOB_END_TIME:-$end}" -lt "$end" ]; then end=$SLURM_JOB_END_TIME; fi
export INSITU_JOB_END_TIME=$((end - margin))
# shellcheck disable=SC2016
launch+=(bash -c 'trap "" USR1; exec "$@"' rank)
number=${SLURM_RESTART_COUNT:-0} job=$SLURM_JOB_ID
submit_again() { scontrol requeue "$SLURM_JOB_ID"; }
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
