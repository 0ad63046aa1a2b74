//! What each run's traffic cost: cycles and processor time by packet and byte, of all and by part of
//! the datapath, as `weighbridge cost` counts them.
//!
//! Packets are those on the wire at the nodes' uplinks: one that passes several uplinks counts at
//! each, so beside them stands the cost by packet of the client pod, each once. What counts as a
//! cycle stands in every number's unit and origin: reference cycles are no CPU cycles.

use trace_schema::Record;
use trace_schema::cpu::CpuRow;
use trace_schema::flows::FlowRow;

use super::{Metric, Origin, Quantity, RunMeasurements, Unit};
use crate::cost::{Cost, CycleBasis, RunCost};
use crate::input::cost::{read_cost, scope_of};
use crate::input::manifest::Run;
use crate::input::traces::{Dataset, DatasetError};
use crate::objects::History;

/// Notes what each run's traffic cost; nothing where no processor time was recorded.
pub(super) fn measure(
    dataset: &Dataset,
    history: &History,
    runs: &[Run],
    into: &mut [RunMeasurements],
) -> Result<(), DatasetError> {
    if dataset.files(CpuRow::TABLE).is_empty() {
        return Ok(());
    }
    let scopes = runs.iter().map(scope_of).collect();
    let report = read_cost(dataset, history, scopes)?;
    for run in into.iter_mut().filter(|run| run.counts()) {
        if let Some(cost) = report.runs.iter().find(|cost| cost.run == run.run) {
            note(cost, run);
        }
    }
    Ok(())
}

fn note(cost: &RunCost, run: &mut RunMeasurements) {
    let noted = Noted {
        basis: cost.cycle_source,
    };
    if !cost.inconclusive_because.is_empty() {
        run.notes.push(format!(
            "what run {} cost is inconclusive ({}), and counts here all the same",
            cost.run,
            cost.inconclusive_because.join("; ")
        ));
    }
    noted.part(None, &cost.charged, run);
    for part in &cost.parts {
        noted.part(Some(part.part.title()), &part.cost, run);
    }
}

struct Noted {
    basis: CycleBasis,
}

impl Noted {
    fn part(&self, part: Option<&str>, cost: &Cost, run: &mut RunMeasurements) {
        let metric = |quantity| Metric {
            quantity,
            part: part.map(str::to_owned),
        };
        let rows = [
            (
                Quantity::CyclesPerPacket,
                cost.per_wire_packet.cycles,
                true,
                WIRE,
            ),
            (Quantity::CyclesPerByte, cost.per_byte.cycles, true, BYTES),
            (
                Quantity::CyclesPerClientPacket,
                cost.per_client_packet.cycles,
                true,
                CLIENT,
            ),
            (
                Quantity::CpuNsPerPacket,
                cost.per_wire_packet.cpu_ns,
                false,
                WIRE,
            ),
            (Quantity::CpuNsPerByte, cost.per_byte.cpu_ns, false, BYTES),
        ];
        for (quantity, value, of_cycles, by) in rows {
            let counted = match of_cycles {
                true => self.basis.title(),
                false => "CPU time",
            };
            let why = match of_cycles && !self.basis.counts() {
                true => format!("of cycles there are {}", self.basis.title()),
                false => format!("there were no {by}"),
            };
            let origin = Origin {
                files: vec![
                    format!("{}/", CpuRow::TABLE),
                    format!("{}/", FlowRow::TABLE),
                ],
                by: format!(
                    "{counted} charged in the run ÷ {by}, idle time left out, as `weighbridge cost` counts them"
                ),
            };
            let unit = counted_in(quantity.unit(), self.basis);
            run.note_in(metric(quantity), unit, value.ok_or(why), &origin);
        }
    }
}

/// The unit with whose cycles they are.
fn counted_in(unit: Unit, basis: CycleBasis) -> Unit {
    match (unit, basis) {
        (Unit::CyclesPerPacket, CycleBasis::Reference) => Unit::ReferenceCyclesPerPacket,
        (Unit::CyclesPerByte, CycleBasis::Reference) => Unit::ReferenceCyclesPerByte,
        (Unit::CyclesPerPacket, CycleBasis::Software) => Unit::SoftwareEventsPerPacket,
        (Unit::CyclesPerByte, CycleBasis::Software) => Unit::SoftwareEventsPerByte,
        (unit, _) => unit,
    }
}

const WIRE: &str = "wire packets at the nodes' uplinks";
const BYTES: &str = "layer-3 bytes at the nodes' uplinks";
const CLIENT: &str = "packets of the client pod";
