export INSITU_SITE={{environment}}
# shellcheck source=/dev/null
{{enter}} || exit 1
export {{variables}}
cd {{directory}} || exit 1

run={{run}} script={{script}}
limit={{seconds}} margin={{margin}} # seconds
most={{resubmissions}}              # jobs that may follow this one
flags=({{flags}})
member=${INSITU_MEMBER:-${PBS_ARRAY_INDEX:-${SLURM_ARRAY_TASK_ID:-}}}
if [ -n "$member" ]; then
  # A line of flags for each member, quoted for a shell by insitu submit.
  eval "flags+=($(sed -n "$((member + 1))p" "$run/members"))"
  run=$run/member-$(printf %03d "$member")
fi
