"""`python -m benchmarks.cache.embed MODEL_FOLDER OUT_FOLDER`: vectors of all texts of the streams and pairs, once,
and of those that are made of `groups.toml`.

The model folder has `model.onnx` and `tokenizer.json`; onnxruntime and tokenizers must be installed.
"""

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.cache.groups import made_pairs
from benchmarks.cache.streams import folder
from gateway.caching.semantic.local_model import LocalModel


def main(model: Path, out: Path) -> None:
    asked = [json.loads(line) for file in sorted(folder().glob("*.jsonl")) for line in file.open(encoding="utf-8")]
    rows = asked + made_pairs()
    texts = list(dict.fromkeys(row[name] for row in rows for name in ("a", "b", "q") if name in row))
    embed = LocalModel(model).embed
    out.mkdir(parents=True, exist_ok=True)
    found = np.array([embed(text) for text in texts], dtype=np.float32)
    np.save(out / "embeddings.npy", found / np.linalg.norm(found, axis=1, keepdims=True))
    (out / "texts.json").write_text(json.dumps(texts), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
