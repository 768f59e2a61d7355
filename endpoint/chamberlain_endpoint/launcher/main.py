"""Starts the launcher: checks everything first, wires the parts, and serves until SIGTERM.

`python -m chamberlain_endpoint.launcher.main --config launcher.toml [--check]`
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from chamberlain_endpoint.identity.assertion import AssertionDesk, UsedIds
from chamberlain_endpoint.launcher import config, lifeline, preflight
from chamberlain_endpoint.launcher.audit import AuditError, AuditLog, Entry
from chamberlain_endpoint.launcher.authority import Authority, Means
from chamberlain_endpoint.launcher.decision import ForkingDecider, Rules
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.mapping_file import log_doubts
from chamberlain_endpoint.launcher.runtime import choosing
from chamberlain_endpoint.launcher.runtime.port import Runtime
from chamberlain_endpoint.launcher.runtime.sweep_records import SweepRecords
from chamberlain_endpoint.launcher.runtime.sweeping import SweepingRuntime
from chamberlain_endpoint.launcher.server import Server
from chamberlain_endpoint.launcher.settings import (
    LauncherSettings,
    OnWriteFailure,
)
from chamberlain_endpoint.launcher.spec import LaunchSpec
from chamberlain_endpoint.launcher.task_audit import TaskAudit
from chamberlain_wire import logs
from chamberlain_wire.errors import ChamberlainError

_log: Final = logging.getLogger(__name__)

EXIT_CONFIG: Final = 78
"""Exit code for settings, files or folders that the launcher does not accept."""

MakeRuntime = Callable[[Loop, LauncherSettings], Runtime]


def main(arguments: Sequence[str] | None = None, make_runtime: MakeRuntime | None = None) -> int:
    """Run the launcher; return its exit code.

    Args:
        make_runtime: another runtime than the one in the settings.
    """
    parser = argparse.ArgumentParser(prog="chamberlain-launcher", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="launcher.toml")
    parser.add_argument("--check", action="store_true", help="check everything, start nothing")
    options = parser.parse_args(arguments)
    logs.set_up()
    os.umask(0o077)
    lifeline.end_with_supervisor()
    try:
        ready = preflight.check(options.config.absolute())
    except config.ConfigRefusedError as error:
        for fault in error.faults:
            _log.error(
                "%s: %s", options.config, fault, extra={"event": "config.refused", "reason": fault}
            )
        return EXIT_CONFIG
    if options.check:
        for warning in (*ready.warnings, *ready.doubts):
            sys.stdout.write(f"warning: {warning}\n")
        sys.stdout.write(f"{options.config}: good\n")
        return 0
    log_doubts(ready.warnings)
    for doubt in ready.doubts:
        _log.warning(
            "the settings are doubtful", extra={"event": "config.doubtful", "reason": doubt}
        )
    try:
        _serve(ready, make_runtime or choosing.usual)
    except ChamberlainError as error:
        _log.error("the launcher cannot start: %s", error, extra={"event": "launcher.not_started"})
        return EXIT_CONFIG
    return 0


def _sweeping(
    loop: Loop, settings: LauncherSettings, inner: Runtime, audit: AuditLog
) -> SweepingRuntime:
    def note(spec: LaunchSpec, outcome: str, reason: str) -> None:
        entry = Entry("sweep", "noted", endpoint=settings.endpoint_id, outcome=outcome)
        account = spec.account
        with contextlib.suppress(AuditError):  # the log has told of it
            audit.note(
                replace(
                    entry,
                    command=spec.command,
                    user_endpoint=spec.user_endpoint,
                    account=account.uname,
                    uid=account.uid,
                    reason=reason,
                )
            )

    return SweepingRuntime(loop, inner, SweepRecords(settings.state_dir / "sweeps.json"), note)


def _serve(ready: preflight.Ready, make_runtime: MakeRuntime) -> None:
    settings = ready.settings
    _raise_open_files()
    with contextlib.ExitStack() as stack:
        preflight.make_folders(ready)
        audit = AuditLog(settings.state_dir / "audit.log", settings.audit)
        audit.open()
        stack.callback(audit.close)
        used = UsedIds(settings.state_dir / "used.db")
        used.open()
        stack.callback(used.close)
        loop = Loop()
        stack.callback(loop.close)
        tasks = _task_audit(loop, settings, stack)
        runtime = _sweeping(loop, settings, make_runtime(loop, settings), audit)
        stack.callback(runtime.close)

        def note_mapping(fault: str) -> None:
            word = "refused" if fault else "noted"
            audit.note(Entry("mapping", word, endpoint=settings.endpoint_id, reason=fault))

        mapper, mapping_state = ready.mapping_source(note_mapping)
        authority = Authority(
            settings,
            importlib.metadata.version("chamberlain"),
            Means(
                desk=AssertionDesk(settings.hub_keys, settings.endpoint_id, used),
                rules=lambda: Rules(mapper(), ready.policy, ready.denied),
                decider=ForkingDecider(loop),
                runtime=runtime,
                audit=audit,
                mapping_state=mapping_state,
                note_tasks=tasks.add,
            ),
        )
        authority.open()
        _leave_on_signal(loop, stack, authority, settings)
        server = Server(loop, settings.socket, authority, ready.peer_uids, ready.manager_gid)
        server.open()
        stack.callback(server.close)
        _log.info("serving", extra={"event": "launcher.serving", "endpoint": settings.endpoint_id})
        loop.run()
    _log.info("left", extra={"event": "launcher.left", "endpoint": settings.endpoint_id})


def _task_audit(loop: Loop, settings: LauncherSettings, stack: contextlib.ExitStack) -> TaskAudit:
    # What happened elsewhere cannot be refused any more: losses are counted instead.
    kept = replace(settings.audit, on_write_failure=OnWriteFailure.CONTINUE)
    log = AuditLog(settings.state_dir / "tasks.log", kept)
    log.open()
    stack.callback(log.close)
    tasks = TaskAudit(loop, log)
    stack.callback(tasks.flush)
    return tasks


def _leave_on_signal(
    loop: Loop, stack: contextlib.ExitStack, authority: Authority, settings: LauncherSettings
) -> None:
    """Stop all user endpoints on SIGTERM or SIGINT; at once on a second one.

    Those that the site leaves to the next launcher go on.
    """
    heard, told = os.pipe()
    for fd in (heard, told):
        os.set_blocking(fd, False)
        stack.callback(os.close, fd)
    before = signal.set_wakeup_fd(told)
    stack.callback(signal.set_wakeup_fd, before)
    for number in (signal.SIGTERM, signal.SIGINT):
        stack.callback(signal.signal, number, signal.getsignal(number))
        signal.signal(number, lambda *_: None)
    graces = iter((settings.policy.stop_grace_s, 0.0))

    def leave() -> None:
        os.read(heard, 64)
        _log.info("leaving", extra={"event": "launcher.leaving"})
        authority.leave(next(graces, 0.0), loop.stop)

    loop.on_readable(heard, leave)


def _raise_open_files() -> None:
    # Four pipes for each user endpoint: the usual soft limit of 1024 ends at about 200.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
