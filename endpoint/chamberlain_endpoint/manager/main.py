"""The manager's process: read the settings, make the parts, connect them, wait for the end.

    python -m chamberlain_endpoint.manager.main --config-file /etc/chamberlain/NAME/config.yaml

SIGTERM and SIGINT end it; user endpoints go on, they are the launcher's. SIGHUP has it begin
afresh in the same process, with its settings as they are then. Exit codes: `fatal.Exit`.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from chamberlain_endpoint.launcher import lifeline
from chamberlain_endpoint.launcher.client import LauncherClient, LauncherUnreachableError
from chamberlain_endpoint.manager.fatal import Exit, FatalError
from chamberlain_endpoint.manager.heartbeat import Heartbeat
from chamberlain_endpoint.manager.hub_client import HubClient, Registration, StoppedError
from chamberlain_endpoint.manager.hub_link import HubLink, MakeBroker
from chamberlain_endpoint.manager.inbox import Inbox
from chamberlain_endpoint.manager.launcher_port import Launcher
from chamberlain_endpoint.manager.metrics import ManagerMetrics, Seen
from chamberlain_endpoint.manager.prepare import Preparer
from chamberlain_endpoint.manager.reconciler import Reconciler
from chamberlain_endpoint.manager.records import Records
from chamberlain_endpoint.manager.render.client import RenderServer
from chamberlain_endpoint.manager.settled import Settings, read_apart
from chamberlain_endpoint.manager.site_digest import SiteDigest
from chamberlain_endpoint.manager.steps import Steps
from chamberlain_endpoint.manager.watcher import Watcher
from chamberlain_wire import logs
from chamberlain_wire.broker.rabbit import RabbitBroker
from chamberlain_wire.ids import EndpointId
from chamberlain_wire.topology import FEATURE_CONTROL

# Not `__name__`: that is `__main__` here, and no logger of ours.
log = logging.getLogger("chamberlain_endpoint.manager.main")


class Manager:
    """All parts of one manager, from `run` to `stop`.

    Args:
        launcher: for requests; `watched` is another one, because closing a watch closes it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        launcher: Launcher,
        watched: Launcher,
        make_broker: MakeBroker,
    ) -> None:
        self._settings = settings
        self._watched = watched
        self._stop = threading.Event()
        self._fatal: list[BaseException] = []
        self._renderer = RenderServer()
        self._records = Records(settings.state_path / "records.db")
        self._launcher = launcher
        self._metrics = ManagerMetrics()
        preparer = Preparer(settings, launcher, self._renderer, self._metrics)
        digest = SiteDigest(settings)
        self._heartbeat = Heartbeat(
            self._records,
            period_s=settings.heartbeat_period,
            on_fatal=self.fail,
            state=lambda: {"site_digest": digest.now(), FEATURE_CONTROL: "1"},
        )
        self._steps = Steps(
            self._records,
            launcher,
            preparer,
            on_event=self._heartbeat.soon,
            metrics=self._metrics,
        )
        self._reconciler = Reconciler(self._steps, self._records, on_fatal=self.fail)
        self._inbox = Inbox(self._records, on_wish=self._on_wish, on_fatal=self.fail)
        self._hub = HubClient(settings, wait=self._stop.wait)
        self._link = HubLink(
            self._hub,
            self._inbox,
            make_broker,
            amqp_port=settings.amqp_port,
            on_up=self._heartbeat.soon,
            on_fatal=self.fail,
        )

    def stop(self) -> None:
        """Ask `run` to return. Safe in a signal handler."""
        self._stop.set()

    def fail(self, error: BaseException) -> None:
        """End because of `error`. Any thread."""
        self._fatal.append(error)
        self._stop.set()

    def run(self) -> None:
        """Register and serve until `stop`.

        Raises:
            FatalError: somebody must change something first.
        """
        with ExitStack() as stack:
            stack.callback(os.close, _only_one(self._settings.state_path))
            self._open(stack)
            try:
                registration = self._hub.register()
            except StoppedError:
                return
            self._serve(stack, registration)
            log.info(
                "serving", extra={"event": "manager.serving", "endpoint": registration.endpoint}
            )
            self._stop.wait()
            log.info("stopping", extra={"event": "manager.stopping"})
        for error in self._fatal:
            raise error

    def _seen(self) -> Seen:
        try:
            in_force = self._launcher.hello().mapping_state == "in force"
        except LauncherUnreachableError:
            in_force = None
        states = [wish.state for wish in self._records.all()]
        return Seen(states, in_force, self._link.registered, self._link.connected)

    def _listen(self, stack: ExitStack) -> None:
        address = self._settings.metrics_listen
        if address is None:
            return
        self._metrics.watch(self._seen)
        try:
            stack.callback(self._metrics.listen(address))
        except OSError as error:
            raise FatalError(
                Exit.CONFIG, f"metrics_listen: {address}: {error.strerror or error}."
            ) from None

    def _on_wish(self, user_endpoint: EndpointId) -> None:
        # It comes up while the launcher is asked who the caller is.
        self._renderer.wake()
        self._reconciler.poke(user_endpoint)

    def _open(self, stack: ExitStack) -> None:
        stack.callback(self._renderer.close)
        self._records.open()
        stack.callback(self._records.close)
        self._listen(stack)

    def _serve(self, stack: ExitStack, registration: Registration) -> None:
        """Begin everything; `stack` ends it in the opposite order."""
        watcher = Watcher(
            registration.endpoint,
            self._watched,
            self._steps,
            self._reconciler,
            on_fatal=self.fail,
        )
        self._link.open(registration)
        stack.callback(self._link.close)
        # Ends before the link does: its last report is the good-bye.
        self._heartbeat.open(registration.endpoint, self._link.publish)
        stack.callback(self._heartbeat.close)
        watcher.open()
        stack.callback(watcher.close)
        self._reconciler.open()
        stack.callback(self._reconciler.close)
        self._inbox.open()
        stack.callback(self._inbox.close)
        stack.callback(self._link.stop_commands)


