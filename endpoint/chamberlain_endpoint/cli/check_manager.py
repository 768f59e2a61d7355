"""A child that judges a manager's settings as the manager itself will, as its account.

`python -m chamberlain_endpoint.cli.check_manager CONFIG_YAML`; exit code 0 is good.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chamberlain_endpoint.manager import config
from chamberlain_endpoint.manager.fatal import FatalError


def main() -> int:
    """Check the file that the command line names."""
    try:
        settings = config.check(Path(sys.argv[1]))
        settings.token_path.read_text()
    except (FatalError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
