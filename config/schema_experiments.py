"""The parts of a route that try something out: canary, experiment, mirror."""

from math import isclose
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.schema_base import Name, PositiveInt, Ratio, Section, Strategy

Unit = Literal["session", "key", "user", "request"]
_SUM_TOLERANCE = 1e-6


class CanaryConfig(Section):
    """A model that takes a share of the traffic; the route's own candidates stand behind it as fallbacks."""

    model: Name = Field(description="The model that is tried first.")
    share: Ratio = Field(description="Share of the conversations, from 0 to 1, that try it first.")


class ArmConfig(Section):
    """One side of an experiment. With nothing but a share it is the route as it stands."""

    share: Ratio = Field(description="Share of the units, from 0 to 1; all arms together make 1.")
    use: Name | None = Field(default=None, description="The model or route that answers instead.")
    strategy: Strategy | None = Field(default=None, description="The strategy to use instead of the route's own.")

    @model_validator(mode="after")
    def _check_action(self) -> Self:
        if self.use is not None and self.strategy is not None:
            raise ValueError("'use' names the model or route, so it cannot stand beside 'strategy'")
        return self


class ExperimentConfig(Section):
    """An A/B test: every unit is always in the same arm, on every worker and after every restart."""

    name: Name = Field(description="How the experiment is called; another name deals the units anew.")
    by: Unit = Field(
        default="session",
        description="What is assigned as a whole: a conversation, a virtual key, the request's `safety_identifier` or "
        "`user` (a request without one is in no arm), or every request by itself.",
    )
    arms: dict[Name, ArmConfig] = Field(description="The arms by name; at least two.")

    @model_validator(mode="after")
    def _check_arms(self) -> Self:
        if len(self.arms) < 2:
            raise ValueError("an experiment compares at least two arms")
        total = sum(arm.share for arm in self.arms.values())
        if not isclose(total, 1.0, abs_tol=_SUM_TOLERANCE):
            raise ValueError(f"the shares of the arms make {total:g}, not 1")
        return self


class MirrorConfig(Section):
    """A copy of requests goes to another model too; its answer is measured and thrown away."""

    model: Name = Field(description="The model that gets the copies.")
    share: Annotated[float, Field(gt=0, le=1)] = Field(description="Share of the requests that are copied, up to 1.")
    max_in_flight: PositiveInt = Field(
        default=20, description="Copies under way at the same time at most; beyond that none is made."
    )
