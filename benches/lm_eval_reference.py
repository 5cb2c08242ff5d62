#!/usr/bin/env python3
"""Run lm-evaluation-harness's `hf` backend on the Parquet rows of a Hugging Face cache and print the seconds.

The harness reads its data with `datasets.load_dataset`, which wants the hub; here the same rows come from the cache that
slm-bench reads. Everything else is the harness as released: task files, prompts, model code, metrics.

Usage: lm_eval_reference.py MODEL_DIR TASK NUM_FEWSHOT LIMIT
Prints one JSON line: {"task", "seconds", "cpu_seconds", "model_seconds", "peak_rss_bytes", "results"}. `seconds` and `cpu_seconds`
(of all threads) are `simple_evaluate` without loading the model; `model_seconds` is the part inside the model's scoring calls.
"""
import glob
import json
import os
import resource
import sys
import time

import datasets


def cached_split(repository, config, split):
    home = os.path.join(os.environ["HF_HUB_CACHE"], "datasets--" + repository.replace("/", "--"))
    revision = open(os.path.join(home, "refs", "main")).read().strip()
    snapshot = os.path.join(home, "snapshots", revision)
    for folder in (config, "data"):
        if folder:
            files = sorted(glob.glob(os.path.join(snapshot, folder, split + "-*.parquet")))
            if files:
                return files
    return []


def load_dataset(path, name=None, split=None, **_ignored):
    wanted = [split] if split else ["train", "validation", "test", "dev", "prompt"]
    files = {one: cached_split(path, name, one) for one in wanted}
    files = {one: paths for one, paths in files.items() if paths}
    loaded = datasets.DatasetDict({one: datasets.Dataset.from_parquet(paths) for one, paths in files.items()})
    return loaded[split] if split else loaded


def main(model_dir, task, num_fewshot, limit):
    datasets.load_dataset = load_dataset
    import torch
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    # batch_size 1 is the harness's default and its fastest setting on a CPU (nothing is padded).
    model = HFLM(pretrained=model_dir, dtype="float32", batch_size=1, device="cpu")
    spent = 0.0

    def timed(method):
        def call(*arguments, **options):
            nonlocal spent
            began = time.perf_counter()
            try:
                return method(*arguments, **options)
            finally:
                spent += time.perf_counter() - began

        return call

    for name in ("loglikelihood", "loglikelihood_rolling", "generate_until"):
        setattr(model, name, timed(getattr(model, name)))
    began, began_cpu = time.perf_counter(), time.process_time()
    answer = simple_evaluate(
        model=model,
        tasks=[task],
        num_fewshot=None if num_fewshot == "default" else int(num_fewshot),
        limit=None if limit == "all" else int(limit),
        bootstrap_iters=0,
    )
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    results = {name: {k: v for k, v in values.items() if isinstance(v, (int, float))} for name, values in answer["results"].items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"task": task, "seconds": seconds, "cpu_seconds": cpu_seconds, "model_seconds": spent, "peak_rss_bytes": peak, "results": results}))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
