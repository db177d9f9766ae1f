//! Compiles native/ against LibTorch, and rebuilds when a migration is added: `sqlx::migrate!` embeds the folder and cannot see
//! a new file by itself.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=native");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    // A release has LibTorch beside the program; .cargo/config.toml names the places for a working tree.
    println!("cargo:rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/torch/lib");
    let libtorch = env::var_os("LIBTORCH").map(PathBuf::from).expect("LIBTORCH is set by .cargo/config.toml");
    let include = libtorch.join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(3)
        .debug(false)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .warnings(false)
        .include("native")
        .flag("-isystem")
        .flag(include.to_string_lossy().as_ref())
        .flag("-isystem")
        .flag(include.join("torch/csrc/api/include").to_string_lossy().as_ref())
        .file("native/blindtune.cpp")
        .compile("blindtune_native");
}
