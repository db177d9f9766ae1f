#!/usr/bin/env bash
# Builds the SDK's wheel and sdist, and uses each in a clean environment of every Python from 3.10 to 3.13 that is here.
# SHORT=1: only the Python of .deps/venv. The environments stay in .deps/dist-<version>, with the dependencies in them.
source "$(dirname "$0")/setup/common.sh"
sdk="$root/sdk/python"
out="$root/var/dist"
rm -rf "$out"
(cd "$sdk" && "$deps/venv/bin/python" -m hatchling build --directory "$out" >&2)
wheel=$(ls "$out"/blindtune-*.whl)
sdist=$(ls "$out"/blindtune-*.tar.gz)

# The interpreter of a version, where there is one: pyenv's, or what is called so.
interpreter() {
  ls "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python 2>/dev/null | tail -n 1 | grep . || command -v "python$1" || true
}

uses() { # python, package
  "$1" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$2"
  (cd / && "$1" -I "$root/scripts/dist_check.py" "$(basename "$2")")
}

versions="3.10 3.11 3.12 3.13"
[ "${SHORT:-0}" = 0 ] || versions=$("$deps/venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
tried=0
for version in $versions; do
  python=$(interpreter "$version")
  [ -n "$python" ] || { say "Python $version is not here: not tried"; continue; }
  env="$deps/dist-$version"
  want=$(sha256sum < "$sdk/pyproject.toml")
  if [ ! -f "$env/.ready" ] || [ "$(cat "$env/.ready")" != "$want" ]; then
    say "making a clean environment of Python $version with the SDK's dependencies"
    rm -rf "$env"
    "$python" -m venv "$env"
    "$env/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel"
    echo "$want" > "$env/.ready"
  fi
  uses "$env/bin/python" "$wheel"
  uses "$env/bin/python" "$sdist"
  tried=$((tried + 1))
done
[ "$tried" -gt 0 ] || die "no Python to try the packages on"
