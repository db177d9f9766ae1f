#!/usr/bin/env bash
# Makes .deps/docs: mkdocs-material, which builds the documentation's site.
source "$(dirname "$0")/common.sh"
python_env docs "$root/scripts/docs/requirements.lock"
