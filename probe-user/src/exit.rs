//! Exit codes: which errors are the caller's to mend.
//!
//! It looks at the types of errors and never at their text.

use crate::{
    attach::cpu::NoStatistics, cgroups, config, interfaces, privileges,
    processors::cycles::NoCycles, record, ship, spool::SpoolError,
};

/// Bad use: the command line, the machine or the user's rights must change.
pub const BAD_USE: u8 = 2;
/// Anything else that went wrong.
pub const FAILURE: u8 = 1;

/// The exit code for an error that ended the program.
pub fn code(error: &anyhow::Error) -> u8 {
    let bad_use = error.chain().any(|cause| {
        cause.is::<config::Invalid>()
            || cause.is::<privileges::Missing>()
            || cause.is::<interfaces::NotFound>()
            || cause.is::<cgroups::NotFound>()
            || cause.is::<record::NoCluster>()
            || matches!(cause.downcast_ref(), Some(error) if is_of_store(error))
            || cause.is::<NoCycles>()
            || cause.is::<NoStatistics>()
            || matches!(
                cause.downcast_ref(),
                Some(SpoolError::Unusable { .. } | SpoolError::Lock(_))
            )
    });
    if bad_use { BAD_USE } else { FAILURE }
}

fn is_of_store(error: &ship::StartError) -> bool {
    !matches!(error, ship::StartError::Thread(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_use_is_told_from_failure_by_type_under_any_context() {
        let invalid = config::Invalid {
            flag: "--node",
            value: String::new(),
            reason: "give one".to_owned(),
        };
        assert_eq!(
            code(&anyhow::Error::from(invalid).context("while starting")),
            BAD_USE
        );
        assert_eq!(code(&anyhow::anyhow!("--node: not a typed error")), FAILURE);
    }
}
