"""Texts as vectors by a model in a folder: `model.onnx` and `tokenizer.json`, as sentence-transformers exports them.

The extra `semantic` brings what runs it. One text takes some 1 to 5 ms of CPU, in a thread of its own.
"""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_MOST_TOKENS = 128
_MOST_WAITING = 32
_BLOCK = 1024 * 1024
_USUAL_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class LocalModel:
    """Raises ValueError where the folder or what is needed to run it is not there; that takes up to a second."""

    def __init__(self, folder: Path) -> None:
        self._model, tokenizer = folder / "model.onnx", folder / "tokenizer.json"
        for file in (self._model, tokenizer):
            if not file.is_file():
                raise ValueError(f"policies.cache.semantic.embedding.model_dir: there is no {file}")
        try:
            import numpy  # noqa: PLC0415 - all three are in an extra
            import onnxruntime  # noqa: PLC0415
            import tokenizers  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise ValueError(
                f"policies.cache.semantic.embedding.model_dir needs the package '{error.name}', which is not there: "
                "pip install 'signalbox-gateway[semantic]'"
            ) from None
        self._numpy: Any = numpy
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # short texts: threads would only spin
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(self._model), options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # each library has its own
            raise ValueError(f"policies.cache.semantic.embedding.model_dir: {folder} cannot be used: {error}") from None
        self._inputs = {one.name for one in self._session.get_inputs()}
        if not self._inputs <= _USUAL_INPUTS:
            raise ValueError(f"{self._model} wants other inputs than tokens: {', '.join(sorted(self._inputs))}")
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=_MOST_TOKENS)
        self.id = _digest(self._model, tokenizer)
        self._thread = ThreadPoolExecutor(1, "embedder")
        self._waiting = 0

    async def vector(self, text: str) -> list[float] | None:
        """None where too many wait already. Raises what the model raises."""
        if self._waiting >= _MOST_WAITING:
            return None
        self._waiting += 1
        work = self._thread.submit(self.embed, text)
        work.add_done_callback(self._done)
        return await asyncio.wrap_future(work)

    def _done(self, _: object) -> None:
        self._waiting -= 1

    def embed(self, text: str) -> list[float]:
        """The mean of the vectors of all tokens, or the model's own vector of the text where it has one."""
        tokens, numpy = self._tokenizer.encode(text), self._numpy
        given = {
            "input_ids": tokens.ids,
            "attention_mask": tokens.attention_mask,
            "token_type_ids": tokens.type_ids,
        }
        feed = {name: numpy.asarray([given[name]], dtype="int64") for name in self._inputs}
        found = self._session.run(None, feed)[0][0]
        vector = found if found.ndim == 1 else found.mean(axis=0)
        made: list[float] = vector.tolist()
        return made


def _digest(*files: Path) -> bytes:
    """Of all that decides the vectors."""
    found = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK):
                found.update(block)
    return found.digest()
