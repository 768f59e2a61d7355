"""What a site's audit log says of tasks, and a PAM session around them, on a real site."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import ALICE, Open

from chamberlain import Client, Executor
from chamberlain_endpoint.cli import pam_service
from devtools.processes import wait_until
from devtools.site import Site

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow, pytest.mark.timeout(300)]
WAIT_S = 120.0


def double(number):
    return 2 * number


def fail():
    raise LookupError("no such thing")


def shown(site: Site, *filters: str, name: str = "") -> list[dict[str, Any]]:
    lines = site.endpoint_command("audit", "show", name or site.name, *filters)["lines"]
    return list(lines)


def test_the_audit_log_tells_what_became_of_each_task(open_as: Open, site: Site) -> None:
    executor = open_as(ALICE)
    good, bad = executor.submit(double, 21), executor.submit(fail)
    assert good.result(WAIT_S) == 42
    assert isinstance(bad.exception(WAIT_S), LookupError)
    for future, end in ((good, "ended"), (bad, "failed")):
        task = str(future.task_id)
        assert wait_until(lambda task=task: len(shown(site, "--task", task)) == 3, 20.0)
        lines = shown(site, "--task", task)
        assert [line["outcome"] for line in lines] == ["received", "started", end]
        assert {line["by"] for line in lines} == {"user endpoint"}
        assert {line["username"] for line in lines} == {ALICE}
        (function,) = {line["function"] for line in lines}
        (digest,) = {line["code_sha256"] for line in lines}
        known = site.get(f"/v2/functions/{function}", ALICE)
        assert hashlib.sha256(known["function_code"].encode()).hexdigest() == digest
    verified = site.endpoint_command("audit", "verify", site.name)
    assert verified["whole"]
    assert verified["tasks"]["lines"] >= 6
    # The launcher's own decisions stand in their own file.
    own = Path(verified["path"]).read_text().splitlines()
    assert "task" not in {json.loads(line)["action"] for line in own}


@pytest.fixture
def pam_endpoint(site: Site, tmp_path: Path) -> Iterator[Any]:
    """A second endpoint of the site, with PAM sessions by the file that the package brings."""
    was_there = pam_service.PATH.exists()
    mapping = site.folder / "identity_mapping.json"
    made = site.endpoint_command(
        *("configure", "sessions", "--multi-user", "true", "--contact-email", ALICE),
        *("--id-mapping-config", str(mapping), "--hub", site.hub_url, "--token-file", "-"),
        *("--pam", *site.plan.options),
        given=site.tokens[ALICE],
    )
    try:
        yield made, was_there
    finally:
        site.endpoint_command("delete", "sessions", "--yes", "--force")
        assert pam_service.PATH.exists(), "delete leaves what the site may have changed"
        if not was_there:
            pam_service.PATH.unlink()


@pytest.mark.needs_root
def test_configure_with_pam_makes_a_site_whose_tasks_have_a_session(
    site: Site, pam_endpoint: Any
) -> None:
    made, was_there = pam_endpoint
    if not was_there:
        assert made["pam_service_made"] == str(pam_service.PATH)
        assert pam_service.PATH.read_text() == pam_service.text()
    seen = pam_service.PATH.stat()
    assert (seen.st_uid, stat.S_IMODE(seen.st_mode)) == (0, 0o644)
    checked = site.endpoint_command("check-config", "sessions")
    assert checked["faults"] == []
    site.endpoint_command("start", "sessions", "--detach")
    online = f"/v2/endpoints/{made['endpoint_id']}/status"

    def is_online() -> bool:
        return (site.get(online, ALICE) or {}).get("status") == "online"

    assert wait_until(is_online, 60.0)
    with (
        Client(site.hub_url, site.tokens[ALICE]) as client,
        Executor(made["endpoint_id"], client) as executor,
    ):
        assert executor.submit(double, 4).result(WAIT_S) == 8
    (opened,) = [line for line in shown(site, name="sessions") if line["action"] == "session"]
    assert (opened["outcome"], opened["reason"]) == ("opened", "PAM service chamberlain-endpoint")
    site.endpoint_command("stop", "sessions")
    ended = [line for line in shown(site, name="sessions") if line["action"] == "ended"]
    assert [line["reason"] for line in ended] == ["exit code 0; PAM session closed"]
