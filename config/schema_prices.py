"""What a model costs, where its operator says so."""

from pydantic import Field

from config.schema_base import Section, Usd


class PriceConfig(Section):
    """US dollars that override the price catalog; a price left out keeps the catalog's."""

    input_usd_per_mtok: Usd | None = Field(default=None, description="Per million input tokens.")
    output_usd_per_mtok: Usd | None = Field(default=None, description="Per million output tokens.")
    cache_read_usd_per_mtok: Usd | None = Field(
        default=None, description="Per million input tokens read from the prompt cache."
    )
    cache_write_usd_per_mtok: Usd | None = Field(
        default=None, description="Per million input tokens written to the prompt cache."
    )
    cache_write_1h_usd_per_mtok: Usd | None = Field(
        default=None, description="Per million input tokens written to the prompt cache for an hour."
    )
    audio_input_usd_per_mtok: Usd | None = Field(default=None, description="Per million audio input tokens.")
    image_input_usd_per_mtok: Usd | None = Field(default=None, description="Per million image input tokens.")
    reasoning_usd_per_mtok: Usd | None = Field(default=None, description="Per million reasoning tokens.")
    audio_output_usd_per_mtok: Usd | None = Field(default=None, description="Per million audio output tokens.")
    image_output_usd_per_mtok: Usd | None = Field(default=None, description="Per million image output tokens.")
    request_usd: Usd | None = Field(default=None, description="Per request.")
    search_usd: Usd | None = Field(
        default=None, description="Per web search that the provider runs, beside the tokens of what it found."
    )
