"""Runs in the environment of the public package: one JSON pair a line in, one answer out.

An answer is `["user", NAME]`, `["none"]`, `["error"]` (nobody is mapped), or `["refused"]`
(the file is).
"""

import json
import signal
import sys

from globus_identity_mapping.mappers import ExpressionIdentityMapping


def answer(rule, identity):
    try:
        mapping = ExpressionIdentityMapping([rule])
    except Exception:  # noqa: BLE001 - whatever it raises, the file is refused
        return ["refused"]
    try:
        results = mapping.map_identities([identity])
    except Exception:  # noqa: BLE001 - and nobody is mapped
        return ["error"]
    names = [name for result in results for found in result.values() for name in found]
    return ["user", names[0]] if names else ["none"]


for line in sys.stdin:
    signal.alarm(20)  # ends this process: a pair that cannot be compared must be seen
    print(json.dumps(answer(*json.loads(line))))
