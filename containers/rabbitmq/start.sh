#!/bin/sh
# Starts RabbitMQ in its container; first it says in a sentence what RabbitMQ says in a page.
set -eu

for file in /etc/rabbitmq/rabbitmq.conf /etc/rabbitmq/enabled_plugins /run/secrets/broker.json; do
    if [ ! -f "$file" ] || [ ! -r "$file" ]; then
        echo "broker: $file is missing, or uid $(id -u) may not read it. For secrets: make_secrets.py --check" >&2
        exit 1
    fi
done
exec rabbitmq-server
