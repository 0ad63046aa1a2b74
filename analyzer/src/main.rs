//! `weighbridge`: holds traces against policies. Exit codes: 0 every verdict passes, 1 one fails,
//! 2 bad use or bad input, 3 the evidence is inconclusive.

use std::process::ExitCode;

use analyzer::cli::Cli;
use analyzer::commands;
use analyzer::input::one_line;
use clap::Parser;

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("weighbridge: {}", one_line(error.as_ref()));
            ExitCode::from(commands::BAD_INPUT)
        }
    }
}
