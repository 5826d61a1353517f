"""Vectors for the comparison: from a model in a folder, or in time or not at all from a provider."""

import asyncio
import struct
import sys
import threading

import pytest

from gateway.caching.semantic.local_model import LocalModel
from gateway.caching.semantic.vectors import EmbeddingEnd, OneAtATime, made_here
from gateway.runtime import Caller
from tests.fakes.script import reply, silent
from tests.fakes.virtual_time import run_virtual
from tests.gateway.semantic_scene import WORDINGS, ask, config, provider, wait_calls

ANN = Caller("ann")
ROWS = {"[UNK]": (0.0, 0.0), "red": (1.0, 0.0), "blue": (0.0, 1.0)}


def test_one_vector_serves_all_who_want_it_now_or_wanted_it_lately():
    made, ends = [], []

    async def make(text, caller, request_id):
        made.append(text)
        await asyncio.sleep(0.1)
        return [1.0, 2.0]

    async def play():
        embedder = OneAtATime(b"e", 0.15, make, ends.append)
        found = await asyncio.gather(*(embedder.vector("a", ANN, "r") for _ in range(1000)))
        assert found == [[1.0, 2.0]] * 1000
        assert await embedder.vector("a", ANN, "r") == [1.0, 2.0]
        assert await embedder.vector("b", ANN, "r") == [1.0, 2.0]

    run_virtual(play())
    assert made == ["a", "b"]
    assert ends == [EmbeddingEnd.OK] * 2


def test_what_is_late_broken_or_of_another_length_is_no_vector():
    answers = iter([[1.0, 0.0], 9.0, ValueError("a secret text"), None, [1.0], [float("nan"), 1.0], [0.0, 0.0], []])
    ends = []

    async def make(text, caller, request_id):
        answer = next(answers)
        if isinstance(answer, float):
            await asyncio.sleep(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def play():
        embedder = OneAtATime(b"e", 0.15, make, ends.append)
        return [await embedder.vector(str(number), ANN, "r") for number in range(8)]

    assert run_virtual(play()) == [[1.0, 0.0], *[None] * 7]
    assert ends == [EmbeddingEnd.OK, EmbeddingEnd.TIMEOUT, *[EmbeddingEnd.FAILED] * 6]


def test_whoever_leaves_takes_no_vector_from_the_others():
    async def make(text, caller, request_id):
        await asyncio.sleep(0.1)
        return [1.0]

    async def play():
        embedder = OneAtATime(b"e", 0.15, make, lambda _: None)
        first, second = (asyncio.create_task(embedder.vector("a", ANN, "r")) for _ in range(2))
        await asyncio.sleep(0.05)
        first.cancel()
        assert await second == [1.0]

    run_virtual(play())


@pytest.mark.e2e
def test_a_provider_makes_them_billed_and_without_holding_anybody_up(gateways, upstream):
    embedding = {"provider": "oa", "model": "small", "timeout_s": 30}
    gateway = gateways.get(patient := config(upstream, enabled=True, embedding=embedding))
    vectors = {"data": [{"index": 0, "embedding": [0.6, 0.8]}], "usage": {"prompt_tokens": 9, "total_tokens": 9}}

    def both(asked):
        return reply(vectors) if asked.path.endswith("/embeddings") else provider(asked)

    upstream.on(both)
    asked = [ask(gateway, wording.format("Kenya")) for wording in WORDINGS[:2]]
    assert [one.headers["x-signalbox-cache"] for one in asked] == ["miss", "miss"]
    sent = [one.json for one in upstream.requests() if one.path.endswith("/embeddings")]
    assert [(one["model"], one["input"]) for one in sent] == [("small", one.format("Kenya")) for one in WORDINGS[:2]]
    assert gateway.admin("cache").json["semantic"]["entries"] == 2
    upstream.reset()
    upstream.on(both)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(gateway, WORDINGS[4].format("Kenya")))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.status for one in answers} == {200}
    assert len(upstream.requests()) == 2, "one vector and one answer for all who ask at the same time"
    upstream.reset()
    gateway.write(config(upstream, enabled=True, embedding=embedding | {"timeout_s": 0.05}))
    assert gateway.reload().status == 200
    upstream.on(lambda asked: silent() if asked.path.endswith("/embeddings") else provider(asked))
    late = ask(gateway, WORDINGS[2].format("Kenya"))
    assert (late.headers["x-signalbox-cache"], late.text) == ("miss", "Nairobi")
    assert gateway.wait_metric("signalbox_cache_embeddings_total", 1, result="timeout") == 1
    gateway.write(patient)
    assert gateway.reload().status == 200
    upstream.on(lambda asked: reply({}, status=500) if asked.path.endswith("/embeddings") else provider(asked))
    assert ask(gateway, WORDINGS[3].format("Kenya")).text == "Nairobi"
    assert gateway.wait_metric("signalbox_cache_embeddings_total", 1, result="failed") == 1
    assert gateway.metric("signalbox_cache_embeddings_total", result="ok") == 3
    wait_calls(gateway, "embedding", 3)
    assert gateway.admin("cache").json["semantic"]["entries"] == 3, "without a vector nothing is compared"


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"model_dir: there is no .*model\.onnx"):
        LocalModel(tmp_path)


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    _files(tmp_path)
    with pytest.raises(ValueError, match=r"onnxruntime.*signalbox-gateway\[semantic\]"):
        LocalModel(tmp_path)


def test_a_model_in_a_folder(tmp_path):
    _files(tmp_path)
    model = LocalModel(tmp_path)
    assert model.embed("red") == [1.0, 0.0]
    assert model.embed("red blue") == [0.5, 0.5]
    embedder = OneAtATime(model.id, 5.0, made_here(model), lambda _: None)
    assert asyncio.run(embedder.vector("blue", ANN, "r")) == [0.0, 1.0]
    before = model.id
    (tmp_path / "model.onnx").write_bytes(_onnx({**ROWS, "blue": (0.0, 2.0)}))
    assert LocalModel(tmp_path).id != before
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match="cannot be used"):
        LocalModel(tmp_path)


def _files(folder):
    (folder / "model.onnx").write_bytes(_onnx(ROWS))
    words = ", ".join(f'"{word}": {number}' for number, word in enumerate(ROWS))
    model = f'{{"type": "WordLevel", "vocab": {{{words}}}, "unk_token": "[UNK]"}}'
    rest = '"truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "post_processor": null'
    parts = '"pre_tokenizer": {"type": "Whitespace"}, "decoder": null'
    (folder / "tokenizer.json").write_text(f'{{"version": "1.0", {rest}, {parts}, "model": {model}}}')


def _onnx(rows):
    """A graph that looks each token up in a table. https://onnx.ai/onnx/repo-docs/IR.html, fields as in onnx.proto3."""
    table = b"".join(struct.pack("<2f", *row) for row in rows.values())
    initializer = _field(1, len(rows)) + _field(1, 2) + _field(2, 1) + _field(8, b"table") + _field(9, table)
    node = _field(1, b"table") + _field(1, b"input_ids") + _field(2, b"last_hidden_state") + _field(4, b"Gather")
    graph = _field(1, node) + _field(2, b"g") + _field(5, initializer)
    graph += _field(11, _value(b"input_ids", 7, (1, b"n"))) + _field(12, _value(b"last_hidden_state", 1, (1, b"n", 2)))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))


def _value(name, kind, shape):
    sizes = b"".join(_field(1, _field(2 if isinstance(size, bytes) else 1, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, sizes)))


def _field(number, value):
    """A field of a protocol buffer: a number, or bytes with their length before them."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value):
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])
