#!/usr/bin/env bash
# What is known against the crates (cargo-deny), the Python packages (pip-audit) and redocly's packages (npm). Each asks a registry or a
# database; where that does not answer, this says so, and claims nothing. Exits non-zero for anything found.
#
#     ADVISORY_DB   a clone of RustSec's database (https://github.com/rustsec/advisory-db), for a machine that cannot fetch it
source "$(dirname "$0")/../setup/common.sh"
"$root/scripts/setup/audit.sh"
deny="$deps/cargo-deny/bin/cargo-deny"
failed=0
cd "$root"

"$deny" --locked check licenses bans sources || failed=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
log="$work/log"
flags=(--locked)
if [ -n "${ADVISORY_DB:-}" ]; then
    # Where cargo-deny looks for a database that it has fetched: its name is that of the address.
    mkdir "$work/db"
    git clone --quiet "$ADVISORY_DB" "$work/db/advisory-db-3157b0e258782691"
    touch "$work/db/advisory-db-3157b0e258782691/.git/FETCH_HEAD"
    sed "s|^\[advisories\]|[advisories]\ndb-path = \"$work/db\"|" deny.toml > "$work/deny.toml"
    flags=(--locked --offline --config "$work/deny.toml")
fi
if "$deny" "${flags[@]}" check advisories > "$log" 2>&1; then
    cat "$log"
elif grep -qE 'failed to (fetch|load|open|clone)|unable to (fetch|load|clone)' "$log"; then
    echo "crates: not audited: the RustSec database cannot be reached from here"
else
    cat "$log"; failed=1
fi

"$deps/audit/bin/python" scripts/audit/python.py || failed=1

"$deps/audit/bin/python" scripts/audit/node.py || failed=1
exit "$failed"
