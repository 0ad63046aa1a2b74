//! How cases compare: the sentences of `weighbridge compare` with their numbers.

use std::collections::BTreeSet;

use super::table::{Cell, Table};
use super::{Comparisons, MetricComparisons, Source};
use crate::compare::{CompareReport, Comparison, Family, Figures, MetricReport, Role};
use crate::figures::Unit;

/// The section; where nothing is compared, the reason.
pub(super) fn section(compared: &Result<CompareReport, String>) -> Comparisons {
    let report = match compared {
        Ok(report) => report,
        Err(reason) => {
            return Comparisons {
                absent_because: Some(format!("No cases are compared: {reason}.")),
                ..Comparisons::default()
            };
        }
    };
    let mut inputs = BTreeSet::new();
    let mut section = Comparisons::default();
    for campaign in &report.campaigns {
        let mut too_few = Vec::new();
        for metric in &campaign.metrics {
            let files = metric.origins.iter().flat_map(|origin| &origin.files);
            inputs.extend(files.filter_map(|file| file.split('/').next().map(str::to_owned)));
            // Cases of another tool's runs do not have the metric at all.
            let measured = metric.comparisons.iter();
            let measured = measured.filter(|one| one.n.0 > 0 && one.n.1 > 0);
            let measured: Vec<&Comparison> = measured.collect();
            if !measured.is_empty() && measured.iter().all(|one| one.n.0.min(one.n.1) < 2) {
                // Single runs do not even tell how many are needed: sentences and empty rows for each
                // pair would bury the figures.
                too_few.push(metric.words.clone());
            } else if !measured.is_empty() {
                section.metrics.push(MetricComparisons {
                    sentences: measured.iter().map(|one| one.sentence.clone()).collect(),
                    table: table(metric, &measured),
                });
            }
        }
        if !too_few.is_empty() {
            section.notes.push(format!(
                "Too few runs a case to compare: {}. Each case needs three.",
                too_few.join(", ")
            ));
        }
        section.notes.extend(campaign.notes.iter().cloned());
        let tested = campaign.families.iter().filter(|family| family.tests > 0);
        section.notes.extend(tested.map(adjustment));
    }
    if section.metrics.is_empty() {
        let too_few = section
            .notes
            .iter()
            .find(|note| note.starts_with("Too few"));
        let reason = too_few.map_or(
            "There are no two cases to compare: a campaign has two or more.",
            String::as_str,
        );
        section.absent_because = Some(reason.to_owned());
        section.notes.clear();
        return section;
    }
    section.source = Some(Source {
        by: vec!["means with Welch's t interval, exact permutation tests adjusted by Holm, Hodges–Lehmann and equivalence (`weighbridge compare`)".to_owned()],
        inputs: inputs.into_iter().collect(),
    });
    section
}

fn adjustment(family: &Family) -> String {
    let why = match family.role {
        Role::All => "",
        Role::Primary => " of metrics that the campaign declared primary before its first run",
        Role::Secondary => " of the other metrics, which support the primary ones",
    };
    format!(
        "p-values are adjusted together over {}{why}: {}",
        family.counted(),
        family.what
    )
}

fn table(metric: &MetricReport, measured: &[&Comparison]) -> Table {
    let unit = Some(metric.unit.into());
    let ratio = Some(Unit::Ratio);
    let title = match metric.role {
        Role::All => metric.words.clone(),
        Role::Primary => format!("{}, declared primary", metric.words),
        Role::Secondary => format!("{}, secondary", metric.words),
    };
    let mut table = Table::new(
        &title,
        &[
            ("first", None),
            ("second", None),
            ("runs", None),
            ("first − second", unit),
            ("95 % low", unit),
            ("95 % high", unit),
            ("Hodges–Lehmann", unit),
            ("ratio", ratio),
            ("p", ratio),
            ("p after Holm", ratio),
            ("Hedges g", ratio),
        ],
    );
    table.rows = measured.iter().map(|one| row(one)).collect();
    table
}

fn row(comparison: &Comparison) -> Vec<Cell> {
    let figures = comparison.figures.as_ref();
    let number = |pick: fn(&Figures) -> Option<f64>| Cell::number(figures.and_then(pick));
    vec![
        Cell::text(&comparison.first),
        Cell::text(&comparison.second),
        Cell::text(format!("{} and {}", comparison.n.0, comparison.n.1)),
        number(|one| Some(one.difference.estimate.value)),
        number(|one| Some(one.difference.estimate.interval.low)),
        number(|one| Some(one.difference.estimate.interval.high)),
        number(|one| one.shift.as_ref().map(|shift| shift.value)),
        number(|one| one.ratio.as_ref().map(|ratio| ratio.estimate.value)),
        number(|one| Some(one.permutation.p_value)),
        number(|one| one.p_holm),
        number(|one| one.hedges_g),
    ]
}
