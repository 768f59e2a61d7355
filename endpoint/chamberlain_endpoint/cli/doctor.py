"""`doctor`: every link of the chain on this host, in the order in which a task meets them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from chamberlain_endpoint.cli import (
    accounts,
    ask_launcher,
    check_files,
    daemons,
    hub,
    packaged,
    supervisord,
    tokens,
)
from chamberlain_endpoint.cli.daemons import Known
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.launcher.client import LauncherClient
from chamberlain_wire.errors import ChamberlainError
from chamberlain_wire.limits import CLOCK_SKEW_S

_LEAST_FREE_BYTES: Final = 1024**3
_LEAST_FREE_SHARE: Final = 0.02


class State(StrEnum):
    """How a link is."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LinkReport:
    """One link.

    Attributes:
        said: what was seen.
        todo: what to do; empty when it is good.
    """

    link: str
    state: State
    said: str
    todo: str = ""


def examine(endpoint: Known, username: str | None) -> Iterator[LinkReport]:
    """Yield the links one after the other, each as soon as it was looked at.

    Args:
        username: of a caller whose account is asked for; None: the token's owner.
    """
    name = endpoint.layout.name
    yield _files(endpoint)
    yield from _programs(endpoint)
    yield _launcher(endpoint)
    yield from _disk(endpoint)
    try:
        link = tokens.link(endpoint)
        if link.account is not None:
            accounts.prove_can_run(link.account)
    except CommandFailedError as error:
        yield LinkReport("service account", State.BAD, error.public, "see the sentence")
        return
    away, date = hub.health(link.url, link.account)
    if away:
        todo = "is the hub running? Is the address in config.yaml right, the firewall open?"
        yield LinkReport("hub", State.BAD, f"{link.url}: {away}", todo)
        return
    yield LinkReport("hub", State.GOOD, f"{link.url} answers")
    yield _clock(date)
    try:
        token = link.token()
        who = hub.person(link.url, token, link.account)
    except CommandFailedError as error:
        todo = f"chamberlain-endpoint login {name} --token-file FILE"
        yield LinkReport("token", State.BAD, error.public, todo)
        return
    yield LinkReport("token", State.GOOD, f"is of {who.get('preferred_username')}")
    yield _broker(link, token)
    yield _registered(endpoint, link, token)
    yield _mapping(endpoint, username or str(who.get("preferred_username")), str(who.get("sub")))


def examine_as(endpoint: Known, account: str) -> Iterator[LinkReport]:
    """Yield the links of a throwaway container of the local account `account`. Root only.

    Raises:
        CommandFailedError: the launcher's code gave no answer.
    """
    for row in ask_launcher.try_container(endpoint.layout.launcher_toml, account):
        yield LinkReport(row["link"], State(row["state"]), row["said"], row["todo"])


def _files(endpoint: Known) -> LinkReport:
    found = check_files.check(endpoint.layout.config).findings
    if not found:
        return LinkReport("files", State.GOOD, f"all in {endpoint.layout.config} are good")
    todo = f"chamberlain-endpoint check-config {endpoint.layout.name}"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return LinkReport("files", State.BAD, found[0].text() + more, todo)


def _programs(endpoint: Known) -> Iterator[LinkReport]:
    where = endpoint.layout
    seen, unit = daemons.programs(endpoint), packaged.unit_of(where)
    if seen is None:
        todo = f"chamberlain-endpoint start {where.name} --detach"
        link = "systemd" if unit else "supervisord"
        yield LinkReport(
            link, State.BAD, "does not run", f"systemctl start {unit}" if unit else todo
        )
        return
    if supervisord.programs(where) is not None:
        yield LinkReport("supervisord", State.GOOD, f"answers at {where.supervisor_socket}")
    elif packaged.is_active(unit):
        yield LinkReport("systemd", State.GOOD, f"runs {unit}")
    else:
        todo = f"chamberlain-endpoint restart {where.name} --detach"
        yield LinkReport("supervisord", State.BAD, "does not run, and left programs", todo)
    for program in seen:
        good = program.state == "RUNNING"
        said = f"process {program.pid} runs" if good else f"is {program.state}"
        todo = "" if good else f"read the end of {where.log / program.name}.log"
        yield LinkReport(program.name, State.GOOD if good else State.BAD, said, todo)


