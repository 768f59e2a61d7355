"""Everything that comes before a launch: may the caller come in, and with which configuration?"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from chamberlain_endpoint.launcher.protocol import Account, Admitted
from chamberlain_endpoint.manager.launcher_port import Launcher
from chamberlain_endpoint.manager.metrics import ManagerMetrics
from chamberlain_endpoint.manager.records import Wish
from chamberlain_endpoint.manager.render.job import Renderer, RenderJob, Who
from chamberlain_endpoint.manager.settled import Settings
from chamberlain_endpoint.manager.site import SiteFiles

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a launch needs beside the wish.

    Attributes:
        config: the rendered and checked configuration, JSON text.
        environment: what the site adds to the process's environment.
    """

    account: Account
    config: str
    environment: dict[str, str]


class Preparer:
    """Asks the launcher who the caller is here, and renders the configuration."""

    def __init__(
        self,
        settings: Settings,
        launcher: Launcher,
        renderer: Renderer,
        metrics: ManagerMetrics | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics or ManagerMetrics()
        self._site = SiteFiles(settings)
        self._launcher = launcher
        self._renderer = renderer

    def prepare(self, wish: Wish) -> Prepared:
        """Return what `wish` gets. Nothing is started and no id is used up.

        Raises:
            LauncherRefusedError: the caller may not come in.
            LauncherUnreachableError: ask again later.
            RenderRefusedError: there is no configuration for these options.
        """
        admitted = self._launcher.admit(wish.assertion.encode())
        environment = self._site.environment()
        job = self._job(wish, admitted, environment)
        began = time.monotonic()
        try:
            rendered = self._renderer.render(job)
        finally:
            self._metrics.rendered(time.monotonic() - began)
        for name in rendered.deprecated:
            log.warning(
                "template uses %s; write _GC.%s instead",
                name,
                name,
                extra={"event": "template.deprecated", "user_endpoint": wish.user_endpoint},
            )
        return Prepared(admitted.account, rendered.config, environment)

    def _job(self, wish: Wish, admitted: Admitted, environment: dict[str, str]) -> RenderJob:
        template, sources = self._site.template()
        account = admitted.account
        own = {"HOME": account.dir, "USER": account.uname, "LOGNAME": account.uname}
        return RenderJob(
            options=wish.options,
            runtime=wish.runtime,
            template=template,
            sources=sources,
            json_schema=self._site.json_schema(),
            who=Who(
                identity=admitted.identity,
                uname=account.uname,
                uid=account.uid,
                gid=account.gid,
                groups=[group.gid for group in account.groups],
                gecos=account.gecos,
                shell=account.shell,
                dir=account.dir,
            ),
            parent_config=self._settings.parent_config,
            environment=environment | own,
            allowed_functions=self._settings.allowed_functions,
        )
