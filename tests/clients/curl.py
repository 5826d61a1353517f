"""The curl binary as a client: the operations of the SDK drivers, done by hand on what curl prints.

Nothing here is lenient: a missing key, a second terminal event or a wrong content type raises.
"""

import base64
import json
import struct
import subprocess
import time
from typing import Any

from tests.clients.openai_python import City, Gathered, counted, logprobs_of

_CITY_FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "City",
        "strict": True,
        "schema": City.model_json_schema() | {"additionalProperties": False},
    },
}


class Completed:
    """What curl printed: the last head (after any 1xx), and the body."""

    def __init__(self, output: bytes) -> None:
        rest = output
        while True:
            head, _, rest = rest.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            self.status = int(lines[0].split()[1])
            if self.status >= 200:
                break
        self.headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}
        self.body = rest

    @property
    def json(self) -> Any:
        assert self.headers["content-type"].startswith("application/json"), self.headers
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The parsed events of a chat stream, up to its one terminal event."""
        assert self.headers["content-type"].startswith("text/event-stream"), self.headers
        frames = self.body.decode().split("\n\n")
        assert frames.pop() == "", "the stream does not end with a blank line"
        lines = [frame for frame in frames if not frame.startswith(":")]
        assert all(line.startswith("data: ") for line in lines), lines
        data = [line.removeprefix("data: ") for line in lines]
        if "error" not in data[-1]:
            assert data.pop() == "[DONE]"
        assert "[DONE]" not in data
        return [json.loads(text) for text in data]


class _Chunk:
    """A chunk with the one method that `Gathered` asks of the SDK's."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    def model_dump(self) -> dict[str, Any]:
        return self._data