def _launcher(endpoint: Known) -> LinkReport:
    link, socket = "launcher's socket", endpoint.settings.socket
    try:
        greeting = LauncherClient(socket).hello()
    except (ChamberlainError, OSError) as error:
        todo = f"start it; else read the end of {endpoint.layout.log / 'launcher.log'}"
        return LinkReport(link, State.BAD, f"{socket}: {error}", todo)
    if greeting.endpoint != endpoint.settings.endpoint_id:
        todo = f"chamberlain-endpoint restart {endpoint.layout.name}"
        return LinkReport(link, State.BAD, f"serves {greeting.endpoint}, not this one", todo)
    return LinkReport(link, State.GOOD, f"{socket} answers, version {greeting.version}")


def _disk(endpoint: Known) -> Iterator[LinkReport]:
    where = endpoint.layout
    seen: set[int] = set()
    for folder in (where.manager, where.launcher, where.accounts, where.log, where.run):
        try:
            device, disk = folder.stat().st_dev, os.statvfs(folder)
        except OSError as error:
            yield LinkReport("disk", State.UNKNOWN, f"{folder}: {error.strerror}", "make it")
            continue
        if device in seen:
            continue
        seen.add(device)
        yield _room(folder, disk)


def _room(folder: Path, disk: os.statvfs_result) -> LinkReport:
    free, whole = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    # A small file system, such as /run, is judged by its share alone.
    is_full = free < min(_LEAST_FREE_BYTES, whole * _LEAST_FREE_SHARE)
    has_names = disk.f_files == 0 or disk.f_favail > disk.f_files * _LEAST_FREE_SHARE
    said = f"{folder}: {free / 1024**3:.1f} of {whole / 1024**3:.1f} GiB are free"
    if is_full or not has_names:
        said += "" if has_names else f", {disk.f_favail} of {disk.f_files} inodes"
        return LinkReport("disk", State.BAD, said, "make room: ledgers and the audit log need it")
    return LinkReport("disk", State.GOOD, said)


def _clock(date: str) -> LinkReport:
    try:
        skew_s = time.time() - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return LinkReport(
            "clock", State.UNKNOWN, "the hub gave no Date", "compare by hand: date -u"
        )
    said = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the hub's"
    if abs(skew_s) > CLOCK_SKEW_S:
        todo = f"set the clock (chronyc tracking); {CLOCK_SKEW_S:.0f} s are borne"
        return LinkReport("clock", State.BAD, said, todo)
    return LinkReport("clock", State.GOOD, said)


def _broker(link: tokens.Link, token: str) -> LinkReport:
    where, fault = hub.broker(link.url, token, link.account)
    if fault:
        todo = "is the broker running, is its port open from this host?"
        return LinkReport("broker", State.BAD, fault, todo)
    return LinkReport("broker", State.GOOD, f"{where} speaks AMQP")


def _registered(endpoint: Known, link: tokens.Link, token: str) -> LinkReport:
    said = hub.endpoint_status(link.url, token, endpoint.settings.endpoint_id, link.account)
    if said == "online":
        return LinkReport("heartbeat", State.GOOD, "the hub hears this endpoint")
    todo = f"read the end of {endpoint.layout.log / 'manager.log'}"
    return LinkReport("heartbeat", State.BAD, f"the hub says: {said}", todo)


def _mapping(endpoint: Known, username: str, identity: str) -> LinkReport:
    link = "account"
    told = ask_launcher.explain(
        endpoint.layout.launcher_toml, None, [{"id": identity, "username": username}]
    )
    if told.faults:
        return LinkReport(link, State.BAD, told.faults[0], "correct the mapping")
    if told.mapped is None or told.refused:
        todo = f"chamberlain-endpoint validate-mapping {endpoint.layout.name} -u {username}"
        return LinkReport(link, State.UNKNOWN, f"{username} may not come in: {told.refused}", todo)
    return LinkReport(link, State.GOOD, f"{username} becomes {told.mapped['user_name']}")
