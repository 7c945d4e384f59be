//! The key server from its start to its end. Who runs where:
//!
//! ```text
//!  sockets -> readers -> shards, one a core: phase 1 and registrations (tokio tasks)
//!                          |  events                            ^ orders
//!                          v                                    |
//!            authority thread -> batches -> store thread: commits many batches at once, then lets go
//!                                               |               of what rests on them
//!                                               v
//!                                          sender: signs and sends rekeys (tokio task)
//! ```

mod answers;
mod authority;
mod drops;
mod log;
mod metrics;
mod network;
mod shard;
mod store;

use crate::config::{Config, ConfigError};
use crate::core::Authority;
use crate::serve::{Directory, endpoint_config};
use crate::store::{FileStore, Store, StoreError};
use authority::{Desk, Input};
use getvpn_config::service::Service;
use getvpn_ctl::Baseline;
use getvpn_ctl::server::{BindError, ControlSocket, Limits};
use getvpn_gdoi::crypto::SystemRandom;
use getvpn_metrics::{Listener, Question};
use network::{Network, NetworkError};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;
use store::Outlets;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

/// What may wait for the authority.
const INPUTS: usize = 16_384;
/// Batches that may wait for the store.
const BATCHES: usize = 1_024;
/// Requests of the control socket that may wait.
const CALLS: usize = 16;

/// Why a key server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The logs cannot be set up.
    #[error("{0}")]
    Log(String),
    /// The store cannot be used.
    #[error(transparent)]
    Store(StoreError),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// Metrics cannot be served.
    #[error(transparent)]
    Metrics(#[from] getvpn_metrics::BindError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The runtime, a thread or the signals cannot be set up.
    #[error("the key server cannot start: {0}")]
    Runtime(std::io::Error),
    /// The store failed while it ran, so that nothing may be handed out any longer.
    #[error("{0}; the key server has stopped, its members keep what they have")]
    Failed(StoreError),
}

impl RunError {
    /// Whether nobody was served, so that the operator has something to put right first.
    #[must_use]
    pub fn is_before_start(&self) -> bool {
        !matches!(self, RunError::Failed(_))
    }
}

/// Runs a key server until it is told to end.
///
/// # Errors
/// See [`RunError`].
pub fn run(mut config: Config, file: &Path) -> Result<(), RunError> {
    for warning in &config.warnings {
        warn!(event = "configuration_warning", "{warning}");
    }
    let mut store = FileStore::open(&config.server.store).map_err(RunError::Store)?;
    let stored = store.load().map_err(RunError::Store)?;
    let socket = ControlSocket::bind_for(&config.socket, config.permissions)?;
    let metrics = config.metrics.map(Listener::bind).transpose()?;
    let runtime = Runtime::new().map_err(RunError::Runtime)?;
    let shards = thread::available_parallelism().map_or(1, usize::from).min(64);
    let mut network = runtime.block_on(async { Network::bind(&mut config, shards) })?;
    let directory = Arc::new(Directory::new(config.peers.clone()));
    let authority = Authority::new(config.settings(), stored, authority::now(), &mut SystemRandom)
        .map_err(|damaged| RunError::Store(StoreError::damaged(store.path(), &damaged)))?;
    info!(
        event = "started",
        groups = config.groups.len(),
        shards,
        listen = ?network.addresses(),
        "key server started"
    );

    let (inputs, waiting) = mpsc::channel(INPUTS);
    let (batches, jobs) = mpsc::channel(BATCHES);
    let (failed, failure) = oneshot::channel();
    let endpoint = endpoint_config(&config.server, Arc::clone(&directory) as _, shards);
    let (orders, counters) = shard::start(&runtime, &mut network, shards, &endpoint, &inputs);
    let sender = network.start_sender(&runtime);
    let outlets = Outlets { orders: orders.clone(), sender, inputs: inputs.clone() };
    let writer = thread::Builder::new()
        .name("store".into())
        .spawn(move || store::run(store, jobs, outlets, failed))
        .map_err(RunError::Runtime)?;
    let started = Instant::now();
    let desk = Desk {
        authority,
        directory,
        file: file.to_owned(),
        server: config.server.clone(),
        listen: network.listen().clone(),
        shards,
        orders,
        batches,
        counters,
        service: Service::from_environment(),
        started,
        readings: drops::readings(started),
        metrics: config.metrics,
        baseline: Baseline::new(started),
    };
    let decider = thread::Builder::new()
        .name("authority".into())
        .spawn(move || authority::run(desk, waiting))
        .map_err(RunError::Runtime)?;
    let (asker, questions) = getvpn_metrics::questions();
    let served =
        metrics.map(|listener| listener.serve(getvpn_metrics::Limits::default(), asker, metrics::page));
    let _endpoint = served.transpose().map_err(RunError::Runtime)?;
    let ended = runtime.block_on(serve(&socket, questions, inputs, failure));
    runtime.shutdown_background();
    for thread in [decider, writer] {
        if thread.join().is_err() {
            error!(event = "thread_panicked", "a thread of the key server has panicked");
        }
    }
    info!(event = "stopped", "key server stopped");
    ended
}

/// Waits for signals, clients and failures.
async fn serve(
    socket: &ControlSocket,
    mut questions: mpsc::Receiver<Question<metrics::Figures>>,
    inputs: mpsc::Sender<Input>,
    failure: oneshot::Receiver<StoreError>,
) -> Result<(), RunError> {
    let on = |kind| signal(kind).map_err(RunError::Runtime);
    let (mut interrupt, mut terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    let mut hangup = on(SignalKind::hangup())?;
    let (calls, mut waiting) = mpsc::channel(CALLS);
    let clients = socket.serve(calls, Limits::default());
    tokio::pin!(clients, failure);
    let mut serving = true;
    let ended = loop {
        tokio::select! {
            _ = interrupt.recv() => break Ok(()),
            _ = terminate.recv() => break Ok(()),
            _ = hangup.recv() => {
                if inputs.send(Input::Reload).await.is_err() {
                    break Ok(());
                }
            }
            Some(call) = waiting.recv() => {
                if inputs.send(Input::Call(call)).await.is_err() {
                    break Ok(());
                }
            }
            Some(question) = questions.recv() => {
                if inputs.send(Input::Figures(question)).await.is_err() {
                    break Ok(());
                }
            }
            result = &mut clients, if serving => {
                serving = false;
                if let Err(error) = result {
                    error!(event = "control_socket_failed", %error, "the control socket is gone: {error}");
                }
            }
            failed = &mut failure => {
                break failed.map_or(Ok(()), |error| Err(RunError::Failed(error)));
            }
        }
    };
    info!(event = "stopping", "stopping");
    // The authority may be gone already.
    let _ = inputs.send(Input::Stop).await;
    ended
}
