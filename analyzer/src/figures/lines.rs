//! Points and lines over two axes.
//!
//! Where a few values of the horizontal axis repeat, series stand beside each other and not upon
//! each other, runs left of their mean.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::frame::{self, AXIS_HEIGHT, Head, LINE, Swatch, Ticks, WIDTH};
use super::scale::{Scale, comfortable, extent};
use super::svg::{Svg, place};
use super::{Axis, Division, LinePlot, Look, Point, Series, mark};

const HEIGHT: f64 = 270.0;
/// Above so many values the horizontal axis is continuous.
const FEW: usize = 10;
const NAMES_WIDTH: f64 = 190.0;

/// Draws the plot.
pub(super) fn draw(plot: &LinePlot, id: &str) -> String {
    let y_range = range(&plot.y, points(plot).flat_map(heights).chain(levels(plot)));
    let y_ticks = Ticks::of(
        &Scale::new(y_range, (0.0, 1.0), plot.y.division),
        &plot.y.quantity,
        6,
    );
    let head = Head::new(&plot.title, Some(y_ticks.name.clone()), legend(plot));
    let (top, bottom) = (head.bottom + 6.0, head.bottom + 6.0 + HEIGHT);
    let y_scale = Scale::new(y_range, (bottom, top), plot.y.division);
    let (names, names_width) = frame::names(
        plot.references.iter().map(|line| line.name.as_str()),
        NAMES_WIDTH,
        2,
    );
    let left = y_ticks.width() + 12.0;
    let right = WIDTH - names_width.max(16.0) - 8.0;
    let few = few_values(plot);
    let x_range = range(&plot.x, points(plot).map(|point| point.x));
    let x_scale = Scale::new(
        widened(x_range, plot.x.division, few.is_some()),
        (left, right),
        plot.x.division,
    );
    let x_ticks = match &few {
        Some(values) => Ticks::at(values, &x_scale, &plot.x.quantity),
        None => Ticks::fitting(&x_scale, &plot.x.quantity),
    };
    let size = (WIDTH, bottom + AXIS_HEIGHT);
    let mut svg = Svg::new(id, size, &plot.title, &description(plot));
    head.draw(&mut svg);
    for (value, words) in &y_ticks.labels {
        let y = y_scale.at(*value);
        svg.line("grid", (left, y), (right, y));
        svg.words("right", (left - 8.0, y + 4.5), words);
    }
    let places: Vec<(f64, String)> = x_ticks
        .labels
        .iter()
        .map(|(value, words)| (x_scale.at(*value), words.clone()))
        .collect();
    frame::bottom_axis(
        &mut svg,
        &places,
        &x_ticks.name,
        (left, right),
        (top, bottom),
    );
    draw_references(&mut svg, plot, &names, &y_scale, (left, right));
    let canvas = Canvas {
        plot,
        x: x_scale,
        y: y_scale,
        beside: beside(plot, few.as_deref(), &x_scale),
    };
    for series in &plot.series {
        canvas.draw(&mut svg, series);
    }
    svg.finish()
}

struct Canvas<'a> {
    plot: &'a LinePlot,
    x: Scale,
    y: Scale,
    /// How far a style's points stand from their value.
    beside: BTreeMap<usize, f64>,
}

