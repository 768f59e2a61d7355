"""Where the checkout is, and its own Python."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
VENV: Final = ROOT / ".venv"
PYTHON: Final = VENV / "bin" / "python"

COUNTS_VARIABLE: Final = "CHAMBERLAIN_TEST_COUNTS"
"""Names the file in which our pytest plugin leaves its counts."""

ON_PODMAN_HOST_VARIABLE: Final = "CHAMBERLAIN_TEST_ON_PODMAN_HOST"
"""Set where tests marked needs_podman can run: on a lab host."""

TEST_ENGINE_VARIABLE: Final = "CHAMBERLAIN_TEST_ENGINE"
"""Which engine tests marked needs_podman use there: podman, which is usual, or docker."""
