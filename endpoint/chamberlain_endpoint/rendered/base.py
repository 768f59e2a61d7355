"""The base of all models here: frozen, and an unknown key is an error."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Checked(BaseModel):
    """A part of the configuration. Numbers become text where text is meant (`account: 1234`)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        coerce_numbers_to_str=True,
        str_max_length=16_384,
        allow_inf_nan=False,
    )