class CurlClient:
    """Runs one curl per job."""

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self, f"_{job['op']}")(job)
        return answer

    def close(self) -> None:
        """Nothing stays behind."""

    def _curl(self, job: dict[str, Any], path: str, body: Any = None, *options: str) -> Completed:
        command = ["curl", "-sS", "-N", "-i", job["base_url"] + path, "-H", f"Authorization: Bearer {job['api_key']}"]
        data = None
        if body is not None:
            command += ["-H", "Content-Type: application/json", "--data-binary", "@-"]
            data = json.dumps(body, ensure_ascii=False).encode()
        done = subprocess.run([*command, *options], input=data, capture_output=True, timeout=90, check=True)
        return Completed(done.stdout)

    def _chat(self, job: dict[str, Any], **more: Any) -> Completed:
        return self._curl(job, "/chat/completions", job["body"] | (job.get("extra") or {}) | more)

    def _create(self, job: dict[str, Any]) -> dict[str, Any]:
        done = self._chat(job)
        if done.status != 200:
            return {"raised": _explained(done)}
        data = done.json
        choice = data["choices"][0]
        message = choice["message"]
        calls = message.get("tool_calls") or []
        return {
            "text": message["content"],
            "texts": [c["message"]["content"] for c in data["choices"]],
            "refusal": message.get("refusal"),
            "finish": choice["finish_reason"],
            "finishes": [c["finish_reason"] for c in data["choices"]],
            "indexes": [c["index"] for c in data["choices"]],
            "calls": [
                {
                    "name": c["function"]["name"],
                    "arguments": json.loads(c["function"]["arguments"]),
                    "has_id": bool(c["id"]),
                }
                for c in calls
            ],
            "call_ids": [c["id"] for c in calls],
            "usage": counted(data["usage"]),
            "logprobs": logprobs_of(choice),
            "model": data["model"],
            "object": data["object"],
            "fingerprint": data.get("system_fingerprint"),
            "request_id": done.headers["x-request-id"],
            "message_keys": sorted(message),
            "message": message,
            "headers": done.headers,
        }

    def _stream(self, job: dict[str, Any]) -> dict[str, Any]:
        done = self._chat(job, stream=True)
        if done.status != 200:
            return {"raised": _explained(done), "text": ""}
        gathered = Gathered()
        for event in done.events():
            if "error" in event:
                raised = {"class": None, "status": None} | event["error"] | {"keys": sorted(event["error"])}
                return {"raised": raised, "text": gathered.texts.get(0, "")}
            gathered.add(_Chunk(event))
        return gathered.result()

    def _parse(self, job: dict[str, Any]) -> dict[str, Any]:
        message = self._chat(job, response_format=_CITY_FORMAT).json["choices"][0]["message"]
        return {"parsed": json.loads(message["content"]), "refusal": message.get("refusal")}

    def _parse_beta(self, job: dict[str, Any]) -> dict[str, Any]:
        return self._parse(job)

    def _parse_tools(self, job: dict[str, Any]) -> dict[str, Any]:
        function = {"name": "save_city", "strict": True, "parameters": City.model_json_schema()}
        message = self._chat(job, tools=[{"type": "function", "function": function}]).json["choices"][0]["message"]
        call = message["tool_calls"][0]["function"]
        return {"parsed": json.loads(call["arguments"]), "name": call["name"]}

    def _parse_stream(self, job: dict[str, Any]) -> dict[str, Any]:
        gathered = Gathered()
        for event in self._chat(job, response_format=_CITY_FORMAT, stream=True).events():
            gathered.add(_Chunk(event))
        return {"parsed": json.loads(gathered.texts[0]), "has_delta_events": gathered.count > 2}

    def _embed(self, job: dict[str, Any]) -> dict[str, Any]:
        done = self._curl(job, "/embeddings", {"encoding_format": "base64"} | job["body"])
        if done.status != 200:
            return {"raised": _explained(done)}
        items = done.json["data"]
        return {
            "vectors": [_floats(item["embedding"]) for item in items],
            "indexes": [item["index"] for item in items],
            "prompt": done.json["usage"]["prompt_tokens"],
            "object": done.json["object"],
        }

    def _complete(self, job: dict[str, Any]) -> dict[str, Any]:
        data = self._curl(job, "/completions", job["body"]).json
        return {
            "texts": [c["text"] for c in data["choices"]],
            "usage": counted(data["usage"]),
            "object": data["object"],
        }

    def _complete_stream(self, job: dict[str, Any]) -> dict[str, Any]:
        texts: dict[int, str] = {}
        usages = []
        for event in self._curl(job, "/completions", job["body"] | {"stream": True}).events():
            for choice in event["choices"]:
                texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
            if event.get("usage"):
                usages.append(counted(event["usage"]))
        return {"texts": [text for _, text in sorted(texts.items())], "usages": usages}

    def _models(self, job: dict[str, Any]) -> dict[str, Any]:
        page = self._curl(job, "/models").json
        objects = sorted({m["object"] for m in page["data"]})
        return {"ids": [m["id"] for m in page["data"]], "objects": objects, "object": page["object"]}

    def _model(self, job: dict[str, Any]) -> dict[str, Any]:
        done = self._curl(job, f"/models/{job['id']}")
        if done.status != 200:
            return {"raised": _explained(done)}
        found = done.json
        return {k: found[k] for k in ("id", "object", "created")} | {"has_owner": bool(found["owned_by"])}

    def _get(self, job: dict[str, Any]) -> dict[str, Any]:
        done = self._curl(job, job["path"])
        return {"body": done.json} if done.status == 200 else {"raised": _explained(done)}

    def _post(self, job: dict[str, Any]) -> dict[str, Any]:
        headers = [f"{name}: {value}" for name, value in job["headers"].items()]
        options = [part for header in headers for part in ("-H", header)]
        done = self._curl(job, job["path"], None, "-d", json.dumps(job["body"]), *options)
        return {"body": done.json} if done.status == 200 else {"raised": _explained(done)}

    def _leave_stream(self, job: dict[str, Any]) -> dict[str, Any]:
        with self._started(job, stream=True) as process:
            assert process.stdout is not None
            while True:
                line = process.stdout.readline()
                assert line, "the stream ended without text"
                if line.startswith(b"data: "):
                    text = json.loads(line[6:])["choices"][0]["delta"].get("content")
                    if text:
                        left_at = time.monotonic()
                        process.kill()
                        return {"text": text, "left_at": left_at}

    def _leave_early(self, job: dict[str, Any]) -> dict[str, Any]:
        with self._started(job) as process:
            try:
                process.wait(job["after_s"])
            except subprocess.TimeoutExpired:
                left_at = time.monotonic()
                process.kill()
                return {"left_at": left_at, "not_before": left_at}
        return {"answered": True}

    def _started(self, job: dict[str, Any], **more: Any) -> subprocess.Popen[bytes]:
        command = ["curl", "-sS", "-N", job["base_url"] + "/chat/completions", "-H", "Content-Type: application/json"]
        command += ["-H", f"Authorization: Bearer {job['api_key']}", "-d", json.dumps(job["body"] | more)]
        return subprocess.Popen(command, stdout=subprocess.PIPE)


def _floats(data: str | list[float]) -> list[float]:
    if isinstance(data, list):
        return data
    raw = base64.b64decode(data)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def _explained(done: Completed) -> dict[str, Any]:
    error = done.json["error"]
    return {
        "class": None,
        "status": done.status,
        "message": error["message"],
        "code": error["code"],
        "type": error["type"],
        "param": error["param"],
        "request_id": done.headers["x-request-id"],
        "keys": sorted(error),
    }
