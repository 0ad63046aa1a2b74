//! Running system tools to completion, with one-line errors.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use crate::error::LabError;
use crate::namespace::Namespace;
use crate::topology::Family;

/// Runs a tool with text on its standard input; a failure carries what it wrote to stderr.
pub(crate) fn feed(mut command: Command, input: &str) -> Result<String, LabError> {
    let line = command_line(&command);
    let output = run(&mut command, input).map_err(|source| spawn_error(&command, &source))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Command {
        command: line,
        message: one_line(&output.stderr),
    })
}

/// Runs `ip -batch`, in a namespace where one is given.
pub(crate) fn ip_batch(namespace: Option<&Namespace>, lines: &str) -> Result<(), LabError> {
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace.name()]);
    }
    feed_ip(command, lines)
}

/// Runs `ip -batch` in a namespace, for lines whose family cannot be told from an address.
pub(crate) fn ip_family_batch(
    namespace: &Namespace,
    family: Family,
    lines: &str,
) -> Result<(), LabError> {
    let mut command = Command::new("ip");
    let family = match family {
        Family::V4 => "-4",
        Family::V6 => "-6",
    };
    command.args([family, "-n", namespace.name()]);
    feed_ip(command, lines)
}

fn feed_ip(mut command: Command, lines: &str) -> Result<(), LabError> {
    command.args(["-batch", "-"]);
    feed(command, lines)
        .map(|_| ())
        .map_err(|error| match error {
            LabError::Command { command, message } => {
                // ip names only the number of the line; the line itself says more.
                let failed = message
                    .rsplit_once("-:")
                    .and_then(|(_, number)| number.trim().parse::<usize>().ok())
                    .and_then(|number| lines.lines().nth(number.saturating_sub(1)));
                let message = match failed {
                    Some(failed) => format!("{message}: `{failed}`"),
                    None => message,
                };
                LabError::Command { command, message }
            }
            other => other,
        })
}

/// What a tool wrote, its last lines joined into one.
pub(crate) fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(4)..].join("; ")
}

/// The error of a command that could not be started.
pub(crate) fn spawn_error(command: &Command, source: &io::Error) -> LabError {
    let program = command.get_program().to_string_lossy().into_owned();
    if source.kind() != io::ErrorKind::NotFound {
        return LabError::Command {
            command: command_line(command),
            message: source.to_string(),
        };
    }
    let package = match program.as_str() {
        "ip" | "tc" | "bridge" => "iproute2".to_owned(),
        program if program.starts_with("ip6tables") || program.starts_with("iptables") => {
            "iptables".to_owned()
        }
        program => program.to_owned(),
    };
    LabError::MissingTool { program, package }
}

pub(crate) fn command_line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn run(command: &mut Command, input: &str) -> io::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that refuses its input early closes the pipe; its exit status says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}
