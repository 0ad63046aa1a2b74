//! Tests of `deploy/aks` that need no Terraform: its form, and that its variables say what they are.

use std::fs;

use crate::command::workspace_root;

/// Name and text of every file.
fn files() -> Vec<(String, String)> {
    let folder = workspace_root().join("deploy/aks");
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|ending| ending == "tf"))
        .map(|path| {
            (
                path.display().to_string(),
                fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    assert!(files.len() >= 4);
    files
}

#[test]
fn variables_and_outputs_are_documented() {
    for (name, text) in files() {
        let mut blocks = text.split("\n}\n");
        for block in &mut blocks {
            let Some(at) = ["variable \"", "output \""]
                .iter()
                .find_map(|kind| block.find(kind))
            else {
                continue;
            };
            let described = block[at..].lines().find_map(|line| {
                let text = line.trim().strip_prefix("description")?;
                text.trim().strip_prefix("= \"")
            });
            assert!(
                described.is_some_and(|text| text.len() > 20),
                "{name}: {}",
                &block[at..]
            );
        }
    }
}

/// What `terraform fmt` would change: two spaces a level, the `=` of neighbouring lines below each
/// other, no white space at an end.
#[test]
fn files_are_formatted() {
    for (name, text) in files() {
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{name}");
        let mut depth = 0usize;
        let mut neighbours: Option<(usize, usize)> = None;
        for (number, line) in text.lines().enumerate() {
            let place = format!("{name}:{}", number + 1);
            assert_eq!(line, line.trim_end(), "{place}: white space at the end");
            let code = line.trim_start();
            let closes = code.starts_with(['}', ']', ')']);
            let level = depth - usize::from(closes);
            let indent = line.len() - code.len();
            assert!(
                code.is_empty() || indent == 2 * level,
                "{place}: indented by {indent}"
            );
            let assigned = code.split_once(" = ").filter(|_| !code.starts_with('#'));
            neighbours = match (assigned, neighbours) {
                (Some((key, value)), known) => {
                    let at = indent + key.len();
                    let shortest = key.trim_end().len();
                    if let Some((known, longest)) = known {
                        assert_eq!(at, known, "{place}: `=` stands apart");
                        let longest = longest.max(shortest);
                        (!value.ends_with(['{', '['])).then_some((at, longest))
                    } else {
                        (!value.ends_with(['{', '['])).then_some((at, shortest))
                    }
                }
                _ => None,
            };
            let count = |brackets: [char; 3]| code.matches(brackets).count();
            if !code.starts_with('#') {
                depth = depth + count(['{', '[', '(']) - count(['}', ']', ')']);
            }
        }
        assert_eq!(depth, 0, "{name}: brackets");
    }
}
