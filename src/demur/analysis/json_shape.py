"""The base of all shapes of JSON in a run folder, and the types of their values."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Least: TypeAlias = Annotated[int, Field(ge=1)]
Name: TypeAlias = Annotated[str, Field(min_length=1)]
ShardName: TypeAlias = Annotated[str, Field(pattern=r"^c\d{3,}-s\d{4,}$")]
Picture: TypeAlias = Annotated[str, Field(pattern=r"^[\w-]+\.webp$")]
Level: TypeAlias = Literal["pass", "warn", "fail"]


class Shape(BaseModel):
    """An object of JSON: types are taken as they are, nothing is converted."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)
