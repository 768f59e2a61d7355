"""May this account run user endpoints, and is there room for one more? Pure.

Each refusal has its own sentence for the caller, which names no account and no group, and a
detail for the log, which does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from chamberlain_endpoint.launcher.protocol import Account
from chamberlain_endpoint.launcher.settings import PolicySettings
from chamberlain_wire.errors import ChamberlainError, ErrorCode


class AccountRefusedError(ChamberlainError):
    """The site's policy does not let this local account run user endpoints. Final."""

    code = ErrorCode.ACCOUNT_REFUSED


class SiteFullError(ChamberlainError):
    """The endpoint runs as many user endpoints as it may. Final for this request: whoever
    waited would not know for what."""

    code = ErrorCode.SITE_FULL


@dataclass(frozen=True, slots=True)
class Denied:
    """What is never a caller's account.

    Attributes:
        service_uids: the accounts of manager and launcher.
        uids: of the denied accounts; a second name for one of them is denied with it.
        gids: of the denied groups.
    """

    service_uids: frozenset[int] = frozenset()
    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()


def check_account(account: Account, policy: PolicySettings, denied: Denied) -> None:
    """Check that `account` may run user endpoints.

    Raises:
        AccountRefusedError: it may not.
    """
    name = account.uname
    if account.uid == 0:
        raise AccountRefusedError(
            f"{name} is root", public="You are mapped to the administrator; that is never allowed."
        )
    if account.uid in denied.service_uids:
        raise AccountRefusedError(
            f"{name} is the endpoint's own account",
            public="You are mapped to the endpoint's own account; that is never allowed.",
        )
    if account.uid < policy.min_uid:
        raise AccountRefusedError(
            f"{name} has uid {account.uid}, below min_uid {policy.min_uid}",
            public="You are mapped to a system account; the site does not allow that.",
        )
    if name in policy.denied_accounts or account.uid in denied.uids:
        raise AccountRefusedError(
            f"{name} (uid {account.uid}) is among denied_accounts",
            public="Your account is not enabled at this site.",
        )
    _check_groups(account, policy, denied)


def check_room(running_uids: Iterable[int], account: Account, policy: PolicySettings) -> None:
    """Check that `account` may have one more user endpoint beside those that run.

    Raises:
        SiteFullError: the endpoint has no room.
        AccountRefusedError: the account has no room.
    """
    counts = Counter(running_uids)
    most = policy.max_user_endpoints_per_account
    if counts[account.uid] >= most:
        raise AccountRefusedError(
            f"{account.uname} runs {counts[account.uid]} of {most} user endpoints",
            public=(
                f"Your account already runs {counts[account.uid]} user endpoints, the most that "
                "this site allows (max_user_endpoints_per_account); use one of them, or wait "
                "until one has ended."
            ),
        )
    if counts.total() >= policy.max_user_endpoints:
        raise SiteFullError(
            f"{counts.total()} of {policy.max_user_endpoints} run",
            public=(
                f"The endpoint already runs {counts.total()} user endpoints, the most that this "
                "site allows (max_user_endpoints); try again when one has ended."
            ),
        )


def _check_groups(account: Account, policy: PolicySettings, denied: Denied) -> None:
    names = {group.name for group in account.groups}
    by_gid = {group.name for group in account.groups if group.gid in denied.gids}
    refused = (names & set(policy.denied_groups)) | by_gid
    if refused:
        raise AccountRefusedError(
            f"{account.uname} is in {', '.join(sorted(refused))}, among denied_groups",
            public="Your account is in a group that may not use this endpoint.",
        )
    if policy.allowed_groups and not names & set(policy.allowed_groups):
        raise AccountRefusedError(
            f"{account.uname} is in none of allowed_groups",
            public="Your account is in no group that may use this endpoint.",
        )
