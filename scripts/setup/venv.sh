#!/usr/bin/env bash
# Makes .deps/venv: the Python SDK (editable) with what tests, lint, the demo and the code generators need. No torch in it.
source "$(dirname "$0")/common.sh"
need python3 "Python" "Install Python 3.10 or newer (Debian or Ubuntu: apt-get install python3 python3-venv)."
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or newer is needed; this is $(python3 --version)"
lock="$root/sdk/python/requirements-dev.lock"
stamp="$deps/venv/.ready"
want=$(cat "$lock" "$root/sdk/python/pyproject.toml" "$root/sdk/python/src/blindtune/_version.py" | sha256sum | cut -d' ' -f1)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && exit 0
say "making the Python environment in .deps/venv"
[ -x "$deps/venv/bin/python" ] || python3 -m venv "$deps/venv" || die "python3 -m venv failed. On Debian or Ubuntu: apt-get install python3-venv"
"$deps/venv/bin/python" -m pip install --quiet --require-hashes --requirement "$lock"
"$deps/venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable "$root/sdk/python"
echo "$want" > "$stamp"
say "the Python environment is ready"
