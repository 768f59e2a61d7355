"""Functions, arguments and results as text, readable by the public clients and workers."""

from chamberlain_wire.serialize.origin import assume_installed
from chamberlain_wire.serialize.packing import (
    DEFAULT,
    Serializer,
    pack_exception,
    pack_function,
    pack_payload,
    pack_result,
    pack_source,
    parse_allowed,
    serializer,
    unpack_exception,
    unpack_result,
    unpack_task,
)
from chamberlain_wire.serialize.strategies import Strategy

__all__ = [
    "DEFAULT",
    "Serializer",
    "Strategy",
    "assume_installed",
    "pack_exception",
    "pack_function",
    "pack_payload",
    "pack_result",
    "pack_source",
    "parse_allowed",
    "serializer",
    "unpack_exception",
    "unpack_result",
    "unpack_task",
]
