from __future__ import annotations

import threading

import msgspec

from chamberlain.batching import Call, Destination, Sender
from chamberlain.functions import Function
from chamberlain.futures import ChamberlainFuture
from chamberlain_wire.ids import new_id
from chamberlain_wire.limits import MAX_SUBMIT_BYTES

WAIT_S = 10.0


def destination(options: str = "null") -> Destination:
    return Destination(new_id(), new_id(), options, "null", ())


def call(size_bytes: int = 2) -> Call:
    return Call(ChamberlainFuture(new_id()), Function("f", "x"), msgspec.Raw(b"0" * size_bytes))


class Hub:
    """Takes batches one after the other, when told to."""

    def __init__(self) -> None:
        self.batches: list[list[Call]] = []
        self.came = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def post(self, _to: Destination, calls: list[Call]) -> None:
        self.batches.append(calls)
        self.came.release()
        assert self.go.acquire(timeout=WAIT_S)

    def gathered(self, calls: list[Call]) -> list[int]:
        """Send the first call, then all others behind it; return the sizes of the batches."""
        sender, to = Sender(self.post, batch_size=128), destination()
        sender.put(to, calls[0])
        assert self.came.acquire(timeout=WAIT_S)
        for one in calls[1:]:
            sender.put(to, one)
        for _ in calls:
            self.go.release()
        assert sender.wait_sent(WAIT_S)
        return [len(batch) for batch in self.batches]


def test_what_comes_while_a_request_is_under_way_goes_together() -> None:
    assert Hub().gathered([call() for _ in range(200)]) == [1, 128, 71]


def test_a_batch_stays_below_the_hubs_limit() -> None:
    third = MAX_SUBMIT_BYTES // 3
    assert Hub().gathered([call(), *(call(third) for _ in range(5))]) == [1, 2, 2, 1]


def test_one_call_above_the_limit_goes_alone_and_the_hub_decides() -> None:
    assert Hub().gathered([call(), call(), call(MAX_SUBMIT_BYTES), call()]) == [1, 1, 1, 1]


def test_order_is_kept() -> None:
    hub = Hub()
    calls = [call() for _ in range(300)]
    hub.gathered(calls)
    assert [one for batch in hub.batches for one in batch] == calls


def test_what_was_cancelled_is_not_sent() -> None:
    hub = Hub()
    sender, to = Sender(hub.post, batch_size=128), destination()
    sender.put(to, call())
    assert hub.came.acquire(timeout=WAIT_S)
    cancelled, kept = call(), call()
    sender.put(to, cancelled)
    sender.put(to, kept)
    assert cancelled.future.cancel()
    hub.go.release()
    hub.go.release()
    assert sender.wait_sent(WAIT_S)
    assert hub.batches[1] == [kept]
    assert not kept.future.cancel()


def test_waiting_for_what_is_not_sent_ends_at_its_time() -> None:
    hub = Hub()
    sender = Sender(hub.post, batch_size=128)
    sender.put(destination(), call())
    assert not sender.wait_sent(0.01)
    hub.go.release()
    assert sender.wait_sent(WAIT_S)
