#!/usr/bin/env bash
# Puts LibTorch 2.11.0 (the version tch 0.24 pairs with) at .deps/libtorch.
# CPU by default: the libraries are unpacked from the PyPI wheel without its CUDA half. BLINDTUNE_TORCH=cuda keeps all of it.
source "$(dirname "$0")/common.sh"
version=2.11.0
flavour="${BLINDTUNE_TORCH:-cpu}"
target="$cache/libtorch-$version-$flavour"
python="$deps/venv/bin/python"

# What an earlier version unpacked has no licences, and is fetched again.
ready() { [ -e "$target/torch/lib/libtorch.so" ] && [ -d "$target/licenses" ]; }
if ready; then link "$target/torch" libtorch; exit 0; fi
need cc "a C compiler" "On Debian or Ubuntu: apt-get install build-essential"
need c++ "a C++ compiler" "On Debian or Ubuntu: apt-get install build-essential"
with_lock
if ready; then link "$target/torch" libtorch; exit 0; fi

work=$(mktemp -d "$cache/libtorch.XXXXXX"); trap 'rm -rf "$work"' EXIT
mkdir -p "$work/wheels" "$work/all" "$work/out"
fetch() { # fetch SIZE: the wheels of this flavour into $work/wheels, unpacked side by side into $work/all
    say "fetching LibTorch $version ($flavour) from the Python package index: about $1, once per machine"
    wheels "torch-$flavour" "$work/wheels"
    say "unpacking LibTorch"
    (cd "$work/all" && for wheel in "$work"/wheels/*.whl; do "$python" -m zipfile -e "$wheel" .; done)
}

licenses() { # what the wheels' makers want to be told wherever their libraries go
    (cd "$work/all" && for info in *.dist-info; do
        mkdir -p "$work/out/licenses/${info%.dist-info}"
        cp -r "$info"/licenses/* "$work/out/licenses/${info%.dist-info}/" 2>/dev/null ||
            cp "$info"/LICEN* "$work/out/licenses/${info%.dist-info}/" 2>/dev/null || rmdir "$work/out/licenses/${info%.dist-info}"
    done)
}

# libtorch_cpu finds the CUDA runtime and profiler through an rpath relative to torch/lib, so torch/ and nvidia/ stay side by side.
case "$flavour" in
cpu)
    fetch "545 MB"
    from="$work/all/torch"; to="$work/out/torch"; mkdir -p "$to/lib"
    mv "$from"/lib/libc10.so "$from"/lib/libtorch_cpu.so "$from"/lib/libgomp* "$from"/lib/libshm* \
       "$from"/lib/libtorch_global_deps.so "$to/lib/"
    mv "$from/include" "$from/share" "$to/"
    mv "$work/all/nvidia" "$work/out/nvidia"
    # libtorch.so is only a list of other libraries: the wheel's names the CUDA half, this one is empty.
    cc -shared -x c /dev/null -o "$to/lib/libtorch.so" -Wl,-soname,libtorch.so
    ;;
cuda)
    fetch "5 GB"
    mv "$work/all/torch" "$work/all/nvidia" "$work/out/"
    ;;
*) die "BLINDTUNE_TORCH must be 'cpu' or 'cuda', not '$flavour'" ;;
esac
licenses
publish "$work/out" "$target"
link "$target/torch" libtorch
say "LibTorch $version ($flavour) is ready"
