"""Our Result, read by the public package that the public SDK and agent read it with."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from chamberlain_endpoint.engine import worker
from chamberlain_endpoint.engine.port import Job, Rules
from chamberlain_wire.codec import encode
from chamberlain_wire.ids import TaskId, new_id
from chamberlain_wire.messages import Result
from chamberlain_wire.serialize import pack_function, pack_payload
from devtools import public

pytestmark = pytest.mark.slow

_READ = """
import json, logging, sys
seen = []
class Keep(logging.Handler):
    def emit(self, record):
        seen.append(record.getMessage())
logging.getLogger().addHandler(Keep(logging.WARNING))
from globus_compute_common import messagepack
message = messagepack.unpack(sys.stdin.buffer.read())
details = {key: type(value).__name__ for key, value in message.details.items()}
print(json.dumps({"seen": seen, "details": details, "is_error": message.is_error}))
"""


def read(body: bytes) -> dict[str, Any]:
    """Return what the public package makes of `body`, and what it warns of."""
    done = subprocess.run(
        [str(public.python()), "-c", _READ], input=body, capture_output=True, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def say_and_fail() -> None:
    print("last words")
    raise ValueError("on purpose")


def test_it_is_read_without_a_warning_with_all_that_we_add() -> None:
    buffer = pack_function(say_and_fail) + pack_payload((), {})
    job = Job(task_id=TaskId(new_id()), buffer=buffer, rules=Rules(endpoint_id=new_id()))
    told = read(worker.run(job, own_process=False))
    assert told["seen"] == []
    assert told["is_error"] is True
    assert (
        told["details"].items() >= {"output": "dict", "usage": "dict", "exception": "str"}.items()
    )


def test_a_field_beside_details_would_be_warned_of() -> None:
    """So that the test above would notice."""
    body = encode(Result(task_id=new_id(), data="", details={}, exception="packed"))
    assert any("unknown data fields" in line for line in read(body)["seen"])
