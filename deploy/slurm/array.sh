#!/bin/bash
# A study as a job array: each job strips every 50th scan. Change the three lines below, then
#   sbatch deploy/slurm/array.sh
#SBATCH --job-name=deskull
#SBATCH --array=1-50
#SBATCH --cpus-per-task=2
#SBATCH --mem=2G
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail

inputs=$HOME/study
outputs=$HOME/brains
# shellcheck source=/dev/null
source "$HOME/deskull/bin/activate"

deskull batch "$inputs" --out-dir "$outputs" --quiet \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --threads "$SLURM_CPUS_PER_TASK"

# When all jobs have ended, the same without --shard writes one table, and does what is left:
#   deskull batch "$HOME/study" --out-dir "$HOME/brains"
