"""What the routes work with, and who calls them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Depends, Request

from chamberlain_hub.config import HubSettings
from chamberlain_hub.dispatch.dispatcher import Dispatcher
from chamberlain_hub.dispatch.submissions import Submissions
from chamberlain_hub.domain.errors import UnauthenticatedError
from chamberlain_hub.domain.identity import Principal
from chamberlain_hub.store.store import Store

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Services:
    """One hub process.

    Attributes:
        assertion_keys: base64 of the public keys that endpoints believe.
        pool: threads of the hot route; the other routes run in FastAPI's own.
    """

    store: Store
    dispatcher: Dispatcher
    submissions: Submissions
    settings: HubSettings
    assertion_keys: tuple[str, ...]
    pool: ThreadPoolExecutor

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the blocking `work` returns, without blocking the event loop."""
        assert not kwargs
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *args)


def services_of(request: Request) -> Services:
    """Return the services of the application that got `request`."""
    services: Services = request.app.state.services
    return services


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
    """Return who sent `request`; blocks.

    Raises:
        UnauthenticatedError: nobody known.
    """
    return services_of(request).store.authenticate(token_of(request), time.time())


Hub = Annotated[Services, Depends(services_of)]
Caller = Annotated[Principal, Depends(authenticated)]
