//! Spans and moments on a line of time, one row a pod or policy.
//!
//! A span too short to see is drawn three units wide; its length stands in its title and in the
//! table. The mark at its start tells its kind without colour.

use std::fmt::Write as _;

use chrono::DateTime;

use super::frame::{self, AXIS_HEIGHT, Head, LINE, Swatch, TEXT, Ticks, WIDTH};
use super::scale::Scale;
use super::svg::Svg;
use super::{Clock, Division, Quantity, Timeline, TimelineRow, Unit, mark, text, ticks};

const NAME_WIDTH: f64 = 230.0;
const ROW_HEIGHT: f64 = 22.0;
const SHORTEST: f64 = 3.0;
const DAY_US: i64 = 86_400_000_000;

/// Draws the plot.
pub(super) fn draw(plot: &Timeline, id: &str) -> String {
    let head = Head::new(&plot.title, None, legend(plot));
    let (names, name_width) =
        frame::names(plot.rows.iter().map(|row| row.name.as_str()), NAME_WIDTH, 1);
    let (left, right) = (name_width + 14.0, WIDTH - 16.0);
    let top = head.bottom;
    let bottom = top + ROW_HEIGHT * plot.rows.len() as f64;
    let (low_us, high_us) = range(plot);
    let scale = Scale::new(
        (low_us as f64, high_us as f64),
        (left, right),
        Division::Linear,
    );
    let left_out = plot.left_out.iter();
    let left_out: Vec<String> = left_out
        .flat_map(|words| text::wrapped(words, TEXT, WIDTH, 3))
        .collect();
    let height = bottom + AXIS_HEIGHT + LINE * left_out.len() as f64;
    let mut svg = Svg::new(id, (WIDTH, height), &plot.title, &description(plot));
    head.draw(&mut svg);
    let (places, name) = match plot.clock {
        Clock::Utc => utc_ticks(low_us, high_us, &scale, right - left),
        Clock::SinceEvent => since_ticks(&scale),
    };
    frame::bottom_axis(&mut svg, &places, &name, (left, right), (top, bottom));
    for (index, row) in plot.rows.iter().enumerate() {
        let centre = top + ROW_HEIGHT * (index as f64 + 0.5);
        if index > 0 {
            let y = centre - ROW_HEIGHT / 2.0;
            svg.line("separator", (0.0, y), (WIDTH, y));
        }
        frame::row_name(&mut svg, &names[index], left - 12.0, centre);
        draw_row(&mut svg, plot, row, &scale, centre);
    }
    for (index, line) in left_out.iter().enumerate() {
        let y = bottom + AXIS_HEIGHT + LINE * (index as f64 + 0.7);
        svg.words("left axis-name", (0.0, y), line);
    }
    svg.finish()
}

fn draw_row(svg: &mut Svg, plot: &Timeline, row: &TimelineRow, scale: &Scale, centre: f64) {
    for span in &row.spans {
        let (from, to) = (scale.at(span.from_us as f64), scale.at(span.to_us as f64));
        let width = (to - from).max(SHORTEST);
        let (class, half) = match plot.kinds[span.of_kind].style {
            Some(style) => (format!("bar {}", mark::colour_class(style)), 5.0),
            None => ("background".to_owned(), 2.5),
        };
        svg.open("rect")
            .text("class", &class)
            .number("x", from)
            .number("y", centre - half)
            .number("width", width)
            .number("height", half * 2.0)
            .titled(&span.name);
        if let Some(style) = plot.kinds[span.of_kind].style {
            mark::draw(svg, style, "", (from, centre), 5.0, &span.name);
        }
    }
    for moment in &row.moments {
        let at = (scale.at(moment.at_us as f64), centre);
        let style = plot.kinds[moment.of_kind].style.unwrap_or(0);
        mark::draw(svg, style, "", at, 5.5, &moment.name);
    }
}

