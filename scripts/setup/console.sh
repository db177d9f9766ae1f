#!/usr/bin/env bash
# The packages of console/, and `.deps/console`, which tries the page in the machine's Chromium. On Debian, as root, that is installed;
# elsewhere the tests in a browser are left out, with the reason, until there is one. `packages` as argument: the packages alone.
source "$(dirname "$0")/common.sh"
source "$(dirname "$0")/node.sh"
mkdir -p "$deps/console-node"
ln -sfn "$node_bin" "$deps/console-node/bin"
[ -f "$root/console/node_modules/.ready" ] || say "fetching what the console is built with: 60 MB"
npm_packages "$root/console"
[ "${1:-all}" = packages ] && exit 0

python_env console "$root/tests/console/requirements-browser.lock"
is_debian() { ( . /etc/os-release && [ "$ID" = debian ] ) 2>/dev/null; }
chromium="${BLINDTUNE_CHROMIUM:-/usr/bin/chromium}"
if [ ! -x "$chromium" ] && [ "$(id -u)" = 0 ] && is_debian; then
    say "installing Debian's Chromium, in which the console is tried: 80 MB"
    install=(apt-get install --yes --quiet --no-install-recommends chromium)
    export DEBIAN_FRONTEND=noninteractive
    "${install[@]}" >/dev/null 2>&1 || { apt-get update --quiet >/dev/null 2>&1 && "${install[@]}" >/dev/null 2>&1; } \
        || say "Chromium could not be installed: the console's tests in a browser will be skipped"
fi
