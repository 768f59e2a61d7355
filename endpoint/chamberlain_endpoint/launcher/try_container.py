"""Runs the whole chain of one account in a throwaway container, and says which link is broken.

`python -I -m chamberlain_endpoint.launcher.try_container --config launcher.toml --account NAME`
prints one JSON list of links: `link`, `state` (good, bad, unknown), `said`, `todo`. It uses
the launcher's own runtime with the site's own settings, but its own records and the last
range of subordinate ids, so that nothing of a running launcher is touched. Root only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.launcher import (
    accounts,
    choice,
    config,
    pam_service,
    trusted_file,
)
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.protocol import Account
from chamberlain_endpoint.launcher.runtime import chain_probe, faults
from chamberlain_endpoint.launcher.runtime.container import ContainerRuntime
from chamberlain_endpoint.launcher.runtime.idmap import IDS
from chamberlain_endpoint.launcher.runtime.port import (
    Exit,
    News,
    SessionOpened,
    StartFailedError,
)
from chamberlain_endpoint.launcher.runtime.subordinate import (
    RecordsBrokenError,
    SubordinateIds,
)
from chamberlain_endpoint.launcher.settings import (
    EngineKind,
    LauncherSettings,
    PamSettings,
    RuntimeKind,
    RuntimeSettings,
)
from chamberlain_endpoint.launcher.spec import LaunchSpec
from chamberlain_wire import logs
from chamberlain_wire.errors import ChamberlainError
from chamberlain_wire.ids import new_id

Link = dict[str, str]

_MOST_NAMESPACES: Final = Path("/proc/sys/user/max_user_namespaces")
_PATIENCE_S: Final = 90.0
_ENGINE_S: Final = 10.0
_UNMUNGE_S: Final = 10.0


def main() -> int:
    """Print the links."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--account", required=True)
    options = parser.parse_args()
    logs.set_up()
    try:
        settings = config.load(options.config, frozenset({0, os.geteuid()}))
        account = accounts.look_up(options.account)
    except (ChamberlainError, trusted_file.UntrustedPathError) as error:
        found = [link("settings", "bad", str(error), "correct it")]
    else:
        found = list(examine(settings, account))
    json.dump(found, sys.stdout)
    return 0


def link(name: str, state: str, said: str, todo: str = "") -> Link:
    """Return one link of the chain."""
    return {"link": name, "state": state, "said": said, "todo": todo}


