#!/usr/bin/env bash
# Makes .deps/audit, with pip-audit in it, and puts cargo-deny at .deps/cargo-deny: the machine's, else one that cargo compiles, which
# takes minutes, once per machine.
source "$(dirname "$0")/common.sh"
version=0.20.2
target="$cache/cargo-deny-$version"
python_env audit "$root/scripts/audit/requirements.lock"
if command -v cargo-deny >/dev/null; then
    mkdir -p "$deps/cargo-deny/bin"
    ln -sfn "$(command -v cargo-deny)" "$deps/cargo-deny/bin/cargo-deny"
    exit 0
fi
if [ ! -x "$target/bin/cargo-deny" ]; then
    with_lock
    say "compiling cargo-deny $version: some minutes, once per machine"
    # Outside the repository, whose .cargo/config.toml is for the host.
    (cd / && cargo install --quiet --locked "cargo-deny@$version" --root "$target" 9>&-) ||
        die "cargo-deny was not compiled. Put one on PATH, and try again"
fi
link "$target" cargo-deny
