"""The manager against a real broker: commands in, verdicts and ends out."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.manager.conftest import WAIT_S, RunningManager, StandInHub

from chamberlain_endpoint.launcher.client import LauncherRefusedError
from chamberlain_endpoint.launcher.protocol import Launch
from chamberlain_endpoint.manager.fatal import FatalError
from chamberlain_endpoint.manager.launcher_port import MemoryLauncher
from chamberlain_endpoint.manager.records import Records
from chamberlain_wire.codec import encode_command
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import new_id

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow]

Start = Callable[[], RunningManager]


def test_a_wish_is_admitted_started_and_its_end_told(
    hub: StandInHub, launcher: MemoryLauncher, start: Start
) -> None:
    start()
    user_endpoint = new_id()
    command = hub.ask(user_endpoint, {"workers": 3})
    assert hub.event(user_endpoint, "admitted").code == ""
    started = hub.event(user_endpoint, "started")
    launch = launcher.launches[0]
    assert json.loads(launch.config)["engine"]["max_workers"] == 3
    assert launch.assertion == command.assertion
    assert launch.environment == {"SITE": "here", "NUMBER": "010"}
    launcher.end(user_endpoint)
    ended = hub.event(user_endpoint, "ended")
    assert ended.clean
    assert ended.command == started.command
    kinds = [event.kind for event in hub.events()]
    assert kinds == ["admitted", "started", "ended"]


def test_registration_tells_what_the_endpoint_is(hub: StandInHub, start: Start) -> None:
    start()
    hub.wait(lambda hub: hub.reports, "a heartbeat")
    body = hub.registrations[0]
    assert body["endpoint_name"] == "site"
    assert body["multi_user"] is True
    assert "ThreadPoolEngine" in body["metadata"]["user_config_template"]
    first = hub.reports[0].global_state
    assert first["heartbeat_period"] == 5.0
    assert re.fullmatch("[0-9a-f]{32}", first["site_digest"])
    assert set(first) == {"heartbeat_period", "site_digest", "control"}


def test_the_last_report_says_good_bye(hub: StandInHub, start: Start) -> None:
    running = start()
    hub.wait(lambda hub: hub.reports, "a heartbeat")
    running.stop()
    hub.wait(lambda hub: hub.reports[-1].global_state["heartbeat_period"] == 0.0, "good-bye")


def test_an_identity_that_maps_to_nobody_is_refused_with_the_sentence(
    hub: StandInHub, launcher: MemoryLauncher, start: Start
) -> None:
    sentence = "Identity failed to map to a local user name: effective identity x, username y."
    launcher.refuse_admit = LauncherRefusedError(ErrorCode.IDENTITY_NOT_MAPPED, sentence, "")
    start()
    user_endpoint = new_id()
    hub.ask(user_endpoint)
    refused = hub.event(user_endpoint, "refused")
    assert (refused.code, refused.message) == (ErrorCode.IDENTITY_NOT_MAPPED, sentence)
    assert launcher.launches == []


@pytest.mark.parametrize(
    ("template", "code", "words"),
    [
        ("engine:\n  type: {{ queue }}\n", "TEMPLATE_FAILED", "line 2): 'queue' is undefined"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
         "TEMPLATE_FAILED", "line 1): it does not come to an end"),
        ("engine: [", "TEMPLATE_FAILED", "not YAML"),
        ("engine: {type: ThreadPolEngine}", "CONFIG_INVALID", "ThreadPoolEngine"),
    ],
    ids=["undefined", "endless", "bad-yaml", "unknown-engine"],
)  # fmt: skip
def test_a_bad_template_is_told_within_five_seconds(
    hub: StandInHub, config: Path, start: Start, template: str, code: str, words: str
) -> None:
    (config.parent / "user_config_template.yaml.j2").write_text(template)
    start()
    hub.wait(lambda hub: hub.reports, "a heartbeat")
    user_endpoint = new_id()
    began = time.monotonic()
    hub.ask(user_endpoint)
    refused = hub.event(user_endpoint, "refused")
    assert time.monotonic() - began < 5.0
    assert refused.code == code
    assert words in refused.message


def test_options_that_fail_the_schema_are_refused_with_path_and_reason(
    hub: StandInHub, config: Path, start: Start
) -> None:
    schema = {"properties": {"workers": {"type": "integer"}}}
    (config.parent / "user_config_schema.json").write_text(json.dumps(schema))
    start()
    user_endpoint = new_id()
    hub.ask(user_endpoint, {"workers": "many"})
    refused = hub.event(user_endpoint, "refused")
    assert refused.code == ErrorCode.OPTIONS_REFUSED
    assert "workers: 'many' is not of type 'integer'" in refused.message


def test_a_replayed_command_starts_nothing_even_after_a_restart(
    hub: StandInHub, launcher: MemoryLauncher, start: Start
) -> None:
    running = start()
    user_endpoint = new_id()
    command = hub.ask(user_endpoint)
    hub.event(user_endpoint, "started")
    launcher.end(user_endpoint)
    hub.event(user_endpoint, "ended")
    hub.send(encode_command(command))
    running.stop()
    start()
    hub.send(encode_command(command))
    other = new_id()
    hub.ask(other)
    hub.event(other, "started")
    assert [launch.user_endpoint for launch in launcher.launches] == [user_endpoint, other]


def test_rubbish_is_dropped_and_the_next_command_is_heard(
    hub: StandInHub, launcher: MemoryLauncher, start: Start
) -> None:
    start()
    hub.send(b"x" * (10 * 1024 * 1024))
    hub.send(b"not json")
    hub.send(b"{}", timestamp=int(time.time()) - 1000)
    user_endpoint = new_id()
    hub.ask(user_endpoint)
    hub.event(user_endpoint, "started")
    assert len(launcher.launches) == 1


def test_a_repeated_start_of_a_running_one_answers_admitted_and_started(
    hub: StandInHub, start: Start
) -> None:
    start()
    user_endpoint = new_id()
    first = hub.ask(user_endpoint)
    hub.event(user_endpoint, "started")
    hub.ask(user_endpoint)
    hub.wait(lambda hub: len(hub.events()) == 4, "four events")
    assert [event.kind for event in hub.events()] == ["admitted", "started"] * 2
    assert len({event.command for event in hub.events()}) == 2
    assert first.assertion


def test_user_endpoints_outlive_the_manager_and_are_known_again(
    hub: StandInHub, launcher: MemoryLauncher, start: Start
) -> None:
    running = start()
    user_endpoint = new_id()
    hub.ask(user_endpoint)
    hub.event(user_endpoint, "started")
    running.stop()
    assert [entry.user_endpoint for entry in launcher.list().running] == [user_endpoint]
    launcher.end(user_endpoint, exit_code=None)
    start()
    ended = hub.event(user_endpoint, "ended")
    assert not ended.clean
    assert "signal 9" in ended.message


def test_what_is_gone_with_the_launcher_is_told_when_it_is_back(
    hub: StandInHub, launcher: MemoryLauncher, start: Start
) -> None:
    start()
    user_endpoint = new_id()
    hub.ask(user_endpoint)
    hub.event(user_endpoint, "started")
    launcher.leave()
    other = new_id()
    hub.ask(other)
    launcher.come_back()
    assert not hub.event(user_endpoint, "ended").clean
    hub.event(other, "started")


def test_a_launch_whose_answer_was_lost_is_found_in_the_list(
    hub: StandInHub, launcher: MemoryLauncher, start: Start
) -> None:
    start()
    user_endpoint = new_id()

    def lose_once(launch: Launch) -> None:
        launcher.on_launch = lambda launch: None
        launcher.lose_next_answer()

    launcher.on_launch = lose_once
    hub.ask(user_endpoint)
    hub.event(user_endpoint, "started")
    assert len(launcher.launches) == 1


def test_a_failed_start_carries_the_fatal_line(
    hub: StandInHub, launcher: MemoryLauncher, start: Start
) -> None:
    start()
    user_endpoint = new_id()
    hub.ask(user_endpoint)
    hub.event(user_endpoint, "started")
    fatal = json.dumps({"fatal": {"code": "CONFIG_INVALID", "message": "endpoint_setup failed"}})
    launcher.end(user_endpoint, exit_code=78, tail=f"some noise\n{fatal}\n")
    failed = hub.event(user_endpoint, "failed")
    assert (failed.code, failed.message) == ("CONFIG_INVALID", "endpoint_setup failed")


def test_a_revoked_credential_makes_it_register_again(hub: StandInHub, start: Start) -> None:
    start()
    hub.wait(lambda hub: hub.reports, "a heartbeat")
    hub.revoke()
    hub.wait(lambda hub: len(hub.registrations) == 2, "a second registration")
    user_endpoint = new_id()
    hub.ask(user_endpoint)
    hub.event(user_endpoint, "started")


def test_one_slow_start_does_not_hold_up_another(
    hub: StandInHub, launcher: MemoryLauncher, start: Start
) -> None:
    slow, quick = new_id(), new_id()
    released = threading.Event()

    def hold(launch: Launch) -> None:
        if launch.user_endpoint == slow:
            assert released.wait(WAIT_S)

    launcher.on_launch = hold
    start()
    hub.ask(slow)
    hub.event(slow, "admitted")
    hub.ask(quick)
    hub.event(quick, "started")
    assert "started" not in [e.kind for e in hub.events() if e.user_endpoint == slow]
    released.set()
    hub.event(slow, "started")


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [(400, 65), (422, 65), (404, 69), (409, 69), (423, 69), (401, 77), (403, 77), (418, 70)],
)
def test_a_refused_registration_ends_with_its_exit_code(
    hub: StandInHub, start: Start, status: int, exit_code: int
) -> None:
    hub.status = status
    running = start()
    running.join()
    assert isinstance(running.error, FatalError)
    assert running.error.exit_code == exit_code
    assert "because" in running.error.public


def test_it_waits_for_a_hub_that_is_away(hub: StandInHub, start: Start) -> None:
    hub.status = 503
    start()
    hub.status = 200
    hub.wait(lambda hub: hub.registrations, "a registration")


def test_a_second_manager_of_the_same_records_is_refused(hub: StandInHub, start: Start) -> None:
    start()
    hub.wait(lambda hub: hub.reports, "a heartbeat")
    second = start()
    second.join()
    assert isinstance(second.error, FatalError)
    assert second.error.exit_code == 73


def test_the_records_hold_no_secret_after_the_start(
    hub: StandInHub, config: Path, start: Start
) -> None:
    running = start()
    user_endpoint = new_id()
    hub.ask(user_endpoint)
    hub.event(user_endpoint, "started")
    running.stop()
    records = Records(config.parent / "state" / "records.db")
    records.open()
    assert [wish.credentials.reveal() for wish in records.all()] == [""]
    assert records.events(10) == []
    records.close()


def test_how_long_a_command_takes_to_the_launcher(
    hub: StandInHub,
    launcher: MemoryLauncher,
    start: Start,
    record_property: Callable[[str, object], None],
) -> None:
    start()
    hub.wait(lambda hub: hub.reports, "a heartbeat")
    took_ms: list[float] = []
    for _ in range(20):
        launched = threading.Event()
        launcher.on_launch = lambda launch, launched=launched: launched.set()  # type: ignore[misc]
        began = time.monotonic()
        user_endpoint = new_id()
        hub.ask(user_endpoint)
        assert launched.wait(WAIT_S)
        took_ms.append(1000 * (time.monotonic() - began))
        hub.event(user_endpoint, "started")
    took_ms.sort()
    median, worst = took_ms[len(took_ms) // 2], took_ms[-1]
    print(f"command to launch: median {median:.1f} ms, worst {worst:.1f} ms of {len(took_ms)}")
    record_property("command_to_launch_ms", median)
