//! One conversion a kind of column, in both directions, shared by all tables.
//!
//! A table names each of its columns once for writing and once for reading; the kinds here decide
//! Arrow types, so that a time or a name cannot be stored in two ways.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, DictionaryArray, Int64Builder,
    ListArray, ListBuilder, PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray,
    TypedDictionaryArray,
};
use arrow::datatypes::{
    DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};

use crate::record::{ColumnProblem, Named, SchemaError};

/// Type of every time column.
pub(crate) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Type of text that repeats.
pub(crate) fn repeated_text_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Type of a list of whole numbers, none of them absent.
pub(crate) fn number_list_type() -> DataType {
    DataType::List(Arc::new(number_element()))
}

/// Parquet's own name for what a list holds.
fn number_element() -> Field {
    Field::new("element", DataType::Int64, false)
}

/// A column of repeated text with the same value in every row.
pub(crate) fn same_text(text: &str, rows: usize) -> ArrayRef {
    let column: DictionaryArray<Int32Type> = std::iter::repeat_n(text, rows).collect();
    Arc::new(column)
}

/// Builds a batch column by column from rows.
pub(crate) struct BatchWriter<'a, R> {
    table: &'static str,
    rows: &'a [R],
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl<'a, R> BatchWriter<'a, R> {
    pub(crate) fn new(table: &'static str, rows: &'a [R]) -> Self {
        Self {
            table,
            rows,
            fields: Vec::new(),
            arrays: Vec::new(),
        }
    }

    pub(crate) fn time(self, name: &str, get: impl Fn(&R) -> i64) -> Self {
        let values = self.rows.iter().map(get);
        let array = PrimitiveArray::<TimestampMicrosecondType>::from_iter_values(values);
        self.push(name, false, Arc::new(array.with_timezone("UTC")))
    }

    pub(crate) fn int64(self, name: &str, get: impl Fn(&R) -> i64) -> Self {
        let array = PrimitiveArray::<Int64Type>::from_iter_values(self.rows.iter().map(get));
        self.push(name, false, Arc::new(array))
    }

    pub(crate) fn optional_int64(self, name: &str, get: impl Fn(&R) -> Option<i64>) -> Self {
        let array = self
            .rows
            .iter()
            .map(get)
            .collect::<PrimitiveArray<Int64Type>>();
        self.push(name, true, Arc::new(array))
    }

    pub(crate) fn int64_list(self, name: &str, get: impl Fn(&'a R) -> &'a [i64]) -> Self {
        let mut lists = ListBuilder::new(Int64Builder::new()).with_field(number_element());
        for row in self.rows {
            lists.values().append_slice(get(row));
            lists.append(true);
        }
        self.push(name, false, Arc::new(lists.finish()))
    }

    pub(crate) fn int32(self, name: &str, get: impl Fn(&R) -> i32) -> Self {
        let array = PrimitiveArray::<Int32Type>::from_iter_values(self.rows.iter().map(get));
        self.push(name, false, Arc::new(array))
    }

    pub(crate) fn optional_int32(self, name: &str, get: impl Fn(&R) -> Option<i32>) -> Self {
        let array = self
            .rows
            .iter()
            .map(get)
            .collect::<PrimitiveArray<Int32Type>>();
        self.push(name, true, Arc::new(array))
    }

    pub(crate) fn optional_flag(self, name: &str, get: impl Fn(&R) -> Option<bool>) -> Self {
        let array = self.rows.iter().map(get).collect::<BooleanArray>();
        self.push(name, true, Arc::new(array))
    }

    /// Text that hardly repeats.
    pub(crate) fn unique_text(self, name: &str, get: impl Fn(&'a R) -> &'a str) -> Self {
        let array = StringArray::from_iter_values(self.rows.iter().map(get));
        self.push(name, false, Arc::new(array))
    }

    pub(crate) fn text(self, name: &str, get: impl Fn(&'a R) -> &'a str) -> Self {
        let array = self
            .rows
            .iter()
            .map(get)
            .collect::<DictionaryArray<Int32Type>>();
        self.push(name, false, Arc::new(array))
    }

    pub(crate) fn optional_text(self, name: &str, get: impl Fn(&'a R) -> Option<&'a str>) -> Self {
        let array = self
            .rows
            .iter()
            .map(get)
            .collect::<DictionaryArray<Int32Type>>();
        self.push(name, true, Arc::new(array))
    }

    pub(crate) fn named<N: Named>(self, name: &str, get: impl Fn(&R) -> N) -> Self {
        self.text(name, |row| get(row).name())
    }

    pub(crate) fn optional_named<N: Named>(
        self,
        name: &str,
        get: impl Fn(&R) -> Option<N>,
    ) -> Self {
        self.optional_text(name, |row| get(row).map(N::name))
    }

    /// The schema of the columns so far.
    pub(crate) fn schema(self) -> SchemaRef {
        Arc::new(Schema::new(self.fields))
    }

    pub(crate) fn finish(self) -> Result<RecordBatch, SchemaError> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        let schema = Arc::new(Schema::new(self.fields));
        RecordBatch::try_new_with_options(schema, self.arrays, &options).map_err(|source| {
            SchemaError::Batch {
                place: self.table.to_owned(),
                source,
            }
        })
    }

    fn push(mut self, name: &str, nullable: bool, array: ArrayRef) -> Self {
        self.fields
            .push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(array);
        self
    }
}

/// Finds the columns of a batch by name.
pub(crate) struct BatchReader<'a> {
    table: &'static str,
    batch: &'a RecordBatch,
}

impl<'a> BatchReader<'a> {
    pub(crate) fn new(table: &'static str, batch: &'a RecordBatch) -> Self {
        Self { table, batch }
    }

    pub(crate) fn time(&self, name: &str) -> Result<&'a [i64], SchemaError> {
        self.values::<TimestampMicrosecondType>(name, &time_type())
    }

    pub(crate) fn int64(&self, name: &str) -> Result<&'a [i64], SchemaError> {
        self.values::<Int64Type>(name, &DataType::Int64)
    }

    pub(crate) fn int32(&self, name: &str) -> Result<&'a [i32], SchemaError> {
        self.values::<Int32Type>(name, &DataType::Int32)
    }

    pub(crate) fn int64_list(&self, name: &str) -> Result<ListColumn<'a>, SchemaError> {
        let column = self.column(name)?;
        self.require_all(name, column)?;
        let mistyped = || self.mistyped(name, &number_list_type(), column);
        let lists = column.as_list_opt::<i32>().ok_or_else(mistyped)?;
        let numbers = lists.values().as_primitive_opt::<Int64Type>();
        let numbers = numbers.ok_or_else(mistyped)?;
        if let Some(at) = first_null(numbers) {
            // The element's own number would mean nothing to a reader: name its row.
            let starts = lists.value_offsets();
            let row = starts.partition_point(|&start| start as usize <= at) - 1;
            return Err(self.problem(name, ColumnProblem::Null { row }));
        }
        Ok(ListColumn {
            lists,
            numbers: numbers.values(),
        })
    }

    pub(crate) fn optional_int64(
        &self,
        name: &str,
    ) -> Result<&'a PrimitiveArray<Int64Type>, SchemaError> {
        self.primitive(name, &DataType::Int64)
    }

    pub(crate) fn optional_int32(
        &self,
        name: &str,
    ) -> Result<&'a PrimitiveArray<Int32Type>, SchemaError> {
        self.primitive(name, &DataType::Int32)
    }

    pub(crate) fn optional_flag(&self, name: &str) -> Result<&'a BooleanArray, SchemaError> {
        let column = self.column(name)?;
        column
            .as_boolean_opt()
            .ok_or_else(|| self.mistyped(name, &DataType::Boolean, column))
    }

    pub(crate) fn unique_text(&self, name: &str) -> Result<&'a StringArray, SchemaError> {
        let column = self.column(name)?;
        self.require_all(name, column)?;
        column
            .as_string_opt()
            .ok_or_else(|| self.mistyped(name, &DataType::Utf8, column))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Text<'a>, SchemaError> {
        let text = self.optional_text(name)?;
        self.require_all(name, self.column(name)?)?;
        Ok(text)
    }

    pub(crate) fn optional_text(&self, name: &str) -> Result<Text<'a>, SchemaError> {
        let column = self.column(name)?;
        let dictionary = column.as_dictionary_opt::<Int32Type>();
        let text = dictionary.and_then(|array| array.downcast_dict::<StringArray>());
        text.map(Text)
            .ok_or_else(|| self.mistyped(name, &repeated_text_type(), column))
    }

    pub(crate) fn named<N: Named>(&self, name: &str) -> Result<Vec<N>, SchemaError> {
        let found = self.optional_named(name)?;
        self.require_all(name, self.column(name)?)?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(crate) fn optional_named<N: Named>(
        &self,
        name: &str,
    ) -> Result<Vec<Option<N>>, SchemaError> {
        let text = self.optional_text(name)?;
        // Each name is looked up once a batch, and not once a row.
        let known = text.map_values(N::from_name);
        let value = |row: usize| match text.key(row) {
            None => Ok(None),
            Some(key) => match known[key] {
                Some(value) => Ok(Some(value)),
                None => Err(self.unknown(name, row, text.at(row))),
            },
        };
        (0..self.batch.num_rows()).map(value).collect()
    }

    /// Text that many rows share, one copy a batch.
    pub(crate) fn shared_text(&self, name: &str) -> Result<SharedText<'a>, SchemaError> {
        let text = self.optional_shared_text(name)?;
        self.require_all(name, self.column(name)?)?;
        Ok(text)
    }

    pub(crate) fn optional_shared_text(&self, name: &str) -> Result<SharedText<'a>, SchemaError> {
        let text = self.optional_text(name)?;
        Ok(SharedText {
            text,
            values: text.map_values(|value| value.into()),
            none: "".into(),
        })
    }

    pub(crate) fn problem(&self, column: &str, problem: ColumnProblem) -> SchemaError {
        SchemaError::Column {
            place: self.table.to_owned(),
            column: column.to_owned(),
            problem,
        }
    }

    fn unknown(&self, column: &str, row: usize, text: &str) -> SchemaError {
        let name = text.to_owned();
        self.problem(column, ColumnProblem::Name { row, name })
    }

    fn values<T: ArrowPrimitiveType>(
        &self,
        name: &str,
        expected: &DataType,
    ) -> Result<&'a [T::Native], SchemaError> {
        let array = self.primitive::<T>(name, expected)?;
        self.require_all(name, array)?;
        Ok(array.values())
    }

    fn primitive<T: ArrowPrimitiveType>(
        &self,
        name: &str,
        expected: &DataType,
    ) -> Result<&'a PrimitiveArray<T>, SchemaError> {
        let column = self.column(name)?;
        column
            .as_primitive_opt::<T>()
            .ok_or_else(|| self.mistyped(name, expected, column))
    }

    fn column(&self, name: &str) -> Result<&'a dyn Array, SchemaError> {
        let found = self.batch.column_by_name(name);
        found
            .map(AsRef::as_ref)
            .ok_or_else(|| self.problem(name, ColumnProblem::Missing))
    }

    fn require_all(&self, name: &str, column: &dyn Array) -> Result<(), SchemaError> {
        match first_null(column) {
            None => Ok(()),
            Some(row) => Err(self.problem(name, ColumnProblem::Null { row })),
        }
    }

    fn mistyped(&self, name: &str, expected: &DataType, column: &dyn Array) -> SchemaError {
        let (expected, found) = (expected.to_string(), column.data_type().to_string());
        self.problem(name, ColumnProblem::Type { expected, found })
    }
}

