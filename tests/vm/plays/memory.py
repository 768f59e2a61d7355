"""Needs two gigabytes."""

from __future__ import annotations


def hello() -> dict[str, object]:
    import os

    kept = bytearray(os.urandom(1 << 20)) * 2048
    return {"kept": len(kept)}
