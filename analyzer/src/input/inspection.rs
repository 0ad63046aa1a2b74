//! Reads a dataset for `weighbridge inspect`: what it holds, and whether its books balance.

use serde::Serialize;
use trace_schema::Record;
use trace_schema::cpu::CpuRow;
use trace_schema::flows::{FlowCount, FlowRow};
use trace_schema::http::HttpRow;
use trace_schema::ledger::LedgerRow;
use trace_schema::manifest::{ManifestError, RunManifest};
use trace_schema::objects::ObjectRow;
use trace_schema::profile::ProfileRow;
use trace_schema::resources::ResourceRow;
use trace_schema::snat::SnatRow;

use super::manifest::read_runs;
use super::traces::{Dataset, DatasetError, Filter};
use super::workers::of_each;
use crate::books::holdings::TableHolding;
use crate::books::{Books, BooksReport};

/// A dataset, looked through.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// Its tables, by name.
    pub tables: Vec<TableHolding>,
    /// Its load runs, by start.
    pub runs: Vec<RunManifest>,
    /// Its books.
    pub books: BooksReport,
}

/// Why a dataset could not be looked through.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    /// Its tables.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A manifest of its runs.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// Looks through a dataset; every file is opened, so a damaged one is found here.
pub fn inspect(dataset: &Dataset, filter: &Filter) -> Result<Inspection, InspectionError> {
    let tables = dataset.tables().map(|table| match table {
        FlowRow::TABLE => holding::<FlowRow>(dataset, filter),
        SnatRow::TABLE => holding::<SnatRow>(dataset, filter),
        HttpRow::TABLE => holding::<HttpRow>(dataset, filter),
        LedgerRow::TABLE => holding::<LedgerRow>(dataset, filter),
        CpuRow::TABLE => holding::<CpuRow>(dataset, filter),
        ResourceRow::TABLE => holding::<ResourceRow>(dataset, filter),
        ProfileRow::TABLE => holding::<ProfileRow>(dataset, filter),
        ObjectRow::TABLE => holding::<ObjectRow>(dataset, filter),
        unknown => {
            let files = dataset.files(unknown).len();
            Ok(TableHolding {
                files,
                ..TableHolding::new(unknown, false)
            })
        }
    });
    let tables = tables.collect::<Result<Vec<_>, _>>()?;
    let runs = read_runs(&dataset.runs_dir())?;
    Ok(Inspection {
        tables,
        runs: runs.into_iter().map(|run| run.manifest).collect(),
        books: read_books(dataset, filter)?,
    })
}

/// The books alone.
pub fn read_books(dataset: &Dataset, filter: &Filter) -> Result<BooksReport, DatasetError> {
    let mut books = Books::default();
    for batch in dataset.batches::<LedgerRow>(filter) {
        batch?.iter().for_each(|row| books.add_ledger(row));
    }
    let sums = of_each(dataset.open_files::<FlowCount>(filter), |file| {
        let mut sums = Books::default();
        for batch in file?.rows()? {
            let mut rows = batch?;
            rows.retain(|row| filter.takes_time(row.time_us()));
            sums.add_flow_counts(&rows);
        }
        Ok::<_, DatasetError>(sums)
    });
    for sums in sums {
        books.add_flows_of(sums?);
    }
    Ok(books.report())
}

fn holding<R: Record>(dataset: &Dataset, filter: &Filter) -> Result<TableHolding, DatasetError> {
    let mut holding = TableHolding::new(R::TABLE, true);
    holding.superseded_files = dataset.superseded_files(R::TABLE);
    for file in dataset.open_files::<R>(filter) {
        let file = file?;
        holding.add_file(file.metadata(), file.row_count(), file.time_span_us());
    }
    Ok(holding)
}
