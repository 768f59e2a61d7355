"""Routes for SDK sessions: broker users that may read one identity's results."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from chamberlain_hub.api.answers import json_answer
from chamberlain_hub.api.services import Asker, Caller, Hub
from chamberlain_hub.audit.entry import ACCEPTED, Action, Entry
from chamberlain_wire.errors import ChamberlainError, ErrorCode

router = APIRouter(tags=["sessions"])


class SessionNotFoundError(ChamberlainError):
    """There is no such session, or it is somebody else's. Answer 404."""

    code = ErrorCode.NOT_FOUND
    public = "There is no such session."


@router.get("/v2/get_amqp_result_connection_url", summary="Begin a session: where results are read")
def begin_session(hub: Hub, caller: Caller, who: Asker) -> Response:
    """A fresh broker user for each call. It ends with `DELETE`, or when it has had no
    connection for a while."""
    session = hub.dispatcher.credentials.for_session(caller.identity.id)
    hub.audit.note(
        Entry(action=Action.SESSION_BEGUN, outcome=ACCEPTED, who=who, about=session.session_id)
    )
    return json_answer(
        {
            "queue_prefix": session.queue_prefix,
            "connection_url": session.connection_url,
            "session_id": session.session_id,
        }
    )


@router.delete("/v3/sessions/{session_id}", summary="End a session")
def end_session(hub: Hub, caller: Caller, who: Asker, session_id: str) -> Response:
    """Its broker user is revoked and its connections are closed."""
    if not hub.dispatcher.credentials.end_session(caller.identity.id, session_id):
        raise SessionNotFoundError
    hub.audit.put(Entry(action=Action.SESSION_ENDED, outcome=ACCEPTED, who=who, about=session_id))
    return json_answer({"status": "ok"})
