#!/usr/bin/env bash
# `.deps/prometheus`: Debian's prometheus and promtool, unpacked and not installed, which check what deploy/observability promises. Where
# they are on PATH those are taken; where there is neither, the tests say so and are left out.
source "$(dirname "$0")/common.sh"
link_found() { mkdir -p "$deps/prometheus" && ln -sfn "$1/prometheus" "$deps/prometheus/prometheus" && ln -sfn "$1/promtool" "$deps/prometheus/promtool"; }
if found=$(command -v promtool) && command -v prometheus >/dev/null; then
    link_found "$(dirname "$found")"
    exit 0
fi
home="$cache/prometheus"
if [ ! -x "$home/usr/bin/promtool" ]; then
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { say "no Prometheus here, and no Debian to take it from"; exit 0; }
    say "fetching Debian's Prometheus, which tries the alarms: 19 MB"
    part=$(mktemp -d "$cache/prometheus.XXXXXX")
    fetch() { ( cd "$part" && apt-get download --quiet prometheus >/dev/null 2>&1 ); }
    fetch || { [ "$(id -u)" = 0 ] && apt-get update --quiet >/dev/null 2>&1 && fetch; } || { rm -rf "$part"; say "Prometheus could not be fetched"; exit 0; }
    dpkg-deb --extract "$part"/prometheus_*.deb "$part/tree"
    publish "$part/tree" "$home"
    rm -rf "$part"
fi
link_found "$home/usr/bin"
