"""The service account of the manager: made when absent, proven to be able to run us."""

from __future__ import annotations

import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.layout import SERVICE_ACCOUNT

_TIMEOUT_S = 60.0
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/"}


def ensure_service_account() -> tuple[pwd.struct_passwd, bool]:
    """Return the account `chamberlain`, and whether it was made now. Needs root.

    Raises:
        CommandFailedError: it is absent and could not be made.
    """
    try:
        return pwd.getpwnam(SERVICE_ACCOUNT), False
    except KeyError:
        pass
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        raise CommandFailedError(
            f"There is no account {SERVICE_ACCOUNT!r} and no useradd to make it with. Make a "
            f"system account of that name, without a shell or a home, and try again."
        )
    done = subprocess.run(
        [
            useradd,
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir=/nonexistent",
            "--shell=/usr/sbin/nologin",
            "--comment=Chamberlain manager",
            SERVICE_ACCOUNT,
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CommandFailedError(
            f"The account {SERVICE_ACCOUNT!r} could not be made: {done.stderr.strip()}"
        )
    return pwd.getpwnam(SERVICE_ACCOUNT), True


def run_as(
    account: pwd.struct_passwd | None,
    arguments: list[str],
    given: str = "",
    timeout_s: float = _TIMEOUT_S,
) -> subprocess.CompletedProcess[str]:
    """Run our own interpreter with `arguments` as `account` (None: as ourselves).

    The child gets an environment of its own and `given` on standard input.

    Raises:
        CommandFailedError: the account cannot execute our interpreter, or it took too long.
    """
    try:
        return subprocess.run(
            [sys.executable, "-I", *arguments],
            input=given,
            capture_output=True,
            text=True,
            env=_ENVIRONMENT,
            cwd="/",
            timeout=timeout_s,
            check=False,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
    except PermissionError:
        name = "it" if account is None else account.pw_name
        raise CommandFailedError(_cannot_run(name)) from None
    except subprocess.TimeoutExpired:
        raise CommandFailedError(f"No answer within {timeout_s:.0f} s.") from None


@contextmanager
def started_as(
    account: pwd.struct_passwd | None, arguments: list[str]
) -> Iterator[subprocess.Popen[str]]:
    """Start our own interpreter as `run_as` does, to be read while it runs; it ends with the block.

    Raises:
        CommandFailedError: the account cannot execute our interpreter.
    """
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_ENVIRONMENT,
            cwd="/",
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
    except PermissionError:
        raise CommandFailedError(_cannot_run(account.pw_name if account else "it")) from None
    with process:
        try:
            yield process
        finally:
            process.kill()


def prove_can_run(account: pwd.struct_passwd) -> None:
    """Make sure that `account` can load our programs, as it and all users will have to.

    Raises:
        CommandFailedError: it cannot; the sentence says what to do.
    """
    done = run_as(account, ["-c", "import chamberlain_endpoint"])
    if done.returncode != 0:
        raise CommandFailedError(_cannot_run(account.pw_name))


def _cannot_run(name: str) -> str:
    return (
        f"The account {name!r} cannot run {sys.executable} (it is {Path(sys.executable).resolve()})"
        " with Chamberlain's packages. User endpoints run as other accounts: install Chamberlain, "
        "and a Python that everybody may execute, in a folder that everybody may read, such as "
        "/opt/chamberlain."
    )
