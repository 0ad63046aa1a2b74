//! Running a plan: each command printed, then run; the first that fails ends it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use lab::now_us;
use trace_schema::manifest::RunManifest;

use super::{Action, Pick, Plan, Run, Words, shell, tools};
use crate::command::{self, workspace_root};

/// Checks the programs and runs every step. Gives back the names that were settled before and those
/// that steps found out.
pub fn execute(plan: &Plan) -> anyhow::Result<BTreeMap<String, String>> {
    tools::check(&plan.tools)?;
    eprintln!("{}", plan.title);
    let mut execution = Execution {
        known: plan.known.clone(),
        begun_us: 0,
    };
    for (position, step) in plan.steps.iter().enumerate() {
        let number = format!("[{}/{}]", position + 1, plan.steps.len());
        eprintln!("\n{number} {}", step.about);
        eprintln!("$ {}", shell::line(&step.action, &execution.known));
        execution
            .perform(&step.action)
            .with_context(|| format!("step {number} {}", step.about))?;
    }
    for line in &plan.afterwards {
        println!("then: {}", shell::filled(line, &execution.known));
    }
    Ok(execution.known)
}

struct Execution {
    known: BTreeMap<String, String>,
    begun_us: i64,
}

impl Execution {
    fn perform(&mut self, action: &Action) -> anyhow::Result<()> {
        match action {
            Action::Run(words) => self.run(words),
            Action::RunUnless {
                words,
                listing,
                line,
            } => {
                let listed = self.output(listing)?;
                if listed.lines().any(|listed| listed.trim() == line) {
                    eprintln!("is there already: {line}");
                    return Ok(());
                }
                self.run(words)
            }
            Action::Set { name, words, pick } => {
                let output = self.output(words)?;
                let value = match pick {
                    Pick::All => output.trim().to_owned(),
                    Pick::Pool => pool(&output)?,
                };
                if value.is_empty() {
                    bail!("the command says nothing of {name}");
                }
                eprintln!("{name}={value}");
                self.known.insert((*name).to_owned(), value);
                Ok(())
            }
            Action::Pipe { file, words } => self.pipe(file, words),
            Action::Begin { folder } => {
                fs::create_dir_all(workspace_root().join(folder))
                    .with_context(|| format!("could not make {folder}"))?;
                self.begun_us = now_us();
                Ok(())
            }
            Action::Save { words, file } => {
                let output = File::create(workspace_root().join(file))
                    .with_context(|| format!("could not make {file}"))?;
                let status = self
                    .command(words)
                    .stdin(Stdio::null())
                    .stdout(output)
                    .status();
                require(status?.success(), words)
            }
            Action::End(run) => self.end(run),
        }
    }

    fn run(&self, words: &Words) -> anyhow::Result<()> {
        let status = self.command(words).stdin(Stdio::null()).status();
        let status = status.with_context(|| format!("could not start `{}`", words[0]))?;
        require(status.success(), words)
    }

    fn output(&self, words: &Words) -> anyhow::Result<String> {
        let mut command = self.command(words);
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("could not start `{}`", words[0]))?;
        require(output.status.success(), words)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn pipe(&self, file: &str, words: &Words) -> anyhow::Result<()> {
        let path = workspace_root().join(file);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("could not read {}", path.display()))?;
        let text = shell::filled(&text, &self.known);
        let mut child = self
            .command(words)
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start `{}`", words[0]))?;
        if let Some(mut input) = child.stdin.take() {
            // A reader that ended early says itself why.
            let _ = input.write_all(text.as_bytes());
        }
        require(child.wait()?.success(), words)
    }

    fn end(&self, run: &Run) -> anyhow::Result<()> {
        let manifest = RunManifest {
            case: run.case.clone(),
            factors: run.factors.clone(),
            client_pod: run.client_pod.clone(),
            server_address: Some(shell::filled(&run.server_address, &self.known)),
            server_port: Some(run.server_port),
            files: run
                .files
                .iter()
                .map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned()))
                .collect(),
            versions: run.versions.clone(),
            ..RunManifest::new(&run.id, run.tool, (self.begun_us, now_us()))
        };
        Ok(manifest.write(&workspace_root().join(&run.folder))?)
    }

    fn command(&self, words: &Words) -> Command {
        let filled: Vec<String> = words
            .iter()
            .map(|word| shell::filled(word, &self.known))
            .collect();
        let program = command::find_program(&filled[0]).unwrap_or_else(|| (&filled[0]).into());
        let mut command = Command::new(program);
        command.args(&filled[1..]).current_dir(workspace_root());
        command
    }
}

