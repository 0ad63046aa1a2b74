//! `--out csv`: a header that names the columns, and a row for each point.
//!
//! Columns come and go with k6's versions and its system tags, so they are found by name. Tags of
//! the script stand in `extra_tags`. Times are unix seconds, or what `K6_CSV_TIME_FORMAT` made of
//! them, which their size tells. Kinds of metrics are not in it: a metric of the script's that
//! carries the tag `backend` is taken for a counter, and its values must be counts.

use chrono::DateTime;

use super::detection::CSV_HEADER;
use super::points::{Point, Sums};
use super::{Fault, Format, LoadResult, Reader};

/// Between these each unit has the years from 1973 to 5138 for itself.
const MOST_SECONDS: i64 = 100_000_000_000;
const MOST_MILLISECONDS: i64 = 1000 * MOST_SECONDS;
const MOST_MICROSECONDS: i64 = 1000 * MOST_MILLISECONDS;

/// Adds up rows as they come.
#[derive(Debug, Default)]
pub(super) struct Rows {
    columns: Option<Columns>,
    /// The beginning of a row that goes on behind a line end within quotes.
    open: String,
    record: Record,
    sums: Sums,
}

/// A row's fields.
#[derive(Debug)]
struct Record {
    /// Made once: its tables cost more than a row.
    reader: csv_core::Reader,
    /// One after the other.
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// Where the columns are that matter.
#[derive(Clone, Copy, Debug)]
struct Columns {
    number: usize,
    metric: usize,
    time: usize,
    value: usize,
    status: Option<usize>,
    proto: Option<usize>,
    error: Option<usize>,
    error_code: Option<usize>,
    extra: Option<usize>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            reader: csv_core::Reader::new(),
            text: Vec::new(),
            ends: Vec::new(),
        }
    }
}

impl Record {
    fn split(&mut self, row: &str) {
        self.text.resize(row.len() + 1, 0);
        self.ends.resize(row.len() + 2, 0);
        self.reader.reset();
        let (_, _, written, fields) =
            self.reader
                .read_record(row.as_bytes(), &mut self.text, &mut self.ends);
        // A row without its line end is whole once there is no more input.
        let (_, _, _, more) =
            self.reader
                .read_record(&[], &mut self.text[written..], &mut self.ends[fields..]);
        self.ends.truncate(fields + more);
    }

    fn field(&self, column: usize) -> &str {
        let start = match column {
            0 => 0,
            _ => self.ends[column - 1],
        };
        std::str::from_utf8(&self.text[start..self.ends[column]]).unwrap_or_default()
    }

    /// A tag's value, where the row has it.
    fn tag(&self, column: Option<usize>) -> Option<&str> {
        let value = column.map(|column| self.field(column));
        value.filter(|value| !value.is_empty())
    }

    fn columns(&self) -> Result<Columns, Fault> {
        let names = (0..self.ends.len()).map(|column| self.field(column));
        let names = names.collect::<Vec<_>>();
        let find = |name: &str| names.iter().position(|column| *column == name);
        let need = |name: &str| find(name).ok_or_else(|| malformed(&format!("no column {name}")));
        Ok(Columns {
            number: names.len(),
            metric: need("metric_name")?,
            time: need("timestamp")?,
            value: need("metric_value")?,
            status: find("status"),
            proto: find("proto"),
            error: find("error"),
            error_code: find("error_code"),
            extra: find("extra_tags"),
        })
    }

    fn point(&self, columns: Columns) -> Result<Point<'_>, Fault> {
        if self.ends.len() != columns.number {
            let what = format!("{} of {} columns", self.ends.len(), columns.number);
            return Err(malformed(&what));
        }
        let (time, value) = (self.field(columns.time), self.field(columns.value));
        let number = value.parse().ok().filter(|value: &f64| value.is_finite());
        let extra = self.tag(columns.extra).unwrap_or_default();
        Ok(Point {
            metric: self.field(columns.metric),
            time_us: time_us(time).ok_or_else(|| malformed(&format!("time {time:?}")))?,
            value: number.ok_or_else(|| malformed(&format!("value {value:?}")))?,
            status: self.tag(columns.status),
            proto: self.tag(columns.proto),
            error: self.tag(columns.error),
            error_code: self.tag(columns.error_code),
            backend: extra
                .split('&')
                .find_map(|tag| tag.strip_prefix("backend=")),
        })
    }
}

impl Reader for Rows {
    fn take(&mut self, text: &str, line: u64) -> Result<(), Fault> {
        if self.open.is_empty() && text.trim().is_empty() {
            return Ok(());
        }
        let has_odd_quotes = text.matches('"').count() % 2 == 1;
        let is_open = !self.open.is_empty();
        if is_open || has_odd_quotes {
            self.open.push_str(text);
            if is_open != has_odd_quotes {
                self.open.push('\n');
                return Ok(());
            }
            let row = std::mem::take(&mut self.open);
            self.record.split(&row);
        } else {
            self.record.split(text);
        }
        match self.columns {
            None => {
                self.columns = Some(self.record.columns()?);
                Ok(())
            }
            Some(_) if text.starts_with(CSV_HEADER) => Err(Fault::SecondRun),
            Some(_) if text.starts_with("time=") || text.starts_with('{') => Err(Fault::Mixed {
                first: Format::Csv,
                second: "a line of another format",
            }),
            Some(columns) => {
                let point = self.record.point(columns)?;
                self.sums.add(&point, line).map_err(|what| malformed(&what))
            }
        }
    }

    /// The last column may be empty, so that only the number of fields tells.
    fn shows_its_end(&self, text: &str) -> bool {
        let fields = text.matches(',').count() + 1;
        self.columns.is_some_and(|columns| fields >= columns.number) && !text.contains('"')
    }

    fn finish(self: Box<Self>, is_cut: bool) -> Result<LoadResult, Fault> {
        let is_cut = is_cut || !self.open.is_empty();
        self.sums.finish(Format::Csv, is_cut)
    }
}

/// A time in any of the forms that k6 writes.
fn time_us(text: &str) -> Option<i64> {
    if text.contains('T') {
        let time = DateTime::parse_from_rfc3339(text).ok()?;
        return Some(time.timestamp_micros());
    }
    let number = text.parse::<i64>().ok().filter(|&number| number > 0)?;
    match number {
        ..MOST_SECONDS => number.checked_mul(1_000_000),
        MOST_SECONDS..MOST_MILLISECONDS => number.checked_mul(1000),
        MOST_MILLISECONDS..MOST_MICROSECONDS => Some(number),
        MOST_MICROSECONDS.. => Some(number / 1000),
    }
}

fn malformed(what: &str) -> Fault {
    Fault::Malformed {
        format: Format::Csv,
        what: what.to_owned(),
    }
}
