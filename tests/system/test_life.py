"""The life of user endpoints on a real site: idling, revival, limits, new templates, commands."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.system.conftest import ALICE, BOB, Open

from chamberlain import Executor
from devtools.processes import wait_until
from devtools.site import Site

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow, pytest.mark.timeout(300)]
WAIT_S = 60.0
# A start takes half a second here, on a busy machine some; a poll or a time-out takes more.
AT_ONCE_S = 15.0


def where():
    import pathlib

    return str(pathlib.Path.cwd())


def nap(seconds):
    import time

    time.sleep(seconds)
    return seconds


def id_of(executor: Executor) -> str:
    """Return the id of the user endpoint that serves `executor`; starts it."""
    return Path(executor.submit(where).result(WAIT_S)).parent.name


def runs(site: Site, user_endpoint: str) -> bool:
    """Tell whether the launcher has it."""
    listing = site.endpoint_command("user-endpoints", "list", site.name)
    return user_endpoint in {one["user_endpoint"] for one in listing["running"]}


def log_of(site: Site, user_endpoint: str) -> str:
    """Return the end of its log, as the administrator reads it."""
    document = site.endpoint_command("user-endpoints", "logs", site.name, user_endpoint)
    return "\n".join(document["lines"])


@contextmanager
def changed(site: Site, name: str, change: Callable[[str], str]) -> Iterator[None]:
    """Change one of the endpoint's files for a while."""
    path = site.config_dir / site.name / name
    before = path.read_text()
    path.write_text(change(before))
    try:
        yield
    finally:
        path.write_text(before)


def test_without_tasks_it_leaves_after_the_soft_limit(site: Site, open_as: Open) -> None:
    user_endpoint = id_of(open_as(ALICE, HEARTBEAT=5, SOFT=1, NUMBER=1))
    assert runs(site, user_endpoint)
    assert wait_until(lambda: not runs(site, user_endpoint), 30)
    assert "no task for a long time" in log_of(site, user_endpoint)


def test_with_tasks_that_never_end_it_leaves_after_the_hard_limit(
    site: Site, open_as: Open
) -> None:
    executor = open_as(ALICE, HEARTBEAT=5, SOFT=1, HARD=3, NUMBER=2)
    user_endpoint = id_of(executor)
    stuck = executor.submit(nap, 3600)
    error = stuck.exception(WAIT_S)
    assert error is not None
    assert "none has ended for a very long time" in log_of(site, user_endpoint)
    assert wait_until(lambda: not runs(site, user_endpoint), 30)


def test_a_submit_that_meets_a_stop_does_not_wait_long(site: Site, open_as: Open) -> None:
    executor = open_as(ALICE, NUMBER=3)
    user_endpoint = id_of(executor)
    with ThreadPoolExecutor(1) as pool:
        for pause_s in (0.0, 0.3, 1.0, 2.5):
            running = executor.submit(nap, 2)
            assert wait_until(lambda: "task.received" in log_of(site, user_endpoint), 10)
            stop = ("user-endpoints", "stop", site.name, user_endpoint, "--grace", "5")
            stopped = pool.submit(site.endpoint_command, *stop)
            time.sleep(pause_s)
            began = time.monotonic()
            assert executor.submit(nap, 0).result(WAIT_S) == 0
            assert time.monotonic() - began < AT_ONCE_S, pause_s
            assert stopped.result(WAIT_S)["state"] == "stopped"
            assert running.done()


def test_a_submit_at_any_moment_of_an_idle_end_does_not_wait_long(
    site: Site, open_as: Open
) -> None:
    executor = open_as(ALICE, HEARTBEAT=5, SOFT=1, NUMBER=4)
    user_endpoint = id_of(executor)
    for pause_s in (0.0, 0.05, 0.2, 0.5):
        count = log_of(site, user_endpoint).count("endpoint.leaving")
        assert wait_until(
            lambda count=count: log_of(site, user_endpoint).count("endpoint.leaving") > count, 30
        )
        time.sleep(pause_s)
        began = time.monotonic()
        assert executor.submit(nap, 0).result(WAIT_S) == 0
        assert time.monotonic() - began < AT_ONCE_S, pause_s


def test_another_template_makes_a_new_one_and_the_old_one_finishes(
    site: Site, open_as: Open
) -> None:
    executor = open_as(ALICE, HEARTBEAT=5, SOFT=1, NUMBER=5)
    old = id_of(executor)
    long = executor.submit(nap, 12)
    assert wait_until(lambda: "task.received" in log_of(site, old), 10)
    with changed(site, "user_config_template.yaml.j2", lambda text: text + "debug: true\n"):
        assert wait_until(lambda: id_of(executor) != old, 15)
        new = id_of(executor)
        assert runs(site, old)
        assert long.result(WAIT_S) == 12
        assert wait_until(lambda: not runs(site, old), 30)
        assert id_of(executor) == new
    assert wait_until(lambda: id_of(executor) == old, 15)


@pytest.mark.needs_root
@pytest.mark.parametrize(
    ("limit", "second"), [("max_user_endpoints_per_account", ALICE), ("max_user_endpoints", BOB)]
)
def test_one_more_than_the_limit_is_refused_with_the_limit(
    site: Site, open_as: Open, limit: str, second: str
) -> None:
    site.stop_endpoint()
    with changed(
        site, "launcher.toml", lambda text: re.sub(rf"(?m)^{limit} = .*$", f"{limit} = 1", text)
    ):
        site.start_endpoint()
        first = open_as(ALICE, NUMBER=6)
        user_endpoint = id_of(first)
        began = time.monotonic()
        error = open_as(second, NUMBER=7).submit(where).exception(WAIT_S)
        assert error is not None
        assert limit in str(error)
        assert "runs 1 user endpoints" in str(error)
        assert time.monotonic() - began < AT_ONCE_S
        # The one that there is serves on, and when it is gone there is room again.
        assert id_of(first) == user_endpoint
        site.endpoint_command("user-endpoints", "stop", site.name, user_endpoint)
        assert id_of(open_as(second, NUMBER=7)) != user_endpoint
        site.stop_endpoint()
    site.start_endpoint()


def test_list_stop_and_logs_tell_and_do(
    site: Site, open_as: Open, people: Mapping[str, str]
) -> None:
    user_endpoint = id_of(open_as(ALICE, NUMBER=8))
    listing = site.endpoint_command("user-endpoints", "list", site.name, "--ended")
    (row,) = [one for one in listing["running"] if one["user_endpoint"] == user_endpoint]
    assert row["account"] == people[ALICE]
    assert "endpoint.serving" in log_of(site, user_endpoint)
    stop = ("user-endpoints", "stop", site.name, user_endpoint)
    assert site.endpoint_command(*stop)["was_running"] is True
    assert site.endpoint_command(*stop)["was_running"] is False
    listing = site.endpoint_command("user-endpoints", "list", site.name, "--ended")
    assert user_endpoint in {one["user_endpoint"] for one in listing["ended"]}


@pytest.mark.needs_root
def test_logs_read_as_the_account_and_follow_no_link(site: Site, open_as: Open) -> None:
    def plant(target):
        import pathlib

        log = pathlib.Path.cwd().parent / "endpoint.log"
        log.rename(log.with_suffix(".kept"))
        log.symlink_to(target)

    executor = open_as(ALICE, NUMBER=9)
    user_endpoint = id_of(executor)
    executor.submit(plant, "/etc/shadow").result(WAIT_S)
    with pytest.raises(Exception, match="cannot be read"):
        log_of(site, user_endpoint)
    site.endpoint_command("user-endpoints", "stop", site.name, user_endpoint)
