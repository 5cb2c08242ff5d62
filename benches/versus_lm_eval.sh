#!/usr/bin/env bash
# Seconds per task, ours against lm-evaluation-harness's `hf` backend: same rows, same f32 weights, same cores, alternately.
#
# Usage: benches/versus_lm_eval.sh [MODEL_REPO] [ROUNDS]
#   MODEL_REPO   a model in the cache (default: slm-benchmark/shape-135m, which is made here when missing)
#   ROUNDS       how often each side runs each task (default 3); the median is printed
# Environment:
#   HF_HUB_CACHE the Hugging Face cache with the data sets (and models); it is only read
#   PYTHON       a Python with lm_eval 0.4.13, torch, transformers, datasets (default python3)
#   TASKS        lines "task:shots:limit" (default below); shots "default" leaves the task's own
#   THREADS      threads on both sides (default: all cores)
#   BINARY       the program (default: cargo builds it)
#   ENGINE       our engine: auto, native, mistralrs (default auto)
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:-slm-benchmark/shape-135m}
rounds=${2:-3}
python=${PYTHON:-python3}
threads=${THREADS:-$(nproc)}
tasks=${TASKS:-"mmlu_abstract_algebra:5:20
mmlu_high_school_biology:5:20
truthfulqa_mc1:default:20
truthfulqa_mc2:default:20
arc_challenge:5:20
hellaswag:0:20
winogrande:5:20
boolq:5:10
gsm8k:5:3"}
: "${HF_HUB_CACHE:?set HF_HUB_CACHE to a Hugging Face cache that holds the data sets}"
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=$threads RAYON_NUM_THREADS=$threads TOKENIZERS_PARALLELISM=false

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/cache"
ln -s "$(realpath "$HF_HUB_CACHE")"/* "$work/cache/"
export HF_HUB_CACHE=$work/cache
folder=$HF_HUB_CACHE/models--${model//\//--}
if [ ! -e "$folder" ] && [ "$model" = slm-benchmark/shape-135m ]; then
  "$python" benches/make_shape_model.py "$HF_HUB_CACHE" models/demo >/dev/null
fi
snapshot=$folder/snapshots/$(cat "$folder/refs/main")
cat >"$work/submission.yml" <<YAML
model:
  name: speed comparison
  family: none
  hf_repo: $model
  parameters: $("$python" - "$snapshot" <<'PY'
import json, math, pathlib, sys
total = 0
for file in pathlib.Path(sys.argv[1]).glob("*.safetensors"):
    with open(file, "rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    total += sum(math.prod(v["shape"]) for k, v in header.items() if k != "__metadata__")
print(f"{total / 1e6:.2f}M")
PY
)
  architecture: llama
  license: apache-2.0
  submitted_by: benchmark
  quantizations:
    - name: FP32
      format: safetensors
YAML

[ -n "${BINARY:-}" ] || { cargo build --release --locked --quiet; BINARY=${CARGO_TARGET_DIR:-target}/release/slm-bench; }
ours() { # task shots limit
  local shots=()
  [ "$2" = default ] || shots=(--num-fewshot "$2")
  rm -rf "$work/run"
  /usr/bin/env time -f '%M %U %S' -o "$work/peak" "$BINARY" run --submission-file "$work/submission.yml" --output-dir "$work/run" \
    --tasks "$1" --limit "$3" "${shots[@]}" --device cpu --dtype f32 --engine "${ENGINE:-auto}" >"$work/ours.log" 2>&1 || [ $? -eq 4 ] || { cat "$work/ours.log" >&2; return 1; }
  "$python" - "$work/run" "$work/peak" "$1" <<'PY'
import glob, json, sys
run = json.load(open(glob.glob(sys.argv[1] + "/*/*/run.json")[0]))
task = run["tasks"][sys.argv[3]]
assert task["status"] == "ok", task
peak, user, system = open(sys.argv[2]).read().split()[-3:]
print(json.dumps({"seconds": task["duration_s"], "cpu_seconds": float(user) + float(system), "ratio": task["tokens_computed"] / task["tokens_nominal"],
                  "score": task["score"], "peak_rss_bytes": 1024 * int(peak)}))
PY
}
theirs() { "$python" benches/lm_eval_reference.py "$snapshot" "$1" "$2" "$3" 2>/dev/null | tail -n 1; }

while IFS=: read -r task shots limit; do
  for round in $(seq "$rounds"); do
    ours "$task" "$shots" "$limit" >>"$work/$task.ours"
    theirs "$task" "$shots" "$limit" >>"$work/$task.theirs"
  done
  echo "$task $shots $limit" >>"$work/order"
done <<<"$tasks"

"$python" - "$work" "$threads" "$rounds" "$model" <<'PY'
import json, pathlib, statistics, sys
work = pathlib.Path(sys.argv[1])
print(f"{sys.argv[4]}, f32, {sys.argv[2]} threads, median of {sys.argv[3]} alternating rounds")
print("ours: seconds of the task; processor seconds of the whole program, loading and self-check included")
print(f"{'task':<26}{'shots':>8}{'docs':>6}{'ours s':>9}{'lm-eval s':>11}{'ratio':>7}{'ours cpu':>10}{'lm-eval cpu':>13}{'ratio':>7}{'tokens':>8}{'ours MiB':>10}{'lm-eval MiB':>13}")
for line in (work / "order").read_text().splitlines():
    task, shots, limit = line.split()
    read = lambda side: [json.loads(text) for text in (work / f"{task}.{side}").read_text().splitlines()]
    ours, theirs = read("ours"), read("theirs")
    a, b = (statistics.median(r["seconds"] for r in side) for side in (ours, theirs))
    c, d = (statistics.median(r["cpu_seconds"] for r in side) for side in (ours, theirs))
    mib = [max(r["peak_rss_bytes"] for r in side) / 2**20 for side in (ours, theirs)]
    print(f"{task:<26}{shots:>8}{limit:>6}{a:>9.2f}{b:>11.2f}{b / a:>7.2f}{c:>10.2f}{d:>13.2f}{d / c:>7.2f}{ours[0]['ratio']:>8.3f}{mib[0]:>10.0f}{mib[1]:>13.0f}")
PY
