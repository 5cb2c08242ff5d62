#!/usr/bin/env python3
"""Write a randomly initialised Llama with the shape of SmolLM2-135M into a Hugging Face cache, for speed comparisons.

The weights mean nothing; the shape gives real timings. The tokenizer is copied from the demonstration model, so that the
prompts have ordinary lengths.

Usage: make_shape_model.py CACHE_DIR TOKENIZER_DIR
Needs: torch, transformers. Prints the name under which the cache holds the model.
"""
import hashlib
import pathlib
import shutil
import sys
import tempfile

import torch
from transformers import LlamaConfig, LlamaForCausalLM

REPOSITORY = "slm-benchmark/shape-135m"
SHAPE = dict(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8192,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
    bos_token_id=0,
    eos_token_id=0,
)


def main(cache: pathlib.Path, tokenizer: pathlib.Path) -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE)).to(torch.float32)
    with tempfile.TemporaryDirectory() as written:
        model.save_pretrained(written)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tokenizer / name, written)
        digest = hashlib.sha1((pathlib.Path(written) / "model.safetensors").read_bytes()).hexdigest()
        home = cache / ("models--" + REPOSITORY.replace("/", "--"))
        snapshot = home / "snapshots" / digest
        if snapshot.exists():
            shutil.rmtree(snapshot)
        shutil.copytree(written, snapshot)
        (home / "refs").mkdir(exist_ok=True)
        (home / "refs" / "main").write_text(digest)
    print(REPOSITORY)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
