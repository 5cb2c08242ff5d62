#!/usr/bin/env bash
# Seconds per task, ours against lm-evaluation-harness's `hf` backend: same rows, same f32 weights, same cores, alternately.
#
# Usage: benches/versus_lm_eval.sh [MODEL_REPO] [ROUNDS]
#   MODEL_REPO   a model in the cache (default: slm-benchmark/shape-135m, which is made here when missing)
#   ROUNDS       how often each side runs each task (default 2); the median is printed
# Environment:
#   HF_HUB_CACHE the Hugging Face cache with the data sets (and models); it is only read
#   MODEL_CACHE  another cache, looked at for the model first
#   PYTHON       a Python with lm_eval 0.4.13, torch, transformers, datasets (default python3)
#   TASKS        lines "task:shots:limit" (default below); shots "default" leaves the task's own
#   THREADS      threads on both sides (default: all cores)
#   BINARY       the program (default: cargo builds it)
#   ENGINE       our engine: native, auto, mistralrs (default native)
#   SIDES        ours, theirs (default both)
#   KEEP         a folder that keeps what each run printed, and from which a later call takes up what it lacks
# Ten minutes with the defaults on two idle cores.
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:-slm-benchmark/shape-135m}
rounds=${2:-2}
python=${PYTHON:-python3}
threads=${THREADS:-$(nproc)}
sides=${SIDES:-ours theirs}
tasks=${TASKS:-"mmlu_abstract_algebra:5:40
truthfulqa_mc2:default:10
arc_challenge:5:12
hellaswag:0:30
gsm8k:5:4"}
: "${HF_HUB_CACHE:?set HF_HUB_CACHE to a Hugging Face cache that holds the data sets}"
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=$threads RAYON_NUM_THREADS=$threads TOKENIZERS_PARALLELISM=false

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kept=$work
[ -z "${KEEP:-}" ] || { mkdir -p "$KEEP" && kept=$(realpath "$KEEP"); }
mkdir "$work/cache"
for cache in ${MODEL_CACHE:+"$MODEL_CACHE"} "$HF_HUB_CACHE"; do
  for entry in "$(realpath "$cache")"/*; do
    [ -e "$work/cache/$(basename "$entry")" ] || ln -s "$entry" "$work/cache/"
  done
done
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
    --tasks "$1" --limit "$3" "${shots[@]}" --device cpu --dtype f32 --engine "${ENGINE:-native}" >"$work/ours.log" 2>&1 || [ $? -eq 4 ] || { cat "$work/ours.log" >&2; return 1; }
  "$python" - "$work/run" "$work/peak" "$1" <<'PY'
import glob, json, sys
run = json.load(open(glob.glob(sys.argv[1] + "/*/*/run.json")[0]))
task = run["tasks"][sys.argv[3]]
assert task["status"] == "ok", task
peak, user, system = open(sys.argv[2]).read().split()[-3:]
print(json.dumps({"seconds": task["duration_s"], "cpu_seconds": float(user) + float(system), "ratio": task["tokens_computed"] / task["tokens_nominal"],
                  "tokens": task["tokens_computed"], "checked": task["self_check"]["tokens"], "score": task["score"], "peak_rss_bytes": 1024 * int(peak)}))
PY
}
theirs() { "$python" benches/lm_eval_reference.py "$snapshot" "$1" "$2" "$3" 2>"$work/theirs.log" | tail -n 1; }

# One run of one side, unless an earlier call kept it. What fails leaves nothing behind, and the other rows go on.
once() { # side task shots limit round
  local answer=$kept/$2.$3.$4.$5.$1
  [ ! -s "$answer" ] || return 0
  if "$1" "$2" "$3" "$4" >"$work/answer" && [ -s "$work/answer" ]; then
    mv "$work/answer" "$answer"
  else
    echo "$2: $1 failed" >&2
    tail -n 5 "$work/$1.log" >&2
  fi
}

