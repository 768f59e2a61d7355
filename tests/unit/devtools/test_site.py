from __future__ import annotations

import re

from devtools.demo_runs import Run, as_json
from devtools.site import identity_mapping


def test_a_site_maps_its_people_and_no_look_alikes() -> None:
    document = identity_mapping({"alice@example.edu": "demo-alice", "eve@elsewhere.org": None})
    (rule,) = document["mappings"]
    assert rule["output"] == "demo-alice"
    assert re.fullmatch(rule["match"], "alice@example.edu")
    assert not re.fullmatch(rule["match"], "alice@exampleXedu")


def test_the_json_table_has_the_promised_words() -> None:
    run = Run(
        identity="a@b.c",
        options={},
        account="demo-a",
        uid=1001,
        user_endpoint="id",
        result="Hello",
        error=None,
        seconds=1.0,
        as_expected=True,
    )
    words = ("runs", "identity", "account", "uid", "user_endpoint", "result", "error", "seconds")
    assert all(f'"{word}"' in as_json([run]) for word in words)
