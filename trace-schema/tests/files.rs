//! Files of the dataset: what is written is read back, and what is damaged or foreign is refused
//! with one line that names the file and, where there is one, the column.

mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, ListArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;
use trace_schema::file::{self, FileMetadata};
use trace_schema::flows::FlowRow;
use trace_schema::http::{HttpRow, HttpVersion};
use trace_schema::snat::SnatRow;
use trace_schema::{Record, SCHEMA_VERSION, SchemaError};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn batches_keep_rows(
        flows in rows::flows(),
        https in rows::https(),
        snats in rows::snats(),
        ledgers in rows::ledgers(),
        objects in rows::objects(),
        cpus in rows::cpus(),
        resources in rows::resources(),
        profiles in rows::profiles(),
    ) {
        prop_assert_eq!(rows::through_batch(&flows), flows);
        prop_assert_eq!(rows::through_batch(&https), https);
        prop_assert_eq!(rows::through_batch(&snats), snats);
        prop_assert_eq!(rows::through_batch(&ledgers), ledgers);
        prop_assert_eq!(rows::through_batch(&objects), objects);
        prop_assert_eq!(rows::through_batch(&cpus), cpus);
        prop_assert_eq!(rows::through_batch(&resources), resources);
        prop_assert_eq!(rows::through_batch(&profiles), profiles);
    }

    #[test]
    fn files_keep_rows(
        flows in rows::flows(),
        https in rows::https(),
        snats in rows::snats(),
        ledgers in rows::ledgers(),
        objects in rows::objects(),
        cpus in rows::cpus(),
        resources in rows::resources(),
        profiles in rows::profiles(),
    ) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        prop_assert_eq!(through_file(folder.path(), &flows), flows);
        prop_assert_eq!(through_file(folder.path(), &https), https);
        prop_assert_eq!(through_file(folder.path(), &snats), snats);
        prop_assert_eq!(through_file(folder.path(), &ledgers), ledgers);
        prop_assert_eq!(through_file(folder.path(), &objects), objects);
        prop_assert_eq!(through_file(folder.path(), &cpus), cpus);
        prop_assert_eq!(through_file(folder.path(), &resources), resources);
        prop_assert_eq!(through_file(folder.path(), &profiles), profiles);
    }

    #[test]
    fn merging_keeps_rows_in_order(parts in prop::collection::vec(rows::flows(), 1..5)) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let paths = parts.iter().enumerate().map(|(number, part)| {
            let path = folder.path().join(format!("{number}.parquet"));
            file::write(&path, part, &metadata()).expect("a part is written");
            path
        });
        let paths = paths.collect::<Vec<_>>();
        let merged = folder.path().join("merged.parquet");
        let expected = parts.concat();
        let count = file::merge::<FlowRow>(&paths, &merged).expect("the parts are merged");
        prop_assert_eq!(count, expected.len() as u64);
        prop_assert_eq!(read::<FlowRow>(&merged), expected);
    }
}

#[test]
fn only_the_finished_file_is_left() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("deep/down/0.parquet");
    file::write::<FlowRow>(&path, &[], &metadata()).expect("a file without rows is written");
    let parent = path.parent().expect("it has a folder");
    let names = fs::read_dir(parent)
        .expect("the folder is there")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a plain name")
        });
    assert_eq!(names.collect::<Vec<_>>(), ["0.parquet"]);
    let opened = file::open::<FlowRow>(&path).expect("it opens");
    assert_eq!(*opened.metadata(), metadata());
    assert_eq!(opened.row_count(), 0);
}

#[test]
fn a_failed_merge_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = written(folder.path(), &[flow()]);
    let bad = folder.path().join("bad.parquet");
    fs::write(&bad, "PAR1").expect("a damaged file");
    let merged = folder.path().join("merged.parquet");
    let error = file::merge::<FlowRow>(&[good, bad.clone()], &merged).expect_err("it is refused");
    assert!(
        one_line(&error).starts_with(&bad.display().to_string()),
        "{error}"
    );
    let left = fs::read_dir(folder.path())
        .expect("the folder is there")
        .count();
    assert_eq!(left, 2, "the inputs and nothing else");
    let error = file::merge::<FlowRow>(&[], &merged).expect_err("nothing to merge");
    assert_eq!(
        one_line(&error),
        format!("cannot write {}: no files to merge", merged.display())
    );
}

