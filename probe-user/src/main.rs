//! `weighbridge-probe`: parse, set up the log, dispatch. Everything else is in the library.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use probe_user::cli::{self, Cli, Command, LogFormat, Stop};
use probe_user::config::Config;
use probe_user::record::{self, RecordConfig};
use probe_user::{exit, preflight, privileges, run};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(Stop::Answer(text)) => {
            // A reader that went away, as in `--help | head`, is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(Stop::BadUse(line)) => {
            eprintln!("weighbridge-probe: {line}");
            return ExitCode::from(exit::BAD_USE);
        }
    };
    dispatch(cli).unwrap_or_else(|error| {
        eprintln!("weighbridge-probe: {error:#}");
        ExitCode::from(exit::code(&error))
    })
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(arguments) => {
            let config = Config::new(*arguments, &host_name()?)?;
            log_to_stderr(config.log_format);
            privileges::require()?;
            run::run(config)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Record(arguments) => {
            let config = RecordConfig::new(*arguments)?;
            log_to_stderr(config.log_format);
            record::run(config)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Preflight(arguments) => {
            log_to_stderr(LogFormat::Text);
            preflight::run(&arguments)
        }
    }
}

fn host_name() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname().context("host name (give --node)")?;
    Ok(name.to_string_lossy().into_owned())
}

fn log_to_stderr(format: LogFormat) {
    // An outage is said once by whoever ships, and not at each of a library's attempts.
    let usual = || EnvFilter::new("info,object_store=warn");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| usual());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
}
