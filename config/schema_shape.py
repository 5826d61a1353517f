"""Which keys may stand where, read off the schema itself, so that hints never disagree with it."""

from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from config.findings import Path
from config.schema import Config


def fields_at(path: Path) -> Mapping[str, FieldInfo]:
    """The fields of the section that a path leads to; empty where there is no section."""
    annotation: Any = Config
    for step in path:
        annotation = _step(annotation, step)
    model = _model(annotation)
    return model.model_fields if model is not None else {}


def homes_of(key: str) -> tuple[str, ...]:
    """Sections in which a key is known that was written at another place; only the unmistakable ones."""
    homes = []
    if key in Config.model_fields:
        homes.append("the top of the file")
    for section, info in Config.model_fields.items():
        model = _model(info.annotation)
        if model is not None and key in model.model_fields:
            homes.append(f"'{section}'")
    return tuple(homes)


def _step(annotation: Any, step: str | int) -> Any:
    model = _model(annotation)
    if model is not None:
        info = model.model_fields.get(str(step))
        return info.annotation if info is not None else None
    for candidate in _alternatives(annotation):
        origin, arguments = get_origin(candidate), get_args(candidate)
        if origin is dict:
            return arguments[1]
        if origin is tuple and isinstance(step, int):
            return arguments[0]
    return None


def _model(annotation: Any) -> type[BaseModel] | None:
    for candidate in _alternatives(annotation):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; annotations of a type are taken off."""
    if hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    if get_origin(annotation) in (Union, UnionType):
        return tuple(part for member in get_args(annotation) for part in _alternatives(member))
    return (annotation,)
