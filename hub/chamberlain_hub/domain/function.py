"""A registered function."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chamberlain_wire.ids import FunctionId, IdentityId


@dataclass(frozen=True, slots=True)
class Function:
    """Code that somebody registered; it never changes.

    Attributes:
        code: packed, as it travels in front of a task's payload.
        sha256: of `code`, 64 hex digits.
        meta: what the SDK says about it (`python_version`, `sdk_version`, ...).
        public: anybody may run it.
    """

    id: FunctionId
    owner: IdentityId
    name: str
    code: str
    sha256: str
    meta: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    public: bool = False
    created_at: float = 0.0
