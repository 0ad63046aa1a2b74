//! Chromium lays a page out and measures it: no text upon another or beyond its drawing, nothing
//! wider than the window, colours that can be read, in light and in dark, on a screen and on paper.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use analyzer::report::campaign::compose;
use analyzer::report::html;
use serde::Deserialize;

use scene::Size;

#[path = "../../../analyzer/tests/report/scene.rs"]
mod scene;

/// Measures and writes what it found into the page; the page itself has no script.
const MEASURE: &str = include_str!("measure.js");
const MARK: &str = "weighbridge-measured:";
/// What A4 leaves between the margins that the style sheet sets, at 96 px an inch.
const PAPER_PX: u32 = 695;

const USUAL_USERS: [u32; 4] = [1, 10, 100, 1000];
const MANY_USERS: [u32; 8] = [1, 3, 10, 30, 100, 300, 1000, 3000];

/// What the browser found.
#[derive(Debug, Deserialize)]
struct Measured {
    drawings: usize,
    texts: usize,
    is_dark: bool,
    overlaps: Vec<String>,
    beyond: Vec<String>,
    too_wide: Vec<String>,
    faint: Vec<String>,
}

#[test]
fn chromium_finds_no_overlap_and_nothing_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    for (name, findings) in [
        ("empty", scene::nothing()),
        ("one", scene::findings(size(1, 1, 1, &[10]))),
        ("usual", scene::findings(size(4, 8, 12, &USUAL_USERS))),
        ("large", scene::findings(size(16, 30, 200, &MANY_USERS))),
    ] {
        let document = compose(findings);
        let drawings: usize = document
            .figures
            .iter()
            .map(|figure| figure.plots.len())
            .sum();
        let script = format!("<script>{MEASURE}</script></body>");
        let screen = html::render(&document).replace("</body>", &script);
        // What holds for paper alone is held against a window as wide as paper is.
        let paper = screen.replace("@media print {", "@media all {");
        assert_ne!(paper, screen);
        for (text, width, is_dark) in [
            (&screen, 800, false),
            (&screen, 1400, false),
            (&screen, 1400, true),
            (&paper, PAPER_PX, false),
        ] {
            let page = folder.path().join(format!("{name}-{width}.html"));
            fs::write(&page, text).unwrap();
            let found = measured(&page, width, is_dark);
            assert_eq!(found.drawings, drawings);
            assert!(found.texts >= 10 * drawings, "{found:?}");
            assert_eq!(found.is_dark, is_dark);
            let faults = [found.overlaps, found.beyond, found.too_wide, found.faint];
            assert_eq!(faults.concat(), [""; 0], "{name}, {width} px wide");
        }
    }
}

#[test]
fn chromium_prints_every_section_on_paper() {
    let folder = tempfile::tempdir().unwrap();
    let document = compose(scene::findings(size(4, 8, 60, &USUAL_USERS)));
    let page = folder.path().join("page.html");
    fs::write(&page, html::render(&document)).unwrap();
    let paper = folder.path().join("page.pdf");
    let print = format!("--print-to-pdf={}", paper.display());
    chromium(&page, &[&print, "--no-pdf-header-footer"]);
    let text = pdftotext("-layout", &paper);
    for figure in &document.figures {
        assert!(text.contains(&figure.title), "{}", figure.title);
    }
    // A table that scrolls on a screen is whole on paper.
    for pod in (0..60).step_by(2) {
        let name = format!("7d9ad7d5-{pod:03}");
        assert!(text.matches(&name).count() > 0, "{name}");
    }
    let (pages, words) = places(&pdftotext("-bbox", &paper));
    assert!(
        pages > 1 && words.len() > 1_000,
        "{pages} pages, {} words",
        words.len()
    );
    let beyond: Vec<&Word> = words.iter().filter(|word| word.is_cut()).collect();
    assert!(beyond.is_empty(), "beyond the paper: {beyond:?}");
}

/// A word on a page of paper, in points.
#[derive(Debug)]
struct Word {
    from: f64,
    to: f64,
    page_width: f64,
    #[expect(dead_code, reason = "a failure names it")]
    text: String,
}

impl Word {
    fn is_cut(&self) -> bool {
        self.from < 0.0 || self.to > self.page_width
    }
}

/// The number of pages and the words on them, as `pdftotext -bbox` writes them, a line each.
fn places(text: &str) -> (usize, Vec<Word>) {
    let number = |line: &str, name: &str| -> f64 {
        let (_, rest) = line.split_once(&format!("{name}=\"")).expect("a place");
        let (number, _) = rest.split_once('"').expect("a whole attribute");
        number.parse().expect("a number")
    };
    let (mut pages, mut page_width) = (0, 0.0);
    let mut words = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("<page ") {
            pages += 1;
            page_width = number(line, "width");
        } else if line.starts_with("<word ") {
            words.push(Word {
                from: number(line, "xMin"),
                to: number(line, "xMax"),
                page_width,
                text: line.to_owned(),
            });
        }
    }
    (pages, words)
}

fn pdftotext(form: &str, paper: &Path) -> String {
    let output = Command::new("pdftotext")
        .args([form.as_ref(), paper.as_os_str(), "-".as_ref()])
        .output()
        .expect("pdftotext is there: apt-get install poppler-utils");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn size(cases: usize, runs: usize, pods: usize, users: &'static [u32]) -> Size {
    Size {
        cases,
        runs,
        pods,
        users,
    }
}

fn measured(page: &Path, width: u32, is_dark: bool) -> Measured {
    let size = format!("--window-size={width},1000");
    let colours = format!(
        "--blink-settings=preferredColorScheme={}",
        u8::from(!is_dark)
    );
    let dom = chromium(page, &[&size, &colours, "--dump-dom"]);
    let (_, found) = dom.rsplit_once(MARK).expect("the script ran");
    let (found, _) = found.split_once("</pre>").expect("it wrote all of it");
    let found = found
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    serde_json::from_str(&found).unwrap()
}

fn chromium(page: &Path, arguments: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(program())
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("chromium starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("chromium"))
        .find(|program| program.is_file());
    found.expect("chromium is not there: run `cargo xtask test --only report`, or apt-get install chromium poppler-utils")
}
