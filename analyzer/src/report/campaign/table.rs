//! Tables: columns with units, cells with plain numbers.
//!
//! JSON carries the numbers in base units; how many digits people are shown is decided for a whole
//! column at once.

use serde::{Serialize, Serializer};

use crate::figures::{Scaled, Unit, cell, column_scale, decimals};
use crate::verdict::Moment;

/// Columns of one unit from which on it stands above the table and not in their heads.
const SHARED_BY: usize = 3;

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, a cell a column.
    pub rows: Vec<Vec<Cell>>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The unit of its numbers; absent for text.
    pub unit: Option<Unit>,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number in the column's base unit.
    Number(f64),
    /// Nothing: there is no such number.
    Empty,
}

impl Table {
    /// A table without rows.
    pub(super) fn new(title: &str, columns: &[(&str, Option<Unit>)]) -> Self {
        let columns = columns.iter().map(|(name, unit)| Column {
            name: (*name).to_owned(),
            unit: *unit,
        });
        Self {
            title: title.to_owned(),
            columns: columns.collect(),
            rows: Vec::new(),
        }
    }

    /// The unit of most columns with numbers, where several share it: it need not stand in each head.
    pub fn common_unit(&self) -> Option<String> {
        let unit = self.shared_unit()?;
        let mut columns = self.columns.iter().enumerate();
        let (index, column) = columns.find(|(index, column)| {
            column.unit == Some(unit) && !self.numbers(*index).is_empty()
        })?;
        let (scaled, _) = self.scale(index, column);
        (!scaled.symbol.is_empty()).then_some(scaled.symbol)
    }

    fn shared_unit(&self) -> Option<Unit> {
        let units = || self.columns.iter().filter_map(|column| column.unit);
        let count = |unit: Unit| units().filter(|other| *other == unit).count();
        let named = units().filter(|unit| !matches!(unit, Unit::Count | Unit::Ratio));
        let most = named.max_by_key(|unit| count(*unit))?;
        (count(most) >= SHARED_BY).then_some(most)
    }

    /// The names of the columns with the units that they do not share, and the rows, in words.
    pub fn in_words(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let shared = self.shared_unit();
        let mut names = Vec::new();
        let mut rows = vec![Vec::new(); self.rows.len()];
        for (index, column) in self.columns.iter().enumerate() {
            let (scaled, decimals) = self.scale(index, column);
            names.push(match scaled.symbol.as_str() {
                "" => column.name.clone(),
                _ if column.unit == shared => column.name.clone(),
                symbol => format!("{} ({symbol})", column.name),
            });
            for (row, words) in self.rows.iter().zip(&mut rows) {
                words.push(match row.get(index) {
                    Some(Cell::Text(text)) => text.clone(),
                    Some(Cell::Number(value)) => cell(*value, &scaled, decimals),
                    Some(Cell::Empty) | None => "–".to_owned(),
                });
            }
        }
        (names, rows)
    }

    /// Whether a column's cells are numbers, to be set to the right.
    pub fn is_numeric(&self, index: usize) -> bool {
        self.columns
            .get(index)
            .is_some_and(|column| column.unit.is_some())
    }

    /// The multiple is that of all columns of one unit, which are there to be compared.
    fn scale(&self, index: usize, column: &Column) -> (Scaled, usize) {
        let own = self.numbers(index);
        let Some(unit) = column.unit.filter(|_| !own.is_empty()) else {
            let plain = Scaled {
                divisor: 1.0,
                symbol: String::new(),
            };
            return (plain, 0);
        };
        let alike = self.columns.iter().enumerate();
        let alike = alike.filter(|(_, other)| other.unit == Some(unit));
        let all: Vec<f64> = alike.flat_map(|(index, _)| self.numbers(index)).collect();
        let (scaled, shared) = column_scale(unit, &all);
        let own = decimals(&scaled, &own);
        match unit {
            // Ratios and counts of one table have nothing in common.
            Unit::Ratio | Unit::Count => (scaled, own),
            _ => (scaled, shared),
        }
    }

    fn numbers(&self, index: usize) -> Vec<f64> {
        let cells = self.rows.iter().filter_map(|row| row.get(index));
        let numbers = cells.filter_map(|cell| match cell {
            Cell::Number(value) => Some(*value),
            _ => None,
        });
        numbers.collect()
    }
}

impl Cell {
    /// Words.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A time to the millisecond, which lines can break in.
    pub(super) fn time(moment: Moment) -> Self {
        let whole = Moment(moment.0.div_euclid(1_000) * 1_000);
        Self::Text(whole.to_string().replace('T', " ").replace("000Z", "Z"))
    }

    /// A number, if there is one.
    pub(super) fn number(value: Option<f64>) -> Self {
        match value {
            Some(value) if value.is_finite() => Self::Number(value),
            _ => Self::Empty,
        }
    }

    /// A number of things.
    pub(super) fn count(value: impl TryInto<i64>) -> Self {
        let value = value.try_into().unwrap_or(i64::MAX);
        Self::Number(value as f64)
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(value) => serializer.serialize_f64(*value),
            Self::Empty => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_one_unit_and_as_many_digits_as_it_needs() {
        let mut table = Table::new(
            "",
            &[("case", None), ("goodput", Some(Unit::BitsPerSecond))],
        );
        for (case, value) in [("a", Some(9.4e9)), ("b", Some(41e6)), ("c", None)] {
            table.rows.push(vec![Cell::text(case), Cell::number(value)]);
        }
        let (names, rows) = table.in_words();
        assert_eq!(names, ["case", "goodput (Gbit/s)"]);
        assert_eq!(rows[0], ["a", "9.400"]);
        assert_eq!(rows[1], ["b", "0.041"]);
        assert_eq!(rows[2], ["c", "–"]);
    }
}
