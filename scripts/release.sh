#!/usr/bin/env bash
# Makes the host's release in var/release: a folder, and a tarball of it beside, that needs no Rust, no Python and no Postgres.
# Prints where it is. RELEASE_PROFILE=dev takes target/debug/blindtuned and packs nothing: that is make test-release.
source "$(dirname "$0")/setup/common.sh"
profile="${RELEASE_PROFILE:-release}"
case "$profile" in
release) built="$root/target/release/blindtuned" ;;
dev) built="$root/target/debug/blindtuned" ;;
*) die "RELEASE_PROFILE must be 'release' or 'dev', not '$profile'" ;;
esac
[ -x "$built" ] || die "there is no host program at $built: run make build-release"
torch=$(readlink -f "$deps/libtorch")
case "$torch" in *-cpu/torch) ;; *) die "a release has LibTorch for CPUs; this tree has $torch. For a card there is the Dockerfile (BLINDTUNE_TORCH=cuda)" ;; esac
version=$(grep -m1 '^version' "$root/Cargo.toml" | cut -d'"' -f2)
name="blindtuned-$version-linux-$(uname -m)"
out="$root/var/release"
to="$out/$name"

put_libtorch() { # what the program loads: LibTorch finds its companions through paths relative to torch/lib
    local library
    mkdir -p "$to/torch/lib" "$to/nvidia/cu13/lib"
    for library in libtorch_cpu.so libtorch.so libc10.so libgomp.so.1; do cp "$torch/lib/$library" "$to/torch/lib/"; done
    for library in libcudart.so.13 libcupti.so.13; do cp "$torch/../nvidia/cu13/lib/$library" "$to/nvidia/cu13/lib/"; done
    cp -r "$torch/../licenses" "$to/licenses"
}

put_texts() {
    cp "$root/LICENSE" "$root/CHANGELOG.md" "$root/openapi.yaml" "$root/config/default.toml" "$to/"
    cp "$root/docs/install.md" "$to/README.md"
}

rm -rf "$to" "$to.tar.gz" "$to.tar.gz.sha256"
mkdir -p "$to"
strip -o "$to/blindtuned" "$built"
put_libtorch
"$root/scripts/put-postgres.sh" "$to/postgres"
put_texts
say "$to has $(du -sm "$to" | cut -f1) MB"
[ "$profile" = release ] || { echo "$to"; exit 0; }
tar -C "$out" --owner=0 --group=0 --sort=name -czf "$to.tar.gz" "$name"
(cd "$out" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
say "$to.tar.gz has $(du -m "$to.tar.gz" | cut -f1) MB; its SHA-256 is beside it"
echo "$to.tar.gz"
