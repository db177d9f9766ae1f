#!/usr/bin/env bash
# Checks every query against the migrated schema and writes what it learned to .sqlx, so that builds need no database.
# Runs a Postgres of its own and stops it at the end. `cargo sqlx prepare` does the same, and needs sqlx-cli.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '[sqlx] %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

find_postgres() { # prints the folder that holds initdb and postgres
    local found candidate
    if found=$(command -v postgres); then found=$(dirname "$(readlink -f "$found")"); fi
    for candidate in "${POSTGRES_BIN_DIR:-}" "$found" $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -Vr) "$PWD/.deps/postgres/bin"; do
        if [ -x "$candidate/initdb" ] && [ -x "$candidate/postgres" ]; then echo "$candidate"; return; fi
    done
    die "no Postgres found; run scripts/setup/postgres.sh, or set POSTGRES_BIN_DIR"
}

bin=$(find_postgres)
work=$(mktemp -d /tmp/sqlx-prepare.XXXXXX)
as_owner=()
if [ "$(id -u)" = 0 ]; then # Postgres refuses to run as root
    user=nobody; if id postgres >/dev/null 2>&1; then user=postgres; fi
    case "$bin" in
    /usr/*) ;;
    *) cp -RL "$(dirname "$bin")" "$work/postgres"; bin="$work/postgres/bin"; chmod -R a+rX "$work" ;;
    esac
    chown "$user" "$work"
    as_owner=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups env HOME="$work")
fi
postgres=
cleanup() {
    if [ -n "$postgres" ]; then kill -INT "$postgres" 2>/dev/null || true; wait "$postgres" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT

say "starting a private Postgres"
(cd / && "${as_owner[@]}" "$bin/initdb" -D "$work/data" -U blindtune -A trust -E UTF8 --locale=C -N >"$work/log" 2>&1) || { cat "$work/log" >&2; exit 1; }
(cd / && exec "${as_owner[@]}" "$bin/postgres" -D "$work/data" -k "$work" -c listen_addresses= -c fsync=off >>"$work/log" 2>&1) &
postgres=$!
for _ in $(seq 100); do
    if grep -q '^ready' "$work/data/postmaster.pid" 2>/dev/null; then break; fi
    kill -0 "$postgres" 2>/dev/null || { cat "$work/log" >&2; die "Postgres did not start"; }
    sleep 0.1
done
for file in migrations/*.sql; do
    say "applying $file"
    psql=$bin/psql; [ -x "$psql" ] || psql=$(command -v psql) || die "psql is missing"
    "$psql" --quiet --no-psqlrc -v ON_ERROR_STOP=1 --single-transaction -h "$work" -U blindtune -d postgres -f "$file"
done

say "checking the queries"
mkdir -p .sqlx.new
rm -f .sqlx.new/*
touch src/lib.rs # cargo would skip a crate that did not change, and the macros would not run
SQLX_OFFLINE=false DATABASE_URL="postgres://blindtune@localhost/postgres?host=$work" SQLX_OFFLINE_DIR="$PWD/.sqlx.new" \
    cargo check --quiet --all-targets
rm -rf .sqlx
mv .sqlx.new .sqlx
touch src/lib.rs
cargo check --quiet --all-targets
say "$(ls .sqlx | wc -l) queries are in .sqlx"