def _only_one(folder: Path) -> int:
    """Return a descriptor that keeps a second manager off `folder` while it is open.

    Raises:
        FatalError: another manager has it, or it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FatalError(Exit.CONFIG, f"state_dir {folder} cannot be used: {error}.") from None
    try:
        # The kernel lets go of it when we end, however we end: nothing stale is ever left.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise FatalError(Exit.HELD, f"Another manager uses {folder}.") from None
    return descriptor


def _read(path: Path) -> Settings:
    from chamberlain_endpoint.manager.config import settle

    return settle(path)


def build(settings: Settings) -> Manager:
    """Return the manager of `settings` with the real launcher and broker."""
    return Manager(
        settings,
        launcher=LauncherClient(settings.socket_path),
        watched=LauncherClient(settings.socket_path),
        make_broker=lambda address, on_link: RabbitBroker(
            address, name=f"manager-{settings.name}", on_link=on_link
        ),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a manager; return its exit code."""
    parser = argparse.ArgumentParser(description="The manager of one Chamberlain endpoint.")
    parser.add_argument("--config-file", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    os.umask(0o077)
    lifeline.end_with_supervisor()
    logs.set_up()
    try:
        settings = read_apart(_read, options.config_file)
        if settings.debug:
            logs.set_up(level=logging.DEBUG)
        manager = build(settings)
        again = _listen_to_signals(manager)
        manager.run()
    except FatalError as error:
        log.error(error.public, extra={"event": "manager.ended", "code": error.exit_code})
        return error.exit_code
    except Exception:  # the edge of the process
        log.exception("unexpected", extra={"event": "manager.crashed"})
        return Exit.UNEXPECTED_ANSWER
    if again:
        log.info("starting again", extra={"event": "manager.reloading"})
        # Until the new program listens, another one of these must not end it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    log.info("stopped", extra={"event": "manager.stopped"})
    return Exit.STOPPED


def _listen_to_signals(manager: Manager) -> list[signal.Signals]:
    """Return a list that is not empty when `run` returned because it is to begin afresh."""
    again: list[signal.Signals] = []

    def end(*_: object) -> None:
        again.clear()
        manager.stop()

    def reload(*_: object) -> None:
        again.append(signal.SIGHUP)
        manager.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    signal.signal(signal.SIGHUP, reload)
    return again


if __name__ == "__main__":
    sys.exit(main())
