"""The yardstick: a pass-through with no features, made of uvicorn and pyreqwest, the fastest of the clients compared.

Usage: python -m benchmarks.bare PORT UPSTREAM_URL [CA_FILE]. Server settings are the gateway's; the collector runs
more seldom.
"""

import gc
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from pyreqwest.client import Client, ClientBuilder

from benchmarks.payloads import UPSTREAM_KEY

_HEADERS = [("content-type", "application/json"), ("authorization", f"Bearer {UPSTREAM_KEY}")]


def build_app(client: Client, url: str) -> Callable[..., Awaitable[None]]:
    async def app(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["method"] != "POST":  # asked by whoever waits for the start
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        request = client.post(url).headers(_HEADERS).body_bytes(body)
        if b'"stream":true' in body:
            await _stream(request, send)
        else:
            await _whole(request, send)

    return app


async def _whole(request: Any, send: Callable[..., Any]) -> None:
    response = await request.build().send()
    body = (await response.bytes()).to_bytes()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(request: Any, send: Callable[..., Any]) -> None:
    async with request.streamed_read_buffer_limit(0).build_streamed() as response:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        reader = response.body_reader
        while (chunk := await reader.read_chunk()) is not None:
            await send({"type": "http.response.body", "body": chunk.to_bytes(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def main() -> None:
    port, url = int(sys.argv[1]), sys.argv[2]
    builder = ClientBuilder().no_proxy().follow_redirects(False)
    if len(sys.argv) > 3:
        builder = builder.add_root_certificate_pem(Path(sys.argv[3]).read_bytes())
    app = build_app(builder.build(), url)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    uvicorn.run(
        app,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        backlog=2048,
    )


if __name__ == "__main__":
    main()
