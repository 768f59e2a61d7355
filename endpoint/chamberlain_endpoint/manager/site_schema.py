"""The site's JSON schema of callers' options, as it lies in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_schema(path: Path) -> dict[str, Any] | None:
    """Return the JSON schema in `path`, or None when there is no such file.

    Raises:
        ValueError: it cannot be read, or is no JSON object.
    """
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError(f"{path} is not a JSON schema: an object is needed")
    return document