/// A dictionary-encoded text column.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a>(TypedDictionaryArray<'a, Int32Type, StringArray>);

impl<'a> Text<'a> {
    /// The text of a row that has one; columns read with [`BatchReader::text`] have it in each.
    pub(crate) fn at(&self, row: usize) -> &'a str {
        self.get(row).unwrap_or_default()
    }

    /// The text of a row, or none.
    pub(crate) fn get(&self, row: usize) -> Option<&'a str> {
        let values: &'a StringArray = self.0.values();
        Some(values.value(self.key(row)?))
    }

    /// Which of the dictionary's values a row has, or none.
    fn key(&self, row: usize) -> Option<usize> {
        if self.0.is_null(row) {
            return None;
        }
        let key = usize::try_from(self.0.keys().value(row)).ok()?;
        self.0.values().is_valid(key).then_some(key)
    }

    /// Something for each of the dictionary's values.
    fn map_values<T>(&self, map: impl Fn(&'a str) -> T) -> Vec<T> {
        let values: &'a StringArray = self.0.values();
        let values = values.iter().map(|value| map(value.unwrap_or_default()));
        values.collect()
    }

    /// The text of a row as a `String`, or none.
    pub(crate) fn owned(&self, row: usize) -> Option<String> {
        self.get(row).map(str::to_owned)
    }
}

