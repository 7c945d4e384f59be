//! The store thread: makes batches durable, as many at once as are waiting, and then carries out what
//! rests on them. Nothing else in the daemon gets at an action before its changes are on disk.

use super::authority::Input;
use super::log;
use super::shard::{Orders, ToShard};
use crate::core::{Action, Batch, FreshKey, PushMessage};
use crate::serve::Order;
use crate::store::{Store, StoreError};
use getvpn_gdoi::crypto::SystemRandom;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

/// Batches that one commit takes at most.
const AT_ONCE: usize = 512;
/// A commit that fails is tried again, for a disk that is full for a moment.
const TRIES: u32 = 10;
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// A rekey to send.
pub(super) struct Sending {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub push: Arc<PushMessage>,
}

/// A batch, with what is to be said once it is durable.
pub(super) struct Job {
    pub batch: Batch,
    pub replies: Vec<Box<dyn FnOnce() + Send>>,
}

/// Where actions go.
pub(super) struct Outlets {
    pub orders: Orders,
    pub sender: mpsc::UnboundedSender<Sending>,
    pub inputs: mpsc::Sender<Input>,
}

/// Runs until there are no more batches, or the store fails for good.
pub(super) fn run(
    mut store: impl Store,
    mut jobs: mpsc::Receiver<Job>,
    outlets: Outlets,
    failed: oneshot::Sender<StoreError>,
) {
    while let Some(first) = jobs.blocking_recv() {
        let mut waiting = vec![first];
        while waiting.len() < AT_ONCE {
            let Ok(job) = jobs.try_recv() else { break };
            waiting.push(job);
        }
        let changes: Vec<_> =
            waiting.iter_mut().flat_map(|job| std::mem::take(&mut job.batch.changes)).collect();
        if !changes.is_empty()
            && let Err(error) = commit(&mut store, &changes)
        {
            error!(event = "store_failed", %error, "stopping: {error}");
            let _ = failed.send(error);
            return;
        }
        for job in waiting {
            job.batch.actions.into_iter().for_each(|action| outlets.carry_out(action));
            job.replies.into_iter().for_each(|reply| reply());
        }
    }
}

fn commit(store: &mut impl Store, changes: &[crate::core::Change]) -> Result<(), StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match store.commit(changes) {
            Ok(()) => return Ok(()),
            Err(error) if tries == TRIES => return Err(error),
            Err(error) => {
                warn!(event = "store_failing", %error, tries, "{error}; trying again");
                thread::sleep(TRY_AGAIN);
            }
        }
    }
}

impl Outlets {
    fn carry_out(&self, action: Action) {
        match action {
            Action::Offer { pull, policy, compat } => {
                self.order(pull.shard, Order::Offer(pull.pull, policy, compat));
            }
            Action::Keys { pull, policy, keys, sequence } => {
                self.order(pull.shard, Order::Keys(pull.pull, policy, keys, sequence));
            }
            Action::Refuse { pull, why } => self.order(pull.shard, Order::Refuse(pull.pull, why)),
            Action::Disconnect { address } => {
                for shard in &self.orders {
                    let _ = shard.send(ToShard::Order(Box::new(Order::Close(address))));
                }
            }
            Action::Send { from, to, push } => {
                let _ = self.sender.send(Sending { from, to, push });
            }
            Action::MakeSigningKey { group, kind } => {
                let inputs = self.inputs.clone();
                thread::spawn(move || match FreshKey::generate(kind, &mut SystemRandom) {
                    Ok(key) => {
                        // When the authority is gone, so is the need for a key.
                        let _ = inputs.blocking_send(Input::SigningKey(group, key));
                    }
                    Err(error) => {
                        error!(event = "signing_key_failed", %group, %error, "no signing key: {error}");
                    }
                });
            }
            Action::Log(event) => log::event(&event),
        }
    }

    fn order(&self, shard: u16, order: Order) {
        // A shard is gone only when the server ends.
        if let Some(shard) = self.orders.get(usize::from(shard)) {
            let _ = shard.send(ToShard::Order(Box::new(order)));
        }
    }
}
