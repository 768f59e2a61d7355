"""What a user endpoint of ours says of itself."""

from __future__ import annotations

from chamberlain_endpoint.engine.port import EngineStatus
from chamberlain_endpoint.user.heartbeat import Heartbeat, Load
from chamberlain_wire.codec import decode
from chamberlain_wire.ids import new_id
from chamberlain_wire.messages import QueueInfo, StatusReport


def test_every_report_says_that_it_keeps_a_ledger() -> None:
    # Without it, the hub would end what was taken here when this process dies.
    where = QueueInfo(connection_url="", exchange="heartbeats", queue="heartbeats")
    heartbeat = Heartbeat(new_id(), where, period_s=30.0, identity={})
    beat = heartbeat.report(EngineStatus(workers=1, idle=1, running=0), Load(0, 0, 0), [])
    for sent in (beat, heartbeat.last()):
        assert decode(sent.body, StatusReport).seen["ledger"] is True
