"""`render-user-config`: what a caller with given options would get, without asking anybody."""

from __future__ import annotations

import os
import platform
import pwd
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.manager import config as manager_config
from chamberlain_endpoint.manager.config import ManagerSettings
from chamberlain_endpoint.manager.render.job import RenderJob, RenderRefusedError, Who
from chamberlain_endpoint.manager.render.options import check_options
from chamberlain_endpoint.manager.render.pipeline import judged
from chamberlain_endpoint.manager.render.taint import Written
from chamberlain_endpoint.manager.render.template import TimeUpError, render_text
from chamberlain_endpoint.manager.site import SiteFiles
from chamberlain_wire.errors import ChamberlainError

_TIME_S: Final = 5
_NOBODY: Final = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Given:
    """What to render, and with what. None: the endpoint's own, or what this host and account
    would give."""

    folder: Path | None
    template: Path | None
    template_text: str | None
    schema: dict[str, Any] | None
    options: dict[str, Any]
    parent_config: dict[str, Any] | None
    runtime: dict[str, Any] | None
    identity: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Offline:
    """What came out.

    Attributes:
        text: what the template wrote; None: it did not get that far.
        config: the checked configuration, canonical JSON; None when `fault` says why not.
        deprecated: names that the template uses outside `_GC`.
    """

    text: str | None
    config: str | None
    deprecated: tuple[str, ...]
    fault: str


def render(given: Given) -> Offline:
    """Render as the manager would, and judge the outcome as it would.

    Raises:
        CommandFailedError: the endpoint's own files cannot be read.
    """
    try:
        job = _job(given)
    except ChamberlainError as error:
        notes = getattr(error, "__notes__", ())
        raise CommandFailedError("; ".join([error.public, *notes])) from None
    text: str | None = None
    deprecated: list[str] = []
    written = Written()
    try:
        check_options(job.options, job.json_schema)
        with _alarm():
            text, deprecated = render_text(job, written)
        config = judged(job, text, written)
    except RenderRefusedError as error:
        return Offline(text, None, tuple(deprecated), error.public)
    return Offline(text, config, tuple(deprecated), "")


def this_runtime() -> dict[str, Any]:
    """Return what a caller with this host's Python would send as `user_runtime`."""
    ours = version("chamberlain")
    return {
        "globus_compute_sdk_version": ours,
        "globus_sdk_version": ours,
        "python": {
            "version": platform.python_version(),
            "version_tuple": list(platform.python_version_tuple()),
            "version_info": list(sys.version_info),
            "version_description": sys.version,
            "implementation": platform.python_implementation(),
            "compiler": platform.python_compiler(),
        },
        "platform": {
            "architecture": list(platform.architecture()),
            "machine": platform.machine(),
            "node": platform.node(),
            "platform": platform.platform(),
            "processor": platform.processor(),
            "release": platform.release(),
        },
    }


def _job(given: Given) -> RenderJob:
    settings = _settings(given)
    name, sources = "template", {}
    if given.template_text is not None:
        sources = {name: given.template_text}
    elif settings is not None:
        name, sources = SiteFiles(settings.settled()).template()
    schema = None
    if given.schema is not None:
        schema = given.schema
    elif settings is not None and given.folder is not None:
        schema = SiteFiles(settings.settled()).json_schema()
    who = _who(given.identity or {})
    own = {"HOME": who.dir, "USER": who.uname, "LOGNAME": who.uname}
    environment = SiteFiles(settings.settled()).environment() if settings and given.folder else {}
    parent = given.parent_config
    if parent is None:
        parent = settings.for_templates() if settings and given.folder else {}
    return RenderJob(
        options=given.options,
        runtime=this_runtime() if given.runtime is None else given.runtime,
        template=name,
        sources=sources,
        json_schema=schema,
        who=who,
        parent_config=parent,
        environment=environment | own,
        allowed_functions=settings.allowed_functions if settings and given.folder else None,
    )


def _settings(given: Given) -> ManagerSettings | None:
    """Return the endpoint's settings; with a template of its own, only that stands in them."""
    if given.folder is None and given.template is None:
        return None
    if given.folder is None:
        assert given.template is not None
        file = given.template.absolute()
        return ManagerSettings(
            config_file=file.parent / "config.yaml", user_config_template_path=file
        )
    settings = manager_config.check(given.folder / "config.yaml")
    if given.template is None:
        return settings
    return settings.model_copy(
        update={"user_config_template_path": given.template.absolute()},
    )


def _who(given: dict[str, Any]) -> Who:
    me = pwd.getpwuid(os.geteuid())
    local = given.get("local") or {}
    public = given.get("globus") or {}
    return Who(
        identity=str(public.get("id", _NOBODY)),
        uname=str(local.get("uname", me.pw_name)),
        uid=int(local.get("uid", me.pw_uid)),
        gid=int(local.get("gid", me.pw_gid)),
        groups=[int(one) for one in local.get("groups", os.getgroups())],
        gecos=str(local.get("gecos", me.pw_gecos)),
        shell=str(local.get("shell", me.pw_shell)),
        dir=str(local.get("dir", me.pw_dir)),
    )


@contextmanager
def _alarm() -> Iterator[None]:
    """End a template that does not come to an end, as the manager's rendering child does."""

    def stop(*_: object) -> None:
        raise TimeUpError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_TIME_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
