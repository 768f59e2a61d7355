"""A site with PostgreSQL on another host, hub and broker with TLS alone, and Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest
from tests.ansible import keeping, registry
from tests.ansible.conftest import Bare, files
from tests.ansible.test_rollout import differences

from devtools.lab import plays, rollout
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.plays import COLLECTION, Play
from devtools.lab.rollout import Site
from devtools.paths import ROOT
from devtools.processes import wait_until

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]
NODE: Final = "node1"
URL: Final = "https://hub"
HOSTS: Final = (HUB, LOGIN, NODE)
GIVEN: Final = MappingProxyType(
    {
        "broker_tls": True,
        "broker_port": 5671,
        "hub_broker_port": 5671,
        "hub_broker_tls": True,
        "hub_url": URL,
        "hub_listen_host": "127.0.0.1",
        "endpoint_config": {"metrics_listen": "10.77.0.11:5465"},
        "monitoring_installs": True,
        "monitoring_scrape_interval": "2s",
    }
)
ALSO: Final = MappingProxyType(
    {
        "chamberlain_database": [NODE],
        "chamberlain_monitoring": [HUB],
        "chamberlain_proxy": [HUB],
    }
)
EVERY: Final = MappingProxyType({**ALSO, "chamberlain_database": [HUB, NODE]})
IMAGES: Final = "/var/lib/chamberlain/images"
PASSWORD: Final = "/etc/postgresql/chamberlain-password"
TRUSTED: Final = "/usr/local/share/ca-certificates/chamberlain-site.crt"
METRICS: Final = ("http://127.0.0.1:5464/metrics", "http://10.77.0.11:5465/metrics")
RULES: Final = 13
CERTIFICATES: Final = (
    (HUB, "/etc/chamberlain/tls/broker.pem"),
    (HUB, "/etc/chamberlain/tls/proxy.pem"),
    (NODE, "/etc/chamberlain/tls/database.pem"),
)
_FINGERPRINT: Final = ("openssl", "x509", "-noout", "-fingerprint", "-in")
SIGNED: Final = """\
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \\
    -subj "/CN=the site's own" -addext subjectAltName=DNS:hub -addext keyUsage=digitalSignature \\
    -addext basicConstraints=CA:FALSE -keyout /root/own.key -out /root/own.pem \\
    -CA /etc/chamberlain/authority/ca.pem -CAkey /etc/chamberlain/authority/ca.key 2>&1"""
LIMIT_S: Final = 1500.0
"""A first run with all services takes about two minutes on a quiet machine."""


@dataclass(frozen=True, slots=True)
class Served:
    """A site with all services, its first run, and the hosts' files before."""

    bare: Bare
    before: dict[str, set[str]]
    first: Play
    site: Site

    def play(
        self, playbook: str, *words: str, also: Mapping[str, Sequence[str]] = ALSO, **more: object
    ) -> Play:
        """Play with the services' variables, and `more` on top."""
        return run(self.bare, playbook, *words, also=also, **more)

    def on(self, host: str, *words: str, **more: Any) -> str:
        """Return what a command says on a host."""
        return self.bare.lab.run(host, words, **more).stdout.strip()


def run(
    bare: Bare,
    playbook: str,
    *words: str,
    also: Mapping[str, Sequence[str]] = ALSO,
    **more: object,
) -> Play:
    given = {**bare.given, **GIVEN, **more}
    return plays.play(bare.lab, playbook, given, *words, also=also, limit_s=LIMIT_S)


