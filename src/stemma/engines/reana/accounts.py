"""Whose runs are whose on REANA: to any other token than their owner's they are not there."""

from stemma.engines.reana import faults
from stemma.engines.reana.crumbs import Crumbs
from stemma.engines.reana.session import ReanaSession


def account_of(session: ReanaSession) -> str | None:
    """What REANA calls the owner of the session's token; None where it does not say."""
    return session.you().email or None


def check_account(session: ReanaSession, crumbs: Crumbs) -> None:
    """Return when a run that is not there is gone indeed, and not another account's than the one that asks.

    The token of a run's owner can change while the run goes on: given, taken back, or replaced.

    Raises:
        EngineUnreachable: it belongs to another account.
    """
    asking = account_of(session)
    if crumbs.account is not None and asking is not None and asking != crumbs.account:
        raise faults.unreachable(
            "the token that is used now belongs to another account there than the one that the run was started with; "
            "give one of that account again (`stemma engine login reana`), and it goes on from where it is"
        )
