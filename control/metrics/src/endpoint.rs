//! The HTTP server of a daemon's metrics: `GET /metrics` and nothing else. A thread of its own with a runtime
//! of its own, which waits for whoever owns the figures and for clients, never the other way round.
//!
//! A connection carries one request. Clients are bounded in number, in what they send, and in time, so that one
//! that stalls or floods holds up nobody: when all places are taken, the client that came first is cut. However
//! often it is asked, the owner is asked five times a second at most.

use crate::page::Page;
use crate::process::process;
use crate::question::Asker;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE as CONTENT_TYPE_HEADER, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tracing::warn;

/// Where the metrics are.
pub const PATH: &str = "/metrics";

/// What they are.
pub const CONTENT_TYPE: &str = prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// Octets of a request's line and headers; hyper takes no less for a limit.
const LONGEST_HEAD: usize = 8_192;

/// What clients may take up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Clients connected at a time.
    pub clients: usize,
    /// How long a client may take to send its request.
    pub head: Duration,
    /// How long it may be connected in all.
    pub whole: Duration,
    /// How long the owner of the figures may take to tell them.
    pub answer: Duration,
    /// For so long the figures are not asked for again.
    pub fresh: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 16,
            head: Duration::from_secs(5),
            whole: Duration::from_secs(10),
            answer: Duration::from_secs(4),
            fresh: Duration::from_millis(200),
        }
    }
}

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
#[error(
    "[metrics] listen {address}: {error}; choose an address of this machine and a port that nobody has, or remove \
     [metrics]"
)]
pub struct BindError {
    address: SocketAddr,
    error: io::Error,
}

/// An address that metrics will be served at.
#[derive(Debug)]
pub struct Listener {
    listener: net::TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Takes the address, so that a daemon that cannot have it does not start.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let wrong = |error| BindError { address, error };
        let listener = net::TcpListener::bind(address).map_err(wrong)?;
        listener.set_nonblocking(true).map_err(wrong)?;
        // Another port than was asked for when that was 0.
        let address = listener.local_addr().map_err(wrong)?;
        Ok(Self { listener, address })
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts the thread that serves what `asker` gets. `page` makes of the figures what is shown, on that thread.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be had.
    pub fn serve<S: Send + 'static>(
        self,
        limits: Limits,
        asker: Asker<S>,
        page: impl Fn(&S) -> Page + Send + Sync + 'static,
    ) -> io::Result<Endpoint> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let address = self.address;
        let thread = thread::Builder::new().name("metrics".into()).spawn(move || {
            let source = Arc::new(Source { asker, page, limits, last: Mutex::new(None) });
            runtime.block_on(async {
                tokio::select! {
                    // Its sender is dropped.
                    _ = stopped => {}
                    result = accept(self.listener, source, limits) => {
                        if let Err(error) = result {
                            warn!(event = "metrics_failed", %error, "metrics are served no longer: {error}");
                        }
                    }
                }
            });
        })?;
        Ok(Endpoint { stop: Some(stop), thread: Some(thread), address })
    }
}

/// A running endpoint. It ends when this is dropped.
#[derive(Debug)]
pub struct Endpoint {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    address: SocketAddr,
}

impl Endpoint {
    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(Err(_)) = self.thread.take().map(thread::JoinHandle::join) {
            warn!(event = "metrics_failed", "the thread that serves metrics has panicked");
        }
    }
}

/// Where the pages come from.
struct Source<S, P> {
    asker: Asker<S>,
    page: P,
    limits: Limits,
    /// The last page and when it was made. Clients that come meanwhile wait for the same one.
    last: Mutex<Option<(Instant, Arc<str>)>>,
}

impl<S: Send + 'static, P: Fn(&S) -> Page> Source<S, P> {
    async fn text(&self) -> Option<Arc<str>> {
        let mut last = self.last.lock().await;
        if let Some((_, text)) = last.as_ref().filter(|(made, _)| made.elapsed() < self.limits.fresh) {
            return Some(Arc::clone(text));
        }
        let figures = self.asker.ask(self.limits.answer).await?;
        let mut page = (self.page)(&figures);
        process().into_iter().for_each(|family| page.push(family));
        let text: Arc<str> = page.into_text().into();
        *last = Some((Instant::now(), Arc::clone(&text)));
        Some(text)
    }

    async fn respond(&self, request: &Request<Incoming>) -> Response<String> {
        let plain = |status: StatusCode, text: &str| {
            let mut response = Response::new(format!("{text}\n"));
            *response.status_mut() = status;
            response
                .headers_mut()
                .insert(CONTENT_TYPE_HEADER, HeaderValue::from_static("text/plain; charset=utf-8"));
            response
        };
        if request.uri().path() != PATH {
            return plain(StatusCode::NOT_FOUND, "there is only /metrics here");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match self.text().await {
            Some(text) => {
                let mut response = plain(StatusCode::OK, "");
                *response.body_mut() = text.to_string();
                response.headers_mut().insert(CONTENT_TYPE_HEADER, HeaderValue::from_static(CONTENT_TYPE));
                response
            }
            None => plain(StatusCode::SERVICE_UNAVAILABLE, "the daemon does not tell its figures at present"),
        }
    }
}

async fn accept<S: Send + 'static, P: Fn(&S) -> Page + Send + Sync + 'static>(
    listener: net::TcpListener,
    source: Arc<Source<S, P>>,
    limits: Limits,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    // The one that came first stands first.
    let mut clients: Vec<AbortHandle> = Vec::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, or the client went away: neither lasts.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        clients.retain(|client| !client.is_finished());
        if clients.len() >= limits.clients {
            clients.remove(0).abort();
        }
        clients.push(tokio::spawn(serve_client(stream, Arc::clone(&source), limits)).abort_handle());
    }
}

async fn serve_client<S: Send + 'static, P: Fn(&S) -> Page + Send + Sync + 'static>(
    stream: TcpStream,
    source: Arc<Source<S, P>>,
    limits: Limits,
) {
    let answer = service_fn(|request| {
        let source = Arc::clone(&source);
        async move { Ok::<_, Infallible>(source.respond(&request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(LONGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    // A client that breaks off, sends garbage or takes too long: none of it is worth a line.
    let _ = timeout(limits.whole, connection).await;
}

#[cfg(test)]
mod tests;
