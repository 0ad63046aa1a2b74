//! Rules for the text of source files: how they open, how long they are, what they must not say.

use super::{Breach, TextFile};

/// Lines of non-test code that a file may have.
const LONGEST_FILE: usize = 450;

const CFG_TEST: &str = "#[cfg(test)]";

/// Folders and files that are pure: what they need of the world comes in as arguments.
const PURE: [&str; 8] = [
    "trace-schema/src/",
    "probe-ebpf/src/packet",
    "probe-ebpf/src/fingerprint",
    "probe-user/src/aggregate",
    "analyzer/src/policy/",
    "analyzer/src/pairing",
    "analyzer/src/verdict/",
    "analyzer/src/stats/",
];

/// What stands among them and is not pure: a dataset's place by URL, behind a feature of its own.
const IMPURE: &str = "trace-schema/src/store.rs";

/// Crates that the pure files must not import.
const IMPURE_CRATES: [&str; 5] = ["tokio", "aya", "kube", "object_store", "datafusion"];

/// Every breach in the source files.
pub fn check(files: &[TextFile]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let test_modules: Vec<String> = files.iter().flat_map(test_modules).collect();
    for file in files {
        if file.path.ends_with(".rs") {
            breaches.extend(opening(file));
            if !test_modules
                .iter()
                .any(|module| file.path.starts_with(module))
            {
                breaches.extend(length(file));
            }
            breaches.extend(imports(file));
            breaches.extend(unfinished(file));
            breaches.extend(embedded_sql(file));
        }
        breaches.extend(machine_traces(file));
    }
    breaches
}

fn opening(file: &TextFile) -> Option<Breach> {
    let opens = file
        .text
        .lines()
        .next()
        .is_some_and(|line| line.starts_with("//! "));
    (!opens).then(|| {
        Breach::new(
            &file.path,
            "does not open with `//!`: say what it holds and why",
        )
    })
}

fn length(file: &TextFile) -> Option<Breach> {
    let lines = code_lines(file).count();
    (!is_test(&file.path) && lines > LONGEST_FILE).then(|| {
        let rule = format!("{lines} lines of non-test code, more than {LONGEST_FILE}: split it");
        Breach::new(&file.path, rule)
    })
}

fn imports(file: &TextFile) -> Vec<Breach> {
    if file.path == IMPURE || !PURE.iter().any(|pure| file.path.starts_with(pure)) {
        return Vec::new();
    }
    let uses = |line: &str| {
        let starts = IMPURE_CRATES.iter().copied();
        let mut named = starts.filter(|name| {
            line.match_indices(&format!("{name}::")).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            })
        });
        named.next()
    };
    code_lines(file)
        .filter_map(|(number, line)| {
            let name = uses(line)?;
            Some(Breach::new(
                place(file, number),
                format!("a pure module uses {name}"),
            ))
        })
        .collect()
}

fn unfinished(file: &TextFile) -> Vec<Breach> {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    numbered(file)
        .filter_map(|(number, line)| {
            let mark = marks.iter().find(|mark| line.contains(**mark))?;
            Some(Breach::new(
                place(file, number),
                format!("unfinished: {mark}"),
            ))
        })
        .collect()
}

fn embedded_sql(file: &TextFile) -> Vec<Breach> {
    let (select, from) = (concat!("SEL", "ECT "), concat!("FR", "OM "));
    numbered(file)
        .filter(|(_, line)| line.contains(select) && line.contains(from))
        .map(|(number, _)| Breach::new(place(file, number), "SQL belongs in a .sql file"))
        .collect()
}

/// Folders of the machine that something was written on, and hosts that packages came from.
fn machine_traces(file: &TextFile) -> Vec<Breach> {
    let folders = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
    ];
    let hosts = [
        concat!("index.crates", ".io"),
        concat!("static.crates", ".io"),
        concat!("py", "pi.org"),
        concat!("pythonhosted", ".org"),
        concat!("proxy.go", "lang.org"),
        concat!("registry.npm", "js.org"),
    ];
    let names_folder = |line: &str| {
        folders.iter().copied().find(|folder| {
            line.match_indices(folder).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + folder.len()..].chars().next();
                let starts = !before.is_some_and(|c| c.is_alphanumeric() || "._-}$".contains(c));
                starts && after.is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '_')
            })
        })
    };
    numbered(file)
        .filter_map(|(number, line)| {
            let trace = names_folder(line)
                .or_else(|| hosts.iter().copied().find(|host| line.contains(host)))?;
            Some(Breach::new(
                place(file, number),
                format!("names {trace}, of one machine only"),
            ))
        })
        .collect()
}

