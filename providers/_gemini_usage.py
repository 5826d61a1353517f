"""Gemini's `usageMetadata` as disjoint classes of tokens.

`promptTokenCount` includes `cachedContentTokenCount`; `toolUsePromptTokenCount` (what Gemini's own tools fetched) and
`thoughtsTokenCount` stand beside it and beside `candidatesTokenCount`. The four add up to `totalTokenCount`.
https://ai.google.dev/api/generate-content#UsageMetadata
"""

from collections.abc import Mapping
from typing import Any

from providers.base import Usage

# Numbers are what `enum-encoding=int` gives. Pages of documents and frames of films are priced as text is.
_AUDIO = ("AUDIO", 4)
_IMAGE = ("IMAGE", 2)
_SERVICE_TIERS = {
    "standard": "default",
    "flex": "flex",
    "priority": "priority",
    # Vertex AI: https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse
    "on_demand": "default",
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
}


def usage_of(metadata: Any, searches: int = 0) -> Usage | None:
    """None where nothing was counted (early events of a stream say only `trafficType`).

    `searches` is the answer's own number of them (`searches_of`), which is not part of the metadata.
    """
    if not isinstance(metadata, dict) or not any(name.endswith("TokenCount") for name in metadata):
        return None
    prompt = _count(metadata, "promptTokenCount") + _count(metadata, "toolUsePromptTokenCount")
    cached = min(prompt, _count(metadata, "cachedContentTokenCount"))
    audio = min(prompt - cached, _fresh(metadata, _AUDIO))
    image = min(prompt - cached - audio, _fresh(metadata, _IMAGE))
    visible = _count(metadata, "candidatesTokenCount")
    thoughts = _count(metadata, "thoughtsTokenCount")
    # Some models leave the thoughts out and count them in the total alone.
    thoughts += max(0, _count(metadata, "totalTokenCount") - prompt - visible - thoughts)
    audio_output = min(visible, _of(metadata, "candidatesTokensDetails", _AUDIO))
    image_output = min(visible - audio_output, _of(metadata, "candidatesTokensDetails", _IMAGE))
    return Usage(
        input=prompt - cached - audio - image,
        cache_read=cached,
        audio_input=audio,
        image_input=image,
        output=visible - audio_output - image_output,
        reasoning=thoughts,
        audio_output=audio_output,
        image_output=image_output,
        searches=searches,
        service_tier=service_tier(metadata),
    )


def searches_of(candidates: Any) -> int:
    """How many searches the answer is grounded on; the price says whether each counts or their being there.

    https://ai.google.dev/gemini-api/docs/google-search#pricing
    """
    found = 0
    for candidate in candidates if isinstance(candidates, list) else ():
        grounding = candidate.get("groundingMetadata") if isinstance(candidate, dict) else None
        queries = grounding.get("webSearchQueries") if isinstance(grounding, dict) else None
        if isinstance(queries, list):
            found += len({query for query in queries if isinstance(query, str) and query})
    return found


def service_tier(metadata: Any) -> str | None:
    """OpenAI's name of the tier that served the request, None where none is told."""
    tier = metadata.get("serviceTier") or metadata.get("trafficType") if isinstance(metadata, dict) else None
    return _SERVICE_TIERS.get(str(tier).lower().removeprefix("service_tier_"))


def _fresh(metadata: Mapping[str, Any], modality: tuple[str, int]) -> int:
    """Tokens of the prompt in one modality that did not come from the cache."""
    sent = sum(_of(metadata, name, modality) for name in ("promptTokensDetails", "toolUsePromptTokensDetails"))
    return max(0, sent - _of(metadata, "cacheTokensDetails", modality))


def _of(metadata: Mapping[str, Any], name: str, modality: tuple[str, int]) -> int:
    details = metadata.get(name)
    if not isinstance(details, list):
        return 0
    return sum(
        _count(item, "tokenCount") for item in details if isinstance(item, dict) and item.get("modality") in modality
    )


def _count(holder: Mapping[str, Any], name: str) -> int:
    value = holder.get(name)
    return value if isinstance(value, int) and value > 0 else 0
