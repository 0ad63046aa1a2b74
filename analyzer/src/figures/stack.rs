//! Bars of components, one below the other. Every other component is hatched, so that neighbours
//! differ without colour; the runs' totals stand below their bar.

use std::fmt::Write as _;

use super::frame::{self, AXIS_HEIGHT, Head, LINE, Swatch, TEXT, Ticks, WIDTH};
use super::number::{cell, column_scale, decimals};
use super::scale::{Scale, comfortable, extent};
use super::svg::Svg;
use super::{Division, StackPlot, StackRow, mark, text};

const NAME_WIDTH: f64 = 210.0;
const NAME_LINES: usize = 3;
const ROW_HEIGHT: f64 = 50.0;
const BAR_HEIGHT: f64 = 22.0;
/// The pattern of a drawing's hatching.
const HATCH: &str = "hatch";

/// Draws the plot.
pub(super) fn draw(plot: &StackPlot, id: &str) -> String {
    let head = Head::new(&plot.title, None, legend(plot));
    let (names, name_width) = frame::names(
        plot.rows.iter().map(|row| row.name.as_str()),
        NAME_WIDTH,
        NAME_LINES,
    );
    let totals: Vec<f64> = plot.rows.iter().map(total).collect();
    let (low, high) = range(plot, &totals);
    let (scaled, _) = column_scale(plot.quantity.unit, &[low, high]);
    let decimals = decimals(&scaled, &totals);
    let values: Vec<String> = totals
        .iter()
        .map(|value| cell(*value, &scaled, decimals))
        .collect();
    let value_width = values
        .iter()
        .map(|words| text::width(words, TEXT))
        .fold(20.0, f64::max);
    let (left, right) = (name_width + 14.0, WIDTH - value_width - 12.0);
    let scale = Scale::new(range(plot, &totals), (left, right), Division::Linear);
    let ticks = Ticks::fitting(&scale, &plot.quantity);
    let heights: Vec<f64> = names
        .iter()
        .map(|lines| ROW_HEIGHT.max(lines.len() as f64 * LINE + 8.0))
        .collect();
    let top = head.bottom;
    let bottom = top + heights.iter().sum::<f64>();
    let size = (WIDTH, bottom + AXIS_HEIGHT);
    let mut svg = Svg::new(id, size, &plot.title, &description(plot));
    hatching(&mut svg);
    head.draw(&mut svg);
    let places: Vec<(f64, String)> = ticks
        .labels
        .iter()
        .map(|(value, words)| (scale.at(*value), words.clone()))
        .collect();
    frame::bottom_axis(&mut svg, &places, &ticks.name, (left, right), (top, bottom));
    let mut y = top;
    for (index, row) in plot.rows.iter().enumerate() {
        let centre = y + heights[index] / 2.0;
        if index > 0 {
            svg.line("separator", (0.0, y), (WIDTH, y));
        }
        frame::row_name(&mut svg, &names[index], left - 12.0, centre);
        draw_bar(&mut svg, plot, row, &scale, centre);
        svg.words("right value", (WIDTH, centre + 4.5), &values[index]);
        y += heights[index];
    }
    svg.finish()
}

fn draw_bar(svg: &mut Svg, plot: &StackPlot, row: &StackRow, scale: &Scale, centre: f64) {
    let top = centre - BAR_HEIGHT / 2.0 - 6.0;
    let mut sum = 0.0;
    for (index, part) in row.parts.iter().enumerate() {
        let (from, to) = (scale.at(sum), scale.at(sum + part.max(0.0)));
        sum += part.max(0.0);
        if to - from <= 0.0 {
            continue;
        }
        let name = &plot.components[index];
        let title = format!("{name}: {}", frame::spoken(*part, &plot.quantity));
        component(svg, index, (from, top), (to - from, BAR_HEIGHT), &title);
    }
    if let Some(interval) = row.mean.and_then(|mean| mean.interval) {
        let y = top + BAR_HEIGHT / 2.0;
        let (low, high) = (scale.at(interval.low), scale.at(interval.high));
        svg.line("whisker total", (low, y), (high, y));
        for x in [low, high] {
            svg.line("whisker total", (x, y - 5.0), (x, y + 5.0));
        }
    }
    for run in &row.observations {
        let title = format!("{}: {}", run.name, frame::spoken(run.value, &plot.quantity));
        let at = (scale.at(run.value), top + BAR_HEIGHT + 8.0);
        svg.open("circle")
            .text("class", "mark total run")
            .number("cx", at.0)
            .number("cy", at.1)
            .number("r", 3.4)
            .titled(&title);
    }
}

/// A component's box, hatched where its neighbours are not. Of twice as many components as there are
/// colours no two look the same.
pub(super) fn component(
    svg: &mut Svg,
    style: usize,
    (x, y): (f64, f64),
    (width, height): (f64, f64),
    title: &str,
) {
    let colour = format!("bar {}", mark::colour_class(style));
    let is_hatched = (style + style / mark::SHAPES) % 2 == 1;
    let hatch = is_hatched.then(|| format!("url(#{})", svg.id_of(HATCH)));
    let layers = [(colour.as_str(), None), ("hatched", hatch.as_deref())];
    for (class, fill) in layers.into_iter().take(1 + usize::from(is_hatched)) {
        let rectangle = svg
            .open("rect")
            .text("class", class)
            .number("x", x)
            .number("y", y)
            .number("width", width)
            .number("height", height);
        let rectangle = match fill {
            Some(fill) => rectangle.text("fill", fill),
            None => rectangle,
        };
        rectangle.titled(title);
    }
}

fn hatching(svg: &mut Svg) {
    let id = svg.id_of(HATCH);
    svg.open("defs").begin();
    svg.open("pattern")
        .text("id", &id)
        .text("patternUnits", "userSpaceOnUse")
        .text("width", "6")
        .text("height", "6")
        .text("patternTransform", "rotate(45)")
        .begin();
    svg.line("hatch", (0.0, 0.0), (0.0, 6.0));
    svg.close("pattern");
    svg.close("defs");
}

fn legend(plot: &StackPlot) -> Vec<(Swatch, String)> {
    let components = plot.components.iter().enumerate();
    components
        .map(|(index, name)| (Swatch::Bar(index), name.clone()))
        .collect()
}

fn total(row: &StackRow) -> f64 {
    row.mean
        .map_or_else(|| row.parts.iter().sum(), |mean| mean.value)
}

fn range(plot: &StackPlot, totals: &[f64]) -> (f64, f64) {
    let of_rows = plot.rows.iter().flat_map(|row| {
        let interval = row.mean.and_then(|mean| mean.interval);
        let ends = interval
            .into_iter()
            .flat_map(|interval| [interval.low, interval.high]);
        let sum = row.parts.iter().sum::<f64>();
        let runs = row.observations.iter().map(|run| run.value);
        runs.chain(ends).chain([sum])
    });
    let found = extent(of_rows.chain(totals.iter().copied()));
    comfortable(found.unwrap_or((0.0, 1.0)), true)
}

fn description(plot: &StackPlot) -> String {
    let mut words = String::new();
    for row in &plot.rows {
        let whole = frame::spoken(total(row), &plot.quantity);
        let _ = write!(words, "{}: {whole}, of which ", row.name);
        let parts = plot.components.iter().zip(&row.parts);
        let parts = parts
            .map(|(name, part)| format!("{name} {}", frame::spoken(*part, &plot.quantity)))
            .collect::<Vec<_>>();
        let _ = write!(words, "{}. ", parts.join(", "));
    }
    words.trim_end().to_owned()
}
