#!/usr/bin/env bash
# Makes .deps/schemathesis, which tries the contract on a running host.
source "$(dirname "$0")/common.sh"
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "schemathesis needs Python 3.11 or newer; this is $(python3 --version): the contract is not tried here"
    exit 0
fi
python_env schemathesis "$root/tests/contract/requirements-schemathesis.lock"