#[test]
fn files_of_two_boots_are_not_merged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = written(folder.path(), &[flow()]);
    let second = folder.path().join("second.parquet");
    let other = FileMetadata {
        boot_id: "another".to_owned(),
        ..metadata()
    };
    file::write(&second, &[flow()], &other).expect("a file of another boot");
    let merged = folder.path().join("merged.parquet");
    let error = file::merge::<FlowRow>(&[first, second], &merged).expect_err("it is refused");
    assert!(
        matches!(error, SchemaError::MergeMismatch { .. }),
        "{error:?}"
    );
    assert!(!merged.exists());
}

#[test]
fn a_few_rows_are_compressed_when_they_are_merged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let small = written(folder.path(), &[flow()]);
    let merged = folder.path().join("merged.parquet");
    file::merge::<FlowRow>(std::slice::from_ref(&small), &merged).expect("a merged file");
    for (path, is_plain) in [(&small, true), (&merged, false)] {
        let file = fs::File::open(path).expect("the file is there");
        let reader = SerializedFileReader::new(file).expect("it is Parquet");
        for column in reader.metadata().row_group(0).columns() {
            let plain = matches!(column.compression(), Compression::UNCOMPRESSED);
            assert_eq!(plain, is_plain, "{}", column.column_path().string());
        }
    }
}

#[test]
fn encodings_are_those_of_the_contract() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = written(folder.path(), &vec![flow(); 5000]);
    let file = fs::File::open(&path).expect("the file is there");
    let reader = SerializedFileReader::new(file).expect("it is Parquet");
    for column in reader.metadata().row_group(0).columns() {
        let name = column.column_path().string();
        assert!(
            matches!(column.compression(), Compression::ZSTD(_)),
            "{name}"
        );
        let encodings = column.encodings().collect::<Vec<_>>();
        let times = [
            "interval_start_us",
            "interval_end_us",
            "first_seen_us",
            "last_seen_us",
        ];
        let is_delta = encodings.contains(&Encoding::DELTA_BINARY_PACKED);
        assert_eq!(
            is_delta,
            times.contains(&name.as_str()),
            "{name}: {encodings:?}"
        );
        let is_dictionary = column.dictionary_page_offset().is_some();
        assert!(
            is_dictionary != is_delta,
            "{name}: dictionary is {is_dictionary}"
        );
    }
}

#[test]
fn pruning_leaves_out_groups_outside_the_span() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = written(folder.path(), &[flow()]);
    let start_us = flow().interval_start_us;
    let opened = file::open::<FlowRow>(&path).expect("it opens");
    assert_eq!(opened.time_span_us(), Some((start_us, start_us)));
    let rows_in = |from_us, to_us| {
        let file = file::open::<FlowRow>(&path)
            .expect("it opens")
            .pruned_to(from_us, to_us);
        file.rows()
            .expect("it reads")
            .map(|rows| rows.expect("rows").len())
            .sum::<usize>()
    };
    assert_eq!(rows_in(start_us, start_us + 1), 1);
    assert_eq!(rows_in(start_us - 1, start_us), 0);
    assert_eq!(rows_in(start_us + 1, start_us + 2), 0);
}

#[test]
fn text_without_dictionary_is_read() {
    let batch = FlowRow::to_batch(&[flow()]).expect("a batch");
    let schema = batch.schema();
    let plain = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| {
            let kind = match field.data_type() {
                DataType::Dictionary(..) => DataType::Utf8,
                kind => kind.clone(),
            };
            let column = cast(column, &kind).expect("text is cast");
            (field.name().clone(), column, field.is_nullable())
        });
    let plain = RecordBatch::try_from_iter_with_nullable(plain).expect("a batch of plain text");
    let (_folder, path) = foreign(&plain, &known("flows"));
    assert_eq!(read::<FlowRow>(&path), [flow()]);
}

