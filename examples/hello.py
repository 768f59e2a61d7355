"""Say hello from the cluster: which host, which local account, and a number worked out there.

    python examples/hello.py ENDPOINT_ID [--config '{"MAX_WORKERS": 2}']

Address and token come from CHAMBERLAIN_HUB_URL and CHAMBERLAIN_TOKEN, or from
~/.config/chamberlain/config.toml.
"""

from __future__ import annotations

import argparse
import json

from chamberlain import ChamberlainError, Executor


def hello(numbers: int = 1000) -> dict[str, object]:
    import os
    import pwd
    import socket

    uid = os.getuid()
    return {
        "hostname": socket.gethostname(),
        "username": pwd.getpwuid(uid).pw_name,
        "uid": uid,
        "pid": os.getpid(),
        "sum_of_squares": sum(number * number for number in range(numbers)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Run hello() on an endpoint.")
    parser.add_argument("endpoint_id", metavar="ENDPOINT_ID")
    parser.add_argument("--config", type=json.loads, help="options of the endpoint, as JSON")
    arguments = parser.parse_args()
    try:
        with Executor(arguments.endpoint_id, user_endpoint_config=arguments.config) as executor:
            print(json.dumps(executor.submit(hello).result(), indent=2))
    except ChamberlainError as error:
        raise SystemExit(f"hello: {error}") from None


if __name__ == "__main__":
    main()
