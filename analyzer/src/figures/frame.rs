//! What all plots have in common: the title, the legend, axes with their grid, and room for text.
//!
//! Heights are known before anything is drawn, so that a figure grows instead of hiding something.

use super::number::{alone, cell, column_scale};
use super::scale::Scale;
use super::svg::Svg;
use super::{Division, Quantity, mark, stack, text, ticks};

/// Width of every drawing.
pub(super) const WIDTH: f64 = 880.0;
/// Font size of ticks, legends and labels.
pub(super) const TEXT: f64 = 12.5;
/// Height of a line of text.
pub(super) const LINE: f64 = 16.0;
/// Room for ticks and the name of a horizontal axis.
pub(super) const AXIS_HEIGHT: f64 = 44.0;

const TITLE: f64 = 14.0;
const SWATCH: f64 = 26.0;
const GAP: f64 = 12.0;

/// How a legend shows what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swatch {
    /// A small hollow mark.
    Run(usize),
    /// A mark with a whisker.
    Mean(usize),
    /// A mark.
    Mark(usize),
    /// A thin line.
    Thread(usize),
    /// A dashed line.
    Theory(usize),
    /// A line across.
    Reference,
    /// A shaded band.
    Band,
    /// A component of a bar.
    Bar(usize),
    /// A grey bar.
    Background,
    /// A ring.
    Outlier,
}

/// Title and legend, laid out.
pub(super) struct Head {
    title: Vec<String>,
    subtitle: Option<String>,
    entries: Vec<(Swatch, String, (f64, f64))>,
    /// Where the plot may begin.
    pub bottom: f64,
}

impl Head {
    /// Lays out a title, the name of the vertical axis, where there is one, and a legend.
    pub fn new(title: &str, subtitle: Option<String>, legend: Vec<(Swatch, String)>) -> Self {
        let title = text::wrapped(title, TITLE, WIDTH, 3);
        let mut y = LINE * title.len() as f64 + 8.0;
        let mut x = 0.0;
        let mut entries = Vec::new();
        for (swatch, words) in legend {
            let words = text::wrapped(&words, TEXT, WIDTH - SWATCH, 1).swap_remove(0);
            let width = SWATCH + text::width(&words, TEXT) + GAP;
            if x > 0.0 && x + width > WIDTH {
                x = 0.0;
                y += LINE + 3.0;
            }
            entries.push((swatch, words, (x, y + LINE * 0.5)));
            x += width;
        }
        if !entries.is_empty() {
            y += LINE + 6.0;
        }
        if subtitle.is_some() {
            y += LINE;
        }
        Self {
            title,
            subtitle,
            entries,
            bottom: y + 6.0,
        }
    }

    /// Draws it.
    pub fn draw(&self, svg: &mut Svg) {
        for (index, line) in self.title.iter().enumerate() {
            svg.words("title", (0.0, LINE * (index as f64 + 0.9)), line);
        }
        for (swatch, words, (x, y)) in &self.entries {
            swatch.draw(svg, (*x, *y));
            svg.words("left", (x + SWATCH, y + 4.5), words);
        }
        if let Some(subtitle) = &self.subtitle {
            svg.words("left axis-name", (0.0, self.bottom - 8.0), subtitle);
        }
    }
}

impl Swatch {
    fn draw(self, svg: &mut Svg, (x, y): (f64, f64)) {
        let centre = (x + SWATCH / 2.0 - 3.0, y);
        let (start, end) = ((x + 1.0, y), (x + SWATCH - 7.0, y));
        match self {
            Self::Run(style) => mark::draw(svg, style, "run", centre, 3.4, ""),
            Self::Mark(style) => mark::draw(svg, style, "", centre, 5.0, ""),
            Self::Mean(style) => {
                let class = format!("whisker {}", mark::colour_class(style));
                svg.line(&class, start, end);
                mark::draw(svg, style, "", centre, 5.0, "");
            }
            Self::Thread(style) => {
                svg.line(&format!("thread {}", mark::colour_class(style)), start, end);
            }
            Self::Theory(style) => {
                svg.line(&format!("theory {}", mark::colour_class(style)), start, end);
            }
            Self::Reference => svg.line("reference", start, end),
            Self::Band => rectangle(svg, "band", (x + 1.0, y - 6.0), (18.0, 12.0)),
            Self::Bar(style) => {
                stack::component(svg, style, (x + 1.0, y - 6.0), (18.0, 12.0), "");
            }
            Self::Background => rectangle(svg, "background", (x + 1.0, y - 3.0), (18.0, 6.0)),
            Self::Outlier => {
                svg.open("circle")
                    .text("class", "outlier")
                    .number("cx", centre.0)
                    .number("cy", centre.1)
                    .number("r", 6.0)
                    .end();
            }
        }
    }
}

/// A rectangle.
pub(super) fn rectangle(svg: &mut Svg, class: &str, at: (f64, f64), size: (f64, f64)) {
    svg.open("rect")
        .text("class", class)
        .number("x", at.0)
        .number("y", at.1)
        .number("width", size.0.max(0.0))
        .number("height", size.1.max(0.0))
        .end();
}

/// Ticks of an axis with their words, and the axis's name with its unit.
pub(super) struct Ticks {
    /// Value and words.
    pub labels: Vec<(f64, String)>,
    /// The name.
    pub name: String,
}

