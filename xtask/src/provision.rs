//! Plans: what a task does to a cluster, step by step, as command lines that anyone can repeat.
//!
//! Every step prints its command before it runs; `--plan` prints them all, as a shell script, and
//! runs none. The programs that a plan needs are checked before its first step.

mod execute;
mod shell;
pub mod tools;
pub mod versions;

use std::collections::BTreeMap;

pub use execute::execute;
pub use tools::Tool;

/// What a task does.
pub struct Plan {
    /// What it comes to, one line.
    pub title: String,
    /// Programs that its steps run.
    pub tools: Vec<Tool>,
    /// Names in its steps and their files whose values are settled before.
    pub known: BTreeMap<String, String>,
    /// In this order.
    pub steps: Vec<Step>,
    /// What to do next, a line each.
    pub afterwards: Vec<String>,
}

/// A step.
pub struct Step {
    /// Why, one line.
    pub about: String,
    /// What.
    pub action: Action,
}

/// A command's words. `${name}` stands for what an earlier step found out.
pub type Words = Vec<String>;

/// What a step does.
pub enum Action {
    /// Runs a command.
    Run(Words),
    /// Runs a command unless another one's output has this line already.
    RunUnless {
        /// What is run.
        words: Words,
        /// What tells that it was run before.
        listing: Words,
        /// The line to look for.
        line: String,
    },
    /// Keeps a command's output under a name.
    Set {
        /// The name.
        name: &'static str,
        /// The command.
        words: Words,
        /// What of its output is meant.
        pick: Pick,
    },
    /// Gives a file, names replaced, to a command's input.
    Pipe {
        /// Path below the repository's root.
        file: &'static str,
        /// The command.
        words: Words,
    },
    /// Begins a run of load: its folder is made, its time begins.
    Begin {
        /// The folder.
        folder: String,
    },
    /// Writes a command's output to a file.
    Save {
        /// The command.
        words: Words,
        /// The file.
        file: String,
    },
    /// Ends a run of load: its manifest is written.
    End(Box<Run>),
}

/// What of an output is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// All of it, without the white space around it.
    All,
    /// Addresses near the end of the IPv4 subnet among those listed, which no container gets.
    Pool,
}

/// A run of load, as its manifest will say.
pub struct Run {
    /// Folder with the tool's files.
    pub folder: String,
    /// Name of the run.
    pub id: String,
    /// Name of the case.
    pub case: String,
    /// `iperf3` or `k6`.
    pub tool: &'static str,
    /// Files in the folder and what each is.
    pub files: Vec<(&'static str, &'static str)>,
    /// What the case sets.
    pub factors: BTreeMap<String, String>,
    /// The client as `namespace/name`.
    pub client_pod: Option<String>,
    /// Address of the server; a name in `${}` is replaced.
    pub server_address: String,
    /// Port of the server.
    pub server_port: u16,
    /// Versions of what is tested.
    pub versions: BTreeMap<String, String>,
}

impl Plan {
    /// A plan without steps.
    pub fn new(title: impl Into<String>, tools: &[Tool]) -> Self {
        Self {
            title: title.into(),
            tools: tools.to_vec(),
            known: BTreeMap::new(),
            steps: Vec::new(),
            afterwards: Vec::new(),
        }
    }

    /// Adds a step.
    pub fn step(&mut self, about: impl Into<String>, action: Action) {
        self.steps.push(Step {
            about: about.into(),
            action,
        });
    }

    /// Adds a step that runs a command.
    pub fn run(&mut self, about: impl Into<String>, command: &str) {
        self.step(about, Action::Run(words(command)));
    }

    /// The whole plan as a shell script.
    pub fn script(&self) -> String {
        let mut lines = vec![format!("# {}", self.title), "#".to_owned()];
        for tool in &self.tools {
            lines.push(format!("# needs {}", tool.requirement()));
        }
        if !self.known.is_empty() {
            lines.push(String::new());
        }
        let known = self.known.iter();
        lines.extend(known.map(|(name, value)| format!("export {name}={value}")));
        for step in &self.steps {
            lines.push(String::new());
            lines.push(format!("# {}", step.about));
            lines.push(shell::line(&step.action, &BTreeMap::new()));
        }
        if !self.afterwards.is_empty() {
            lines.push(String::new());
        }
        lines.extend(self.afterwards.iter().map(|line| format!("# then: {line}")));
        lines.join("\n") + "\n"
    }
}

/// Splits a command at spaces; what stands between single quotes stays together.
pub fn words(command: &str) -> Words {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut begun) = (false, false);
    for c in command.chars() {
        match c {
            '\'' => (quoted, begun) = (!quoted, true),
            ' ' | '\n' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
impl Plan {
    /// Panics where a step runs a program that the plan does not check for.
    pub fn require_tools_of_every_step(&self) {
        for step in &self.steps {
            for words in step.action.commands() {
                let system = ["echo", "sleep", "false", "touch"].contains(&words[0].as_str());
                let checked = self.tools.iter().any(|tool| tool.is_called(&words[0]));
                assert!(
                    system || checked,
                    "{}: {} is not checked for",
                    self.title,
                    words[0]
                );
            }
        }
    }

    /// Panics where a file has a name in it that no step before sets.
    pub fn require_names_of_every_file(&self) {
        let mut known: Vec<&str> = self.known.keys().map(String::as_str).collect();
        for step in &self.steps {
            match &step.action {
                Action::Set { name, .. } => known.push(name),
                Action::Pipe { file, .. } => {
                    let path = crate::command::workspace_root().join(file);
                    let text = std::fs::read_to_string(path).unwrap();
                    for name in text.split("${").skip(1) {
                        let name = name.split('}').next().unwrap_or_default();
                        assert!(known.contains(&name), "{file}: nobody sets {name}");
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
impl Action {
    fn commands(&self) -> Vec<&Words> {
        match self {
            Self::Run(words)
            | Self::Set { words, .. }
            | Self::Pipe { words, .. }
            | Self::Save { words, .. } => vec![words],
            Self::RunUnless { words, listing, .. } => vec![words, listing],
            Self::Begin { .. } | Self::End(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn a_command_is_split_at_spaces_outside_of_quotes() {
        assert_eq!(
            words("kubectl get  'a b' --output=jsonpath='{.x y}'"),
            ["kubectl", "get", "a b", "--output=jsonpath={.x y}"]
        );
        assert_eq!(words("a ''"), ["a", ""]);
    }
}