#[test]
fn refusals_are_one_line_with_file_and_column() {
    let batch = FlowRow::to_batch(&[flow()]).expect("a batch");
    let without = |name: &str| {
        let kept = (0..batch.num_columns()).filter(|&at| batch.schema().field(at).name() != name);
        batch
            .project(&kept.collect::<Vec<_>>())
            .expect("the other columns")
    };
    let with = |name: &str, column: ArrayRef| {
        let mut columns = batch.columns().to_vec();
        let mut fields = batch.schema().fields().to_vec();
        let at = batch.schema().index_of(name).expect("the column is there");
        let field = fields[at]
            .as_ref()
            .clone()
            .with_data_type(column.data_type().clone());
        fields[at] = Arc::new(field.with_nullable(true));
        columns[at] = column;
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch")
    };
    let good = known("flows");
    check(
        &batch,
        &pairs("7", "flows"),
        ": schema version 7 is unknown, this build reads 4; use the weighbridge that wrote it",
    );
    check(
        &batch,
        &known("ledger"),
        ": holds table \"ledger\" where \"flows\" belongs",
    );
    check(
        &batch,
        &[],
        ": Parquet metadata weighbridge.schema_version is missing; not a file of a weighbridge dataset?",
    );
    check(&without("dst_port"), &good, ": column dst_port is missing");
    let number: ArrayRef = Arc::new(Int32Array::from(vec![5]));
    check(
        &with("packets", number),
        &good,
        ": column packets is Int32, not Int64",
    );
    let unknown: ArrayRef = Arc::new(StringArray::from(vec!["moon"]));
    check(
        &with("vantage", unknown),
        &good,
        ": column vantage holds the unknown name \"moon\" in row 0",
    );
    let absent: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    check(
        &with("node", absent),
        &good,
        ": column node has no value in row 0, where every row needs one",
    );
}

