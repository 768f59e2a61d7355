"""A registry on the hub's host, with the broker's certificate, which the site's hosts believe."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devtools.lab.lab import Lab
from devtools.lab.plan import HUB
from devtools.lab.rollout import put

_FOLDER = "/var/tmp/registry"
_UNIT = "registry-of-a-test"
_AT = f"{HUB}:5443"
_NAME = f"{_AT}/site/user-endpoint"
_TLS = "/etc/chamberlain/tls/broker"
_SETTINGS = f"""\
version: 0.1
storage: {{filesystem: {{rootdirectory: {_FOLDER}}}}}
http: {{addr: ":5443", tls: {{certificate: {_TLS}.pem, key: {_TLS}.key}}}}
"""


@contextmanager
def holding(lab: Lab, archive: Path) -> Iterator[str]:
    """Give the name, at the registry, of the image in `archive`; nothing of it stays."""
    shutil.copyfile(archive, lab.share / "image.tar")
    put(lab, HUB, f"{_FOLDER}/config.yml", _SETTINGS)
    serve = ["docker-registry", "serve", f"{_FOLDER}/config.yml"]
    lab.run(HUB, ["systemd-run", "--quiet", f"--unit={_UNIT}", *serve])
    try:
        up = ["curl", "-sf", "--retry", "60", "--retry-connrefused", "--retry-delay", "1"]
        lab.run(HUB, [*up, f"https://{_AT}/v2/"], limit_s=120.0)
        push = ["skopeo", "copy", "-q", "oci-archive:/srv/lab/image.tar", f"docker://{_NAME}:1"]
        lab.run(HUB, push, limit_s=300.0)
        yield _NAME
    finally:
        lab.run(HUB, ["systemctl", "stop", _UNIT])
        lab.run(HUB, ["rm", "-r", _FOLDER])
