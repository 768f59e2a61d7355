"""Has this host's RabbitMQ join another's, unless it has.

Standard input: {"first": "HOSTNAME"}. Says `changed` or `same`. What this broker holds is gone
when it joins, so one that is in a cluster with others, or holds queues, is refused.
"""

import json
import socket
import subprocess
import sys


def rabbitmqctl(*words):
    """Return what RabbitMQ's tool printed; end with what it complained of."""
    command = ["rabbitmqctl", "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"rabbitmqctl {words[0]}: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


def main():
    """Join, or say that nothing is to do."""
    first = json.load(sys.stdin)["first"]
    try:
        socket.getaddrinfo(first, None)
    except OSError:
        sys.exit(f"{socket.gethostname()} does not know the name {first}: add it to /etc/hosts.")
    known = json.loads(rabbitmqctl("cluster_status", "--formatter", "json"))["disk_nodes"]
    if f"rabbit@{first}" in known:
        sys.stdout.write("same\n")
        return
    if len(known) > 1:
        sys.exit(
            f"This broker is in a cluster with {', '.join(known)}. Take it out: rabbitmqctl reset."
        )
    vhosts = json.loads(rabbitmqctl("list_vhosts", "name", "--formatter", "json"))
    for vhost in vhosts:
        words = ("list_queues", "--vhost", vhost["name"], "name", "--formatter", "json")
        if json.loads(rabbitmqctl(*words)):
            sys.exit(f"This broker holds queues in {vhost['name']}, which joining would remove.")
    for words in (["stop_app"], ["reset"], ["join_cluster", f"rabbit@{first}"], ["start_app"]):
        rabbitmqctl(*words)
    sys.stdout.write("changed\n")


main()
