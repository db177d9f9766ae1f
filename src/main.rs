//! The `blindtuned` program, the host: see [`blindtune::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    match blindtune::cli::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", blindtune::cli::told(&error));
            ExitCode::FAILURE
        }
    }
}