@pytest.fixture(scope="module")
def served(bare: Bare) -> Iterator[Served]:
    before = {name: files(bare.lab, name) for name in HOSTS}
    # All that Ansible can be made to say: no secret may be in it.
    first = run(bare, "site.yml", "--diff", "-vvv")
    assert first.code == 0, first.said[-6000:]
    for source in ("devtools/demo_caller.py", "examples/hello.py"):
        shutil.copyfile(ROOT / source, bare.lab.share / Path(source).name)
    program = "/opt/chamberlain/bin/chamberlain-endpoint"
    (row,) = json.loads(bare.lab.run(LOGIN, [program, "list", "--json"]).stdout)["endpoints"]
    tokens = rollout.make_tokens(bare.lab, ["alice@example.edu"])
    yield Served(bare, before, first, Site(row["endpoint_id"], tokens))
    # Those that come after us find the hosts as they were, also when a test failed.
    run(bare, "uninstall.yml", "-e", "purge=true", also=EVERY)


def test_a_second_run_changes_nothing(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    second = served.play("site.yml")
    assert second.code == 0, second.said[-6000:]
    assert second.changed == dict.fromkeys(HOSTS, 0), second.said
    with capsys.disabled():
        print(f"\nfirst run {served.first.took_s:.0f} s, second {second.took_s:.0f} s")


def test_hello_goes_through_tls_and_postgresql(served: Served) -> None:
    hello(served)
    assert sql(served, "SELECT count(*) FROM tasks WHERE completed_at IS NOT NULL") != "0"
    seen = "SELECT DISTINCT ssl, client_addr FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
    assert sql(served, f"{seen} WHERE usename = 'chamberlain-hub'") == "t|10.77.0.10"


def test_secrets_stay_on_their_hosts(served: Served) -> None:
    password = served.on(NODE, "cat", PASSWORD)
    assert len(password) >= 32
    key = served.on(HUB, "cat", "/etc/chamberlain/authority/ca.key").splitlines()[1]
    assert password not in served.first.said
    assert key not in served.first.said
    for host, path, mode in (
        (NODE, PASSWORD, "600 root:root"),
        (NODE, "/etc/chamberlain/tls/database.key", "640 root:postgres"),
        (HUB, "/etc/chamberlain/tls/broker.key", "640 root:rabbitmq"),
        (HUB, "/etc/chamberlain/tls/proxy.key", "640 root:root"),
        (HUB, "/etc/chamberlain/authority/ca.key", "600 root:root"),
    ):
        assert served.on(host, "stat", "-c", "%a %U:%G", path) == mode
    logs = "grep -rlF -f - /var/log /run/log || :"
    assert served.on(NODE, "sh", "-c", logs, given=password) == ""


def test_the_broker_speaks_tls_alone_and_is_whom_it_says(served: Served) -> None:
    lab = served.bare.lab
    for port in (5671, 15672):
        assert keeping.tls(lab, LOGIN, "hub", port) == "good"
        assert keeping.tls(lab, LOGIN, "10.77.0.10", port) == "good"
        # It was told of nobody.
        assert "CERTIFICATE_VERIFY_FAILED" in keeping.tls(lab, NODE, "hub", port)
    assert "ConnectionRefusedError" in keeping.tls(lab, LOGIN, "hub", 5672)


def test_the_hub_is_reached_through_its_proxy_alone(served: Served) -> None:
    keys = "https://hub/v3/assertion_keys"
    head, _, body = served.on(LOGIN, "curl", "-sfi", keys).replace("\r", "").partition("\n\n")
    assert "Strict-Transport-Security: max-age=31536000" in head
    assert json.loads(body)["keys"]
    assert served.on(LOGIN, "curl", "-s", "http://hub:5000/v2/version", check=False) == ""
    assert served.on(NODE, "curl", "-s", keys, check=False) == ""  # it was told of nobody
    unit = "chamberlain-proxy.service"
    said = served.on(HUB, "systemd-analyze", "security", "--no-pager", unit)
    assert float(said.splitlines()[-1].split("service:")[1].split()[0]) <= 3.0


def test_where_a_client_is_cannot_be_forged(served: Served) -> None:
    forged = ("X-Forwarded-For: 192.0.2.1", "X-Real-IP: 192.0.2.1", "Forwarded: for=192.0.2.1")
    headers = [word for line in ("Authorization: Bearer forged", *forged) for word in ("-H", line)]
    path = "/v3/endpoints/00000000-0000-0000-0000-000000000001/submit"
    said = served.on(LOGIN, "curl", "-s", *headers, "-d", "{}", f"https://hub{path}")
    assert json.loads(said)["code"] == "UNAUTHENTICATED"

    def noted() -> list[str]:
        log = served.on(HUB, "cat", "/var/lib/chamberlain-hub/audit.log").splitlines()
        lines = [json.loads(line) for line in log]
        return [line["source"] for line in lines if line.get("route") == f"POST {path}"]

    assert wait_until(lambda: noted() == ["10.77.0.11"], 20.0), noted()


@pytest.mark.parametrize(
    ("sent_bytes", "code", "sentence"),
    [
        (10 * 2**20, "UNAUTHENTICATED", "not an access token"),
        (10 * 2**20 + 1, "TASK_PAYLOAD_TOO_LARGE", "the limit is 10485760 bytes"),
        (32 * 2**20 + 1, "TASK_PAYLOAD_TOO_LARGE", "larger than 32 MiB"),
    ],
)
def test_a_body_that_the_hub_would_take_passes_and_a_larger_one_is_told(
    served: Served, sent_bytes: int, code: str, sentence: str
) -> None:
    words = "curl -s -H 'Authorization: Bearer x' --data-binary @- https://hub/v3/functions"
    said = served.on(LOGIN, "sh", "-c", f"head -c {sent_bytes} /dev/zero | {words}")
    answer = json.loads(said)
    assert (answer["status"], answer["code"]) == ("Failed", code)
    assert sentence in answer["message"]


def test_a_proxy_without_a_hub_says_so_in_the_hubs_form(served: Served) -> None:
    served.on(HUB, "systemctl", "stop", "chamberlain-hub.service")
    try:
        said = served.on(LOGIN, "curl", "-s", "https://hub/v2/version")
    finally:
        served.on(HUB, "systemctl", "start", "chamberlain-hub.service")
    answer = json.loads(said)
    assert (answer["http_status_code"], answer["code"]) == (502, "UNAVAILABLE")
    up = ("curl", "-sf", "-o", "/dev/null", "--retry", "60", "--retry-all-errors")
    served.on(LOGIN, *up, "--retry-delay", "1", "https://hub/v2/version", limit_s=90.0)


def test_the_database_lets_nobody_in_but_the_hub(served: Served) -> None:
    address = f"host=10.77.0.21 dbname=chamberlain user=chamberlain-hub sslrootcert={TRUSTED}"
    login = f"{address} password={served.on(NODE, 'cat', PASSWORD)}"

    def said(host: str, how: str) -> str:
        script = "exec psql -X -w -A -t -c 'SELECT 1' \"$(cat)\" 2>&1"
        return served.on(host, "sh", "-c", script, given=f"{login} {how}", check=False)

    assert said(HUB, "sslmode=verify-full") == "1"
    assert "no encryption" in said(HUB, "sslmode=disable")
    assert "pg_hba.conf rejects connection" in said(LOGIN, "sslmode=require")
    assert "password authentication failed" in said(HUB, "sslmode=require password=another")


def test_prometheus_asks_hub_and_manager_and_knows_the_rules(served: Served) -> None:
    def up() -> Any:
        found = asked(served, "query?query=up")["data"]["result"]
        return {one["metric"]["job"]: one["value"][1] for one in found}

    every = {"chamberlain-hub": "1", "chamberlain-manager": "1"}
    assert wait_until(lambda: up() == every, 120.0), up()
    groups = asked(served, "rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == RULES
    assert wait_until(
        lambda: all(
            rule["health"] == "ok"
            for group in asked(served, "rules")["data"]["groups"]
            for rule in group["rules"]
        ),
        120.0,
    )
    checked = served.on(
        HUB, "promtool", "check", "config", "/etc/chamberlain-monitoring/prometheus.yml"
    )
    assert f"SUCCESS: {RULES} rules found" in checked


def test_every_metric_that_is_asked_for_is_served(served: Served) -> None:
    text = "".join(served.on(HUB, "curl", "-sf", address) + "\n" for address in METRICS)
    told = set(re.findall(r"^# TYPE (\S+) (?:counter|gauge)$", text, re.MULTILINE))
    for name in re.findall(r"^# TYPE (\S+) histogram$", text, re.MULTILINE):
        told |= {f"{name}_{end}" for end in ("bucket", "count", "sum")}
    role = COLLECTION / "roles/monitoring"
    for file in ("files/dashboard.json", "templates/alerts.yml.j2"):
        written = (role / file).read_text()
        asked_for = set(re.findall(r"\bchamberlain_(?:hub|manager)_[a-z_]+\b", written))
        assert len(asked_for) >= 8
        assert asked_for <= told, file


def test_health_shows_the_days_that_certificates_have_left(served: Served) -> None:
    good = served.play("health.yml")
    assert (good.code, set(good.changed.values())) == (0, {0}), good.said[-6000:]
    said = " ".join(good.said.split())
    assert re.search(
        r"hub: debian 13.* certificates broker.pem 7[23]\d days, proxy.pem 7[23]\d days", said
    )
    assert re.search(r"node1: debian 13.* certificates database.pem 7[23]\d days", said)
    bad = served.play("health.yml", software_least_certificate_days=900)
    assert bad.code != 0
    assert "broker.pem ends within 900 days" in " ".join(bad.said.split())


def test_the_image_is_pulled_by_its_digest_from_a_registry(served: Served) -> None:
    lab, digest = served.bare.lab, str(served.bare.given["endpoint_image_digest"])
    with registry.holding(lab, Path(str(served.bare.given["endpoint_image_archive"]))) as name:
        keeping.stop_user_endpoints(lab)
        served.on(LOGIN, "rm", "-r", f"{IMAGES}/{digest.replace(':', '-')}")
        pulled = {"endpoint_image": name, "endpoint_image_archive": ""}
        done = served.play("site.yml", "--limit", LOGIN, **pulled)
        assert done.code == 0, done.said[-6000:]
        assert digest.replace(":", "-") in served.on(LOGIN, "ls", IMAGES)
    hello(served)


def test_new_passwords_and_certificates_while_a_task_runs(served: Served) -> None:
    lab, site = served.bare.lab, served.site
    old_password = served.on(NODE, "cat", PASSWORD)
    old = [served.on(host, *_FINGERPRINT, path) for host, path in CERTIFICATES]
    with keeping.task_that_lasts(lab, site, "alice", hub_url=URL) as came:
        done = served.play("rotate-keys.yml", "--diff", "-vvv")
        assert done.code == 0, done.said[-6000:]
        assert came == []
    assert [(one["error"], one["result"]) for one in came] == [(None, {"username": "alice"})]
    password = served.on(NODE, "cat", PASSWORD)
    assert password not in done.said
    login = f"host=10.77.0.21 dbname=chamberlain user=chamberlain-hub sslrootcert={TRUSTED}"
    script = "exec psql -X -w -A -t -c 'SELECT 1' \"$(cat)\" 2>&1"
    for one, answer in ((old_password, "password authentication failed"), (password, "1")):
        given = f"{login} sslmode=verify-full password={one}"
        assert answer in served.on(HUB, "sh", "-c", script, given=given, check=False)
    new = [served.on(host, *_FINGERPRINT, path) for host, path in CERTIFICATES]
    assert set(new).isdisjoint(old)
    # Who connects anew is shown the new one, by programs that were not restarted.
    for port, fingerprint in ((5671, new[0]), (443, new[1])):
        shown = f"openssl s_client -connect hub:{port} </dev/null 2>/dev/null"
        script = f"{shown} | {' '.join(_FINGERPRINT[:-1])}"
        assert served.on(HUB, "sh", "-c", script) == fingerprint
    hello(served)


@pytest.fixture(scope="module")
def kept(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of the site."""
    file = tmp_path_factory.mktemp("kept") / "site.tar"
    done = served.play("backup.yml", "--diff", "-vvv", backup_file=str(file))
    assert done.code == 0, done.said[-6000:]
    key = served.on(HUB, "cat", "/etc/chamberlain/authority/ca.key").splitlines()[1]
    assert key not in done.said
    return file


def test_a_backup_keeps_the_sites_own_authority(served: Served, kept: Path) -> None:
    assert {"authority-ca.key", "authority-ca.pem"} <= set(keeping.manifest(kept)["members"])


def test_on_its_own_host_the_hub_uses_the_socket_and_a_certificate_is_the_sites(
    served: Served,
) -> None:
    also = {**ALSO, "chamberlain_database": [HUB]}
    served.on(HUB, "sh", "-euc", f"umask 077; {SIGNED}")
    own = {"proxy_tls_certificate": "/root/own.pem", "proxy_tls_key": "/root/own.key"}
    done = served.play("site.yml", "--limit", HUB, also=also, **own, proxy_tls_ca=TRUSTED)
    assert done.code == 0, done.said[-6000:]
    shown = served.on(LOGIN, "curl", "-sfv", "https://hub/v2/version", "--stderr", "-")
    assert "CN=the site's own" in shown.replace("CN = ", "CN=")
    served.on(HUB, "rm", "/root/own.pem", "/root/own.key")
    assert "host=/run/postgresql" in served.on(HUB, "cat", "/etc/chamberlain/hub.toml")
    seen = "SELECT DISTINCT client_addr IS NULL FROM pg_stat_activity"
    assert sql(served, f"{seen} WHERE usename = 'chamberlain-hub'", HUB) == "t"
    listens = served.on(HUB, "ss", "-Hltn", "sport = :5432").split()
    assert "127.0.0.1:5432" in listens
    assert "0.0.0.0:5432" not in listens


def test_what_is_taken_away_leaves_nothing(served: Served) -> None:
    done = served.play("uninstall.yml", "-e", "purge=true", also=EVERY)
    assert done.code == 0, done.said[-6000:]
    for name in HOSTS:
        assert differences(served.before[name], files(served.bare.lab, name)) == [], name
        known = "[c]hamberlain|[r]abbit|[c]onmon|[p]ostgres|[p]rometheus|[n]ginx"
        assert served.on(name, "pgrep", "-af", known, check=False) == ""


def test_blank_hosts_have_the_database_and_the_authority_that_were_kept(
    served: Served, kept: Path
) -> None:
    done = served.play("restore.yml", "--diff", "-vvv", backup_file=str(kept))
    assert done.code == 0, done.said[-6000:]
    with tarfile.open(kept) as tar:
        for name, mode in (("ca.key", "600"), ("ca.pem", "644")):
            member = tar.extractfile(f"authority-{name}")
            assert member is not None
            path = f"/etc/chamberlain/authority/{name}"
            assert served.on(HUB, "cat", path) == member.read().decode().strip()
            assert served.on(HUB, "stat", "-c", "%a %U", path) == f"{mode} root"
    hello(served)


def hello(served: Served) -> None:
    """Have alice run something, through all of the site."""
    answer = rollout.call(served.bare.lab, served.site, "alice@example.edu", {}, hub_url=URL)
    assert (answer["error"], answer["result"]["username"]) == (None, "alice")


def sql(served: Served, text: str, host: str = NODE) -> str:
    """Return what PostgreSQL's own superuser is answered."""
    words = ("psql", "-X", "-A", "-t", "-d", "chamberlain", "-c", text)
    return served.on(host, "runuser", "-u", "postgres", "--", *words)


def asked(served: Served, path: str) -> Any:
    """Return Prometheus' answer."""
    return json.loads(served.on(HUB, "curl", "-sf", f"http://127.0.0.1:9090/api/v1/{path}"))
