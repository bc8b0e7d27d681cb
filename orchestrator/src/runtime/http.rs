//! The HTTP port: metrics and health, on loopback.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// Connections at a time: each takes a descriptor of those that agents are watched by (B82, T28).
const CONNECTIONS_MAX: usize = 16;
/// How long one may last, whatever it does: far longer than an answer takes, and whoever asks again connects again.
const LIFE: Duration = Duration::from_secs(30);

/// Renders the metrics from the database at `path`.
pub(super) type Render = Arc<dyn Fn(&std::path::Path) -> Result<String, String> + Send + Sync>;

struct Shared {
    db: PathBuf,
    render: Render,
}

/// Starts serving; answers the address.
pub(super) async fn start(address: SocketAddr, db: PathBuf, render: Render) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let shared = Arc::new(Shared { db, render });
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(middleware::from_fn(only_known_hosts))
        .with_state(shared);
    let listener = Bounded { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), life: LIFE };
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the HTTP port is closed");
        }
    });
    Ok(bound)
}

/// A listener with so many places, each for so long.
struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    life: Duration,
}

impl axum::serve::Listener for Bounded {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        // The semaphore is never closed; were it, nobody would be served.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
        (Placed { stream, end: Box::pin(tokio::time::sleep(self.life)), _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection in its place.
struct Placed {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Placed {
    /// The stream, while it may last; whoever waits for it is woken at its end.
    fn lasting(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        match self.end.as_mut().poll(context) {
            Poll::Pending => Ok(Pin::new(&mut self.stream)),
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl AsyncRead for Placed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.lasting(cx)?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lasting(cx)?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lasting(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let rendered = tokio::task::spawn_blocking(move || (shared.render)(&shared.db)).await;
    match rendered {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Ok(Err(why)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// A page in a browser that was led here by a name of its own (DNS rebinding) is refused (B82).
async fn only_known_hosts(request: Request, next: Next) -> Response {
    if known_host(request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "this host name is not served\n").into_response()
}

fn known_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.chars().all(|digit| digit.is_ascii_digit()) { name } else { host });
    name == "localhost" || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn serve(places: &Arc<Semaphore>, life: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Bounded { listener, places: Arc::clone(places), life };
        let app = Router::new().route("/healthz", get(|| async { "ok\n" }));
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    async fn slow(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
        stream
    }

    #[tokio::test]
    async fn b82_who_never_ends_his_request_is_not_kept() {
        let mut slow = slow(serve(&Arc::new(Semaphore::new(2)), Duration::from_millis(50)).await).await;
        let mut said = Vec::new();
        timeout(PATIENCE, slow.read_to_end(&mut said)).await.expect("closed").ok();
    }

    #[tokio::test]
    async fn b82_no_more_than_so_many_are_served_at_a_time() {
        let places = Arc::new(Semaphore::new(1));
        let address = serve(&places, PATIENCE * 10).await;
        let first = slow(address).await;
        let taken = async {
            while places.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, taken).await.expect("who comes takes a place");
        let mut second = slow(address).await;
        second.write_all(b"Host: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut said = [0; 12];
        assert_eq!(places.available_permits(), 0, "there is none for the second");
        drop(first);
        timeout(PATIENCE, second.read_exact(&mut said)).await.expect("served").unwrap();
        assert_eq!(&said, b"HTTP/1.1 200");
    }
}
