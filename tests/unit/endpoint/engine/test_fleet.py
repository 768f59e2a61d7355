"""What an engine knows of its blocks."""

from __future__ import annotations

from chamberlain_endpoint.engine.fleet import Fleet, Pool


def pool(block: str, *, workers: int = 2, tasks: int = 0, idle_s: float = 0.0) -> Pool:
    return Pool(f"pool of {block}", block, workers, tasks, usable=True, idle_s=idle_s)


def fleet_of(*pools: Pool) -> Fleet:
    fleet = Fleet()
    for _ in pools:
        fleet.new_block()
    fleet.see(pools)
    return fleet


def test_a_block_counts_from_its_launch_and_works_from_its_first_pool() -> None:
    fleet = Fleet()
    name = fleet.new_block()
    assert (fleet.count, fleet.starting, fleet.works(), fleet.workers) == (1, True, False, 0)
    fleet.see([pool(name, workers=3)])
    assert (fleet.count, fleet.starting, fleet.works(), fleet.workers) == (1, False, True, 3)


def test_names_are_never_used_twice() -> None:
    fleet = Fleet()
    first = fleet.new_block()
    fleet.clear()
    assert fleet.new_block() != first


def test_the_end_of_a_block_tells_whether_it_was_of_use() -> None:
    fleet = Fleet()
    useless, useful = fleet.new_block(), fleet.new_block()
    fleet.see([pool(useful)])
    assert fleet.end(useless) is False
    assert fleet.end(useful) is True
    assert fleet.end(useful) is None
    # Its pool may still be listed for a moment; nobody may be sent to it.
    assert fleet.workers == 0


def test_pools_that_were_held_do_not_count() -> None:
    fleet = Fleet()
    name = fleet.new_block()
    fleet.see([Pool("held", name, 2, 0, usable=False)])
    assert fleet.workers == 0


def test_the_longest_idle_blocks_go_first_and_some_are_kept() -> None:
    fleet = fleet_of(pool("0", idle_s=5), pool("1", idle_s=50), pool("2", idle_s=20))
    assert fleet.idle(longer_than_s=10, keep=0) == ["1", "2"]
    assert fleet.idle(longer_than_s=10, keep=2) == ["1"]
    assert fleet.idle(longer_than_s=10, keep=3) == []


def test_a_block_with_a_task_anywhere_is_not_idle() -> None:
    fleet = Fleet()
    name = fleet.new_block()
    fleet.see([pool(name, idle_s=100), pool(name, tasks=1)])
    assert fleet.idle(longer_than_s=10, keep=0) == []


def test_a_block_that_got_a_task_before_it_was_held_ends_after_it() -> None:
    fleet = fleet_of(pool("0", idle_s=100))
    assert [one.name for one in fleet.retire("0")] == ["pool of 0"]
    assert (fleet.count, fleet.workers) == (0, 0)
    fleet.see([pool("0", tasks=1)])
    assert fleet.retired() == []
    fleet.see([pool("0")])
    assert fleet.retired() == ["0"]
    assert fleet.end("0") is None


def test_who_had_a_task_in_a_block_that_ended_hears_why() -> None:
    fleet = Fleet()
    block = fleet.new_block()
    fleet.see([Pool("pool", block, workers=1, tasks=1, usable=True)])
    assert fleet.cause("pool") == ""
    fleet.end(block, "Its walltime was over.")
    assert fleet.cause("pool") == "Its walltime was over."
    assert fleet.cause("another") == ""


def test_a_block_whose_launch_was_not_answered_keeps_its_name() -> None:
    fleet = Fleet()
    block = fleet.new_block()
    fleet.end(block)
    assert fleet.new_block(again=block) == block
    assert fleet.new_block() != block
