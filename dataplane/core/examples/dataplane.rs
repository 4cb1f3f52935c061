//! The data plane without Python: `cargo run --example dataplane -- CONFIG.json`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: dataplane CONFIG.json");
        return ExitCode::from(2);
    };
    let outcome = std::fs::read(&path)
        .map_err(|error| error.to_string())
        .and_then(|config| knarr_dataplane::run(&config).map_err(|fault| fault.to_string()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("dataplane: {text}");
            ExitCode::FAILURE
        }
    }
}
