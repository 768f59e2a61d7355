"""What is in an image, as a CycloneDX document. Pure.

It lists what the image's own databases say: dpkg's of Debian packages, and the metadata of
Python distributions. So it cannot forget what a build step brought in.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

STATUS: Final = "/var/lib/dpkg/status"
"""Where dpkg keeps what is installed."""

# Run by the image's own Python: dpkg's database, and the distributions beside that Python.
ASK: Final = """\
import importlib.metadata, json, pathlib
status = pathlib.Path("/var/lib/dpkg/status").read_text()
python = sorted({(one.name, one.version) for one in importlib.metadata.distributions()})
print(json.dumps({"dpkg": status, "python": python}))
"""


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One part of an image.

    Attributes:
        purl: its package URL, which says where such a name belongs.
    """

    name: str
    version: str
    purl: str


def debian_parts(status: str) -> list[Part]:
    """Return the installed packages of dpkg's status file."""
    found = []
    for paragraph in status.split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in paragraph.splitlines()
            if ": " in line and not line.startswith(" ")
        )
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            where = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={fields['Architecture']}"
            found.append(Part(name, version, where))
    return sorted(found)


def python_parts(pairs: Iterable[tuple[str, str]]) -> list[Part]:
    """Return the Python distributions of (name, version) pairs."""
    return sorted(
        Part(name, version, f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version)}")
        for name, version in pairs
    )


def document(image: str, version: str, digest: str, parts: Iterable[Part]) -> dict[str, Any]:
    """Return the CycloneDX 1.5 document of an image; the same image gives the same document."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "name": image,
                "version": version,
                "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
            }
        },
        "components": [
            {"type": "library", "name": one.name, "version": one.version, "purl": one.purl}
            for one in parts
        ],
    }