impl Ticks {
    /// Ticks of a scale, `most` at most on a linear one.
    pub fn of(scale: &Scale, quantity: &Quantity, most: usize) -> Self {
        let (low, high) = scale.range();
        let (scaled, _) = column_scale(quantity.unit, &[low, high]);
        let (low, high) = (low / scaled.divisor, high / scaled.divisor);
        let ticks: Vec<(f64, String)> = match scale.division() {
            Division::Linear => {
                let (values, step) = ticks::linear(low, high, most);
                let decimals = ticks::decimals(step);
                let words = |value: f64| cell(value * scaled.divisor, &scaled, decimals);
                values
                    .iter()
                    .map(|value| (value * scaled.divisor, words(*value)))
                    .collect()
            }
            Division::Logarithmic => {
                let values = ticks::logarithmic(low, high);
                let words = |value: f64| {
                    let decimals = ticks::decimals(10_f64.powf(value.log10().floor()));
                    cell(value * scaled.divisor, &scaled, decimals)
                };
                values
                    .iter()
                    .map(|value| (value * scaled.divisor, words(*value)))
                    .collect()
            }
        };
        Self {
            labels: ticks,
            name: named(&quantity.name, &scaled.symbol),
        }
    }

    /// As many ticks of a horizontal axis as do not touch each other.
    pub fn fitting(scale: &Scale, quantity: &Quantity) -> Self {
        let mut found = Self::of(scale, quantity, 9);
        for most in (2..9).rev() {
            if found.is_clear(scale) {
                break;
            }
            found = Self::of(scale, quantity, most);
        }
        found.thin_out(scale);
        found
    }

    /// Ticks at given values, those that would touch another left out.
    pub fn at(values: &[f64], scale: &Scale, quantity: &Quantity) -> Self {
        let (scaled, decimals) = column_scale(quantity.unit, values);
        let labels = values
            .iter()
            .map(|value| (*value, cell(*value, &scaled, decimals)));
        let mut found = Self {
            labels: labels.collect(),
            name: named(&quantity.name, &scaled.symbol),
        };
        found.thin_out(scale);
        found
    }

    /// The widest words.
    pub fn width(&self) -> f64 {
        let widths = self
            .labels
            .iter()
            .map(|(_, words)| text::width(words, TEXT));
        widths.fold(0.0, f64::max)
    }

    fn is_clear(&self, scale: &Scale) -> bool {
        self.labels.windows(2).all(|pair| {
            let apart = (scale.at(pair[1].0) - scale.at(pair[0].0)).abs();
            apart >= (text::width(&pair[0].1, TEXT) + text::width(&pair[1].1, TEXT)) / 2.0 + GAP
        })
    }

    fn thin_out(&mut self, scale: &Scale) {
        let mut end = f64::NEG_INFINITY;
        self.labels.retain(|(value, words)| {
            let half = text::width(words, TEXT) / 2.0;
            let fits = scale.at(*value) - half >= end;
            if fits {
                end = scale.at(*value) + half + GAP / 2.0;
            }
            fits
        });
    }
}

/// A name with its unit.
pub(super) fn named(name: &str, symbol: &str) -> String {
    if symbol.is_empty() {
        name.to_owned()
    } else {
        format!("{name} ({symbol})")
    }
}

/// A horizontal axis below the plot, with its grid.
pub(super) fn bottom_axis(
    svg: &mut Svg,
    places: &[(f64, String)],
    name: &str,
    (left, right): (f64, f64),
    (top, bottom): (f64, f64),
) {
    for (x, words) in places {
        svg.line("grid", (*x, top), (*x, bottom));
        svg.line("axis", (*x, bottom), (*x, bottom + 4.0));
        let half = text::width(words, TEXT) / 2.0;
        let x = x.clamp(half, (WIDTH - half).max(half));
        svg.words("middle", (x, bottom + 17.0), words);
    }
    svg.line("axis", (left, bottom), (right, bottom));
    let half = text::width(name, TEXT) / 2.0;
    let x = ((left + right) / 2.0).clamp(half, (WIDTH - half).max(half));
    svg.words("middle axis-name", (x, bottom + 36.0), name);
}

/// A category's name in lines, centred about a height, left of the plot.
pub(super) fn row_name(svg: &mut Svg, lines: &[String], right: f64, centre: f64) {
    let first = centre - (lines.len() as f64 - 1.0) * LINE / 2.0 + 4.5;
    for (index, line) in lines.iter().enumerate() {
        svg.words("right", (right, first + LINE * index as f64), line);
    }
}

/// Names in lines, and the width of the widest line.
pub(super) fn names<'a>(
    names: impl Iterator<Item = &'a str>,
    widest: f64,
    most_lines: usize,
) -> (Vec<Vec<String>>, f64) {
    let lines: Vec<Vec<String>> = names
        .map(|name| text::wrapped(name, TEXT, widest, most_lines))
        .collect();
    let width = lines
        .iter()
        .flatten()
        .map(|line| text::width(line, TEXT))
        .fold(0.0, f64::max);
    (lines, width)
}

/// A value in words for descriptions and titles.
pub(super) fn spoken(value: f64, quantity: &Quantity) -> String {
    alone(value, quantity.unit)
}
