//! Categories below each other: every run as a hollow mark above, the mean with its interval as a
//! filled one below, so that neither hides the other.

use std::fmt::Write as _;

use super::frame::{self, AXIS_HEIGHT, Head, LINE, Swatch, TEXT, Ticks, WIDTH};
use super::number::{cell, column_scale, decimals};
use super::scale::{Scale, comfortable, extent};
use super::svg::Svg;
use super::{Division, DotPlot, DotRow, mark, text};

const NAME_WIDTH: f64 = 210.0;
const NAME_LINES: usize = 3;
const ROW_HEIGHT: f64 = 40.0;
/// How far runs lie apart, so that equal ones show as several.
const SCATTER: [f64; 3] = [0.0, -4.0, 4.0];

/// Draws the plot.
pub(super) fn draw(plot: &DotPlot, id: &str) -> String {
    let head = Head::new(&plot.title, None, legend(plot));
    let (names, name_width) = frame::names(
        plot.rows.iter().map(|row| row.name.as_str()),
        NAME_WIDTH,
        NAME_LINES,
    );
    let values = beside(plot);
    let value_width = values
        .iter()
        .map(|words| text::width(words, TEXT))
        .fold(0.0, f64::max);
    let (left, right) = (name_width + 14.0, WIDTH - value_width.max(20.0) - 12.0);
    let scale = Scale::new(range(plot), (left, right), Division::Linear);
    let ticks = Ticks::fitting(&scale, &plot.quantity);
    let heights: Vec<f64> = names
        .iter()
        .map(|lines| ROW_HEIGHT.max(lines.len() as f64 * LINE + 8.0))
        .collect();
    let top = head.bottom;
    let bottom = top + heights.iter().sum::<f64>();
    let size = (WIDTH, bottom + AXIS_HEIGHT);
    let mut svg = Svg::new(id, size, &plot.title, &description(plot));
    head.draw(&mut svg);
    let places: Vec<(f64, String)> = ticks
        .labels
        .iter()
        .map(|(value, words)| (scale.at(*value), words.clone()))
        .collect();
    frame::bottom_axis(&mut svg, &places, &ticks.name, (left, right), (top, bottom));
    for reference in &plot.references {
        let x = scale.at(reference.value);
        svg.line("reference", (x, top), (x, bottom));
    }
    let mut y = top;
    for (index, row) in plot.rows.iter().enumerate() {
        let height = heights[index];
        if index > 0 {
            svg.line("separator", (0.0, y), (WIDTH, y));
        }
        let centre = y + height / 2.0;
        frame::row_name(&mut svg, &names[index], left - 12.0, centre);
        draw_row(&mut svg, plot, row, &scale, (y, height));
        svg.words("right value", (WIDTH, centre + 4.5), &values[index]);
        y += height;
    }
    svg.finish()
}

fn draw_row(svg: &mut Svg, plot: &DotPlot, row: &DotRow, scale: &Scale, (y, height): (f64, f64)) {
    let centre = y + height / 2.0;
    if let Some(allowed) = row.allowed {
        let (low, high) = (scale.at(allowed.low), scale.at(allowed.high));
        let at = (low.min(high) - 1.0, y + 4.0);
        frame::rectangle(svg, "band", at, ((high - low).abs() + 2.0, height - 8.0));
    }
    if let Some(expected) = row.expected {
        let x = scale.at(expected);
        svg.line("expected", (x, y + 5.0), (x, y + height - 5.0));
    }
    let above = if row.mean.is_some() { 8.0 } else { 0.0 };
    for (index, run) in row.observations.iter().enumerate() {
        let at = (
            scale.at(run.value),
            centre - above + SCATTER[index % SCATTER.len()],
        );
        let title = format!("{}: {}", run.name, frame::spoken(run.value, &plot.quantity));
        mark::draw(svg, row.style, "run", at, 3.4, &title);
        if run.is_outlier {
            svg.open("circle")
                .text("class", "outlier")
                .number("cx", at.0)
                .number("cy", at.1)
                .number("r", 6.5)
                .end();
        }
    }
    let Some(mean) = row.mean else {
        return;
    };
    let at = (scale.at(mean.value), centre + 9.0);
    if let Some(interval) = mean.interval {
        let class = format!("whisker {}", mark::colour_class(row.style));
        let (low, high) = (scale.at(interval.low), scale.at(interval.high));
        svg.line(&class, (low, at.1), (high, at.1));
        for x in [low, high] {
            svg.line(&class, (x, at.1 - 4.0), (x, at.1 + 4.0));
        }
    }
    let title = format!(
        "{}: mean {}",
        row.name,
        frame::spoken(mean.value, &plot.quantity)
    );
    mark::draw(svg, row.style, "", at, 5.0, &title);
}

