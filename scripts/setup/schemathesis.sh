#!/usr/bin/env bash
# Makes .deps/schemathesis, which tries the contract on a running host.
source "$(dirname "$0")/common.sh"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "schemathesis needs Python 3.11 or newer; this is $(python3 --version)"
python_env schemathesis "$root/tests/contract/requirements-schemathesis.lock"