#[test]
fn a_column_states_the_version_where_an_engine_writes_no_metadata() {
    let rows = [flow(), flow()];
    let of_engine = |versions: &[i32], drops_node: bool| {
        let batch = FlowRow::to_batch(&rows).expect("a batch");
        let kept = (0..batch.num_columns())
            .filter(|&at| !drops_node || batch.schema().field(at).name() != "node");
        let batch = batch
            .project(&kept.collect::<Vec<_>>())
            .expect("the columns");
        let version: ArrayRef = Arc::new(Int32Array::from(versions.to_vec()));
        let mut columns = batch.columns().to_vec();
        let mut fields = batch.schema().fields().to_vec();
        fields.push(Arc::new(Field::new(
            "schema_version",
            DataType::Int32,
            true,
        )));
        columns.push(version);
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch")
    };
    let known = i32::try_from(SCHEMA_VERSION).expect("a small number");
    let (folder, path) = foreign(&of_engine(&[known, known], false), &[]);
    let opened = file::open::<FlowRow>(&path).expect("the column states the version");
    let metadata = opened.metadata().clone();
    assert_eq!(
        (metadata.node, metadata.boot_id),
        (flow().node, flow().boot_id)
    );
    assert!(
        metadata.tool_version.starts_with("parquet-rs"),
        "{}",
        metadata.tool_version
    );
    assert_eq!(read::<FlowRow>(&path), rows);
    // Spark leaves a partition's column to its folder's name.
    let (other, path) = foreign(&of_engine(&[known, known], true), &[]);
    let partition = folder.path().join("node=gateway%2Feu");
    fs::create_dir(&partition).expect("a folder");
    let moved = partition.join("part.parquet");
    fs::rename(&path, &moved).expect("the file moves");
    let gateway = FlowRow {
        node: "gateway/eu".to_owned(),
        ..flow()
    };
    assert_eq!(read::<FlowRow>(&moved), [gateway.clone(), gateway]);
    drop(other);
    for (versions, drops_node, expected) in [
        (
            [known, known - 1],
            false,
            ": schema version that differs between rows is unknown",
        ),
        ([1, 1], false, ": schema version 1 is unknown"),
        (
            [known, known],
            true,
            ": Parquet metadata weighbridge.node is missing",
        ),
    ] {
        let (_folder, path) = foreign(&of_engine(&versions, drops_node), &[]);
        let error = one_line(&file::open::<FlowRow>(&path).expect_err(expected));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn half_a_pre_tuple_is_refused() {
    let row = SnatRow {
        interval_start_us: 0,
        interval_end_us: 1,
        node: String::new(),
        boot_id: String::new(),
        interface: String::new(),
        protocol: "tcp".to_owned(),
        pre: Some(tuple()),
        post: tuple(),
        translated: Some(true),
        method: trace_schema::snat::Method::Fingerprint,
        witness: trace_schema::snat::Witness::Absent,
        first_seen_us: 0,
        last_seen_us: 0,
        packets: 1,
        buffers: 1,
        packets_until_paired: Some(1),
    };
    let batch = SnatRow::to_batch(&[row]).expect("a batch");
    let at = batch
        .schema()
        .index_of("pre_src_port")
        .expect("the column is there");
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(Int32Array::from(vec![None]));
    let batch = RecordBatch::try_new(batch.schema(), columns).expect("a batch");
    let error = SnatRow::from_batch(&batch).expect_err("half a tuple");
    let expected =
        "snat: column pre_src_port has no value in row 0, where the columns beside it have one";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn lists_of_other_writers_are_read() {
    let batch = HttpRow::to_batch(&[http()]).expect("a batch");
    let lists = [vec![Some(64), Some(100)], vec![Some(68), Some(104)]];
    let path = |responses: Vec<Option<i64>>| {
        let [lower, upper] = lists.clone();
        let replaced = [
            ("latency_lower_us", lower),
            ("latency_upper_us", upper),
            ("latency_responses", responses),
        ];
        let mut columns = batch.columns().to_vec();
        let mut fields = batch.schema().fields().to_vec();
        for (name, list) in replaced {
            // The element is called `item` and may be absent, as in files of most other writers.
            let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(list)]);
            let at = batch.schema().index_of(name).expect("the column is there");
            let field = fields[at].as_ref().clone();
            fields[at] = Arc::new(field.with_data_type(list.data_type().clone()));
            columns[at] = Arc::new(list);
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns);
        foreign(&batch.expect("a batch"), &known("http"))
    };
    let (_folder, whole) = path(vec![Some(3), Some(1)]);
    assert_eq!(read::<HttpRow>(&whole), [http()]);
    let refused = |responses| {
        let (_folder, path) = path(responses);
        let rows = file::open::<HttpRow>(&path)
            .and_then(|file| file.rows()?.collect::<Result<Vec<_>, _>>());
        one_line(&rows.expect_err("half a histogram"))
    };
    let error = refused(vec![Some(4)]);
    let expected = "column latency_responses holds a list in row 0 that is not as long as those of \
                    the columns beside it";
    assert!(error.ends_with(expected), "{error}");
    let error = refused(vec![Some(3), None]);
    assert!(error.contains("cannot build a batch"), "{error}");
}

#[test]
fn damaged_files_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = fs::read(written(folder.path(), &vec![flow(); 50])).expect("a file");
    let path = folder.path().join("cut.parquet");
    for length in [0, 3, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).expect("a cut file");
        let error = one_line(&file::open::<FlowRow>(&path).expect_err("a cut file is refused"));
        let expected = format!(
            "{}: not a complete Parquet file (remove it or copy it again)",
            path.display()
        );
        assert!(error.starts_with(&expected), "{error}");
    }
    let absent = folder.path().join("absent.parquet");
    let error = one_line(&file::open::<FlowRow>(&absent).expect_err("it is not there"));
    assert!(
        error.starts_with(&format!("cannot open {}: ", absent.display())),
        "{error}"
    );
}

#[test]
fn a_damaged_page_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = written(folder.path(), &vec![flow(); 50]);
    let mut bytes = fs::read(&path).expect("a file");
    bytes[4..60].fill(0xff);
    fs::write(&path, bytes).expect("a damaged file");
    let result =
        file::open::<FlowRow>(&path).and_then(|file| file.rows()?.collect::<Result<Vec<_>, _>>());
    let error = one_line(&result.expect_err("a damaged page is refused"));
    assert!(
        error.starts_with(&format!("{}: not a complete", path.display())),
        "{error}"
    );
}

fn check(batch: &RecordBatch, pairs: &[KeyValue], expected: &str) {
    let (_folder, path) = foreign(batch, pairs);
    let result =
        file::open::<FlowRow>(&path).and_then(|file| file.rows()?.collect::<Result<Vec<_>, _>>());
    let error = one_line(&result.expect_err(expected));
    assert_eq!(error, format!("{}{expected}", path.display()));
}