fn legend(plot: &Timeline) -> Vec<(Swatch, String)> {
    let is_span = |index: usize| {
        let mut spans = plot.rows.iter().flat_map(|row| &row.spans);
        spans.any(|span| span.of_kind == index)
    };
    let kinds = plot.kinds.iter().enumerate();
    kinds
        .map(|(index, kind)| {
            let swatch = match kind.style {
                None => Swatch::Background,
                Some(style) if is_span(index) => Swatch::Mean(style),
                Some(style) => Swatch::Mark(style),
            };
            (swatch, kind.name.clone())
        })
        .collect()
}

fn range(plot: &Timeline) -> (i64, i64) {
    let spans = plot.rows.iter().flat_map(|row| &row.spans);
    let ends = spans.flat_map(|span| [span.from_us, span.to_us]);
    let moments = plot.rows.iter().flat_map(|row| &row.moments);
    let all = ends.chain(moments.map(|moment| moment.at_us));
    let (low, high) = all.fold((i64::MAX, i64::MIN), |(low, high), at| {
        (low.min(at), high.max(at))
    });
    if low > high {
        return (0, 1);
    }
    let room = ((high - low) / 50).max(1);
    (low.saturating_sub(room), high.saturating_add(room))
}

fn since_ticks(scale: &Scale) -> (Vec<(f64, String)>, String) {
    let quantity = Quantity::new("time since the event", Unit::Microseconds);
    let found = Ticks::fitting(scale, &quantity);
    let places = found.labels.iter();
    let places = places.map(|(value, words)| (scale.at(*value), words.clone()));
    (places.collect(), found.name.clone())
}

fn utc_ticks(low_us: i64, high_us: i64, scale: &Scale, width: f64) -> (Vec<(f64, String)>, String) {
    let mut most = 8;
    loop {
        let (times, step) = ticks::time(low_us, high_us, most);
        let labels: Vec<(f64, String)> = times
            .iter()
            .map(|at_us| (scale.at(*at_us as f64), time_of_day(*at_us, step)))
            .collect();
        let total: f64 = labels
            .iter()
            .map(|(_, words)| text::width(words, TEXT) + 14.0)
            .sum();
        if total <= width || most <= 2 {
            return (labels, days(low_us, high_us));
        }
        most -= 1;
    }
}

fn time_of_day(at_us: i64, step: i64) -> String {
    let form = match step {
        DAY_US.. => "%m-%d",
        60_000_000.. if at_us.rem_euclid(DAY_US) == 0 => "%m-%d",
        60_000_000.. => "%H:%M",
        1_000_000.. => "%H:%M:%S",
        1_000.. => "%H:%M:%S%.3f",
        _ => "%H:%M:%S%.6f",
    };
    formatted(at_us, form)
}

fn days(low_us: i64, high_us: i64) -> String {
    let (first, last) = (
        formatted(low_us, "%Y-%m-%d"),
        formatted(high_us, "%Y-%m-%d"),
    );
    if first == last {
        format!("time of {first} (UTC)")
    } else {
        format!("time from {first} to {last} (UTC)")
    }
}

fn formatted(at_us: i64, form: &str) -> String {
    match DateTime::from_timestamp_micros(at_us) {
        Some(time) => time.format(form).to_string(),
        None => format!("{at_us} µs"),
    }
}

fn description(plot: &Timeline) -> String {
    let mut words = String::new();
    for row in plot.rows.iter().take(20) {
        let spans = row.spans.iter();
        let spans = spans.filter(|span| plot.kinds[span.of_kind].style.is_some());
        let names = spans
            .map(|span| span.name.as_str())
            .chain(row.moments.iter().map(|moment| moment.name.as_str()))
            .collect::<Vec<_>>();
        if !names.is_empty() {
            let _ = write!(words, "{}: {}. ", row.name, names.join("; "));
        }
    }
    if words.is_empty() {
        let _ = write!(words, "{} rows, nothing marked on them.", plot.rows.len());
    }
    if let Some(left_out) = &plot.left_out {
        words.push_str(left_out);
    }
    words.trim_end().to_owned()
}
