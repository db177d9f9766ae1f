#!/usr/bin/env bash
# Runs a host with the MiniLM backbone added, and prints a key on the first start.
# STATE=folder (var/host) and PORT (8080) let a second host stand beside the first; flags are passed on to `blindtuned serve`.
set -euo pipefail
cd "$(dirname "$0")/.."
state=${STATE:-var/host}
host() { target/debug/blindtuned --state-dir "$state" "$@"; }
host models add .deps/all-MiniLM-L6-v2 --name all-MiniLM-L6-v2
if [ ! -f "$state/first-key" ]; then
    (umask 077 && host keys create --project default --name first | tail -n 1 > "$state/first-key")
fi
echo "a key for the project 'default' is in $state/first-key:"
echo "  export BLINDTUNE_API_KEY=\$(cat $state/first-key)"
exec target/debug/blindtuned --state-dir "$state" serve --port "${PORT:-8080}" "$@"
