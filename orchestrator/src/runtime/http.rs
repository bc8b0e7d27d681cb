//! The HTTP port: metrics and health, on loopback.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Renders the metrics from the database at `path`.
pub(super) type Render = Arc<dyn Fn(&std::path::Path) -> Result<String, String> + Send + Sync>;

struct Shared {
    db: PathBuf,
    render: Render,
}

/// Starts serving; answers the address.
pub(super) async fn start(address: SocketAddr, db: PathBuf, render: Render) -> io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let shared = Arc::new(Shared { db, render });
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(middleware::from_fn(only_known_hosts))
        .with_state(shared);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the HTTP port is closed");
        }
    });
    Ok(bound)
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
