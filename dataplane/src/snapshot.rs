//! What a worker sees of the control thread's decisions: SAs by SPI, and policy, published as one.
//! Immutable; read by workers, built and dropped by the control thread.

use std::sync::Arc;

use dpdk::acl::AclError;

use crate::plausibility::SpiTest;
use crate::policy::{Policy, PolicyState};
use crate::sa::Sa;
use crate::spi_table::SpiTable;

/// One consistent set of decisions.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) sas: SpiTable<TableEntry>,
    pub(crate) policy: Policy,
    pub(crate) spi_test: SpiTest,
}

/// An SA under its SPI.
#[derive(Debug)]
pub(crate) struct TableEntry {
    pub(crate) sa: Arc<Sa>,
    pub(crate) receives: bool,
}

impl Snapshot {
    /// Whether there is an SA with this SPI, of whatever use it is.
    #[must_use]
    pub fn knows(&self, spi: u32) -> bool {
        self.sas.get(spi).is_some()
    }

    /// Builds a snapshot; parts of `previous` that have not changed are kept.
    ///
    /// # Errors
    /// When DPDK cannot build the ACL of the policy.
    pub fn build(state: &PolicyState, previous: Option<&Snapshot>) -> Result<Snapshot, AclError> {
        let entries = state
            .sas
            .iter()
            .map(|i| (i.sa.spi(), TableEntry { sa: Arc::clone(&i.sa), receives: i.receives }));
        Ok(Snapshot {
            sas: SpiTable::build(entries),
            policy: Policy::build(state, previous.map(|p| &p.policy))?,
            spi_test: state.spi_test.clone(),
        })
    }
}
