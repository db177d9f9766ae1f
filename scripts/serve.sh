#!/usr/bin/env bash
# Runs a host with the MiniLM backbone added, and prints a key on the first start.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=target/debug/blindtune
"$bin" models add .deps/all-MiniLM-L6-v2 --name all-MiniLM-L6-v2
if [ ! -f var/host/first-key ]; then
    (umask 077 && "$bin" keys create --project default --name first | tail -n 1 > var/host/first-key)
fi
echo "a key for the project 'default' is in var/host/first-key:"
echo "  export BLINDTUNE_API_KEY=\$(cat var/host/first-key)"
exec "$bin" serve "$@"