# The machine's rate of matrix products: torch's sgemm on the linear maps of the 135M shape, in GFLOP/s.
"$python" - "$threads" >"$work/rate" <<'PY'
import sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
work, spent, burnt = 0, 0.0, 0.0
for inputs, outputs in ((576, 576), (576, 192), (576, 1536), (1536, 576)):
    x, w = torch.randn(2048, inputs), torch.randn(outputs, inputs)
    torch.nn.functional.linear(x, w)
    began, began_cpu = time.perf_counter(), time.process_time()
    for _ in range(40):
        torch.nn.functional.linear(x, w)
    spent, burnt, work = spent + time.perf_counter() - began, burnt + time.process_time() - began_cpu, work + 80 * 2048 * inputs * outputs
print(work / spent / 1e9, work / burnt / 1e9)
PY

while IFS=: read -r task shots limit; do
  for round in $(seq "$rounds"); do
    for side in $sides; do
      once "$side" "$task" "$shots" "$limit" "$round"
    done
  done
  echo "$task $shots $limit" >>"$work/order"
done <<<"$tasks"

"$python" - "$kept" "$work" "$threads" "$rounds" "$model" "$snapshot" <<'PY'
import json, math, pathlib, statistics, sys
kept, work, snapshot = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[6])
rate, rate_per_cpu = map(float, (work / "rate").read_text().split())
# Weights of the linear maps, the head's apart: each is multiplied and added once for each token.
maps = 0
for file in snapshot.glob("*.safetensors"):
    with open(file, "rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    maps += sum(math.prod(v["shape"]) for k, v in header.items() if k != "__metadata__" and len(v["shape"]) == 2 and "embed" not in k and "lm_head" not in k)
print(f"{sys.argv[5]}, f32, {sys.argv[3]} threads, median of {sys.argv[4]} alternating rounds; torch's sgemm: {rate:.0f} GFLOP/s, {rate_per_cpu:.0f} per processor second")
print("s: seconds of the task, models loaded. cpu: processor seconds, ours of the whole program (loading and self-check included), the harness's without loading.")
print("GFLOP/s: the tokens' linear maps alone, by s; share: of torch's sgemm.")
print(f"{'task':<24}{'shots':>8}{'docs':>6}{'ours s':>9}{'lm-eval s':>11}{'ratio':>7}{'ours cpu':>10}{'lm-eval cpu':>13}{'ratio':>7}{'tokens':>8}{'checked':>8}{'GFLOP/s':>9}{'share':>7}{'ours MiB':>10}{'lm-eval MiB':>13}")
missing = []
for line in (work / "order").read_text().splitlines():
    task, shots, limit = line.split()
    read = lambda side: [json.loads(file.read_text()) for file in sorted(kept.glob(f"{task}.{shots}.{limit}.*.{side}"))]
    ours, theirs = read("ours"), read("theirs")
    if not ours or not theirs:
        missing.append(task)
    median = lambda side, name: statistics.median(r[name] for r in side) if side else math.nan
    mib = lambda side: max((r["peak_rss_bytes"] for r in side), default=math.nan) / 2**20
    a, b, c, d = median(ours, "seconds"), median(theirs, "seconds"), median(ours, "cpu_seconds"), median(theirs, "cpu_seconds")
    speed = 2e-9 * maps * median(ours, "tokens") / a
    print(f"{task:<24}{shots:>8}{limit:>6}{a:>9.2f}{b:>11.2f}{b / a:>7.2f}{c:>10.2f}{d:>13.2f}{d / c:>7.2f}{median(ours, 'ratio'):>8.3f}{median(ours, 'checked'):>8.0f}{speed:>9.0f}{speed / rate:>7.2f}{mib(ours):>10.0f}{mib(theirs):>13.0f}")
if missing:
    sys.exit(f"not measured on both sides: {', '.join(missing)}")
PY