/// A dictionary-encoded text column whose values are shared by the rows that have them.
pub(crate) struct SharedText<'a> {
    text: Text<'a>,
    values: Vec<Arc<str>>,
    none: Arc<str>,
}

impl SharedText<'_> {
    /// The text of a row that has one.
    pub(crate) fn at(&self, row: usize) -> Arc<str> {
        self.get(row).unwrap_or_else(|| Arc::clone(&self.none))
    }

    /// The text of a row, or none.
    pub(crate) fn get(&self, row: usize) -> Option<Arc<str>> {
        Some(Arc::clone(&self.values[self.text.key(row)?]))
    }
}

/// A column of lists.
pub(crate) struct ListColumn<'a> {
    lists: &'a ListArray,
    numbers: &'a [i64],
}

impl<'a> ListColumn<'a> {
    /// The list of a row.
    pub(crate) fn at(&self, row: usize) -> &'a [i64] {
        let starts = self.lists.value_offsets();
        &self.numbers[starts[row] as usize..starts[row + 1] as usize]
    }
}

/// The value of a row of a nullable column.
pub(crate) fn at<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    row: usize,
) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}

/// The first row without a value.
pub(crate) fn first_null(column: &dyn Array) -> Option<usize> {
    if column.null_count() == 0 {
        return None;
    }
    (0..column.len()).find(|&row| column.is_null(row))
}
