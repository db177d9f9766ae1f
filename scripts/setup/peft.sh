#!/usr/bin/env bash
# Makes .deps/peft: transformers, PEFT and the torch 2.11.0 wheel, whose LibTorch is the host's own. The golden files and the bench use it.
source "$(dirname "$0")/common.sh"
lock="$root/scripts/fixtures/requirements.lock"
python="$deps/peft/bin/python"
stamp="$deps/peft/.ready"
want=$(sha256sum < "$lock" | cut -d' ' -f1)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && exit 0
need python3 "Python" "Install Python 3.10 or newer (Debian or Ubuntu: apt-get install python3 python3-venv)."
say "making .deps/peft: torch, transformers and PEFT, about 5 GB"
[ -x "$python" ] || python3 -m venv "$deps/peft" || die "python3 -m venv failed. On Debian or Ubuntu: apt-get install python3-venv"
"$python" -m pip install --quiet --require-hashes --requirement "$lock"
"$python" -c 'import bitsandbytes, peft, torch, transformers' 2>/dev/null || die ".deps/peft does not import torch, transformers and PEFT: remove it, and try again"
echo "$want" > "$stamp"
say "transformers and PEFT are ready"
