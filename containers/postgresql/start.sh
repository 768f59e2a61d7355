#!/bin/sh
# Starts PostgreSQL in its container. The first time it makes the cluster. Each time it runs the SQL of
# /docker-entrypoint-initdb.d as the superuser, while nobody else can come in: so another password in a
# file is the role's from then on, and what is there must bear a repeat.
set -eu

refuse() {
    echo "database: $*" >&2
    exit 1
}

umask 077
for file in /docker-entrypoint-initdb.d/*.sql; do
    [ -r "$file" ] || refuse "$file is missing, or uid $(id -u) may not read it: make_secrets.py --check"
done
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    initdb --pgdata="$PGDATA" --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=peer --auth-host=scram-sha-256 > /dev/null
    # The superuser has no password, and so comes in by the socket alone.
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
fi
has=$(cat "$PGDATA/PG_VERSION")
is=$(postgres --version | sed -E 's/.* ([0-9]+)\..*/\1/')
[ "$has" = "$is" ] || refuse "the volume is PostgreSQL $has's and the image has $is: back up and restore (chamberlain-hub backup)"

# What it says when it does start is of no interest; what it says when it does not, is.
said=$(mktemp)
pg_ctl --silent --wait --log="$said" --options="-c listen_addresses=''" start > /dev/null || {
    cat "$said" >&2
    refuse "PostgreSQL does not start; why is above"
}
for file in /docker-entrypoint-initdb.d/*.sql; do
    psql --quiet --no-psqlrc --username=postgres --dbname=postgres --set=ON_ERROR_STOP=1 --file="$file" \
        || refuse "$file cannot be run; what PostgreSQL says of it is above"
done
pg_ctl --silent --wait --mode=fast stop > /dev/null
exec postgres -c listen_addresses='*'
