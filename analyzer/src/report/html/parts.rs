//! The parts of the page: badges, tables, sources, input files.

use maud::{Markup, html};

use crate::report::campaign::{Comparisons, InputGroup, Source, Table, Verdict};
use crate::report::quantity;
use crate::verdict::Outcome;

/// Rows above which a table scrolls on a screen; paper shows all of them.
const LONG: usize = 24;
/// Columns above which a table is set smaller on paper.
const MANY_COLUMNS: usize = 11;
/// Reasons of a verdict that are listed.
const MOST_REASONS: usize = 6;
/// Files above which paper shows the group's hash alone.
const MANY_FILES: usize = 16;

/// A verdict's result, told apart by sign and word and not by colour alone.
pub(super) fn badge(result: Outcome) -> Markup {
    let sign = match result {
        Outcome::Pass => "✓",
        Outcome::Fail => "✗",
        Outcome::Inconclusive => "?",
    };
    html! {
        span class={ "badge " (result.name()) } { (sign) " " (result.name()) }
    }
}

/// Words in which what stands between backticks is set as code.
pub(super) fn prose(words: &str) -> Markup {
    let parts = words.split('`').enumerate();
    html! {
        @for (index, part) in parts {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// The verdicts, the worst first.
pub(super) fn verdicts(verdicts: &[Verdict], inputs: &[InputGroup]) -> Markup {
    let mut ordered: Vec<&Verdict> = verdicts.iter().collect();
    ordered.sort_by_key(|verdict| std::cmp::Reverse(verdict.result));
    let mut sources: Vec<&Source> = Vec::new();
    for verdict in verdicts {
        if !sources.contains(&&verdict.source) {
            sources.push(&verdict.source);
        }
    }
    html! {
        section id="verdicts" {
            h2 { "Verdicts" }
            div.table {
                table {
                    thead { tr { th { "result" } th { "of" } th { "subject" } th { "found" } } }
                    tbody {
                        @for verdict in ordered {
                            tr {
                                td { (badge(verdict.result)) }
                                td { (verdict.of) }
                                td.words { (verdict.subject) }
                                td.words {
                                    (verdict.summary)
                                    (reasons(&verdict.inconclusive_because))
                                }
                            }
                        }
                    }
                }
            }
            @for one in sources { (source(one, inputs)) }
        }
    }
}

/// Why a verdict is inconclusive; where many reasons are alike the first say enough.
fn reasons(reasons: &[String]) -> Markup {
    let mut different: Vec<&String> = Vec::new();
    for reason in reasons {
        if !different.contains(&reason) {
            different.push(reason);
        }
    }
    let more = different.len().saturating_sub(MOST_REASONS);
    html! {
        @if !different.is_empty() {
            ul {
                @for reason in different.iter().take(MOST_REASONS) { li { (reason) } }
                @if more > 0 { li { "and " (more) " more like these: the report as JSON has all" } }
            }
        }
    }
}

/// How cases compare.
pub(super) fn comparisons(comparisons: &Comparisons, inputs: &[InputGroup]) -> Markup {
    html! {
        section id="comparisons" {
            h2 { "Comparisons" }
            @if let Some(reason) = &comparisons.absent_because { p { (prose(reason)) } }
            @for metric in &comparisons.metrics {
                h3 { (metric.table.title) }
                ul { @for sentence in &metric.sentences { li { (prose(sentence)) } } }
                (rows(&metric.table, ""))
            }
            @if !comparisons.notes.is_empty() {
                ul { @for note in &comparisons.notes { li { (prose(note)) } } }
            }
            @if let Some(from) = &comparisons.source { (source(from, inputs)) }
        }
    }
}

/// What a reader should know.
pub(super) fn notes(notes: &[String]) -> Markup {
    html! {
        @if !notes.is_empty() {
            section id="notes" {
                h2 { "Notes" }
                ul { @for note in notes { li { (prose(note)) } } }
            }
        }
    }
}

/// A table of numbers.
pub(super) fn table(table: &Table) -> Markup {
    rows(table, &table.title)
}

/// The same under another title, or none where a heading stands above it.
fn rows(table: &Table, title: &str) -> Markup {
    let (names, rows) = table.in_words();
    let class = |index: usize| {
        if table.is_numeric(index) {
            "number"
        } else {
            "words"
        }
    };
    let caption = match (title, table.common_unit()) {
        (title, None) => title.to_owned(),
        ("", Some(unit)) => format!("in {unit}"),
        (title, Some(unit)) => format!("{title}, in {unit}"),
    };
    html! {
        div.table.long[rows.len() > LONG].many[names.len() > MANY_COLUMNS] {
            table {
                @if !caption.is_empty() { caption { (caption) } }
                thead { tr { @for (index, name) in names.iter().enumerate() { th class=(class(index)) scope="col" { (name) } } } }
                tbody {
                    @for row in &rows {
                        tr { @for (index, cell) in row.iter().enumerate() { td class=(class(index)) { (cell) } } }
                    }
                }
            }
        }
    }
}

/// Where numbers are from: functions, and files with their hashes.
pub(super) fn source(source: &Source, inputs: &[InputGroup]) -> Markup {
    let group = |name: &str| inputs.iter().find(|group| group.name == name);
    html! {
        @if !source.by.is_empty() {
            div.source {
                @if let [only] = source.by.as_slice() {
                    p { "Made by: " (prose(only)) }
                } @else {
                    p { "Made by:" }
                    ul { @for by in &source.by { li { (prose(by)) } } }
                }
                p {
                    "From: "
                    @for (index, name) in source.inputs.iter().enumerate() {
                        @if index > 0 { ", " }
                        @match group(name) {
                            Some(group) => {
                                a href={ "#input-" (name) } { (name) }
                                " (" (group.files.len()) " files, " code { (group.sha256.get(..12).unwrap_or_default()) } ")"
                            }
                            None => { (name) " (no such file here)" }
                        }
                    }
                }
            }
        }
    }
}

/// The input files with their hashes.
pub(super) fn inputs(inputs: &[InputGroup]) -> Markup {
    html! {
        section id="inputs" {
            h2 { "Input files" }
            p.caption {
                "Every file that was read, with its SHA-256. A group's hash is that of its listing: in the dataset's folder, "
                code { "find flows -type f -name '*.parquet' | LC_ALL=C sort | xargs sha256sum | sha256sum" }
                " prints that of " code { "flows" } ", as long as no merged file stands beside those it replaces; of "
                code { "runs" } " it is that of the manifests and the files that they list."
            }
            @for group in inputs {
                h3 id={ "input-" (group.name) } { (group.name) }
                p {
                    (group.files.len()) " files, " (quantity::bytes(i64::try_from(group.bytes).unwrap_or(i64::MAX)))
                    ", SHA-256 of the listing " code { (group.sha256) }
                }
                div.listing.long[group.files.len() > MANY_FILES] {
                    @for file in &group.files { (file.sha256) "  " (file.path) "\n" }
                }
                @if group.files.len() > MANY_FILES {
                    p.paper.muted { "The listing is in the file and not on paper." }
                }
            }
        }
    }
}
