# Shared by the set-up scripts. Sourced, never run.
# Owns: where downloads are kept, where they are linked into the project, how progress is said.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
deps="$root/.deps"
# Downloads outlive a clone: a second clone links them and fetches nothing.
cache="${XDG_CACHE_HOME:-$HOME/.cache}/blindtune"
mkdir -p "$deps" "$cache"

say() { printf '\033[1m[setup]\033[0m %s\n' "$*" >&2; }
die() { printf '[setup] error: %s\n' "$*" >&2; exit 1; }

need() { # need COMMAND WHAT-IT-IS HOW-TO-GET-IT
    command -v "$1" >/dev/null 2>&1 || die "$2 is missing ('$1' is not on PATH). $3"
}

# One set-up at a time on one machine: two clones share the cache.
with_lock() { exec 9>"$cache/.lock"; flock 9; }

# publish TMP FINAL: moves a finished folder into place in one step, so that an interrupted set-up leaves nothing half made.
publish() { rm -rf "$2"; mv "$1" "$2"; }

link() { # link TARGET NAME: .deps/NAME -> TARGET
    ln -sfn "$1" "$deps/$2"
}

# wheels LIST DIR: the packages of a list into DIR, each only if it is the file whose SHA-256 the list has.
wheels() { "$deps/venv/bin/python" -m pip download --quiet --no-deps --require-hashes --dest "$2" --requirement "$root/scripts/setup/requirements-$1.lock"; }

# python_env NAME LOCK: .deps/NAME holds exactly what LOCK lists; made once, and again when LOCK changes.
python_env() {
    local home="$deps/$1" want
    want=$(sha256sum < "$2" | cut -d' ' -f1)
    [ -f "$home/.ready" ] && [ "$(cat "$home/.ready")" = "$want" ] && return
    need python3 "Python" "Install Python 3.10 or newer (Debian or Ubuntu: apt-get install python3 python3-venv)."
    say "making .deps/$1"
    rm -rf "$home"
    python3 -m venv "$home" || die "python3 -m venv failed. On Debian or Ubuntu: apt-get install python3-venv"
    "$home/bin/python" -m pip install --quiet --require-hashes --requirement "$2"
    echo "$want" > "$home/.ready"
}
