#!/usr/bin/env bash
# Tries the GPU kit on the CPU, with tiny shapes: from a copy outside the repository, in an empty environment, with the Python of
# .deps/peft. KIT_PYTHON: another Python with torch, transformers and peft. The JSON file and the logs go to var/gpu-kit-smoke.
# On an idle machine of two cores it takes a minute; a busy one has time enough, so that a step over budget means something.
source "$(dirname "$0")/setup/common.sh"
[ -n "${KIT_PYTHON:-}" ] || "$root/scripts/setup/peft.sh"
away=$(mktemp -d); trap 'rm -rf "$away"' EXIT
mkdir "$away/home"
KIT_PROFILE=dev KIT_LIMIT_MIB=100 KIT_OUT="$away/gpu-kit" "$root/scripts/gpu-kit.sh"
rm -rf "$root/var/gpu-kit-smoke"
cd "$away"
env -i PATH=/usr/bin:/bin HOME="$away/home" GPU_SMOKE=1 "${KIT_PYTHON:-$deps/peft/bin/python}" gpu-kit/run.py --out "$root/var/gpu-kit-smoke" \
    --minutes 25
