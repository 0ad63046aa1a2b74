//! What an exporter shows to a scrape: `name{label="value"} number [milliseconds]`.

use std::collections::BTreeMap;

use super::{Fault, Sample, Series, number};

/// Whether a line could stand in exposition text.
pub(super) fn is_line(line: &str) -> bool {
    line.starts_with("# HELP ") || line.starts_with("# TYPE ") || one(line).is_some()
}

/// The series of one scrape. Where the samples have no timestamp of their own, `node_time_seconds`
/// of the same scrape gives theirs.
pub(super) fn series(text: &str) -> Result<Vec<Series>, Fault> {
    let mut series = Vec::new();
    for (line, number) in text.lines().zip(1_usize..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        series.push(sample(line, number)?);
    }
    let clock = series.iter().find(|one| one.name == "node_time_seconds");
    let clock = clock.and_then(|one| one.points.first());
    let scraped_us = clock.map(|sample| (sample.value * 1e6).round() as i64);
    for sample in series.iter_mut().flat_map(|one| &mut one.points) {
        sample.at_us = sample.at_us.or(scraped_us);
    }
    Ok(series)
}

fn sample(line: &str, line_number: usize) -> Result<Series, Fault> {
    let place = || format!("line {line_number}");
    let (head, tail) = one(line).ok_or_else(|| Fault::Value {
        place: place(),
        text: line.chars().take(60).collect(),
        wanted: "a sample of an exporter",
    })?;
    let mut fields = tail.split_whitespace();
    let value = number(fields.next().unwrap_or_default(), place)?;
    let at_ms = fields.next().map(|text| number(text, place)).transpose()?;
    let (name, labels) = selector(head);
    Ok(Series {
        name,
        labels,
        points: vec![Sample {
            at_us: at_ms.map(|ms| (ms * 1e3).round() as i64),
            value,
        }],
    })
}

/// The two halves of a sample's line: name with labels, and the rest.
fn one(line: &str) -> Option<(&str, &str)> {
    let is_name = |text: &str| {
        let mut letters = text.chars();
        let first = letters.next();
        first.is_some_and(|letter| letter.is_ascii_alphabetic() || "_:".contains(letter))
            && letters.all(|letter| letter.is_ascii_alphanumeric() || "_:".contains(letter))
    };
    let end = match line.find('{') {
        Some(start) => start + end_of_labels(&line[start..])?,
        None => line.find(char::is_whitespace)?,
    };
    let (head, tail) = line.split_at(end);
    let name = head.split('{').next().unwrap_or_default();
    let has_number = tail.split_whitespace().next()?.parse::<f64>().is_ok();
    (is_name(name) && has_number).then_some((head, tail))
}

/// Where the brace closes that a text begins with: quoted values may hold braces.
fn end_of_labels(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (place, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return Some(place + 1),
            _ => {}
        }
    }
    None
}

/// Name and labels of `name{label="value",…}`; a text without braces is a name.
pub(super) fn selector(text: &str) -> (String, BTreeMap<String, String>) {
    let Some((name, rest)) = text.split_once('{') else {
        return (text.trim().to_owned(), BTreeMap::new());
    };
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    while let Some((label, after)) = rest.split_once("=\"") {
        let (mut value, mut end, mut escaped) = (String::new(), after.len(), false);
        for (place, letter) in after.char_indices() {
            match letter {
                'n' if escaped => value.push('\n'),
                _ if escaped => value.push(letter),
                '\\' => {}
                '"' => {
                    end = place + 1;
                    break;
                }
                _ => value.push(letter),
            }
            escaped = letter == '\\' && !escaped;
        }
        let label = label.trim_start_matches([',', ' ']).trim();
        labels.insert(label.to_owned(), value);
        rest = &after[end..];
    }
    let name = match name.trim() {
        "" => labels.remove("__name__").unwrap_or_default(),
        name => name.to_owned(),
    };
    (name, labels)
}