def examine(
    settings: LauncherSettings, account: Account, most_namespaces: Path = _MOST_NAMESPACES
) -> Iterator[Link]:
    """Yield the links: ids, user namespaces, engine, container, and what that itself found.

    Args:
        most_namespaces: where the kernel says how many user namespaces there may be.
    """
    runtime = settings.runtime
    kinds = choice.kinds_of(runtime, account)
    yield _chosen(runtime, account, kinds)
    if RuntimeKind.CONTAINER not in kinds:
        said = f"{account.uname}'s user endpoints are processes: there is no container to try"
        yield link("container", "unknown", said)
        return
    if runtime.engine is EngineKind.PODMAN:
        yield _ids(settings, account)
        yield _namespaces(most_namespaces)
    with tempfile.TemporaryDirectory(prefix="chamberlain-try-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        last = runtime.subordinate_first + (runtime.subordinate_count // IDS - 1) * IDS
        # Its own id: a running launcher sees no container of its endpoint.
        apart = replace(
            settings,
            endpoint_id=new_id(),
            state_dir=folder / "state",
            accounts_dir=folder,
            runtime=replace(
                runtime, subordinate_first=last, subordinate_count=IDS, ends_with_launcher=True
            ),
        )
        yield from _run(apart, account)


def _chosen(runtime: RuntimeSettings, account: Account, kinds: tuple[RuntimeKind, ...]) -> Link:
    """Return what the site chose for the account, and what its templates may."""
    said = f"{kinds[0]}" + "".join(f", or {kind} by template" for kind in kinds[1:])
    if RuntimeKind.CONTAINER in kinds:
        image, *others = choice.images_of(runtime, account)
        said += f"; image {image}" + "".join(f", or {name} by template" for name in others)
        if choice.may_fall_back(runtime, account):
            said += "; a process where there is no container"
    return link("runtime", "good", said)


def _ids(settings: LauncherSettings, account: Account) -> Link:
    runtime = settings.runtime
    file = settings.state_dir / "containers" / "subordinate.json"
    ids = SubordinateIds(file, runtime.subordinate_first, runtime.subordinate_count)
    try:
        ids.open()
        base = ids.expected(account.uid)
    except (faults.NoSubordinateIdsError, RecordsBrokenError) as error:
        todo = getattr(error, "remedy", f"restore {file}: accounts must not share ids")
        return link("subordinate ids", "bad", str(error), todo)
    return link("subordinate ids", "good", f"{account.uname} has {base} to {base + IDS - 1}")


def _namespaces(most: Path) -> Link:
    name = "user namespaces"
    try:
        count = int(most.read_text())
    except (OSError, ValueError) as error:
        return link(name, "bad", f"{most}: {error}", "this kernel has none: boot one that has")
    if count == 0:
        todo = "sysctl user.max_user_namespaces=100000, and in /etc/sysctl.d"
        return link(name, "bad", "user.max_user_namespaces is 0: the kernel gives none", todo)
    return link(name, "good", f"the kernel gives up to {count}")


def _run(settings: LauncherSettings, account: Account) -> Iterator[Link]:
    loop, ends, news = Loop(), list[Exit](), list[News]()
    runtime = ContainerRuntime(loop, settings)
    try:
        runtime.open(ends.append, news.append)
        if not _turn(loop, lambda: runtime.is_ready, _ENGINE_S):
            todo = "systemctl start podman.socket (or docker.socket); look at runtime.socket"
            yield link("engine", "bad", f"nobody answers at {settings.runtime.socket}", todo)
            return
        yield link("engine", "good", f"answers at {settings.runtime.socket}")
        begun = time.monotonic()
        try:
            runtime.start(_spec(settings, account))
        except StartFailedError as error:
            yield link("container", "bad", str(error), getattr(error, "remedy", ""))
            return
        _turn(loop, lambda: bool(ends), _PATIENCE_S)
        if settings.pam.enable:
            is_open = any(isinstance(each, SessionOpened) for each in news)
            yield _session(settings.pam, account, ends, is_open=is_open)
            if not is_open:
                return
        if not ends:
            yield link("container", "bad", f"did not end within {_PATIENCE_S:g} s", "see above")
            return
        yield from _judged(ends[0], account, time.monotonic() - begun)
    finally:
        runtime.close()
        loop.close()


def _session(pam: PamSettings, account: Account, ends: list[Exit], *, is_open: bool) -> Link:
    if is_open:
        said = f"PAM service {pam.service} lets {account.uname} in"
        return link("session", "good", said)
    said = ends[0].failure if ends else f"PAM service {pam.service} did not answer"
    todo = f"see {pam_service.FOLDER / pam.service}, and what the host's log says of it"
    return link("session", "bad", said, todo)


def _judged(end: Exit, account: Account, took_s: float) -> Iterator[Link]:
    if end.failure:
        word = end.failure.partition(":")[0]
        yield link("container", "bad", end.failure, faults.by_word(word, "").remedy)
        return
    rows = _rows(end.tail)
    if not rows:
        said = end.tail.decode(errors="replace")[-300:] or f"ended with {end.exit_code}"
        yield link("container", "bad", said, "is runtime.python right for this image?")
        return
    yield link("container", "good", f"ran as {account.uname} and was removed, {took_s:.1f} s")
    for row in rows:
        credential = row.pop("credential", "")
        yield _unmunged(credential, account) if credential else row


def _rows(tail: bytes) -> list[Any]:
    for line in tail.decode(errors="replace").splitlines():
        if line.startswith(chain_probe.MARK):
            found = json.loads(line.removeprefix(chain_probe.MARK))
            return found if isinstance(found, list) else []
    return []


def _unmunged(credential: str, account: Account) -> Link:
    """Return whether the host reads the account out of what the container said of itself."""
    try:
        done = subprocess.run(
            ["/usr/bin/unmunge"],
            input=credential,
            capture_output=True,
            text=True,
            timeout=_UNMUNGE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return link("munge", "unknown", f"unmunge on this host: {error}", "is munge installed?")
    if done.returncode == 0 and f"({account.uid})" in done.stdout:
        return link("munge", "good", f"the host reads uid {account.uid} from its credential")
    said = (done.stderr or done.stdout).strip()[:300]
    return link("munge", "bad", said, "is munge of this host the one whose socket is mounted?")


def _spec(settings: LauncherSettings, account: Account) -> LaunchSpec:
    name = new_id()
    return LaunchSpec(
        user_endpoint=name,
        command=new_id(),
        account=account,
        arguments=(str(settings.python), "-I", "-c", chain_probe.source()),
        environment={
            "PATH": settings.path,
            "HOME": account.dir,
            "USER": account.uname,
            "LOGNAME": account.uname,
            chain_probe.SOURCE: str(settings.runtime.scheduler),
        },
        state_dir=settings.accounts_dir / str(account.uid) / name,
        first_line=b"\n",
        pam=settings.pam,
        runtime=RuntimeKind.CONTAINER,
        image=choice.images_of(settings.runtime, account)[0],
    )


def _turn(loop: Loop, is_so: Any, within_s: float) -> bool:
    until = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > until:
            return False
        loop.call_later(0.05, lambda: None)
        loop.turn()
    return True


if __name__ == "__main__":
    sys.exit(main())
