//! Figures as data, and their drawing as SVG.
//!
//! A [`Plot`] holds numbers in base units and the words beside them; `svg` turns it into inline SVG
//! whose colours are the page's. Everything is pure and depends on nothing but its argument, so
//! that the same numbers give the same bytes. A plot refuses to be empty: where there is nothing to
//! show, a figure says what is missing and which command records it.

mod dots;
mod frame;
mod lines;
mod mark;
mod number;
mod scale;
mod stack;
mod svg;
mod text;
mod ticks;
mod timeline;
mod unit;

use serde::Serialize;

pub use number::{cell, column_scale, decimals};
pub use unit::{Scaled, Unit};

use crate::stats::Interval;

/// One drawing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Plot {
    /// Observations of each category with their mean.
    Dots(DotPlot),
    /// Points and lines over two axes.
    Lines(LinePlot),
    /// Sums by component, a bar a category.
    Stack(StackPlot),
    /// Spans of time, a line a row.
    Timeline(Timeline),
}

/// What an axis measures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantity {
    /// Its name.
    pub name: String,
    /// Its unit; values are in the base unit.
    pub unit: Unit,
}

/// A number with the interval that it is certain to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimated {
    /// The number.
    pub value: f64,
    /// Its interval; absent below two observations.
    pub interval: Option<Interval>,
}

/// One observation: a run's figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Observation {
    /// What was observed: the run.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// Whether it is flagged as an outlier; it is shown and counted all the same.
    pub is_outlier: bool,
}

/// A line that values are held against.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReferenceLine {
    /// What it stands for.
    pub name: String,
    /// Where it is.
    pub value: f64,
}

/// Categories below each other, their observations and means beside them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DotPlot {
    /// What is shown.
    pub title: String,
    /// What is measured.
    pub quantity: Quantity,
    /// What a hollow mark is, as the legend says it.
    pub mark: String,
    /// Lines across all categories.
    pub references: Vec<ReferenceLine>,
    /// The categories.
    pub rows: Vec<DotRow>,
}

/// A category.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DotRow {
    /// Its name.
    pub name: String,
    /// Number of its colour and shape.
    pub style: usize,
    /// Its runs.
    pub observations: Vec<Observation>,
    /// Their mean.
    pub mean: Option<Estimated>,
    /// Where a value should be, for this category alone.
    pub expected: Option<f64>,
    /// Where a value may be, for this category alone.
    pub allowed: Option<Interval>,
}

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Division {
    /// Equal steps for equal differences.
    Linear,
    /// Equal steps for equal ratios.
    Logarithmic,
}

/// One axis.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Axis {
    /// What it measures.
    pub quantity: Quantity,
    /// How it is divided.
    pub division: Division,
    /// Whether 0 stands on it.
    pub from_zero: bool,
}

/// Points and lines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinePlot {
    /// What is shown.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// Lines across, at values of `y`.
    pub references: Vec<ReferenceLine>,
    /// How far from the first reference is still within the margin.
    pub margin: Option<f64>,
    /// What is drawn, the last on top.
    pub series: Vec<Series>,
}

/// Points that belong together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Number of its colour and shape.
    pub style: usize,
    /// How it looks.
    pub look: Look,
    /// Its points.
    pub points: Vec<Point>,
}

/// How a series looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// A small mark for each point: runs.
    Observations,
    /// A thin line: one run among others.
    Thread,
    /// Marks with intervals, joined by a line: means.
    Means,
    /// A dashed line without marks: what theory says.
    Theory,
}

/// A point of a series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Upwards.
    pub y: f64,
    /// Its interval.
    pub interval: Option<Interval>,
    /// What it is, where its series does not say.
    pub name: String,
}

/// Bars of components.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StackPlot {
    /// What is shown.
    pub title: String,
    /// What is measured.
    pub quantity: Quantity,
    /// The components, in the order of the bars.
    pub components: Vec<String>,
    /// The bars.
    pub rows: Vec<StackRow>,
}

/// A bar.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StackRow {
    /// Its category.
    pub name: String,
    /// The mean of each component.
    pub parts: Vec<f64>,
    /// The whole, by run.
    pub observations: Vec<Observation>,
    /// Mean of the whole.
    pub mean: Option<Estimated>,
}

/// Spans and moments on a line of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timeline {
    /// What is shown.
    pub title: String,
    /// Whether times are UTC or counted from a moment of their own.
    pub clock: Clock,
    /// Kinds of spans and moments, in the order of the legend.
    pub kinds: Vec<TimelineKind>,
    /// The rows.
    pub rows: Vec<TimelineRow>,
    /// What the rows leave out.
    pub left_out: Option<String>,
}

/// Against what times are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// UTC microseconds.
    Utc,
    /// Microseconds since an event that each row has its own of.
    SinceEvent,
}

/// A kind of span or moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimelineKind {
    /// Its name.
    pub name: String,
    /// Number of its colour and shape; absent for what is only the background.
    pub style: Option<usize>,
}

/// A row of a timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimelineRow {
    /// Whose it is.
    pub name: String,
    /// Spans, the last on top.
    pub spans: Vec<Span>,
    /// Moments.
    pub moments: Vec<Moment>,
}

/// A span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// Number in [`Timeline::kinds`].
    pub of_kind: usize,
    /// Start.
    pub from_us: i64,
    /// End.
    pub to_us: i64,
    /// What it is.
    pub name: String,
}

/// A moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// Number in [`Timeline::kinds`].
    pub of_kind: usize,
    /// When.
    pub at_us: i64,
    /// What it is.
    pub name: String,
}

impl Plot {
    /// What is shown.
    pub fn title(&self) -> &str {
        match self {
            Self::Dots(plot) => &plot.title,
            Self::Lines(plot) => &plot.title,
            Self::Stack(plot) => &plot.title,
            Self::Timeline(plot) => &plot.title,
        }
    }

    /// Draws it as an inline `svg` element. `id` must be the page's only one, since the title and
    /// the description refer to it.
    pub fn svg(&self, id: &str) -> String {
        match self {
            Self::Dots(plot) => dots::draw(plot, id),
            Self::Lines(plot) => lines::draw(plot, id),
            Self::Stack(plot) => stack::draw(plot, id),
            Self::Timeline(plot) => timeline::draw(plot, id),
        }
    }
}

impl Quantity {
    /// A quantity.
    pub fn new(name: &str, unit: Unit) -> Self {
        Self {
            name: name.to_owned(),
            unit,
        }
    }
}

impl Axis {
    /// An axis of equal steps.
    pub fn linear(name: &str, unit: Unit) -> Self {
        Self {
            quantity: Quantity::new(name, unit),
            division: Division::Linear,
            from_zero: false,
        }
    }

    /// An axis of equal ratios.
    pub fn logarithmic(name: &str, unit: Unit) -> Self {
        Self {
            division: Division::Logarithmic,
            ..Self::linear(name, unit)
        }
    }

    /// The same with 0 on it.
    pub fn from_zero(self) -> Self {
        Self {
            from_zero: true,
            ..self
        }
    }
}
