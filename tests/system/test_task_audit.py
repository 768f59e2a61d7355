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
NAME = "sessions"


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
def pam_endpoint(site: Site) -> Iterator[str]:
    """The id of a second endpoint, with PAM sessions by the file that the package brings."""
    before = pam_service.PATH.read_bytes() if pam_service.PATH.exists() else None
    pam_service.PATH.unlink(missing_ok=True)
    mapping = site.folder / "identity_mapping.json"
    made = site.endpoint_command(
        *("configure", NAME, "--multi-user", "true", "--contact-email", ALICE),
        *("--id-mapping-config", str(mapping), "--hub", site.hub_url, "--token-file", "-"),
        *("--pam", *site.plan.options),
        given=site.tokens[ALICE],
    )
    try:
        assert made["pam_service_made"] == str(pam_service.PATH)
        yield str(made["endpoint_id"])
        site.endpoint_command("delete", NAME, "--yes", "--force")
        assert pam_service.PATH.exists(), "delete leaves what the site may have changed"
    finally:
        pam_service.PATH.unlink()
        if before is not None:
            pam_service.PATH.write_bytes(before)


@pytest.mark.needs_root
def test_a_site_with_pam_from_configure_to_delete(site: Site, pam_endpoint: str) -> None:
    assert pam_service.PATH.read_text() == pam_service.text()
    seen = pam_service.PATH.stat()
    assert (seen.st_uid, stat.S_IMODE(seen.st_mode)) == (0, 0o644)
    assert site.endpoint_command("check-config", NAME)["faults"] == []
    site.endpoint_command("start", NAME, "--detach")

    def is_online() -> bool:
        status = site.get(f"/v2/endpoints/{pam_endpoint}/status", ALICE) or {}
        return bool(status.get("status") == "online")

    assert wait_until(is_online, 60.0)
    client = Client(site.hub_url, site.tokens[ALICE])
    with Executor(pam_endpoint, client) as executor:
        assert executor.submit(double, 4).result(WAIT_S) == 8
    (opened,) = [line for line in shown(site, name=NAME) if line["action"] == "session"]
    assert (opened["outcome"], opened["reason"]) == ("opened", "PAM service chamberlain-endpoint")
    # From here on nobody comes in; the caller reads why, in the site's own words.
    notice = site.folder / "nologin"
    notice.write_text("Maintenance until noon.\n")
    closed = f"account requisite pam_nologin.so file={notice}\n{pam_service.text()}"
    pam_service.PATH.write_text(closed)
    with Executor(pam_endpoint, client, user_endpoint_config={"MAX_WORKERS": 3}) as executor:
        refused = executor.submit(double, 4).exception(WAIT_S)
    assert "The site does not let this account in now: Maintenance until noon." in str(refused)
    client.close()
    site.endpoint_command("stop", NAME)
    ended = [line for line in shown(site, name=NAME) if line["action"] == "ended"]
    never_ran = [line for line in ended if line["outcome"] == "never ran"]
    assert never_ran
    assert all("pam_acct_mgmt: PAM_AUTH_ERR" in line["reason"] for line in never_ran)
    (clean,) = [line for line in ended if line["outcome"] == "clean"]
    assert clean["reason"] == "exit code 0; PAM session closed"
