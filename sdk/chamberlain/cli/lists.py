"""What you have at the hub: endpoints, functions, tasks and their results."""

from __future__ import annotations

import sys

import click

from chamberlain.cli import usage_table
from chamberlain.cli.show import client, json_option, print_json, shown, table, told, when
from chamberlain.errors import TaskPendingError


@click.command()
@click.option("--mine", is_flag=True, help="Only endpoints that you own.")
@click.option("--status/--no-status", default=True, help="Ask whether each one is online.")
@json_option
def endpoints(mine: bool, status: bool, as_json: bool) -> None:
    """List the endpoints where you may run functions."""
    hub = client()
    found = hub.endpoints(role="owner" if mine else "any")
    if status:
        for one in found:
            one.setdefault("status", hub.endpoint_status(one["uuid"]).get("status"))
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("No endpoint that you may use. Ask your site's administrator for access.")
        return
    rows = [
        (one["uuid"], one.get("status") or "", one.get("display_name") or one.get("name") or "")
        for one in found
    ]
    table(("ENDPOINT", "STATUS", "NAME"), rows)


@click.command()
@click.option("--limit", default=20, show_default=True, help="How many, newest first.")
@click.option("--state", help="Only those in this state, such as failed.")
@click.option("--usage", is_flag=True, help="Show where each one ran, and what it used.")
@json_option
def tasks(limit: int, state: str | None, usage: bool, as_json: bool) -> None:
    """List your tasks, newest first.

    With --usage: the node, the batch job, how long the function ran, the CPU seconds of its
    process, and the most memory that the worker process ever had.
    """
    found = client().tasks(limit=limit, state=state)
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("No tasks.")
        return
    if usage:
        table(usage_table.HEADS, map(usage_table.row, found))
        return
    rows = [
        (
            one["task_id"],
            one.get("state", ""),
            one.get("function_name") or one.get("function_id", ""),
            when(one.get("submitted_at")),
            when(one.get("completed_at")),
        )
        for one in found
    ]
    table(("TASK", "STATE", "FUNCTION", "SUBMITTED", "COMPLETED"), rows)


@click.command()
@click.argument("task_ids", metavar="TASK...", nargs=-1)
@click.option("--group", metavar="ID", help="All tasks of this task group that have not ended.")
@json_option
def cancel(task_ids: tuple[str, ...], group: str | None, as_json: bool) -> None:
    """Cancel tasks of yours, wherever they are.

    TASK is an id that `chamberlain tasks` lists. What is said of each: cancelled (it will not
    run), asked (its endpoint was told to end it), ended (it had ended before), unknown (there is
    no such task of yours). Of none that was cancelled or asked a result will come. Exit code 1
    when one is unknown.
    """
    if not task_ids and group is None:
        raise click.UsageError("give the ids of tasks, or --group")
    hub = client()
    listed = hub.group_task_ids(group) if group is not None else []
    answers = hub.cancel_tasks(dict.fromkeys([*task_ids, *listed]))
    if as_json:
        print_json(answers)
    elif not answers:
        click.echo("No tasks.")
    else:
        table(("TASK", "CANCEL"), list(answers.items()))
    if "unknown" in answers.values():
        sys.exit(1)


@click.command()
@click.option("--limit", default=20, show_default=True, help="How many, newest first.")
@json_option
def functions(limit: int, as_json: bool) -> None:
    """List the functions that you registered, newest first."""
    found = client().functions(limit=limit)
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("No functions.")
        return
    rows = [
        (
            one["function_uuid"],
            one.get("function_name", ""),
            "everybody" if one.get("public") else "you",
            when(one.get("created_at")),
        )
        for one in found
    ]
    table(("FUNCTION", "NAME", "USED BY", "REGISTERED"), rows)


@click.command()
@click.argument("task_id", metavar="TASK")
@json_option
def result(task_id: str, as_json: bool) -> None:
    """Print what TASK returned.

    TASK is an id that `chamberlain tasks` lists. Exit code 1 when the task failed, with the
    remote traceback, and when it has not ended yet.
    """
    hub = client()
    document = hub.get_task(task_id)
    answer = {"task_id": task_id, "status": document["status"], "result": None, "error": None}
    try:
        answer["result"] = hub.get_result(task_id)
    except TaskPendingError as error:
        answer["error"] = error.public
    except Exception as error:  # noqa: BLE001 - the user's function may raise anything
        answer["error"] = told(error)
    if as_json:
        print_json(answer)
    elif answer["error"] is not None:
        click.echo(answer["error"], err=True)
        if document["status"] == "failed":
            click.echo(f"What it printed: chamberlain logs {task_id}", err=True)
    else:
        click.echo(shown(answer["result"]))
    if answer["error"] is not None:
        sys.exit(1)
