#!/usr/bin/env bash
# Makes .deps/console, which tries the console in the machine's Chromium.
source "$(dirname "$0")/common.sh"
python_env console "$root/tests/console/requirements-browser.lock"
