"""`diagnostic`: one file to send to whoever helps, without the site's secrets."""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import shutil
import stat
import tarfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from chamberlain_endpoint.cli import check_files, daemons, doctor, redaction, version_command
from chamberlain_endpoint.cli.daemons import Known
from chamberlain_endpoint.cli.errors import CommandFailedError

_LOGS: Final = ("manager.log", "launcher.log", "supervisord.log")
_MOST_LISTED: Final = 500
_PROGRAMS: Final = ("sbatch", "qsub", "apptainer", "podman")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the bundle."""

    name: str
    text: str


def members(endpoint: Known, log_kib: int) -> Iterator[Member]:
    """Yield what a helper needs: versions, links, faults, files, logs, folders; redacted.

    The token, the used ids, the audit log and the state of user endpoints are not in it; of
    the environment file only the names.

    Args:
        log_kib: the end of each log that is taken.
    """
    known = _known_secrets(endpoint)

    def member(name: str, text: str) -> Member:
        return Member(name, redaction.redact(text, known))

    yield member("host.json", json.dumps(_host(), indent=2))
    reports = [asdict(report) for report in doctor.examine(endpoint, None)]
    yield member("doctor.json", json.dumps(reports, indent=2))
    checked = check_files.check(endpoint.layout.config)
    faults = [finding.document() for finding in checked.findings]
    yield member("check-config.json", json.dumps(faults, indent=2))
    for file in checked.files:
        if not file.is_file():
            continue
        text = file.read_text(errors="replace")
        if file.name == "user_environment.yaml":
            text = _names_only(text)
        yield member(f"files/{file.name}", text)
    for name in _LOGS:
        yield member(f"logs/{name}", _tail(endpoint.layout.log / name, log_kib))
    yield member("folders.txt", "\n".join(_listed(endpoint)) + "\n")
    programs = [asdict(one) for one in daemons.programs(endpoint) or []]
    yield member("programs.json", json.dumps(programs, indent=2))


def write(endpoint: Known, file: Path, log_kib: int) -> tuple[str, ...]:
    """Write the bundle, a `.tar.gz` that the caller alone can read; return what is in it.

    Raises:
        CommandFailedError: it is there already, or could not be written.
    """
    above = file.name.removesuffix(".tar.gz")
    names = []
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(number, "wb") as out, tarfile.open(fileobj=out, mode="w:gz") as bundle:
            for member in members(endpoint, log_kib):
                data = member.text.encode(errors="replace")
                head = tarfile.TarInfo(f"{above}/{member.name}")
                head.size, head.mode, head.mtime = len(data), 0o600, int(time.time())
                bundle.addfile(head, io.BytesIO(data))
                names.append(member.name)
    except OSError as error:
        raise CommandFailedError(f"{file}: {error.strerror}") from error
    return tuple(names)


def usual_name(endpoint: Known) -> str:
    """Return the name of a bundle that is made now."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return f"chamberlain_diagnostic_{endpoint.layout.name}_{now}.tar.gz"


def _host() -> dict[str, Any]:
    return {
        "versions": version_command.versions(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "uid": os.geteuid(),
        "systemd": Path("/run/systemd/system").is_dir(),
        "programs": {
            name: shutil.which(name) for name in ("sbatch", "qsub", "apptainer", "podman")
        },
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _known_secrets(endpoint: Known) -> list[str]:
    found = []
    with contextlib.suppress(OSError, UnicodeDecodeError):
        found.append(endpoint.layout.token.read_text().strip())
    try:
        text = (endpoint.layout.config / "user_environment.yaml").read_text()
        document = yaml.load(text, yaml.BaseLoader)  # noqa: S506 - makes texts only
    except (OSError, ValueError, yaml.YAMLError):
        document = None
    if isinstance(document, dict):
        found += [value for value in document.values() if isinstance(value, str)]
    return [secret for secret in found if secret]


def _names_only(text: str) -> str:
    try:
        document = yaml.load(text, yaml.BaseLoader)  # noqa: S506 - makes texts only
    except yaml.YAMLError:
        return f"# not YAML; {len(text)} characters\n"
    if not isinstance(document, dict):
        return ""
    return "".join(f"{name}: {redaction.REDACTED}\n" for name in document)


def _tail(log: Path, kib: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - kib * 1024))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f"{log}: {error.strerror}\n"
    # A first line that was cut could hold half of a secret, which no rule would know.
    return text if log.stat().st_size <= kib * 1024 else text.partition("\n")[2]


def _listed(endpoint: Known) -> Iterator[str]:
    where = endpoint.layout
    folders = (where.config, where.manager, where.launcher, where.accounts, where.run, where.log)
    for folder in dict.fromkeys(folders):
        entries = [folder, *sorted(folder.glob("*"))[:_MOST_LISTED]]
        for path in entries:
            try:
                seen = path.lstat()
            except OSError as error:
                yield f"{path}: {error.strerror}"
                continue
            owner = f"{seen.st_uid}:{seen.st_gid}"
            yield f"{stat.filemode(seen.st_mode)} {owner:>11} {seen.st_size:>12} {path}"
