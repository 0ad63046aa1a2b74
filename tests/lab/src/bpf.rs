//! The `bpf` datapath: a tc program of the lab's own, as Cilium has it.

use std::path::Path;

use crate::cluster::Placement;
use crate::error::LabError;
use crate::place::Place;
use crate::topology::{Node, Pod};

/// The attached programs.
#[derive(Debug)]
pub(crate) struct BpfDatapath {}

impl BpfDatapath {
    pub fn attach(object: Option<&Path>, _nodes: &[(&str, &Place)]) -> Result<Self, LabError> {
        let path = object
            .unwrap_or(Path::new("target/ebpf/lab.bpf.o"))
            .to_owned();
        Err(LabError::Object {
            path,
            message: "not there".to_owned(),
        })
    }

    pub fn program(
        &mut self,
        _nodes: &[Node],
        _pods: &[Pod],
        _placement: Option<&Placement>,
        _random_ports: bool,
    ) -> Result<(), LabError> {
        Ok(())
    }
}
