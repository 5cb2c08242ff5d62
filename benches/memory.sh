#!/usr/bin/env bash
# Peak resident memory of a full mmlu subject at 5-shot, and whether it grows with the number of documents.
#
# Runs the subject with N documents, with 2N, and in full, each in a process of its own, and prints the largest resident set of each.
#
# Usage: benches/memory.sh [MODEL_REPO] [SUBJECT] [N]
#   MODEL_REPO   a model in the cache (default: slm-benchmark/shape-135m, which is made here when missing)
#   SUBJECT      an mmlu subject (default mmlu_professional_law, the one with most and longest documents: 1,534)
#   N            documents of the smallest run (default 100)
# Environment:
#   HF_HUB_CACHE the Hugging Face cache with the data sets (and models); it is only read
#   PYTHON       a Python with torch and transformers, only to make the default model (default python3)
#   FULL=0       leaves out the run over all documents
#   BINARY       the program (default: cargo builds it)
# GNU time is not needed: the peak is read from /proc (Linux).
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:-slm-benchmark/shape-135m}
subject=${2:-mmlu_professional_law}
documents=${3:-100}
: "${HF_HUB_CACHE:?set HF_HUB_CACHE to a Hugging Face cache that holds the data sets}"
export HF_HUB_OFFLINE=1
if [ -z "${BINARY:-}" ]; then
  cargo build --release --locked
  BINARY=${CARGO_TARGET_DIR:-target}/release/slm-bench
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/cache"
ln -s "$(realpath "$HF_HUB_CACHE")"/* "$work/cache/"
export HF_HUB_CACHE=$work/cache
if [ ! -e "$HF_HUB_CACHE/models--${model//\//--}" ] && [ "$model" = slm-benchmark/shape-135m ]; then
  "${PYTHON:-python3}" benches/make_shape_model.py "$HF_HUB_CACHE" models/demo >/dev/null
fi
cat >"$work/submission.yml" <<YAML
model:
  name: memory
  family: bench
  hf_repo: $model
  parameters: 135M
  architecture: llama
  license: apache-2.0
  submitted_by: someone
  quantizations:
    - name: BF16
      format: safetensors
YAML

# Runs the program and prints "peak-KiB seconds"; the peak is read while it runs, every 0.1 s, from the kernel's high-water mark.
measure() {
  local began=$SECONDS peak=0 seen
  "$BINARY" run --submission-file "$work/submission.yml" --output-dir "$work/out" --tasks "$subject" --num-fewshot 5 \
    --device cpu --dtype f32 "$@" >/dev/null 2>"$work/log" &
  local child=$!
  while kill -0 "$child" 2>/dev/null; do
    seen=$(awk '/^VmHWM:/ {print $2}' "/proc/$child/status" 2>/dev/null || true)
    [ -n "$seen" ] && peak=$seen
    sleep 0.1
  done
  wait "$child" || { cat "$work/log" >&2; return 1; }
  echo "$peak $((SECONDS - began))"
}

printf '%-12s %12s %8s\n' documents "peak MiB" seconds
sizes=("$documents" "$((2 * documents))")
[ "${FULL:-1}" = 1 ] && sizes+=(all)
for size in "${sizes[@]}"; do
  limit=()
  [ "$size" = all ] || limit=(--limit "$size")
  read -r peak seconds <<<"$(measure "${limit[@]}")"
  printf '%-12s %12s %8s\n' "$size" "$((peak / 1024))" "$seconds"
done
