#!/usr/bin/env bash
# Puts redocly, which lints openapi.yaml, at .deps/api-tools.
source "$(dirname "$0")/common.sh"
tools="$root/scripts/api-tools"
home="$deps/api-tools"

source "$(dirname "$0")/node.sh"
mkdir -p "$home"
ln -sfn "$node_bin/node" "$home/node"

if ! cmp -s "$tools/package-lock.json" "$home/package-lock.json"; then
    say "fetching redocly: 15 MB"
    cp "$tools/package.json" "$tools/package-lock.json" "$home/"
fi
npm_packages "$home"
