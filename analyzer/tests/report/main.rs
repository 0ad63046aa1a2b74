//! The report as a page and as data: nothing from outside, the same bytes twice, every size.

mod scene;

use std::collections::BTreeSet;
use std::env;
use std::fs;

use analyzer::report::campaign::{Document, compose, junit};
use analyzer::report::{html, json};
use scene::{Size, findings, nothing};

const SMALL: Size = Size {
    cases: 2,
    runs: 2,
    pods: 2,
    users: &[],
};
const USUAL: Size = Size {
    cases: 4,
    runs: 8,
    pods: 12,
    users: &[1, 10, 100, 1000],
};
const LARGE: Size = Size {
    cases: 16,
    runs: 30,
    pods: 200,
    users: &[1, 3, 10, 30, 100, 300, 1000, 3000],
};

fn document(size: Size) -> Document {
    compose(findings(size))
}

/// Every size of page, by name.
fn pages() -> Vec<(&'static str, String)> {
    let sizes = [("small", SMALL), ("usual", USUAL), ("large", LARGE)];
    let mut pages: Vec<(&str, String)> = sizes
        .map(|(name, size)| (name, html::render(&document(size))))
        .to_vec();
    pages.push(("empty", html::render(&compose(nothing()))));
    pages
}

#[test]
fn a_page_asks_nobody_for_anything() {
    for (name, page) in pages() {
        if let Some(folder) = env::var_os("WEIGHBRIDGE_PAGES") {
            let folder = std::path::PathBuf::from(folder);
            fs::write(folder.join(format!("{name}.html")), &page).expect("the folder is there");
        }
        for asking in [
            "http://", "https://", "<script", "<link", "<img", "src=", "@import", "url(",
        ] {
            let found = page.matches(asking).count();
            // Hatching is a pattern of the same drawing.
            let own = match asking {
                "url(" => page.matches("url(#").count(),
                _ => 0,
            };
            assert_eq!(found, own, "{name}: {asking}");
        }
        assert!(!page.contains("NaN") && !page.contains("\"inf"), "{name}");
    }
}

#[test]
fn every_id_is_there_once_and_every_link_leads_to_one() {
    for (name, page) in pages() {
        let mut ids = BTreeSet::new();
        for id in attributes(&page, " id=\"") {
            assert!(ids.insert(id), "{name}: {id} twice");
        }
        for link in attributes(&page, " href=\"#") {
            assert!(ids.contains(link), "{name}: #{link} leads nowhere");
        }
        for labels in attributes(&page, " aria-labelledby=\"") {
            for label in labels.split(' ') {
                assert!(ids.contains(label), "{name}: {label} names nothing");
            }
        }
    }
}

fn attributes<'a>(page: &'a str, opening: &'a str) -> impl Iterator<Item = &'a str> {
    let mut parts = page.split(opening);
    parts.next();
    parts.map(|part| part.split('"').next().expect("split gives a first part"))
}

#[test]
fn the_same_findings_give_the_same_bytes() {
    assert_eq!(
        html::render(&document(USUAL)),
        html::render(&document(USUAL))
    );
    let data = || json::render(&document(USUAL)).expect("numbers and words are JSON");
    assert_eq!(data(), data());
}

#[test]
fn what_is_missing_is_named_with_the_command_that_records_it() {
    let document = compose(nothing());
    for figure in &document.figures {
        let missing = figure.missing.as_ref();
        let missing = missing.unwrap_or_else(|| panic!("{} has no data", figure.id));
        assert!(figure.plots.is_empty(), "{}", figure.id);
        assert!(!missing.what.is_empty() && !missing.command.is_empty());
    }
    let page = html::render(&document);
    assert_eq!(
        page.matches("To record it: ").count(),
        document.figures.len()
    );
}

#[test]
fn a_whole_campaign_has_every_figure() {
    for figure in &document(USUAL).figures {
        assert_eq!(figure.missing, None, "{}", figure.id);
        assert!(!figure.plots.is_empty(), "{}", figure.id);
        assert!(!figure.tables.is_empty(), "{}", figure.id);
        assert!(!figure.source.by.is_empty() && !figure.source.inputs.is_empty());
    }
}

#[test]
fn pods_beyond_what_a_timeline_bears_are_counted() {
    let page = html::render(&document(LARGE));
    assert!(page.contains("160 more pods are not drawn; 60 of them had failed connections"));
}

#[test]
fn the_data_of_a_small_campaign() {
    insta::assert_snapshot!(json::render(&document(SMALL)).expect("numbers and words are JSON"));
}

#[test]
fn the_junit_of_its_verdicts() {
    insta::assert_snapshot!(junit(&document(SMALL)).expect("words are XML"));
}
