"""Say hello from wherever your functions run.

export CHAMBERLAIN_HUB_URL=https://hub.example.edu CHAMBERLAIN_TOKEN=chp_...
python examples/hello.py ENDPOINT_ID
"""

import sys

from chamberlain import Executor


def hello(name):
    import os
    import platform
    import pwd

    account = pwd.getpwuid(os.getuid())
    return {
        "greeting": f"Hello {name}, from {platform.node()}",
        "account": account.pw_name,
        "uid": account.pw_uid,
    }


if __name__ == "__main__":
    with Executor(endpoint_id=sys.argv[1]) as executor:
        print(executor.submit(hello, "world").result())