/// The files of modules that a file declares for its tests, as beginnings of paths.
fn test_modules(file: &TextFile) -> Vec<String> {
    let folder = match file.path.rsplit_once('/') {
        Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
        _ => file.path.trim_end_matches(".rs").to_owned(),
    };
    let lines: Vec<&str> = file.text.lines().collect();
    let declared = lines
        .windows(2)
        .filter(|pair| pair[0] == CFG_TEST)
        .filter_map(|pair| {
            let name = pair[1]
                .trim_start_matches("pub(crate) ")
                .strip_prefix("mod ")?;
            name.strip_suffix(';')
        });
    declared
        .flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/")])
        .collect()
}

/// Lines with their numbers, up to the file's own tests, blank ones and comments included.
fn code_lines(file: &TextFile) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = file.text.lines().collect();
    let opens_tests = |pair: &[&str]| pair[0] == CFG_TEST && pair[1].ends_with('{');
    let end = lines
        .windows(2)
        .position(opens_tests)
        .unwrap_or(lines.len());
    numbered(file).take(end)
}

fn numbered(file: &TextFile) -> impl Iterator<Item = (usize, &str)> {
    file.text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// Test code: below a `tests` folder, but for the lab, which is a library.
fn is_test(path: &str) -> bool {
    let library = path.starts_with("tests/lab/") && !path.starts_with("tests/lab/tests/");
    !library
        && path
            .split('/')
            .any(|part| part == "tests" || part == "tests.rs")
}

fn place(file: &TextFile, number: usize) -> String {
    format!("{}:{number}", file.path)
}

#[cfg(test)]
mod tests {
    use super::{TextFile, check};

    fn rules_broken(path: &str, text: &str) -> Vec<String> {
        let files = [TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }];
        check(&files)
            .into_iter()
            .map(|breach| breach.rule)
            .collect()
    }

    #[track_caller]
    fn check_broken(path: &str, text: &str, expected: &str) {
        let rules = rules_broken(path, text);
        assert!(
            rules.iter().any(|rule| rule.contains(expected)),
            "{rules:?}"
        );
    }

    #[track_caller]
    fn check_kept(path: &str, text: &str) {
        assert_eq!(rules_broken(path, text), Vec::<String>::new());
    }

    #[test]
    fn a_file_opens_with_its_purpose() {
        check_broken("analyzer/src/a.rs", "use std::fs;\n", "does not open with");
        check_kept("analyzer/src/a.rs", "//! Holds nothing.\n");
    }

    #[test]
    fn only_code_counts_as_length() {
        let code = "//! A file.\n".to_owned() + &"fn f() {}\n".repeat(450);
        check_broken("analyzer/src/a.rs", &code, "451 lines of non-test code");
        check_kept("analyzer/tests/a.rs", &code);
        let tested =
            "//! A file.\n#[cfg(test)]\nmod tests {\n".to_owned() + &"fn f() {}\n".repeat(450);
        check_kept("analyzer/src/a.rs", &tested);
        let declares = "//! A file.\n#[cfg(test)]\nmod a;\n".to_owned();
        let files = [
            ("analyzer/src/mod.rs", declares),
            ("analyzer/src/a.rs", code.clone()),
        ]
        .map(|(path, text)| TextFile {
            path: path.to_owned(),
            text,
        });
        assert_eq!(check(&files), []);
        check_broken("tests/lab/src/a.rs", &code, "451 lines of non-test code");
    }

    #[test]
    fn pure_modules_import_no_runtime() {
        let text = "//! A file.\nuse tokio::time::sleep;\n";
        check_broken("analyzer/src/policy/a.rs", text, "a pure module uses tokio");
        check_kept("analyzer/src/input/a.rs", text);
        check_kept(
            "analyzer/src/policy/a.rs",
            "//! A file.\nuse crate::aya::Kind;\n",
        );
        check_kept(
            "analyzer/src/policy/a.rs",
            "//! A file.\nuse my_tokio::Kind;\n",
        );
    }

    #[test]
    fn unfinished_work_is_named() {
        let text = concat!("//! A file.\n// TO", "DO: more\n");
        check_broken("analyzer/src/a.rs", text, "unfinished");
    }

    #[test]
    fn sql_in_rust_is_refused() {
        let text = concat!(
            "//! A file.\nconst Q: &str = \"SEL",
            "ECT 1 FR",
            "OM flows\";\n"
        );
        check_broken("analyzer/src/a.rs", text, "SQL belongs in a .sql file");
    }

    #[test]
    fn folders_of_one_machine_are_refused() {
        check_broken(
            "README.md",
            concat!("see /ho", "me/someone/notes\n"),
            "of one machine only",
        );
        check_broken(
            "README.md",
            concat!("cd /wo", "rk/main\n"),
            "of one machine only",
        );
        check_kept("README.md", "a network/work/unit, tests/root/certificate\n");
    }
}