fn legend(plot: &DotPlot) -> Vec<(Swatch, String)> {
    let mut legend = Vec::new();
    let mut add = |is_there: bool, swatch: Swatch, words: &str| {
        if is_there {
            legend.push((swatch, words.to_owned()));
        }
    };
    let rows = || plot.rows.iter();
    let runs = || rows().flat_map(|row| &row.observations);
    add(runs().next().is_some(), Swatch::Run(0), &plot.mark);
    let has_interval = |row: &DotRow| row.mean.is_some_and(|mean| mean.interval.is_some());
    add(
        rows().any(has_interval),
        Swatch::Mean(0),
        "mean of the runs with its 95 % interval",
    );
    add(
        runs().any(|run| run.is_outlier),
        Swatch::Outlier,
        "flagged as an outlier, and counted",
    );
    add(
        rows().any(|row| row.expected.is_some()),
        Swatch::Reference,
        "expected",
    );
    add(
        rows().any(|row| row.allowed.is_some()),
        Swatch::Band,
        "allowed",
    );
    for reference in &plot.references {
        add(true, Swatch::Reference, &reference.name);
    }
    legend
}

fn range(plot: &DotPlot) -> (f64, f64) {
    let of_rows = plot.rows.iter().flat_map(|row| {
        let intervals = [row.mean.and_then(|mean| mean.interval), row.allowed];
        let ends = intervals
            .into_iter()
            .flatten()
            .flat_map(|interval| [interval.low, interval.high]);
        let single = [row.mean.map(|mean| mean.value), row.expected];
        let runs = row.observations.iter().map(|run| run.value);
        runs.chain(ends).chain(single.into_iter().flatten())
    });
    let references = plot.references.iter().map(|reference| reference.value);
    comfortable(
        extent(of_rows.chain(references)).unwrap_or((0.0, 1.0)),
        false,
    )
}

/// The number beside each row: its mean, or its only run.
fn beside(plot: &DotPlot) -> Vec<String> {
    let shown = |row: &DotRow| match (row.mean, row.observations.as_slice()) {
        (Some(mean), _) => Some(mean.value),
        (None, [only]) => Some(only.value),
        (None, _) => None,
    };
    let values: Vec<f64> = plot.rows.iter().filter_map(shown).collect();
    // The multiple is the axis's, so that number and mark say the same.
    let (low, high) = range(plot);
    let (scaled, _) = column_scale(plot.quantity.unit, &[low, high]);
    let decimals = decimals(&scaled, &values);
    let words = |row| shown(row).map_or_else(String::new, |value| cell(value, &scaled, decimals));
    plot.rows.iter().map(words).collect()
}

fn description(plot: &DotPlot) -> String {
    let mut words = String::new();
    for row in &plot.rows {
        let _ = write!(words, "{}", row.name);
        if let Some(mean) = row.mean {
            let runs = row.observations.len();
            let mean_words = frame::spoken(mean.value, &plot.quantity);
            let _ = write!(words, ": mean {mean_words} of {runs}");
            if let Some(interval) = mean.interval {
                let _ = write!(
                    words,
                    ", 95 % interval {} to {}",
                    frame::spoken(interval.low, &plot.quantity),
                    frame::spoken(interval.high, &plot.quantity)
                );
            }
        } else if let [only] = row.observations.as_slice() {
            let _ = write!(words, ": {}", frame::spoken(only.value, &plot.quantity));
        }
        words.push_str(". ");
    }
    words.trim_end().to_owned()
}
