"""The section that keeps what callers say about answers. It is the only one that writes what people asked to disk."""

from typing import Annotated

from pydantic import Field

from config.schema_base import FileName, PositiveSeconds, Section


class FeedbackConfig(Section):
    """Graded requests for `signalbox train`. The file holds the text of the last user turn of each, clipped."""

    file: FileName = Field(description="The JSON lines file that is written to, relative to this file.")
    max_pending: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=10_000, description="Answered requests that are kept in memory until somebody scores them."
    )
    ttl_s: PositiveSeconds = Field(default=86_400, description="Seconds for which a request can be scored.")
    weak_labels: bool = Field(
        default=True,
        description="Whether to record as well what hints at a score: whether a JSON answer is as asked for, and that "
        "the same question comes again.",
    )
    max_bytes: Annotated[int, Field(ge=4_096)] = Field(
        default=100_000_000, description="Size at which the file is renamed to end in `.1` and a new one begins."
    )
