"""The agent as an RPM for EL 9 and its `python3.11`: built here, never installed on EL."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Final

from devtools.lab import cache
from devtools.package import environments, tree
from devtools.package.release import Release
from devtools.say import Reporter

BUILT_ON: Final = "12"
"""The Debian with EL's Python, 3.11, and a C library that is no older than its wheels ask for."""
_SUFFIX: Final = "el9"
_SPEC: Final = """\
Name: chamberlain-endpoint
Version: {version}
Release: {revision}.{suffix}
Summary: Multi-user compute endpoint for a login node
License: Apache-2.0
AutoReqProv: no
Requires: python3.11 glibc >= 2.34 pam shadow-utils systemd
Recommends: logrotate podman catatonit
%description
Lets people run Python functions on a cluster as their own local account, in a container or as
processes, without a shell account. This package brings the agent with a Python environment of
its own; nothing is started until an endpoint is configured.
%install
cp -a {root}/. %{{buildroot}}/
{scripts}
%files -f {files}
"""
_SETTINGS: Final = ("/etc/pam.d/", "/etc/logrotate.d/")
_STACKS: Final = {
    "@include common-account": "account    include      password-auth",
    "@include common-session-noninteractive": "session    include      password-auth",
}
"""Lines of our PAM file, and what says the same on EL."""


def build(wheel: Path, release: Release, target: Path, report: Reporter) -> Path:
    """Build the RPM into `target` and return it.

    Raises:
        BuildFailedError: rpmbuild said no.
    """
    below = environments.dependencies(BUILT_ON, "endpoint", report)
    with (
        report.step("Building chamberlain-endpoint for EL 9"),
        tempfile.TemporaryDirectory(dir=cache.folder()) as scratch,
    ):
        folder = Path(scratch)
        environments.put_together(BUILT_ON, "endpoint", wheel, folder, report)
        root = folder / "root"
        root.mkdir(mode=0o755)
        tree.lay_out("endpoint", folder / "endpoint", below / "wheels.sha256", root)
        _as_on_el(root)
        tree.settle(root, release.epoch)
        return _package(folder, root, release, target)


def _as_on_el(root: Path) -> None:
    pam = root / "etc/pam.d/chamberlain-endpoint"
    text = pam.read_text()
    for line, other in _STACKS.items():
        assert line in text, f"{pam} has no line {line}"
        text = text.replace(line, other)
    pam.write_text(text)
    zsh = root / "usr/share/zsh"
    (zsh / "vendor-completions").rename(zsh / "site-functions")


def _package(folder: Path, root: Path, release: Release, target: Path) -> Path:
    files = folder / "files"
    files.write_text("".join(f"{line}\n" for line in _listed(root)))
    spec = folder / "chamberlain-endpoint.spec"
    scripts = "".join(
        f"%{name}\n{(tree.PACKAGING / 'endpoint' / f'rpm.{name}').read_text()}"
        for name in ("pre", "post", "preun", "postun")
    )
    spec.write_text(
        _SPEC.format(
            version=release.version,
            revision=release.revision,
            suffix=_SUFFIX,
            root=root,
            files=files,
            scripts=scripts,
        )
    )
    chosen = {
        "_topdir": folder / "rpmbuild",
        "_buildhost": "localhost",
        "_build_id_links": "none",
        "__os_install_post": "%{nil}",
        "_binary_payload": "w6.zstdio",
        "use_source_date_epoch_as_buildtime": "1",
        "clamp_mtime_to_source_date_epoch": "1",
    }
    defined = [f"--define={name} {value}" for name, value in chosen.items()]
    cache.run(
        ["rpmbuild", "-bb", "--quiet", *defined, spec],
        environment={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "SOURCE_DATE_EPOCH": str(release.epoch),
        },
    )
    machine = platform.machine()
    name = f"chamberlain-endpoint-{release.version}-{release.revision}.{_SUFFIX}.{machine}.rpm"
    return Path(shutil.move(folder / "rpmbuild/RPMS" / machine / name, target / name))


def _listed(root: Path) -> list[str]:
    """Return the lines of %files: everything that is ours, and nothing that is the system's."""
    ours = ("/opt/chamberlain", "/etc/chamberlain", "/usr/share/doc/chamberlain-endpoint")
    lines = ["%defattr(-,root,root,-)"]
    for path in sorted(root.rglob("*")):
        name = f"/{path.relative_to(root)}"
        if path.is_dir() and not path.is_symlink():
            if name.startswith(ours):
                lines.append(f'%dir "{name}"')
        elif name.startswith(_SETTINGS):
            lines.append(f'%config(noreplace) "{name}"')
        else:
            lines.append(f'"{name}"')
    return lines
