#!/usr/bin/env bash
# Writes the SHA-256 of every file of each pinned version into the lists of Python packages: pip then installs nothing else. Versions
# stay as they are: change a line by hand, then run this. `locks.sh FILE...` for some lists; all of git's by default.
source "$(dirname "$0")/setup/common.sh"
python_env uv "$root/scripts/setup/requirements-uv.lock"

hashed() { # hashed LOCK: the list with its comment, its pins and their hashes
    local oldest
    oldest=$(grep -om1 'CPython 3\.[0-9]*' "$1") || die "$1 must begin with a comment that names its oldest CPython"
    grep '^#' "$1"
    sed -n 's/ *\\$//; /^[A-Za-z0-9]/p' "$1" |
        "$deps/uv/bin/uv" pip compile - --quiet --no-deps --no-annotate --no-header --generate-hashes --universal \
            --no-python-downloads --python-version "${oldest#CPython }"
}

[ $# -gt 0 ] || mapfile -t locks < <(git -C "$root" ls-files --cached --others --exclude-standard '*requirements*.lock' | sed "s|^|$root/|")
for lock in "${@:-${locks[@]}}"; do
    say "hashes of $(realpath --relative-to="$root" "$lock")"
    hashed "$lock" > "$lock.new"
    mv "$lock.new" "$lock"
done
