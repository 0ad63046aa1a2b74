//! A step as a line of shell.

use std::collections::BTreeMap;

use super::{Action, Pick};

/// The line, with the names that are known already replaced.
pub fn line(action: &Action, known: &BTreeMap<String, String>) -> String {
    let command = |words: &[String]| {
        let quoted = words.iter().map(|word| quoted(&filled(word, known)));
        quoted.collect::<Vec<_>>().join(" ")
    };
    match action {
        Action::Run(words) => command(words),
        Action::RunUnless {
            words,
            listing,
            line,
        } => format!(
            "{} | grep --line-regexp --quiet {} || {}",
            command(listing),
            quoted(line),
            command(words)
        ),
        Action::Set { name, words, pick } => {
            let set = format!("export {name}=$({})", command(words));
            match pick {
                Pick::All => set,
                Pick::Pool => format!("{set}  # of which: a range near the end of the IPv4 subnet"),
            }
        }
        Action::Pipe { file, words } => format!("envsubst < {file} | {}", command(words)),
        Action::Begin { folder } => format!("mkdir -p {}", quoted(folder)),
        Action::Save { words, file } => format!("{} > {}", command(words), quoted(file)),
        Action::End(run) => format!("# writes {}/manifest.json", run.folder),
    }
}

/// A text with `${name}` replaced by what is known.
pub fn filled(text: &str, known: &BTreeMap<String, String>) -> String {
    known.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value)
    })
}

/// A word as a shell takes it; names in it stay names.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else if word.contains("${") {
        let escaped = word.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{escaped}\"")
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::words;
    use super::*;

    fn check(action: Action, expected: &str) {
        assert_eq!(line(&action, &BTreeMap::new()), expected);
    }

    #[test]
    fn words_are_quoted_and_names_stay_names() {
        check(
            Action::Run(words("kubectl get node ${node} --output='jsonpath={.a b}'")),
            "kubectl get node \"${node}\" '--output=jsonpath={.a b}'",
        );
        check(
            Action::Set {
                name: "x",
                words: words("echo 1"),
                pick: Pick::All,
            },
            "export x=$(echo 1)",
        );
    }

    #[test]
    fn what_is_known_is_filled_in() {
        let known = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let action = Action::Run(words("echo ${a} ${b}"));
        assert_eq!(line(&action, &known), "echo 1 \"${b}\"");
    }
}
