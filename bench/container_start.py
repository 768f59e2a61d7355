"""How long a start takes in each runtime, from the launcher's wish to the first instruction.

Run by `bench.containers` on a login node, as root, with the programs that are installed there.
Reads one JSON object on standard input (`config`, `account`, `starts`), prints one: runtime ->
seconds of each start, taken in turn.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chamberlain_endpoint.launcher import accounts, config
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.protocol import Account
from chamberlain_endpoint.launcher.runtime.container import ContainerRuntime
from chamberlain_endpoint.launcher.runtime.port import Exit, Runtime
from chamberlain_endpoint.launcher.runtime.process import ProcessRuntime
from chamberlain_endpoint.launcher.settings import LauncherSettings
from chamberlain_endpoint.launcher.spec import LaunchSpec
from chamberlain_wire.ids import new_id

_LIMIT_S = 60.0
# Both see this host's clock: it is read by the first instruction itself.
_FIRST = "import sys, time; sys.stderr.write(f'{time.monotonic()}\\n')"


def measure(settings: LauncherSettings, account: Account, starts: int) -> dict[str, list[float]]:
    """Return runtime -> seconds of each start; one before them does not count."""
    loop, ends = Loop(), list[Exit]()
    runtimes: dict[str, Runtime] = {
        "process": ProcessRuntime(loop, settings.accounts_dir, is_multi=True),
        "container": ContainerRuntime(loop, settings),
    }
    for runtime in runtimes.values():
        runtime.open(ends.append)
    taken: dict[str, list[float]] = {name: [] for name in runtimes}
    try:
        for number in range(starts + 1):
            for name, runtime in runtimes.items():
                begun = time.monotonic()
                runtime.start(_spec(settings, account))
                _turn(loop, lambda: bool(ends))
                if number > 0:
                    taken[name].append(float(ends[0].tail.split()[0]) - begun)
                ends.clear()
    finally:
        for runtime in runtimes.values():
            runtime.close()
        loop.close()
    return taken


def _spec(settings: LauncherSettings, account: Account) -> LaunchSpec:
    name = new_id()
    return LaunchSpec(
        user_endpoint=name,
        command=new_id(),
        account=account,
        arguments=(str(settings.python), "-I", "-c", _FIRST),
        environment={"PATH": settings.path, "HOME": account.dir},
        state_dir=settings.accounts_dir / str(account.uid) / name,
        first_line=b"\n",
    )


def _turn(loop: Loop, is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + _LIMIT_S
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError("a start did not end")
        loop.call_later(0.05, lambda: None)
        loop.turn()


def main() -> None:
    """Answer the question on standard input."""
    question = json.load(sys.stdin)
    settings = config.load(Path(question["config"]), frozenset({0}))
    with tempfile.TemporaryDirectory(prefix="chamberlain-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        # An endpoint of its own: the launcher that runs here sees none of these.
        apart = replace(
            settings, endpoint_id=new_id(), state_dir=folder / "state", accounts_dir=folder
        )
        found = measure(apart, accounts.look_up(question["account"]), question["starts"])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