impl Canvas<'_> {
    fn draw(&self, svg: &mut Svg, series: &Series) {
        let shift = self.beside.get(&series.style).copied().unwrap_or(0.0);
        let shift = match series.look {
            Look::Observations if !self.beside.is_empty() => shift - 4.0,
            Look::Means if !self.beside.is_empty() => shift + 4.0,
            Look::Thread | Look::Theory => 0.0,
            _ => shift,
        };
        let at = |point: &Point| (self.x.at(point.x) + shift, self.y.at(point.y));
        let colour = mark::colour_class(series.style);
        match series.look {
            Look::Thread => self.path(svg, series, &format!("thread {colour}"), at),
            Look::Theory => self.path(svg, series, &format!("theory {colour}"), at),
            Look::Means => self.path(svg, series, &format!("joined {colour}"), at),
            Look::Observations => {}
        }
        if matches!(series.look, Look::Thread | Look::Theory) {
            return;
        }
        for point in series.points.iter().filter(|point| point.y.is_finite()) {
            let place = at(point);
            if let Some(interval) = point.interval {
                let (low, high) = (self.y.at(interval.low), self.y.at(interval.high));
                let class = format!("whisker {colour}");
                svg.line(&class, (place.0, low), (place.0, high));
                for y in [low, high] {
                    svg.line(&class, (place.0 - 4.0, y), (place.0 + 4.0, y));
                }
            }
            let title = self.title(series, point);
            match series.look {
                Look::Means => mark::draw(svg, series.style, "", place, 5.0, &title),
                _ => mark::draw(svg, series.style, "run", place, 3.4, &title),
            }
        }
    }

    fn path(&self, svg: &mut Svg, series: &Series, class: &str, at: impl Fn(&Point) -> (f64, f64)) {
        let mut path = String::new();
        for point in series.points.iter().filter(|point| point.y.is_finite()) {
            let (x, y) = at(point);
            let letter = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{} {}", place(x), place(y));
        }
        if path.contains('L') {
            svg.open("path")
                .text("class", class)
                .text("d", &path)
                .titled(&series.name);
        } else if let Some(point) = series.points.iter().find(|point| point.y.is_finite()) {
            // A line of one point would not show.
            let title = self.title(series, point);
            mark::draw(svg, series.style, "run", at(point), 3.4, &title);
        }
    }

    fn title(&self, series: &Series, point: &Point) -> String {
        let name = if point.name.is_empty() {
            &series.name
        } else {
            &point.name
        };
        let y = frame::spoken(point.y, &self.plot.y.quantity);
        let x = frame::spoken(point.x, &self.plot.x.quantity);
        format!("{name}: {y} at {x}")
    }
}

/// Lines across, each named to the right of the plot, the names pushed apart where they would meet.
fn draw_references(
    svg: &mut Svg,
    plot: &LinePlot,
    names: &[Vec<String>],
    y: &Scale,
    (left, right): (f64, f64),
) {
    if let (Some(margin), Some(first)) = (plot.margin, plot.references.first()) {
        let (low, high) = (y.at(first.value - margin), y.at(first.value + margin));
        frame::rectangle(svg, "band", (left, high), (right - left, low - high));
    }
    let mut order: Vec<usize> = (0..plot.references.len()).collect();
    order.sort_by(|one, other| {
        let value = |index: &usize| plot.references[*index].value;
        value(other).total_cmp(&value(one))
    });
    let mut free_from = f64::NEG_INFINITY;
    for index in order {
        let place = y.at(plot.references[index].value);
        svg.line("reference", (left, place), (right, place));
        let lines = &names[index];
        let mut line_y = (place + 4.5).max(free_from);
        for line in lines {
            svg.words("left reference-name", (right + 8.0, line_y), line);
            line_y += LINE;
        }
        free_from = line_y;
    }
}

fn legend(plot: &LinePlot) -> Vec<(Swatch, String)> {
    let mut legend: Vec<(Swatch, String)> = Vec::new();
    for series in &plot.series {
        let swatch = match series.look {
            Look::Observations => Swatch::Run(series.style),
            Look::Thread => Swatch::Thread(series.style),
            Look::Means => Swatch::Mean(series.style),
            Look::Theory => Swatch::Theory(series.style),
        };
        let is_known = |(known, name): &(Swatch, String)| *known == swatch && *name == series.name;
        if !series.name.is_empty() && !legend.iter().any(is_known) {
            legend.push((swatch, series.name.clone()));
        }
    }
    if plot.margin.is_some() {
        legend.push((Swatch::Band, "within the margin".to_owned()));
    }
    legend
}

