#!/usr/bin/env bash
# Checks for Rust and a C++ compiler; says what to install when they are missing.
source "$(dirname "$0")/common.sh"
need cargo "Rust" "Install it with rustup (https://rustup.rs), 1.90 or newer."
need c++ "a C++ compiler" "On Debian or Ubuntu: apt-get install build-essential"
have=$(cargo --version | cut -d' ' -f2)
[ "$(printf '%s\n1.90.0\n' "$have" | sort -V | head -1)" = 1.90.0 ] || die "Rust 1.90 or newer is needed; this is $have. Run: rustup update"
