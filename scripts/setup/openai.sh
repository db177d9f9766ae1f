#!/usr/bin/env bash
# Makes .deps/openai-<version> for each version of the stock package that tests/openai has a lock file for.
source "$(dirname "$0")/common.sh"
for lock in "$root"/tests/openai/requirements-*.lock; do
    version=${lock##*/requirements-}
    python_env "openai-${version%.lock}" "$lock"
done