/// A file as another program might write it.
fn foreign(batch: &RecordBatch, pairs: &[KeyValue]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("foreign.parquet");
    let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs.to_vec()));
    let file = fs::File::create(&path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties.build()))
        .expect("a Parquet writer");
    writer.write(batch).expect("a batch is written");
    writer.close().expect("the file is closed");
    (folder, path)
}

/// The pairs of a version that this build reads.
fn known(table: &str) -> Vec<KeyValue> {
    pairs(&SCHEMA_VERSION.to_string(), table)
}

fn pairs(version: &str, table: &str) -> Vec<KeyValue> {
    let pairs = [
        ("weighbridge.schema_version", version),
        ("weighbridge.tool_version", "0.1.0"),
        ("weighbridge.table", table),
        ("weighbridge.node", "worker"),
        ("weighbridge.boot_id", "boot"),
        ("weighbridge.clock", "text"),
    ];
    pairs
        .map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()))
        .to_vec()
}

/// As `{:#}` of an error chain prints it.
fn one_line(error: &SchemaError) -> String {
    let mut line = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        line.push_str(&format!(": {error}"));
        source = error.source();
    }
    assert!(!line.contains('\n'), "{line}");
    line
}

fn through_file<R: Record>(folder: &Path, rows: &[R]) -> Vec<R> {
    read(&written(folder, rows))
}

fn written<R: Record>(folder: &Path, rows: &[R]) -> PathBuf {
    let path = folder.join(format!("{}.parquet", R::TABLE));
    file::write(&path, rows, &metadata()).expect("the file is written");
    path
}

fn read<R: Record>(path: &Path) -> Vec<R> {
    let rows = file::open::<R>(path)
        .and_then(|file| file.rows())
        .expect("the file opens");
    rows.flat_map(|rows| rows.expect("its rows are read"))
        .collect()
}

fn metadata() -> FileMetadata {
    FileMetadata {
        node: "worker".to_owned(),
        boot_id: "4f0c2b9e-0000".to_owned(),
        tool_version: "0.1.0".to_owned(),
        clock: "realtime at start, monotonic since".to_owned(),
    }
}

fn tuple() -> trace_schema::snat::Tuple {
    trace_schema::snat::Tuple {
        src_address: "10.0.0.1".to_owned(),
        dst_address: "10.0.0.2".to_owned(),
        src_port: 1,
        dst_port: 2,
    }
}

fn http() -> HttpRow {
    HttpRow {
        interval_start_us: 1_800_000_000_000_000,
        interval_end_us: 1_800_000_001_000_000,
        node: "worker".to_owned(),
        boot_id: "4f0c2b9e-0000".to_owned(),
        pod_uid: Some("uid".to_owned()),
        container_id: None,
        cgroup_id: 7,
        local_address: "10.244.1.2".to_owned(),
        local_port: 8080,
        peer_address: "10.244.0.9".to_owned(),
        version: HttpVersion::Http11,
        status: Some(200),
        responses: 5,
        latency_lower_us: vec![64, 100],
        latency_upper_us: vec![68, 104],
        latency_responses: vec![3, 1],
    }
}

fn flow() -> FlowRow {
    FlowRow {
        interval_start_us: 1_800_000_000_000_000,
        interval_end_us: 1_800_000_001_000_000,
        node: "worker".to_owned(),
        boot_id: "4f0c2b9e-0000".to_owned(),
        vantage: trace_schema::ledger::Vantage::Pod,
        nat_state: trace_schema::flows::NatState::Pre,
        interface: None,
        direction: trace_schema::flows::Direction::Egress,
        pod_uid: Some("uid".to_owned()),
        container_id: None,
        cgroup_id: Some(7),
        protocol: "tcp".to_owned(),
        src_address: "10.244.1.2".to_owned(),
        dst_address: "192.0.2.7".to_owned(),
        src_port: 40_000,
        dst_port: 5201,
        encapsulation: None,
        bytes: 1500,
        packets: 1,
        buffers: 1,
        buffer_bytes: 1500,
        tcp_flags: 16,
        srtt_us: Some(100),
        min_rtt_us: None,
        retransmits: Some(0),
        cwnd_segments: Some(10),
        first_seen_us: 1_800_000_000_100_000,
        last_seen_us: 1_800_000_000_900_000,
    }
}
