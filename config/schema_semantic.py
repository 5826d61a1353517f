"""The cache of requests that mean the same: its section of policies, and what a route may say instead."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from config.schema_base import FileName, Name, PositiveInt, PositiveSeconds, ProviderName, Ratio, Section

Temperature = Annotated[float, Field(ge=0, le=2)]


class EmbeddingConfig(Section):
    """Who turns texts into vectors for the semantic cache: a model in a folder, or one of the providers."""

    model_dir: FileName | None = Field(
        default=None,
        description="A folder with `model.onnx` and `tokenizer.json`, relative to this file; needs the extra "
        "`semantic`.",
    )
    provider: ProviderName | None = Field(default=None, description="The provider that is asked instead.")
    model: Name | None = Field(default=None, description="Its model for embeddings.")
    timeout_s: PositiveSeconds = Field(
        default=0.15, description="Seconds a request waits for its vector; after that it is a miss."
    )

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.model_dir is None) == (self.provider is None):
            raise ValueError("an embedding needs either 'model_dir', or 'provider' and 'model'")
        if (self.provider is None) != (self.model is None):
            raise ValueError("'provider' and 'model' stand together")
        return self


class SemanticCacheConfig(Section):
    """Answers to requests that mean the same as an earlier one."""

    enabled: bool = Field(
        default=False,
        description="Whether requests of the same meaning are answered from the cache; a route may say otherwise.",
    )
    ttl_s: Annotated[float, Field(gt=0)] = Field(
        default=3600, description="Seconds an answer stays valid, as far as `exact.ttl_s` allows."
    )
    max_wrong_hits: Ratio = Field(
        default=0.01, description="Share of wrong answers among hits that is aimed for at most."
    )
    max_temperature: Temperature = Field(
        default=0.3,
        description="Requests that name a higher temperature are not answered; those that name none are.",
    )
    max_turns: PositiveInt = Field(
        default=3, description="User messages of a conversation, the last one included, up to which it is answered."
    )
    max_entries: PositiveInt = Field(
        default=10_000, description="Answers of one kind of request that are compared with; the least useful go first."
    )
    shadow_ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.03, description="Share of hits that are checked by a call whose answer nobody waits for."
    )
    embedding: EmbeddingConfig | None = Field(
        default=None, description="Vectors for the comparison; words alone are compared where left out."
    )


class RouteSemanticCacheConfig(Section):
    """What a route says instead of `policies.cache.semantic`; a setting left out keeps its value."""

    enabled: bool | None = Field(default=None, description="Whether its requests are answered by meaning.")
    ttl_s: Annotated[float, Field(gt=0)] | None = Field(default=None, description="Seconds an answer stays valid.")
    max_wrong_hits: Ratio | None = Field(
        default=None, description="Share of wrong answers among hits that is aimed for at most."
    )
    max_temperature: Temperature | None = Field(
        default=None, description="Requests that name a higher temperature are not answered."
    )
    max_turns: PositiveInt | None = Field(default=None, description="User messages up to which one is answered.")
