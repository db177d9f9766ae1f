#!/usr/bin/env bash
# What is known against the crates (cargo-deny), the Python packages (pip-audit) and redocly's packages (npm). Each asks a registry or a
# database; where that does not answer, this says so, and claims nothing. Exits non-zero for anything found.
source "$(dirname "$0")/../setup/common.sh"
"$root/scripts/setup/audit.sh"
deny="$deps/cargo-deny/bin/cargo-deny"
failed=0
cd "$root"

"$deny" --locked check licenses bans sources || failed=1
log=$(mktemp); trap 'rm -f "$log"' EXIT
if "$deny" --locked check advisories > "$log" 2>&1; then
    cat "$log"
elif grep -qE 'failed to (fetch|load|open|clone)|unable to (fetch|load|clone)' "$log"; then
    echo "crates: not audited: the RustSec database cannot be reached from here"
else
    cat "$log"; failed=1
fi

"$deps/audit/bin/python" scripts/audit/python.py || failed=1

"$deps/audit/bin/python" scripts/audit/node.py || failed=1
exit "$failed"