fn require(success: bool, words: &Words) -> anyhow::Result<()> {
    if !success {
        bail!("`{}` failed", words.join(" "));
    }
    Ok(())
}

/// Fifty addresses near the end of the first IPv4 subnet: engines give out addresses from its start.
fn pool(subnets: &str) -> anyhow::Result<String> {
    let ipv4 = |subnet: &str| {
        let (address, bits) = subnet.split_once('/')?;
        let address: Ipv4Addr = address.parse().ok()?;
        let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 24)?;
        Some((u32::from(address), bits))
    };
    let Some((address, bits)) = subnets.split_whitespace().find_map(ipv4) else {
        bail!("the network kind has no IPv4 subnet of at least 256 addresses: {subnets}");
    };
    let last = address | u32::MAX.checked_shr(bits).unwrap_or_default();
    let (from, to) = (Ipv4Addr::from(last - 55), Ipv4Addr::from(last - 5));
    Ok(format!("{from}-{to}"))
}

#[cfg(test)]
mod tests {
    use super::super::words;
    use super::*;

    #[test]
    fn the_pool_lies_in_the_ipv4_subnet_whichever_is_listed_first() {
        let pool = |subnets: &str| pool(subnets).unwrap();
        assert_eq!(pool("172.18.0.0/16"), "172.18.255.200-172.18.255.250");
        assert_eq!(
            pool("fc00:f853:ccd:e793::/64 172.18.4.0/24 "),
            "172.18.4.200-172.18.4.250"
        );
        assert!(super::pool("fc00::/64").is_err());
    }

    #[test]
    fn a_plan_hands_on_what_its_steps_find_and_stops_at_the_first_failure() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out").display().to_string();
        let mut plan = Plan::new("test", &[]);
        let set = Action::Set {
            name: "found",
            words: words("echo 7"),
            pick: Pick::All,
        };
        plan.step("find", set);
        let save = Action::Save {
            words: words("echo ${found} ${given}"),
            file: out.clone(),
        };
        plan.step("save", save);
        plan.run("fail", "false");
        let never = folder.path().join("never");
        plan.run("never", &format!("touch {}", never.display()));
        plan.known = BTreeMap::from([("given".to_owned(), "8".to_owned())]);
        let error = execute(&plan).unwrap_err();
        assert!(format!("{error:#}").contains("[3/4] fail"), "{error:#}");
        assert_eq!(fs::read_to_string(out).unwrap(), "7 8\n");
        assert!(!never.exists());
    }

    #[test]
    fn a_run_leaves_a_manifest_that_the_analyzer_reads() {
        let folder = tempfile::tempdir().unwrap();
        let run = Run {
            folder: folder.path().join("runs/x").display().to_string(),
            id: "x".to_owned(),
            case: "antrea-gateway".to_owned(),
            tool: "iperf3",
            files: vec![("iperf3.json", "iperf3-json")],
            factors: BTreeMap::new(),
            client_pod: None,
            server_address: "${server}".to_owned(),
            server_port: 5201,
            versions: BTreeMap::new(),
        };
        let mut plan = Plan::new("test", &[]);
        let begin = Action::Begin {
            folder: run.folder.clone(),
        };
        plan.step("begin", begin);
        let path = run.folder.clone();
        plan.step("end", Action::End(Box::new(run)));
        plan.known = BTreeMap::from([("server".to_owned(), "192.0.2.1".to_owned())]);
        execute(&plan).unwrap();
        let read = RunManifest::read(path.as_ref()).unwrap();
        assert_eq!(read.server_address.as_deref(), Some("192.0.2.1"));
        assert!(read.start_us > 0 && read.start_us <= read.end_us);
    }
}
