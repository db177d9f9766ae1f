#!/usr/bin/env bash
# Makes the GPU kit in var/gpu-kit, and a tarball beside it: what checks and measures the host on a machine that has a card and a
# Python with torch, transformers and peft, and nothing else. See docs/gpu-kit.md.
# KIT_PROFILE=dev takes target/debug/blindtuned in place of a release build; BLINDTUNE_BIN any other program. KIT_OUT: another folder.
source "$(dirname "$0")/setup/common.sh"
limit_mib="${KIT_LIMIT_MIB:-60}"
kit="${KIT_OUT:-$root/var/gpu-kit}"
python="$deps/venv/bin/python"
# What blindtune.Client needs beside numpy and safetensors, which are there: pure Python, at the versions of the lock file.
packages="anyio certifi h11 httpcore httpx httpx-sse idna sniffio tqdm typing-extensions"

program() { # the host to take
    if [ -n "${BLINDTUNE_BIN:-}" ]; then echo "$BLINDTUNE_BIN"; return; fi
    case "${KIT_PROFILE:-release}" in
    release) (cd "$root" && cargo build --locked --release >&2) && echo "$root/target/release/blindtuned" ;;
    dev) echo "$root/target/debug/blindtuned" ;;
    *) die "KIT_PROFILE must be 'release' or 'dev', not '$KIT_PROFILE'" ;;
    esac
}

put_host() {
    local from
    from=$(program)
    [ -x "$from" ] || die "there is no host program at $from: run make build"
    mkdir -p "$kit/bin"
    strip -o "$kit/bin/blindtuned" "$from"
}

put_python() { # the SDK, the benches and what they import
    local pins wheels name
    pins=$(for name in $packages; do grep -om1 "^$name==[^ ]*" "$root/sdk/python/requirements-dev.lock" || die "$name is not in the lock file"; done)
    wheels="$cache/gpu-kit-wheels-$(sha256sum <<< "$pins" | cut -c1-12)"
    if [ ! -d "$wheels" ]; then
        say "fetching the kit's Python packages: 1 MB"
        rm -rf "$wheels.tmp"
        # Of no platform and no version of Python: whatever is compiled is refused here.
        xargs "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --platform any \
            --implementation py --abi none --dest "$wheels.tmp" <<< "$pins"
        publish "$wheels.tmp" "$wheels"
    fi
    xargs "$python" -m pip install --quiet --disable-pip-version-check --no-index --find-links "$wheels" --no-deps --no-compile \
        --target "$kit/site" <<< "$pins"
    cp -r "$root/sdk/python/src/blindtune" "$kit/site/"
    mkdir -p "$kit/benches" "$kit/tests/golden"
    for name in bench cases gpu gpu_golden gpu_steps hosts jobs measure peer peerlink service sides table; do
        cp "$root/benches/$name.py" "$kit/benches/"
    done
    cp -r "$root/tests/golden/data" "$root/tests/golden/bf16" "$kit/tests/golden/"
    cp "$root/benches/gpu_kit.py" "$kit/run.py"
    cp "$root/docs/gpu-kit.md" "$kit/README.md"
    cp "$root/LICENSE" "$kit/"
    rm -rf "$kit/site/bin"
    find "$kit" -name __pycache__ -prune -exec rm -rf {} +
}

describe() { # kit.json: which host this is, the torch that it needs, and the oldest glibc that it starts with
    local glibc commit torch profile="${KIT_PROFILE:-release}"
    torch=$(grep -m1 '^version=' "$root/scripts/setup/libtorch.sh" | cut -d= -f2)
    [ -n "$torch" ] || die "scripts/setup/libtorch.sh does not say the version of LibTorch"
    [ -z "${BLINDTUNE_BIN:-}" ] || profile=given
    glibc=$(readelf -V "$kit/bin/blindtuned" | grep -oE 'GLIBC_[0-9.]+' | sort -Vu | tail -n 1)
    commit=$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)
    printf '{"version": "%s", "commit": "%s", "made": "%s", "profile": "%s", "needs_torch": "%s", "needs_glibc": "%s"}\n' \
        "$(grep -m1 '^version' "$root/Cargo.toml" | cut -d'"' -f2)" "$commit" "$(date -u +%FT%TZ)" \
        "$profile" "$torch" "${glibc#GLIBC_}" > "$kit/kit.json"
}

mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }

rm -rf "$kit" "$kit.tar.gz"
put_host
"$root/scripts/put-postgres.sh" "$kit/postgres"
put_python
describe
bytes=$(find "$kit" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
say "the kit has $(mib "$bytes"), of which the host has $(mib "$(stat -c %s "$kit/bin/blindtuned")")"
[ "$bytes" -lt $((limit_mib * 1048576)) ] || die "the kit must stay under $limit_mib MiB"
tar -C "$(dirname "$kit")" -czf "$kit.tar.gz" "$(basename "$kit")"
say "$kit.tar.gz has $(mib "$(stat -c %s "$kit.tar.gz")"). On the machine with the card: tar xzf it, then python gpu-kit/run.py"