fn points(plot: &LinePlot) -> impl Iterator<Item = &Point> {
    plot.series.iter().flat_map(|series| &series.points)
}

fn heights(point: &Point) -> impl Iterator<Item = f64> {
    let ends = point.interval.into_iter();
    let ends = ends.flat_map(|interval| [interval.low, interval.high]);
    ends.chain([point.y])
}

fn levels(plot: &LinePlot) -> impl Iterator<Item = f64> {
    let lines = plot.references.iter().map(|line| line.value);
    let first = plot.references.first().map(|line| line.value);
    let margin = first.zip(plot.margin);
    lines.chain(
        margin
            .into_iter()
            .flat_map(|(level, margin)| [level - margin, level + margin]),
    )
}

fn range(axis: &Axis, values: impl Iterator<Item = f64>) -> (f64, f64) {
    let is_logarithmic = axis.division == Division::Logarithmic;
    let found = extent(values.filter(|value| !is_logarithmic || *value > 0.0));
    let range = found.unwrap_or((0.0, 1.0));
    if is_logarithmic {
        (range.0 / 1.25, range.1 * 1.25)
    } else {
        comfortable(range, axis.from_zero)
    }
}

/// Room at both ends for series that stand beside each other.
fn widened((low, high): (f64, f64), division: Division, few: bool) -> (f64, f64) {
    match division {
        Division::Logarithmic if few => (low / 1.5, high * 1.5),
        Division::Linear if few => {
            let room = (high - low) * 0.08;
            (low - room, high + room)
        }
        _ => (low, high),
    }
}

/// The values of the horizontal axis, where they are few and repeat.
fn few_values(plot: &LinePlot) -> Option<Vec<f64>> {
    let is_continuous = |series: &Series| series.look == Look::Thread;
    if plot.series.iter().any(is_continuous) {
        return None;
    }
    let mut values: Vec<f64> = points(plot).map(|point| point.x).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    (!values.is_empty() && values.len() <= FEW).then_some(values)
}

fn beside(plot: &LinePlot, few: Option<&[f64]>, x: &Scale) -> BTreeMap<usize, f64> {
    let Some(values) = few else {
        return BTreeMap::new();
    };
    let mut styles: Vec<usize> = plot.series.iter().map(|series| series.style).collect();
    styles.sort_unstable();
    styles.dedup();
    let room = values
        .windows(2)
        .map(|pair| x.at(pair[1]) - x.at(pair[0]))
        .fold(120.0, f64::min);
    let step = (room / (styles.len() as f64 + 0.5)).min(24.0);
    let middle = (styles.len() as f64 - 1.0) / 2.0;
    let places = styles.iter().enumerate();
    places
        .map(|(index, style)| (*style, (index as f64 - middle) * step))
        .collect()
}

fn description(plot: &LinePlot) -> String {
    let mut words = format!(
        "{} against {}. ",
        plot.y.quantity.name, plot.x.quantity.name
    );
    for line in &plot.references {
        let value = frame::spoken(line.value, &plot.y.quantity);
        let _ = write!(words, "Reference {}: {value}. ", line.name);
    }
    let means = plot.series.iter().filter(|one| one.look == Look::Means);
    for series in means {
        let _ = write!(words, "{}: ", series.name);
        let values = series.points.iter().map(|point| {
            let y = frame::spoken(point.y, &plot.y.quantity);
            format!("{y} at {}", frame::spoken(point.x, &plot.x.quantity))
        });
        let values: Vec<String> = values.collect();
        let _ = write!(words, "{}. ", values.join(", "));
    }
    let threads = plot.series.iter().filter(|one| one.look == Look::Thread);
    let threads = threads.count();
    if threads > 0 {
        let _ = write!(words, "{threads} lines. ");
    }
    words.trim_end().to_owned()
}
