"""Which runtime, image and limits an account gets, and what its template may choose. Pure.

The account's own entry counts, else that of the first group in the file's order that it is a
member of, else what holds for everybody. An entry takes the place of what is more general, so
it can narrow it. A template chooses among what that leaves, and its users among what the
template lets through: neither reaches beyond root's file.
"""

from __future__ import annotations

from typing import TypeVar

from chamberlain_endpoint.launcher.protocol import Account
from chamberlain_endpoint.launcher.settings import Limits, RuntimeKind, RuntimeSettings
from chamberlain_wire.errors import ChamberlainError, ErrorCode

T = TypeVar("T")


class ChoiceRefusedError(ChamberlainError):
    """The template chose what root's settings do not permit. Asking again is no use."""

    code = ErrorCode.START_FAILED


def kinds_of(settings: RuntimeSettings, account: Account) -> tuple[RuntimeKind, ...]:
    """Return what the account's user endpoints may run in, the usual kind first."""
    own = _own(account, settings.account_kinds, settings.group_kinds)
    return (settings.kind, *settings.more_kinds) if own is None else own


def images_of(settings: RuntimeSettings, account: Account) -> tuple[str, ...]:
    """Return the names of the images that the account may have, the usual one first."""
    own = _own(account, settings.account_images, settings.group_images)
    if own is not None:
        return own
    others = (name for name, _ in settings.images if name != settings.image)
    return (settings.image, *others)


def limits_of(settings: RuntimeSettings, account: Account) -> Limits:
    """Return what one container of the account may use."""
    own = _own(account, settings.account_limits, settings.group_limits)
    return settings.limits if own is None else own


def kind_for(settings: RuntimeSettings, account: Account, wanted: str) -> RuntimeKind:
    """Return what to run in.

    Args:
        wanted: what the template chose; empty: nothing.

    Raises:
        ChoiceRefusedError: the account may not have it.
    """
    permitted = kinds_of(settings, account)
    if not wanted:
        return permitted[0]
    if wanted in permitted:
        return RuntimeKind(wanted)
    raise _refused("runtime", wanted, permitted, account)


def image_for(settings: RuntimeSettings, account: Account, wanted: str) -> str:
    """Return the name of the image to run. Else as `kind_for`."""
    permitted = images_of(settings, account)
    if not wanted:
        return permitted[0]
    if wanted in permitted:
        return wanted
    raise _refused("container image", wanted, permitted, account)


def may_fall_back(settings: RuntimeSettings, account: Account) -> bool:
    """Tell whether a process may take the place of a container that cannot be had.

    An account whose own entry, or whose group's, lists no process never gets one.
    """
    if settings.if_unavailable is not RuntimeKind.PROCESS:
        return False
    own = _own(account, settings.account_kinds, settings.group_kinds)
    return own is None or RuntimeKind.PROCESS in own


def _own(
    account: Account, by_account: tuple[tuple[str, T], ...], by_group: tuple[tuple[str, T], ...]
) -> T | None:
    for name, found in by_account:
        if name == account.uname:
            return found
    names = {group.name for group in account.groups}
    for name, found in by_group:
        if name in names:
            return found
    return None


def _refused(
    what: str, wanted: str, permitted: tuple[str, ...], account: Account
) -> ChoiceRefusedError:
    has = ", ".join(permitted)
    return ChoiceRefusedError(
        f"{what} {wanted!r}: {account.uname} may have {has}",
        public=(
            f"The site's template asks for the {what} {wanted!r}; the site lets your account "
            f"have: {has}."
        ),
    )
