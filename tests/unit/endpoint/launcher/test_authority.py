"""What the launcher does with each request, without a process, socket or account."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.launcher_builders import ENDPOINT, UEP, Hub, make_settings, own_account

from chamberlain_endpoint.identity.assertion import AssertionDesk, UsedIds
from chamberlain_endpoint.identity.mapper import Mapped
from chamberlain_endpoint.launcher import authority, protocol
from chamberlain_endpoint.launcher.audit import AuditLog, Entry
from chamberlain_endpoint.launcher.decision import InlineDecider, Rules
from chamberlain_endpoint.launcher.policy import Denied
from chamberlain_endpoint.launcher.runtime.memory import MemoryRuntime
from chamberlain_endpoint.launcher.runtime.port import (
    Exit,
    SessionOpened,
    TasksSilenced,
    TasksTold,
)
from chamberlain_endpoint.launcher.settings import PolicySettings
from chamberlain_wire.assertion import Assertion
from chamberlain_wire.claims import Claim, What
from chamberlain_wire.errors import ChamberlainError, ErrorCode
from chamberlain_wire.ids import new_id

ME = own_account()
ANYBODY = PolicySettings(min_uid=1, denied_accounts=())


class MapsToMe:
    """Gives everybody the account of whoever runs the tests."""

    def map(self, assertion: Assertion) -> Mapped:
        return Mapped(ME.uname, assertion.identities[0], "rule 7")


class OneOrdinaryAccount(InlineDecider):
    """Decides like the real one, for an account that is not root even when root tests."""

    def decide(
        self,
        rules: Rules,
        assertion: Assertion,
        then: Callable[[protocol.Admitted | ChamberlainError], None],
    ) -> None:
        identity = assertion.identities[0]
        account = replace(ME, uname="alice", uid=self.uid)
        then(protocol.Admitted(account, identity.id, identity.username, "rule 7"))

    uid = 1001


class Bench:
    """An authority on the fake runtime; answers come at once."""

    def __init__(self, folder: Path, policy: PolicySettings) -> None:
        self.hub = Hub()
        self.audit_path = folder / "audit.log"
        self.settings = make_settings(folder, self.hub, policy)
        self.used = UsedIds(folder / "used.db")
        self.used.open()
        self.audit = AuditLog(self.audit_path)
        self.audit.open()
        self.runtime = MemoryRuntime()
        self.decider = OneOrdinaryAccount()
        self.notices: list[protocol.Ended] = []
        self.claimed: list[tuple[Entry, tuple[Claim, ...]]] = []
        self.authority = authority.Authority(
            self.settings,
            "1.2.3",
            authority.Means(
                desk=AssertionDesk(self.settings.hub_keys, ENDPOINT, self.used),
                rules=lambda: Rules(MapsToMe(), ANYBODY, Denied()),
                decider=self.decider,
                runtime=self.runtime,
                audit=self.audit,
                note_tasks=lambda entry, claims: self.claimed.append((entry, claims)),
            ),
        )
        self.authority.open()

    def ask(self, request: protocol.Request) -> Any:
        """Return the answer, or raise the refusal; None when there is none yet."""
        answers: list[protocol.Answer | ChamberlainError] = []
        self.authority.answer(request, answers.append, self._notify)
        if answers and isinstance(answers[0], ChamberlainError):
            raise answers[0]
        return answers[0] if answers else ...

    def launch(self, **changes: Any) -> Any:
        token = self.hub.token(**{"user_endpoint": UEP} | changes)
        user_endpoint = changes.get("user_endpoint", UEP)
        return self.ask(protocol.Launch(token, user_endpoint, "{}", '{"a": 1}', {"A": "b"}))

    def audited(self) -> list[tuple[str, str]]:
        lines = [json.loads(line) for line in self.audit_path.read_text().splitlines()]
        return [(line["action"], line["decision"]) for line in lines]

    def close(self) -> None:
        self.used.close()
        self.audit.close()

    def _notify(self, ended: protocol.Ended) -> bool:
        self.notices.append(ended)
        return True


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, PolicySettings(max_user_endpoints=2))
    yield made
    made.close()


def test_it_says_who_it_is(bench: Bench) -> None:
    greeting = bench.ask(protocol.Hello())
    assert greeting == protocol.Greeting(ENDPOINT, "multi", "1.2.3", "")


def test_an_admission_starts_nothing_and_uses_nothing_up(bench: Bench) -> None:
    token = bench.hub.token()
    assert bench.ask(protocol.Admit(token)) == bench.ask(protocol.Admit(token))
    assert bench.runtime.started == []


def test_a_launch_hands_over_what_the_user_endpoint_needs(bench: Bench) -> None:
    assert bench.launch().already is False
    (spec,) = bench.runtime.started
    first = json.loads(spec.first_line)
    assert first["credentials"] == {"a": 1}
    assert first["identity"]["rule"] == "rule 7"
    assert first["command"] == spec.command
    assert spec.account.uid == 1001
    assert bench.audited() == [("start", "noted"), ("launch", "granted")]


def test_a_replay_is_refused_and_written_down(bench: Bench) -> None:
    token = bench.hub.token()
    launch = protocol.Launch(token, UEP, "{}", "{}", {})
    bench.ask(launch)
    with pytest.raises(ChamberlainError, match="used before"):
        bench.ask(launch)
    assert bench.audited()[-1] == ("launch", "refused")
    assert len(bench.runtime.started) == 1


def test_a_launch_for_another_user_endpoint_is_refused(bench: Bench) -> None:
    token = bench.hub.token(user_endpoint=new_id())
    with pytest.raises(ChamberlainError, match="launch asks for"):
        bench.ask(protocol.Launch(token, UEP, "{}", "{}", {}))


@pytest.mark.parametrize(
    "changes",
    [
        {"config": "{"},
        {"config": "[]"},
        {"credentials": "null"},
        {"environment": {"A=B": "c"}},
        {"environment": {"A": "\0"}},
    ],
)
def test_a_malformed_launch_is_refused_before_the_statement_is_used_up(
    bench: Bench, changes: dict[str, Any]
) -> None:
    launch = protocol.Launch(bench.hub.token(), UEP, "{}", "{}", {})
    with pytest.raises(ChamberlainError):
        bench.ask(replace(launch, **changes))
    assert bench.ask(launch).already is False


def test_one_that_runs_is_left_alone(bench: Bench) -> None:
    first = bench.launch()
    second = bench.launch()
    assert (second.already, second.pid) == (True, first.pid)
    assert len(bench.runtime.started) == 1


def test_one_that_runs_for_another_account_is_not_shared(bench: Bench) -> None:
    bench.launch()
    bench.decider.uid = 1002
    with pytest.raises(authority.OtherAccountError):
        bench.launch()


def test_a_full_site_refuses_and_keeps_the_statement_good(bench: Bench) -> None:
    bench.launch(user_endpoint=new_id())
    other = new_id()
    bench.launch(user_endpoint=other)
    launch = protocol.Launch(bench.hub.token(), UEP, "{}", "{}", {})
    with pytest.raises(ChamberlainError) as caught:
        bench.ask(launch)
    assert caught.value.code is ErrorCode.SITE_FULL
    with pytest.raises(ChamberlainError):
        bench.ask(protocol.Admit(launch.assertion))
    bench.runtime.end(other)
    assert bench.ask(launch).already is False


def test_a_stop_is_answered_when_it_is_gone(bench: Bench) -> None:
    bench.launch()
    answers: list[Any] = []
    stop = protocol.Stop(UEP, 5.0, "idle")
    for _ in range(2):
        bench.authority.answer(stop, answers.append, lambda _: True)
    assert bench.runtime.is_asked_to_stop(UEP)
    assert answers == []
    bench.runtime.end(UEP)
    assert answers == [None, None]
    assert bench.ask(stop) is None


def test_one_that_is_ending_is_not_mistaken_for_one_that_runs(bench: Bench) -> None:
    bench.launch()
    bench.ask(protocol.Stop(UEP, 5.0, "idle"))
    launch = protocol.Launch(bench.hub.token(), UEP, "{}", "{}", {})
    with pytest.raises(authority.StillEndingError):
        bench.ask(launch)
    bench.runtime.end(UEP)
    assert bench.ask(launch).already is False


@pytest.mark.parametrize("grace_s", [-1.0, 1e9])
def test_an_odd_grace_is_refused(bench: Bench, grace_s: float) -> None:
    with pytest.raises(protocol.RequestRefusedError):
        bench.ask(protocol.Stop(UEP, grace_s, ""))


def test_an_end_is_told_and_listed(bench: Bench) -> None:
    bench.ask(protocol.Watch())
    bench.launch()
    command = bench.runtime.started[0].command
    bench.runtime.write(UEP, b"last \xff words")
    bench.runtime.end(UEP, exit_code=78)
    (notice,) = bench.notices
    assert (notice.user_endpoint, notice.command, notice.exit_code) == (UEP, command, 78)
    assert notice.tail == "last \ufffd words"
    assert bench.ask(protocol.ListRunning()) == protocol.Listing((), (notice,))


def test_who_does_not_listen_any_more_is_forgotten(bench: Bench) -> None:
    heard: list[protocol.Ended] = []
    bench.authority.answer(
        protocol.Watch(), lambda _: None, lambda ended: bool(heard.append(ended))
    )
    for _ in range(2):
        bench.launch()
        bench.runtime.end(UEP)
    assert len(heard) == 1


def test_only_the_last_ends_are_kept(bench: Bench) -> None:
    for _ in range(205):
        bench.launch()
        bench.runtime.end(UEP)
    assert len(bench.ask(protocol.ListRunning()).ended) == 200


def test_a_start_that_fails_is_refused_and_written_down(bench: Bench) -> None:
    bench.runtime.refuse_starts = "no memory"
    with pytest.raises(ChamberlainError, match="no memory") as caught:
        bench.launch()
    assert caught.value.code is ErrorCode.START_FAILED
    assert bench.audited()[-2:] == [("launch", "granted"), ("launch", "refused")]
    assert bench.ask(protocol.ListRunning()).running == ()


def test_one_that_never_ran_says_so_in_the_last_line_of_its_tail(bench: Bench) -> None:
    bench.launch()
    bench.runtime.end(UEP)
    bench.launch()
    told: list[protocol.Ended] = []
    bench.authority.answer(protocol.Watch(), lambda _: None, lambda end: bool(told.append(end)))
    bench.authority._note_exit(Exit(UEP, 70, None, b"", failure="/opt/python: not found"))
    fatal = json.loads(told[0].tail.splitlines()[-1])["fatal"]
    assert fatal["code"] == "START_FAILED"
    assert "/opt" not in fatal["message"]


def test_a_session_and_its_end_are_written_down(bench: Bench) -> None:
    bench.launch()
    bench.runtime.tell(SessionOpened(UEP))
    bench.authority._note_exit(Exit(UEP, 0, None, b"", session="closed"))
    session, ended = (json.loads(line) for line in bench.audit_path.read_text().splitlines()[-2:])
    assert (session["action"], session["outcome"]) == ("session", "opened")
    assert session["account"] == "alice"
    assert ended["reason"] == "exit code 0; PAM session closed"


def test_who_is_not_let_in_is_told_what_may_be_told(bench: Bench) -> None:
    bench.launch()
    refused = Exit(
        *(UEP, 70, None, b""),
        failure="pam_acct_mgmt: PAM_AUTH_ERR",
        public="The site does not let this account in now: maintenance.",
        code=ErrorCode.ACCOUNT_REFUSED,
    )
    bench.authority._note_exit(refused)
    line = json.loads(bench.audit_path.read_text().splitlines()[-1])
    assert (line["outcome"], line["code"]) == ("never ran", "ACCOUNT_REFUSED")
    assert "PAM_AUTH_ERR" in line["reason"]
    (ended,) = bench.ask(protocol.ListRunning()).ended
    fatal = json.loads(ended.tail.splitlines()[-1])["fatal"]
    assert fatal == {"code": "ACCOUNT_REFUSED", "message": refused.public}


def test_claims_are_stamped_with_whom_the_launcher_started(bench: Bench) -> None:
    bench.launch()
    claim = Claim(What.STARTED, new_id())
    bench.runtime.tell(TasksTold(UEP, (claim,)))
    ((entry, claims),) = bench.claimed
    assert claims == (claim,)
    assert (entry.account, entry.user_endpoint, entry.uid) == ("alice", UEP, 1001)


def test_one_that_is_silenced_is_written_down_once(bench: Bench) -> None:
    bench.launch()
    bench.runtime.tell(TasksSilenced(UEP, "it sends rubbish"))
    line = json.loads(bench.audit_path.read_text().splitlines()[-1])
    assert (line["action"], line["reason"]) == ("silence", "it sends rubbish")
    assert bench.runtime.is_running(UEP)


def test_processes_that_would_not_go_are_written_down(bench: Bench) -> None:
    bench.launch()
    bench.authority._note_exit(Exit(UEP, 0, None, b"", left=2))
    line = json.loads(bench.audit_path.read_text().splitlines()[-1])
    assert line["reason"] == "exit code 0; 2 of its processes would not be killed"


def test_nothing_happens_that_cannot_be_written_down(bench: Bench) -> None:
    bench.audit.close()
    token = bench.hub.token()
    with pytest.raises(ChamberlainError) as caught:
        bench.ask(protocol.Launch(token, UEP, "{}", "{}", {}))
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert bench.runtime.started == []
    bench.audit.open()
    assert bench.ask(protocol.Launch(token, UEP, "{}", "{}", {})).already is False


def test_leaving_stops_all_and_starts_no_other(bench: Bench) -> None:
    bench.launch()
    left: list[bool] = []
    bench.authority.leave(5.0, lambda: left.append(True))
    assert bench.runtime.is_asked_to_stop(UEP)
    with pytest.raises(authority.LeavingError):
        bench.launch(user_endpoint=new_id())
    assert left == []
    bench.runtime.end(UEP)
    assert left == [True]


def test_leaving_waits_for_nobody_who_stays(bench: Bench) -> None:
    bench.launch()
    other = new_id()
    bench.launch(user_endpoint=other)
    bench.runtime.staying.add(other)
    left: list[bool] = []
    bench.authority.leave(5.0, lambda: left.append(True))
    assert bench.runtime.is_asked_to_stop(UEP)
    assert not bench.runtime.is_asked_to_stop(other)
    bench.runtime.end(UEP)
    assert left == [True]


def test_what_is_not_on_the_list_is_refused(bench: Bench) -> None:
    with pytest.raises(protocol.RequestRefusedError):
        bench.ask("hello")  # type: ignore[arg-type]
