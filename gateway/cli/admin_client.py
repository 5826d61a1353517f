"""The admin API of a running gateway, for commands."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import click
import httpx2

_TIMEOUT_S = 10.0


class AdminClientError(Exception):
    """What was asked for was not done; the message says why, without any secret."""


class AdminClient:
    """Asks one gateway; close it in the end."""

    def __init__(self, url: str, admin_key: str) -> None:
        self._url = url.rstrip("/")
        self._client = httpx2.AsyncClient(
            headers={"authorization": f"Bearer {admin_key}"}, timeout=_TIMEOUT_S, trust_env=False
        )

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object that it answers, empty where it answers nothing. Raises AdminClientError."""
        try:
            answer = await self._client.request(method, self._url + path, json=body)
            found = answer.json() if answer.content else {}
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise AdminClientError(f"{self._url}: {str(error) or type(error).__name__}") from None
        if not isinstance(found, dict) or not answer.is_success:
            error_object = found.get("error") if isinstance(found, dict) else None
            if isinstance(error_object, dict) and "message" in error_object:
                raise AdminClientError(error_object["message"])
            raise AdminClientError(f"{self._url}: HTTP {answer.status_code}")
        return found

    async def close(self) -> None:
        await self._client.aclose()


def ask_once(url: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One question with the key in SIGNALBOX_ADMIN_KEY. Raises ClickException."""
    secret = os.environ.get("SIGNALBOX_ADMIN_KEY")
    if not secret:
        raise click.ClickException("Set SIGNALBOX_ADMIN_KEY to an admin key of that gateway.")

    async def ask() -> dict[str, Any]:
        client = AdminClient(url, secret)
        try:
            return await client.ask(method, path, body)
        finally:
            await client.close()

    try:
        return asyncio.run(ask())
    except AdminClientError as error:
        raise click.ClickException(str(error)) from None
