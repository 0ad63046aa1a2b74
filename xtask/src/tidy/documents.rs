//! The documents name commands that exist.

use clap::CommandFactory as _;

use super::{Breach, TextFile};

/// Holds every `cargo xtask …` that a document at the root names against the tasks there are.
pub fn check(files: &[TextFile]) -> Vec<Breach> {
    let cli = crate::Cli::command();
    let tasks: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
    let documents = files.iter().filter(|file| file.path.ends_with(".md"));
    documents
        .flat_map(|file| unknown_tasks(file, &tasks))
        .collect()
}

fn unknown_tasks(file: &TextFile, tasks: &[&str]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for named in line.split("cargo xtask ").skip(1) {
            let name: String = named
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
                .collect();
            if !name.is_empty() && !tasks.contains(&name.as_str()) {
                let place = format!("{}:{}", file.path, index + 1);
                breaches.push(Breach::new(
                    place,
                    format!("there is no `cargo xtask {name}`"),
                ));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::{TextFile, unknown_tasks};

    fn check(line: &str, expected: usize) {
        let file = TextFile {
            path: "README.md".to_owned(),
            text: line.to_owned(),
        };
        assert_eq!(
            unknown_tasks(&file, &["demo", "test"]).len(),
            expected,
            "{line}"
        );
    }

    #[test]
    fn a_command_that_does_not_exist_is_named() {
        check("run `cargo xtask demo` and `cargo xtask dmeo`", 1);
        check(
            "run `cargo xtask demo --fault NAME`, `cargo xtask test`.",
            0,
        );
        check("`cargo xtask …`", 0);
    }
}
