"""`./dev lab`: booted hosts on this machine, up and down."""

from __future__ import annotations

import os
import sys

import click

from devtools.image import build as images
from devtools.image import engines
from devtools.lab import inside, looks, recipe, rollout, software
from devtools.lab.lab import Lab
from devtools.lab.plan import Plan
from devtools.package.release import SUITES
from devtools.say import Reporter, last_line

_NAME = click.option(
    "--name", default="lab", show_default=True, help="Which lab; several may be up."
)


@click.group("lab", short_help="Booted hosts: hub, login node, compute nodes.")
def lab_commands() -> None:
    """Boot a small site on this machine: Debian hosts with systemd, Slurm, RabbitMQ, Podman.

    The hosts share a private network and /home; nothing of the machine is changed, and `down`,
    Ctrl-C or a kill leave nothing but the cache (CHAMBERLAIN_LAB_CACHE). Needs root on Debian.
    """


@lab_commands.command()
@_NAME
@click.option("--nodes", type=click.IntRange(1, 4), default=1, show_default=True)
@click.option(
    "--accounts",
    type=click.IntRange(0, 200),
    default=0,
    help="Accounts beside alice and bob: user01, user02, ...",
)
@click.option("--containers", is_flag=True, help="One container per person, of our own image.")
@click.option("--bare", is_flag=True, help="Hosts without Chamberlain, for roles that install it.")
@click.option(
    "--debian", type=click.Choice([*SUITES]), default="13", show_default=True, help="With --bare."
)
def up(name: str, nodes: int, accounts: int, containers: bool, bare: bool, debian: str) -> None:
    """Boot the hosts and roll out the checkout: hub on `hub`, endpoint on `login`.

    The first time it builds the hosts' Debian, which takes a minute or two. On a lab that is up
    it installs the checkout as it is now and restarts hub and endpoint.
    """
    if bare and containers:
        raise click.UsageError("--bare has no endpoint that could run --containers")
    if SUITES[debian] != recipe.SUITE and not bare:
        raise click.UsageError(
            "--debian goes with --bare: our programs are rolled out on Debian 13"
        )
    report = Reporter()
    lab = Lab(name)
    if lab.is_up:
        if containers:
            report.line(f"The lab {name} is up: --containers is for a new one.")
            sys.exit(last_line(0, 1))
        if rollout.read(lab) is None:
            report.line(f"The lab {name} is up, and bare. End it with: ./dev lab down")
            sys.exit(last_line(len(lab.facts.hosts), 0))
        rollout.renew(lab, report)
    else:
        lab.up(Plan(nodes, accounts, bare=bare), report, bare=bare, suite=SUITES[debian])
        try:
            if not bare:
                _furnish(lab, report, containers=containers)
        except BaseException:
            lab.down()
            raise
        lab.keep()
    report.line(_how_to_use(lab, name))
    sys.exit(last_line(len(lab.facts.hosts), 0))


@lab_commands.command()
@_NAME
def down(name: str) -> None:
    """End the lab; all that its hosts wrote is gone."""
    report = Reporter()
    with report.step(f"Ending the lab {name}"):
        there = Lab(name).down()
    if not there:
        report.line("It was not up.")
    sys.exit(last_line(1, 0))


@lab_commands.command(context_settings={"ignore_unknown_options": True})
@_NAME
@click.argument("host")
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
def ssh(name: str, host: str, words: tuple[str, ...]) -> None:
    """Open a session on HOST, as root, through its SSH server."""
    _become(Lab(name).ssh(host, words))


@lab_commands.command("run", context_settings={"ignore_unknown_options": True})
@_NAME
@click.option("--user", default="root", show_default=True, help="Account of the host.")
@click.argument("host")
@click.argument("words", nargs=-1, required=True, metavar="COMMAND...")
def run_command(name: str, user: str, host: str, words: tuple[str, ...]) -> None:
    """Run a command on HOST, without SSH; its exit code is ours."""
    _become(inside.command(Lab(name).host(host), words, user=user))


@lab_commands.command()
@_NAME
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")
def status(name: str, as_json: bool) -> None:
    """Show hosts, failed units, the scheduler, and what people's accounts run, from outside."""
    seen = looks.look(Lab(name))
    if as_json:
        click.echo(looks.as_json(seen))
    else:
        looks.show(seen)
    sys.exit(last_line(len(seen.hosts) - seen.faults, seen.faults, to_stderr=as_json))


def _furnish(lab: Lab, report: Reporter, *, containers: bool) -> None:
    site = rollout.roll_out(lab, report)
    if containers:
        digest = engines.install(images.build(report, lab), lab)
        rollout.use_containers(lab, site, digest, report)


def _become(command: list[str]) -> None:
    sys.stdout.flush()
    os.execvp(command[0], command)  # noqa: S606 - nothing of ours is left to do


def _how_to_use(lab: Lab, name: str) -> str:
    other = "" if name == "lab" else f" --name {name}"
    text = f"\nThe lab is up. A shell on a host: ./dev lab ssh{other} login\n"
    site = rollout.read(lab)
    if site is not None:
        python = software.WHERE / "bin/python"
        token = site.tokens[rollout.person("alice")]
        text += (
            "Hello from the login node, called on the hub's host:\n"
            f"  ./dev lab run{other} --user nobody hub env \\\n"
            f"    CHAMBERLAIN_HUB_URL={rollout.HUB_URL} CHAMBERLAIN_TOKEN={token} {python} \\\n"
            f"    /srv/lab/hello.py {site.endpoint_id}\n"
        )
    return text + f"To end it: ./dev lab down{other}\n"
