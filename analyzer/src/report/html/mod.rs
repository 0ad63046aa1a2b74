//! A report as one HTML file that asks nobody for anything: no script, no font, no image, no address
//! but those of its own sections. It reads on paper and in dark mode.
//!
//! What is shown is the [`Document`]; this only chooses elements.

mod parts;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::campaign::{Document, Figure, InputGroup, Section};

const STYLE: &str = include_str!("style.css");

/// Renders a document.
pub fn render(document: &Document) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content={ "weighbridge " (document.tool_version) };
                title { (document.title) " – weighbridge" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(document))
                main {
                    (parts::verdicts(&document.verdicts, &document.inputs))
                    (parts::comparisons(&document.comparisons, &document.inputs))
                    (parts::notes(&document.notes))
                    @for figure in &document.figures { (figure_section(figure, &document.inputs)) }
                    @for section in &document.appendix { (appendix(section)) }
                    (parts::inputs(&document.inputs))
                }
            }
        }
    };
    page.into_string() + "\n"
}

fn head(document: &Document) -> Markup {
    html! {
        header {
            h1 { (document.title) }
            p.lead {
                span { "The whole: " (parts::badge(document.result)) }
                span.muted { "weighbridge " (document.tool_version) }
            }
            nav aria-label="Contents" {
                ol {
                    li { a href="#verdicts" { "Verdicts" } }
                    li { a href="#comparisons" { "Comparisons" } }
                    @for figure in &document.figures {
                        li { a href={ "#" (figure.id) } { (figure.title) } }
                    }
                    @for section in &document.appendix {
                        li { a href={ "#" (section.id) } { (section.title) } }
                    }
                    li { a href="#inputs" { "Input files" } }
                }
            }
        }
    }
}

fn figure_section(figure: &Figure, inputs: &[InputGroup]) -> Markup {
    html! {
        section id=(figure.id) {
            h2 { (figure.title) }
            p.caption { (figure.caption) }
            @if let Some(missing) = &figure.missing {
                div.missing {
                    p { strong { "Not in this dataset: " } (parts::prose(&missing.what)) "." }
                    p { "To record it: " code { (missing.command) } }
                }
            }
            @for (index, plot) in figure.plots.iter().enumerate() {
                figure {
                    div.wide { (PreEscaped(plot.svg(&format!("{}-{}", figure.id, index + 1)))) }
                }
            }
            @for table in &figure.tables { (parts::table(table)) }
            @if !figure.notes.is_empty() {
                ul { @for note in &figure.notes { li { (parts::prose(note)) } } }
            }
            @if figure.missing.is_none() { (parts::source(&figure.source, inputs)) }
        }
    }
}

fn appendix(section: &Section) -> Markup {
    html! {
        section id=(section.id) {
            h2 { (section.title) }
            p.caption { (section.caption) }
            @if section.table.rows.is_empty() {
                p { "The dataset has no folder " code { "runs/" } " with a manifest in it." }
            } @else {
                (parts::table(&section.table))
            }
        }
    }
}
