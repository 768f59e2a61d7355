"""The user endpoint's process: `python -I -m chamberlain_endpoint.user.main`.

Started by the launcher as the mapped account, with one line of JSON and then a lease on
standard input; ends by itself when it is idle, asked to, or the lease is lost. A last line on
standard error tells why it could not work. Little is imported up here: worker processes that
are spawned from this one import this module, too.
"""

from __future__ import annotations

import json
import os
import traceback

from chamberlain_wire.errors import ChamberlainError

_FAILED = 70


def main() -> None:
    """Run the user endpoint and end the process with its exit code."""
    lease, told, errors = _private_streams()
    try:
        from chamberlain_endpoint.user.process import serve

        code, fatal = serve(lease, told)
    except BaseException as error:  # noqa: BLE001 - the edge of the process
        traceback.print_exc()
        code = _FAILED
        fatal = ChamberlainError(
            public=f"The user endpoint ended with an internal error ({type(error).__name__})."
        )
    if fatal is not None:
        line = json.dumps({"fatal": {"code": fatal.code, "message": fatal.public}})
        os.write(errors, f"\n{line}\n".encode())
    # Not sys.exit: threads of user code may still run, and nothing waits for them.
    os._exit(code)


def _private_streams() -> tuple[int, int, int]:
    """Return private copies of the standard streams, out of reach of user code.

    What user code prints goes nowhere: on standard output the launcher reads records of
    tasks. It must not read the lease. Standard error stays open for it too: whoever started
    us keeps only its tail.
    """
    lease, told, errors = os.dup(0), os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    return lease, told, errors


if __name__ == "__main__":
    main()
