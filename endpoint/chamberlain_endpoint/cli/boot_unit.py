"""The systemd unit of an endpoint: as closed as what runs in it lets it be.

User endpoints that are processes are the launcher's children, and what holds for the unit holds
for people's own programs. Those in containers are the engine's: the unit can be closed further.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from chamberlain_endpoint.cli.layout import SYSTEM_CONFIG_DIR, Layout, default_config_dir

_PLAIN: Final = re.compile(r"[A-Za-z0-9_:.]")

# Each line of the hardening says what it costs nobody; what is left open, and why, stands in
# the unit itself, where the administrator looks for it.
_HARDENING: Final = """\
# Closed. All of it holds for user endpoints and their tasks as well.
NoNewPrivileges=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap
SystemCallErrorNumber=EPERM
KeyringMode=private
# What the launcher uses: to become an account and to drop the rest (SETUID SETGID SETPCAP),
# to end its processes (KILL), to make an account's folder and to look into it (CHOWN FOWNER
# DAC_OVERRIDE), to give each user endpoint its own process namespace and /proc (SYS_ADMIN),
# to set its limits (SYS_RESOURCE), to write its logins into the audit (AUDIT_WRITE).
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_KILL CAP_CHOWN CAP_FOWNER \
CAP_DAC_OVERRIDE CAP_SYS_ADMIN CAP_SYS_RESOURCE CAP_AUDIT_WRITE

# Left open, because tasks are people's own programs:
#   User=                     the launcher is root; manager and user endpoints are not
#   ProtectHome=              tasks work in their homes
#   ProtectSystem=strict      and on the site's other file systems, such as /scratch
#   PrivateTmp=               what a task writes to /tmp, its user finds in /tmp
#   PrivateDevices=           accelerators are devices
#   PrivateNetwork=, IPAddressDeny=   the manager calls the hub; name it here to close the rest:
#                             IPAddressDeny=any, IPAddressAllow= (hub, broker, name service, nodes)
#   RestrictNamespaces=       the launcher's own, and rootless containers of tasks
#   RestrictSUIDSGID=         shared folders of a group are made with chmod g+s
#   MemoryDenyWriteExecute=   Numba, PyTorch, Julia and other compilers at run time
#   ProtectProc=              the launcher must see whom it has to end
#   UMask=                    sockets' folders must let the manager in; each part sets its own
#   LoadCredential=           gives a file to the unit's user, root; the token is the manager's,
#                             which is another account: its file is 0640 root:chamberlain
"""

_CLOSED: Final = """\
# Closed. User endpoints are in containers, which are the engine's: none of this holds for them.
# With user endpoints as processes the launcher does not start here, and says what to run.
Environment=CHAMBERLAIN_CLOSED_FOR=containers
NoNewPrivileges=yes
ProtectSystem=full
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@obsolete @memlock
SystemCallErrorNumber=EPERM
# To hand an account's folder to it and to look into it and the account's home (CHOWN FOWNER
# DAC_OVERRIDE); to run the manager, and a mapping program, as accounts of their own, and to end
# them (SETUID SETGID SETPCAP KILL).
CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_SETUID CAP_SETGID CAP_SETPCAP \
CAP_KILL
# It looks whether a home is a folder of its account's own, before it is mounted.
ProtectHome=read-only

# Left open:
#   User=                     the launcher is root, as it acts for every account; the manager is not
#   PrivateNetwork=, IPAddressDeny=   the manager calls the hub; name it here to close the rest:
#                             IPAddressDeny=any, IPAddressAllow= (hub, broker, name service)
#   ProtectProc=              the launcher reads the id maps of the containers' processes
#   SystemCallFilter=~@privileged @resources   it changes owners, and limits mapping programs
#   UMask=                    sockets' folders must let the manager in; each part sets its own
#   LoadCredential=           gives a file to the unit's user, root; the token is the manager's,
#                             which is another account: its file is 0640 root:chamberlain
"""


def unit_name(name: str) -> str:
    """Return the file name of the unit of endpoint `name`."""
    escaped = "".join(
        letter if _PLAIN.fullmatch(letter) else "".join(f"\\x{one:02x}" for one in letter.encode())
        for letter in name
    )
    return f"chamberlain-endpoint-{escaped}.service"


def unit_text(layout: Layout, config_dir: Path | None, *, has_processes: bool = True) -> str:
    """Return the unit: the system's in the multi-user form, else the account's own.

    Args:
        config_dir: as it was given; None: the default.
        has_processes: programs of people or of the site may run in this unit.
    """
    again = ["--config-dir", str(config_dir.absolute())] if config_dir else []
    program = Path(sys.executable).with_name("chamberlain-endpoint")

    def command(*words: str) -> str:
        return " ".join(_quoted(word) for word in (str(program), *words, *again))

    return (
        "# Written by `chamberlain-endpoint enable-on-boot`; it writes it anew each time.\n"
        "# Your own settings: systemctl edit "
        + unit_name(layout.name).replace("\\", "\\\\")
        + "\n[Unit]\n"
        f"Description=Chamberlain compute endpoint {layout.name.replace('%', '%%')}\n"
        + (
            "Wants=network-online.target\n"
            "After=network-online.target nss-user-lookup.target remote-fs.target\n"
            if layout.multi
            else ""
        )
        + "StartLimitIntervalSec=0\n"
        "\n[Service]\n"
        "Type=exec\n"
        f"ExecStart={command('start', layout.name)}\n"
        "Restart=always\n"
        "RestartSec=5\n"
        "# supervisord alone is asked to stop: it stops manager and launcher in order, and the\n"
        "# launcher gives user endpoints their time. What is left then is killed.\n"
        "KillMode=mixed\n"
        "TimeoutStopSec=150\n"
        "# A task that runs out of memory ends; the endpoint and the others go on.\n"
        "OOMPolicy=continue\n"
        "LimitNOFILE=524288\n"
        "TasksMax=infinity\n"
        + (_system_part(layout, has_processes) if layout.multi else "")
        + "\n[Install]\n"
        f"WantedBy={'multi-user' if layout.multi else 'default'}.target\n"
    )


def is_for(text: str, layout: Layout) -> bool:
    """Tell whether `text` is a unit that `unit_text` made for the endpoint of `layout`."""
    above = layout.config.parent
    again = f" --config-dir {_quoted(str(above))}"
    wanted = f" start {_quoted(layout.name)}"
    starts = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    usual = above == default_config_dir()
    return any(one.endswith(wanted + again) or (usual and one.endswith(wanted)) for one in starts)


def _system_part(layout: Layout, has_processes: bool) -> str:
    # Elsewhere its folders may be in a home, and are made by the first start.
    is_usual = layout.config == SYSTEM_CONFIG_DIR / layout.name
    hardening = _HARDENING if has_processes or not is_usual else _CLOSED
    folders = dict.fromkeys((layout.manager, layout.launcher, layout.accounts, layout.log))
    writes = "".join(f"ReadWritePaths={_quoted('-' + str(folder))}\n" for folder in folders)
    return f"\n{hardening}\n# Where the daemons write, wherever that is.\n{writes}"


def _quoted(word: str) -> str:
    """Return `word` so that systemd reads it as one word, without expanding anything in it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if re.search(r"[\s\"'\\;]", escaped) else escaped
