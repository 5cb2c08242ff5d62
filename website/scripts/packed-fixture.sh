#!/bin/sh
# Writes tests/fixtures/packed.jsonl.zst: 400 sample lines in two Zstandard frames of different levels, packed by the zstd tool.
set -eu
here=$(dirname "$0")/..
lines() {
  node -e '
    const [from, to] = process.argv.slice(1).map(Number);
    for (let i = from; i < to; i++) {
      const prompt = "A passage about rivers. ".repeat(8) + "\nQuestion: is " + i + " even?\nAnswer:";
      const right = i % 3 === 0 ? 0 : 1;
      console.log(JSON.stringify({ doc_id: i, doc_hash: "0".repeat(64), prompt_hash: "0".repeat(64), target_hash: "0".repeat(64), target: 1 - (i % 2), arguments: [[prompt, " no"], [prompt, " yes"]], resps: [[[-1.25, false]], [[-0.5, true]]], filtered_resps: { none: [[-1.25, false], [-0.5, true]] }, metrics: { "acc,none": right } }));
    }' "$1" "$2"
}
{ lines 0 150 | zstd -q -19 -c; lines 150 400 | zstd -q -3 -c; } > "$here/tests/fixtures/packed.jsonl.zst"
