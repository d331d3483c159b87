"""The baseline, in a process of its own: transformers and torch, eager, float32.

Written as most people write it: tokenize, run the model, average the token vectors, normalize,
in batches of texts in the order given. Reads one JSON object
a line, ``{"texts": [...], "batch": n}``; answers ``{"seconds": [...]}``, one number a batch.

    python -m eval.torch_worker CHECKPOINT MAX_TOKENS THREADS
"""

import json
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoModel, AutoTokenizer


class Baseline:
    def __init__(self, checkpoint: str, max_tokens: int) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self.model = AutoModel.from_pretrained(checkpoint).eval()
        self.max_tokens = max_tokens

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> torch.Tensor:
        """Vectors ``(n, dim) float32`` of unit length."""
        inputs = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        tokens = self.model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1).float()
        mean = (tokens * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(mean, dim=1)


def main() -> None:
    checkpoint, max_tokens, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    baseline = Baseline(checkpoint, int(max_tokens))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        size = request["batch"]
        texts = request["texts"]
        seconds = []
        for start in range(0, len(texts), size):
            began = time.perf_counter()
            baseline.encode(texts[start : start + size])
            seconds.append(time.perf_counter() - began)
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
