//! `weighbridge-lab-load`: a server that logs who it met and a client that says who it is.
//!
//! Every connection begins with the client's own address and port. So each line of the server's log
//! holds both what the pod sent and what arrived: the truth that pairings are held against.

mod connect;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(options) => serve::run(&options),
        Command::Connect(options) => connect::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weighbridge-lab-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Many small connections, and a log of them.
#[derive(Parser)]
#[command(name = "weighbridge-lab-load", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer TCP and UDP clients and log each.
    Serve(serve::Options),
    /// Open connections to a server.
    Connect(connect::Options),
}

/// UTC microseconds now.
fn now_us() -> u128 {
    let epoch = std::time::UNIX_EPOCH;
    std::time::SystemTime::now()
        .duration_since(epoch)
        .unwrap_or_default()
        .as_micros()
}
