"""Closes breakers: `python -I -m chamberlain_endpoint.cli.breaker_end [--look] FOLDER...`.

Run as the account that owns the folders of user endpoints, and so allowed no more than that
account is. Prints what the breakers held, as one JSON object: folder -> record. With `--look`
they stay as they are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from chamberlain_endpoint.engine.breaker import Breaker
from chamberlain_endpoint.engine.breaker_file import FILE_NAME, read_kept


def main(arguments: Sequence[str]) -> int:
    """Do it; return 0, or 1 with a sentence on standard error when one cannot be removed."""
    look = "--look" in arguments
    found: dict[str, object] = {}
    for folder in arguments:
        file = Path(folder) / FILE_NAME
        kept = None if folder == "--look" else read_kept(file)
        if kept is None:
            continue
        breaker = Breaker(kept.failures, kept.reason, kept.at)
        found[folder] = {
            "state": "open" if breaker.is_open else "closed",
            "failures": kept.failures,
            "reason": kept.reason,
            "at": kept.at,
        }
        try:
            if not look:
                file.unlink(missing_ok=True)
        except OSError as error:
            sys.stderr.write(f"{file}: {error.strerror}\n")
            return 1
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
