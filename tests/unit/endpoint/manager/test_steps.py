"""Each step decides once, says it once, and can be repeated after a crash."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.manager_builders import Signer, account, delivery, endpoint_folder

from chamberlain_endpoint.launcher.client import LauncherRefusedError, LauncherUnreachableError
from chamberlain_endpoint.manager.commands import read_command
from chamberlain_endpoint.manager.config import settle as check
from chamberlain_endpoint.manager.launcher_port import MemoryLauncher
from chamberlain_endpoint.manager.life import State
from chamberlain_endpoint.manager.prepare import Preparer
from chamberlain_endpoint.manager.records import Records, Wish
from chamberlain_endpoint.manager.render.pipeline import InlineRenderer
from chamberlain_endpoint.manager.steps import Steps
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import EndpointId, new_id


class Bench:
    """Records, a launcher and steps, without threads."""

    def __init__(self, folder: Path) -> None:
        self.now = time.time()
        self.hub = Signer(EndpointId(new_id()))
        self.launcher = MemoryLauncher(self.hub.endpoint, account())
        self.launcher.clock = lambda: self.now
        self.config = endpoint_folder(folder / "site")
        self.records = Records(folder / "records.db")
        self.records.open()
        self.told = 0
        self.live_again()

    def live_again(self) -> None:
        """Forget all but the records, as a restart does."""
        preparer = Preparer(check(self.config), self.launcher, InlineRenderer())
        self.steps = Steps(
            self.records,
            self.launcher,
            preparer,
            on_event=self._note_event,
            clock=lambda: self.now,
        )

    def wish(self, user_endpoint: str = "") -> Wish:
        command = self.hub.command(user_endpoint or new_id(), now=self.now)
        taken = delivery(command, now=self.now)
        wish = read_command(taken, endpoint=self.hub.endpoint, keys=[self.hub.public], now=self.now)
        assert self.records.wish(wish, remember_until=self.now + 360)
        return wish

    def run(self, wish: Wish) -> None:
        step: Wish | None = wish
        while step is not None:
            step = self.steps.step(step)

    def started(self) -> Wish:
        wish = self.wish()
        self.run(wish)
        return self.records.of(wish.user_endpoint)[0]

    def kinds(self) -> list[str]:
        return [event.kind for _, event in self.records.events(99)]

    def last(self) -> tuple[str, str, str]:
        event = self.records.events(99)[-1][1]
        return event.kind, event.code, event.message

    def _note_event(self) -> None:
        self.told += 1


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.records.close()


def refused(word: ErrorCode) -> LauncherRefusedError:
    return LauncherRefusedError(word, "a sentence", "a detail")


def test_a_wish_goes_one_step_at_a_time(bench: Bench) -> None:
    admitted = bench.steps.step(bench.wish())
    assert admitted is not None
    assert admitted.state is State.ADMITTED
    assert bench.launcher.launches == []
    assert bench.steps.step(admitted) is None
    assert bench.kinds() == ["admitted", "started"]
    assert bench.told == 2
    assert [wish.state for wish in bench.records.all()] == [State.STARTED]


def test_no_account_no_launch(bench: Bench) -> None:
    bench.launcher.refuse_admit = refused(ErrorCode.ACCOUNT_REFUSED)
    bench.run(bench.wish())
    assert bench.last() == ("refused", "ACCOUNT_REFUSED", "a sentence")
    assert bench.records.all() == []


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("user_config_template.yaml.j2", "{{ x }}", "TEMPLATE_FAILED"),
        ("user_config_schema.json", "{", "TEMPLATE_FAILED"),
        ("user_environment.yaml", "A: [1]", "TEMPLATE_FAILED"),
        ("user_environment.yaml", "- A", "TEMPLATE_FAILED"),
        ("user_environment.yaml", "A=B: x", "TEMPLATE_FAILED"),
    ],
)
def test_a_broken_file_of_the_site_refuses(
    bench: Bench, name: str, content: str, code: str
) -> None:
    (bench.config.parent / name).write_text(content)
    bench.run(bench.wish())
    assert bench.last()[:2] == ("refused", code)
    assert bench.launcher.launches == []


def test_an_edit_of_the_site_counts_at_once(bench: Bench) -> None:
    (bench.config.parent / "user_environment.yaml").unlink()
    bench.run(bench.wish())
    assert bench.launcher.launches[0].environment == {}


def test_a_refused_launch_fails(bench: Bench) -> None:
    bench.launcher.refuse_launch = refused(ErrorCode.ACCOUNT_REFUSED)
    bench.run(bench.wish())
    assert bench.kinds() == ["admitted", "failed"]
    assert bench.last() == ("failed", "ACCOUNT_REFUSED", "a sentence")


@pytest.mark.parametrize("where", ["refuse_admit", "refuse_launch"])
def test_a_launcher_that_cannot_decide_is_asked_again(bench: Bench, where: str) -> None:
    setattr(bench.launcher, where, refused(ErrorCode.UNAVAILABLE))
    wish = bench.wish()
    with pytest.raises(LauncherUnreachableError):
        bench.run(wish)
    setattr(bench.launcher, where, None)
    bench.run(bench.records.all()[0])
    assert bench.kinds() == ["admitted", "started"]


def test_a_wish_that_waited_too_long_lets_the_hub_ask_again(bench: Bench) -> None:
    wish = bench.wish()
    bench.now += 171
    bench.run(wish)
    assert bench.last()[:2] == ("ended", "UNAVAILABLE")
    assert bench.launcher.launches == []


def test_a_repeat_for_a_running_one_joins_it(bench: Bench) -> None:
    first = bench.started()
    bench.run(bench.wish(first.user_endpoint))
    assert bench.kinds() == ["admitted", "started"] * 2
    assert [wish.command for wish in bench.records.all()] == [first.command]


def test_an_admitted_wish_goes_on_after_a_crash(bench: Bench) -> None:
    assert bench.steps.step(bench.wish()) is not None
    bench.live_again()
    bench.run(bench.records.all()[0])
    assert bench.kinds() == ["admitted", "started"]
    assert len(bench.launcher.launches) == 1


def crash_after_launch(bench: Bench) -> Wish:
    """Leave behind a wish that was launched, and records that do not know it."""
    admitted = bench.steps.step(bench.wish())
    assert admitted is not None
    bench.launcher.lose_next_answer()
    with pytest.raises(LauncherUnreachableError):
        bench.steps.step(admitted)
    return admitted


def test_a_launch_that_nobody_noted_is_found_running(bench: Bench) -> None:
    bench.run(crash_after_launch(bench))
    assert bench.kinds() == ["admitted", "started"]
    assert len(bench.launcher.launches) == 1


def test_a_launch_that_nobody_noted_is_found_ended(bench: Bench) -> None:
    wish = crash_after_launch(bench)
    bench.launcher.end(wish.user_endpoint)
    bench.run(wish)
    assert bench.kinds() == ["admitted", "ended"]


def test_a_launch_that_went_with_the_launcher_lets_the_hub_ask_again(bench: Bench) -> None:
    wish = crash_after_launch(bench)
    bench.launcher.leave()
    bench.launcher.come_back()
    bench.run(wish)
    kind, _, message = bench.last()
    assert kind == "ended"
    assert "gone" in message


@pytest.mark.parametrize(
    ("exit_code", "kind"), [(0, "ended"), (None, "ended"), (70, "failed"), (78, "failed")]
)
def test_an_end_is_told_once(bench: Bench, exit_code: int | None, kind: str) -> None:
    wish = bench.started()
    bench.launcher.end(wish.user_endpoint, exit_code=exit_code)
    (ended,) = bench.launcher.list().ended
    bench.steps.note_end(ended)
    bench.steps.note_end(ended)
    assert bench.kinds() == ["admitted", "started", kind]
    assert bench.records.all() == []


def test_a_late_failure_is_an_end_that_may_be_repaired(bench: Bench) -> None:
    wish = bench.started()
    bench.now += 31
    bench.launcher.end(wish.user_endpoint, exit_code=70)
    bench.steps.note_end(bench.launcher.list().ended[0])
    assert bench.last()[0] == "ended"


def test_the_end_of_an_earlier_generation_leaves_the_new_one_alone(bench: Bench) -> None:
    first = bench.started()
    bench.launcher.end(first.user_endpoint)
    (ended,) = bench.launcher.list().ended
    bench.steps.note_end(ended)
    bench.run(bench.wish(first.user_endpoint))
    bench.steps.note_end(ended)
    assert [wish.state for wish in bench.records.all()] == [State.STARTED]


def lose_all(bench: Bench, wish: Wish) -> None:
    bench.launcher.leave()
    bench.launcher.come_back()


def end_well(bench: Bench, wish: Wish) -> None:
    bench.launcher.end(wish.user_endpoint)


@pytest.mark.parametrize(("happen", "clean"), [(lose_all, False), (end_well, True)])
def test_what_ended_while_nobody_watched_is_found(
    bench: Bench, happen: Callable[[Bench, Wish], None], clean: bool
) -> None:
    wish = bench.started()
    happen(bench, wish)
    (missing,) = bench.steps.missing()
    bench.steps.note_end(missing)
    kind, event = bench.kinds()[-1], bench.records.events(9)[-1][1]
    assert (kind, event.clean) == ("ended", clean)
    assert bench.steps.missing() == []


def test_what_runs_unknown_to_the_records_is_taken_in(bench: Bench) -> None:
    wish = bench.started()
    bench.records.close()
    (bench.config.parent.parent / "records.db").unlink()
    bench.records.open()
    assert bench.steps.missing() == []
    assert [known.command for known in bench.records.all()] == [wish.command]
    bench.launcher.end(wish.user_endpoint)
    (missing,) = bench.steps.missing()
    bench.steps.note_end(missing)
    assert bench.kinds() == ["ended"]


def test_older_names_in_the_template_are_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    template = bench.config.parent / "user_config_template.yaml.j2"
    template.write_text(
        "engine: {type: ThreadPoolEngine}\ndisplay_name: {{ mapped_identity.local.uname }}\n"
    )
    assert bench.steps.step(bench.wish()) is not None
    told = [each for each in caplog.records if each.__dict__.get("event") == "template.deprecated"]
    assert [each.getMessage() for each in told] == [
        "template uses mapped_identity; write _GC.mapped_identity instead"
    ]
