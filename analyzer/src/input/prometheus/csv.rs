//! CSV as exports write it: long, with a row a sample and a column `value`, or wide, with a column a
//! series whose header is its name, with labels or without.

use std::collections::BTreeMap;

use super::exposition::selector;
use super::{Fault, Format, Sample, Series, number, time_us};

const TIMES: [&str; 3] = ["timestamp", "time", "date"];
const NAMES: [&str; 3] = ["metric", "__name__", "name"];
const VALUE: &str = "value";

/// Whether a first line names columns, a time among them.
pub(super) fn is_header(line: &str) -> bool {
    let rows = rows(line);
    let fields = rows.first().map_or(&[][..], |row| &row.fields);
    fields.len() > 1 && place(fields, &TIMES).is_some()
}

pub(super) fn series(text: &str) -> Result<(Format, Vec<Series>), Fault> {
    let rows = rows(text);
    let Some((header, rows)) = rows.split_first() else {
        return Err(Fault::Empty);
    };
    let damaged = rows
        .iter()
        .find(|row| row.fields.len() != header.fields.len());
    if let Some(row) = damaged {
        return Err(Fault::Fields {
            line: row.line,
            found: row.fields.len(),
            wanted: header.fields.len(),
        });
    }
    let time = place(&header.fields, &TIMES).ok_or(Fault::NoSamples)?;
    let name = place(&header.fields, &NAMES);
    match (name, place(&header.fields, &[VALUE])) {
        (Some(name), Some(value)) => {
            let columns = Long { time, name, value };
            Ok((Format::CsvLong, columns.series(&header.fields, rows)?))
        }
        _ => Ok((Format::CsvWide, wide(&header.fields, time, rows)?)),
    }
}

/// Where a long file's columns are; all others are labels.
struct Long {
    time: usize,
    name: usize,
    value: usize,
}

impl Long {
    fn series(&self, header: &[String], rows: &[Row]) -> Result<Vec<Series>, Fault> {
        let mut found = BTreeMap::<(String, BTreeMap<String, String>), Vec<Sample>>::new();
        for row in rows {
            let labels = header.iter().zip(&row.fields).enumerate();
            let labels = labels.filter(|(column, (_, value))| {
                ![self.time, self.name, self.value].contains(column) && !value.is_empty()
            });
            let labels = labels.map(|(_, (name, value))| (name.clone(), value.clone()));
            let key = (row.fields[self.name].clone(), labels.collect());
            let sample = row.sample(self.time, self.value)?;
            found.entry(key).or_default().push(sample);
        }
        let series = found.into_iter().map(|((name, labels), points)| Series {
            name,
            labels,
            points,
        });
        Ok(series.collect())
    }
}

fn wide(header: &[String], time: usize, rows: &[Row]) -> Result<Vec<Series>, Fault> {
    let columns = (0..header.len()).filter(|column| *column != time);
    let series = columns.map(|column| {
        let (name, labels) = selector(&header[column]);
        let with_value = rows.iter().filter(|row| !row.fields[column].is_empty());
        let points = with_value.map(|row| row.sample(time, column));
        Ok(Series {
            name,
            labels,
            points: points.collect::<Result<_, _>>()?,
        })
    });
    series.collect()
}

/// A row and the line where it begins.
struct Row {
    line: usize,
    fields: Vec<String>,
}

impl Row {
    fn sample(&self, time: usize, value: usize) -> Result<Sample, Fault> {
        let place = || format!("line {}", self.line);
        Ok(Sample {
            at_us: Some(time_us(&self.fields[time], place)?),
            value: number(&self.fields[value], place)?,
        })
    }
}

/// Names of columns are compared without case.
fn place(fields: &[String], names: &[&str]) -> Option<usize> {
    let is_named = |field: &String| {
        let field = field.trim().to_ascii_lowercase();
        names.contains(&field.as_str())
    };
    fields.iter().position(is_named)
}

/// The rows of a text, blank ones left out; a quoted field may hold line ends.
fn rows(text: &str) -> Vec<Row> {
    let mut reader = csv_core::Reader::new();
    let mut input = text.as_bytes();
    let (mut rows, mut fields, mut field) = (Vec::new(), Vec::new(), Vec::new());
    let mut line = 1;
    let mut buffer = [0; 4096];
    loop {
        let (result, read, written) = reader.read_field(input, &mut buffer);
        input = &input[read..];
        field.extend_from_slice(&buffer[..written]);
        if let csv_core::ReadFieldResult::Field { record_end } = result {
            fields.push(String::from_utf8_lossy(&field).into_owned());
            field.clear();
            if record_end {
                let fields = std::mem::take(&mut fields);
                rows.push(Row { line, fields });
                line = reader.line() as usize;
            }
        }
        if matches!(result, csv_core::ReadFieldResult::End) {
            return rows;
        }
    }
}
