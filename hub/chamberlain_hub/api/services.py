"""What the routes work with, and who calls them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Depends, Request

from chamberlain_hub.api.refusals import Refusals
from chamberlain_hub.audit.entry import Who, caller
from chamberlain_hub.audit.port import Audit
from chamberlain_hub.config import HubSettings
from chamberlain_hub.dispatch.dispatcher import Dispatcher
from chamberlain_hub.dispatch.submissions import Submissions
from chamberlain_hub.domain.errors import (
    ForbiddenError,
    TooManyRequestsError,
    UnauthenticatedError,
)
from chamberlain_hub.domain.identity import Principal
from chamberlain_hub.domain.scope import COMPUTE, may_compute
from chamberlain_hub.domain.source import source_of
from chamberlain_hub.identity.attempts import Attempts
from chamberlain_hub.identity.rates import WINDOW_S, Rates
from chamberlain_hub.metrics import HubMetrics
from chamberlain_hub.store.store import Store

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Services:
    """One hub process.

    Attributes:
        assertion_keys: base64 of the public keys that endpoints believe.
        attempts: wrong secrets of service accounts, counted.
        rates: requests of identities, counted.
        pool: threads of the hot route; the other routes run in FastAPI's own.
        audit: what is asked and done is noted here, before it is done.
        refusals: what is refused is noted here.
    """

    store: Store
    dispatcher: Dispatcher
    submissions: Submissions
    settings: HubSettings
    assertion_keys: tuple[str, ...]
    pool: ThreadPoolExecutor
    audit: Audit
    refusals: Refusals
    attempts: Attempts = field(default_factory=Attempts)
    rates: Rates = field(default_factory=Rates)

    @property
    def metrics(self) -> HubMetrics:
        """What Prometheus may know."""
        return self.dispatcher.metrics

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the blocking `work` returns, without blocking the event loop."""
        assert not kwargs
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *args)


def services_of(request: Request) -> Services:
    """Return the services of the application that got `request`."""
    services: Services = request.app.state.services
    return services


def source(hub: Services, request: Request) -> str:
    """Return the network address that `request` came from; empty when nobody knows."""
    peer = request.client.host if request.client else ""
    if not hub.settings.trusted_proxies:
        return peer
    return source_of(peer, request.headers.getlist("x-forwarded-for"), hub.settings.trusted_proxies)


def token_of(request: Request) -> str:
    """Return the access token of `request`.

    Raises:
        UnauthenticatedError: there is none.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError
    return token.strip()


def authenticated(request: Request) -> Principal:
    """Return who sent `request`, be the token good for no more than asking that; blocks.

    Raises:
        UnauthenticatedError: nobody known.
    """
    principal = principal_of(services_of(request), token_of(request))
    request.state.principal = principal
    return principal


def _who(request: Request, principal: Annotated[Principal, Depends(authenticated)]) -> Who:
    return caller(principal, source(services_of(request), request))


def principal_of(hub: Services, token: str) -> Principal:
    """Return whose token it is, and count a request of theirs; blocks.

    Raises:
        UnauthenticatedError: nobody known.
        TooManyRequestsError: they ask too often.
    """
    principal = hub.store.authenticate(token, time.time())
    most = hub.settings.max_requests_per_10_s
    wait_s = hub.rates.wait_s(principal.identity.id, most, time.monotonic())
    if wait_s:
        raise TooManyRequestsError(
            wait_s,
            f"More than {most} requests within {WINDOW_S:.0f} s. Ask again in {wait_s} s, and send "
            "more tasks in one request.",
        )
    return principal


def computing(principal: Principal) -> Principal:
    """Return `principal`, whose token is good for computing.

    Raises:
        ForbiddenError: it is not.
    """
    if not may_compute(principal.scope):
        raise ForbiddenError(
            public="This access token is good for asking who you are, and for nothing else: "
            f"ask for one with scope {COMPUTE}."
        )
    return principal


def _computing(request: Request) -> Principal:
    return computing(authenticated(request))


Hub = Annotated[Services, Depends(services_of)]
Anybody = Annotated[Principal, Depends(authenticated)]
"""Whoever has a token, whatever it is good for."""
Caller = Annotated[Principal, Depends(_computing)]
"""Whoever has a token that is good for computing."""
Asker = Annotated[Who, Depends(_who)]
"""The caller, for the audit log."""
