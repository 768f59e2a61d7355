"""Where the hub is, and who we are there: environment first, then one private file."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from chamberlain.errors import ConfigError
from chamberlain_wire.logs import Secret

_KEYS: Final = {
    "hub_url": "CHAMBERLAIN_HUB_URL",
    "token": "CHAMBERLAIN_TOKEN",
    "ca_file": "CHAMBERLAIN_CA_FILE",
}
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Config:
    """How to reach the hub.

    Attributes:
        hub_url: `http[s]://host[:port][/prefix]`, without a slash at the end.
        token: the caller's personal access token.
        ca_file: certificate authorities to trust instead of the system's, or None.
    """

    hub_url: str
    token: Secret[str]
    ca_file: Path | None = None


def default_file(environment: Mapping[str, str] | None = None) -> Path:
    """Return where the configuration file is looked for."""
    env = os.environ if environment is None else environment
    base = env.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(env.get("CHAMBERLAIN_CONFIG") or f"{base}/chamberlain/config.toml").expanduser()


def load(
    hub_url: str | None = None,
    token: str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Return the configuration: arguments, else environment, else file.

    Args:
        environment: instead of the process's own.

    Raises:
        ConfigError: something is missing, malformed, or readable by others. The text says
            what to do.
    """
    env = os.environ if environment is None else environment
    file = default_file(env)
    saved = _read(file)
    given = {"hub_url": hub_url, "token": token}
    found = {
        key: given.get(key) or env.get(variable) or saved.get(key)
        for key, variable in _KEYS.items()
    }
    for key, what in (("hub_url", "address of the hub"), ("token", "personal access token")):
        if not found[key]:
            raise ConfigError(
                public=f"The {what} is not set. Run `chamberlain login`, set {_KEYS[key]}, or "
                f'write a line {key} = "..." into {file} (mode 0600). Ask whoever runs your hub '
                "for it."
            )
    url = str(found["hub_url"]).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            public=f"The address of the hub is {url!r}; it must look like https://hub.example.edu."
        )
    ca_file = found["ca_file"]
    return Config(
        url, Secret(str(found["token"]).strip()), Path(ca_file).expanduser() if ca_file else None
    )


def known_hub() -> str | None:
    """Return the hub's address that the environment or the file names; None: neither does."""
    return os.environ.get("CHAMBERLAIN_HUB_URL") or _saved(default_file()).get("hub_url")


def save(hub_url: str, token: str) -> Path:
    """Write address and token into the file, readable by nobody else, and return its name.

    Raises:
        ConfigError: it cannot be written, or holds what it must not.
    """
    file = default_file()
    return _write(file, _saved(file) | {"hub_url": hub_url.rstrip("/"), "token": token})


def forget_token() -> tuple[Path, bool]:
    """Take the token out of the file; return its name, and whether there was one.

    Raises:
        ConfigError: it cannot be read or written.
    """
    file = default_file()
    saved = _saved(file)
    if "token" not in saved:
        return file, False
    return _write(file, {key: value for key, value in saved.items() if key != "token"}), True


def _saved(file: Path) -> dict[str, str]:
    # Too open a mode is no reason to stop here: writing mends it.
    return _read(file, whoever_reads=True)


def _write(file: Path, values: Mapping[str, str]) -> Path:
    # Text in JSON's form is text in TOML's, too.
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in values.items()]
    # A symbolic link of the user's own, to wherever it points, stays one.
    target = file.resolve()
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.ExitStack() as stack:
            opened = stack.enter_context(os.fdopen(os.open(draft, _NEW, 0o600), "w"))
            stack.callback(lambda: draft.unlink(missing_ok=True))
            opened.writelines(lines)
            opened.flush()
            draft.replace(target)
    except OSError as error:
        raise ConfigError(public=f"{file} cannot be written: {error}") from error
    return file


def _read(file: Path, *, whoever_reads: bool = False) -> dict[str, str]:
    try:
        with file.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            content = tomllib.load(opened)
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(public=f"{file} cannot be read: {error}") from error
    unknown = sorted(content.keys() - _KEYS.keys())
    if unknown or not all(isinstance(value, str) for value in content.values()):
        raise ConfigError(
            public=f"{file} may hold {', '.join(_KEYS)} as text, and nothing else"
            + (f"; it has {', '.join(unknown)}." if unknown else ".")
        )
    if "token" in content and mode & 0o077 and not whoever_reads:
        raise ConfigError(
            public=f"{file} holds your token and others may read it: run chmod 600 {file}"
        )
    return content
