"""Azure OpenAI: OpenAI's dialect at a resource's own address, with the key in `api-key`.

`https://{resource}.openai.azure.com` is spoken to in the classic way, where the deployment stands in the path and
`api-version` in the query; an address that ends in `/openai/v1` in the newer way, where the model stands in the body.
https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
"""

from urllib.parse import quote, urlencode

import orjson

from providers.base import Call, OptionError, ProviderOptions, Request, Target
from providers.bodyedit import edit
from providers.openai import OpenAI, with_usage

KIND = "azure"
# No ENV_KEY: a key alone does not say which resource it is for.
OPTIONS = ("resource", "api_version", "auth")

# The latest generally available version of the classic interface:
# https://learn.microsoft.com/azure/ai-foundry/openai/reference
_API_VERSION = "2024-10-21"
_V1 = "/openai/v1"


def build(options: ProviderOptions) -> "Azure":
    """The provider for one row of the configuration: `base_url` or `resource`, and optionally `api_version`.

    `auth: bearer` sends the key as a Microsoft Entra token. Raises ValueError when the address is missing, or `auth`
    is neither bearer nor api_key.
    """
    base_url = options.base_url
    if not base_url:
        resource = options.extra.get("resource")
        if not resource:
            raise ValueError(
                f"Provider '{options.name}': set base_url (https://<resource>.openai.azure.com) or resource."
            )
        base_url = f"https://{resource}.openai.azure.com"
    return Azure(options, base_url)


class Azure(OpenAI):
    """A Provider for one Azure resource; the target's model is the name of the deployment."""

    def __init__(self, options: ProviderOptions, base_url: str) -> None:
        key = options.api_key
        way = options.extra.get("auth")
        if way not in (None, "bearer", "api_key"):
            raise OptionError(options.name, "auth", f"must be bearer or api_key, not '{way}'")
        is_token = way == "bearer"
        headers = {} if not key else {"authorization": f"Bearer {key}"} if is_token else {"api-key": key}
        base_url = base_url.rstrip("/")
        super().__init__(options, base_url=base_url, headers=headers)
        version = options.extra.get("api_version")
        self._is_v1 = base_url.endswith(_V1) or version == "v1"
        self._base_url = base_url.removesuffix(_V1).removesuffix("/openai")
        self._paths = {operation: url.removeprefix(base_url) for operation, url in self._urls.items()}
        # The v1 interface takes no version, or `preview`.
        versions = (version if version != "v1" else None) if self._is_v1 else version or _API_VERSION
        self._query = "?" + urlencode({"api-version": versions}) if versions else ""

    def call(self, request: Request, target: Target) -> Call:
        path = self._paths[request.operation]
        where = _V1 if self._is_v1 else f"/openai/deployments/{quote(target.model, safe='')}"
        changes = {"model": orjson.dumps(target.model)}
        if request.stream and not request.include_usage:
            changes["stream_options"] = with_usage(request.body.get("stream_options"))
        body = edit(request.raw, request.body, changes)
        return Call(f"{self._base_url}{where}{path}{self._query}", self._headers, body)
