"""A researcher with `globus-compute-sdk`, as pip installs it, and an MPI program.

Reads `endpoint`, `token` and `options` as JSON; prints what became of it as JSON. It takes the
hub to be on port 5000 of the loopback.
"""

from __future__ import annotations

import json
import sys

import globus_sdk
from globus_compute_sdk import Client, Executor, MPIFunction

LIMIT_S = 150.0


def main() -> None:
    """Run one command on both nodes, by the SDK's own words."""
    given = json.load(sys.stdin)
    authorizer = globus_sdk.AccessTokenAuthorizer(given["token"])
    client = Client(local_compute_services=True, authorizer=authorizer)
    where = MPIFunction("sh -c 'echo $(hostname) $SLURM_JOB_ID {word}'", walltime=60)
    options = {"endpoint_id": given["endpoint"], "user_endpoint_config": given["options"]}
    with Executor(client=client, **options) as executor:
        executor.resource_specification = {"num_nodes": 2, "ranks_per_node": 2}
        result = executor.submit(where, word="hello").result(LIMIT_S)
    told = {"returncode": result.returncode, "stdout": result.stdout, "stderr": result.stderr}
    json.dump(told | {"kind": f"{type(result).__module__}.{type(result).__name__}"}, sys.stdout)


if __name__ == "__main__":
    main()
