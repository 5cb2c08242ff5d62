//! The built website, and the headers that go with every answer.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get_service;
use std::path::Path;
use std::time::Duration;
use tower_http::compression::CompressionLayer;
use tower_http::services::{ServeDir, ServeFile};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

/// The pages' own policy (website/partials/head.html), with what only a header can say: nobody may frame them.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; \
     connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types slm-bench";

/// Headers of every answer.
const HEADERS: [(header::HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// Puts the website behind the other addresses, and headers, compression, log and time limit around all of them.
pub(super) fn with_website(dynamic: Router, website: Option<&Path>, timeout: Duration) -> Router {
    let router = match website {
        Some(folder) => dynamic
            // The one queue page is the website's.
            .route("/queue", get_service(ServeFile::new(folder.join("queue.html"))))
            .fallback_service(get_service(ServeDir::new(folder).precompressed_gzip().not_found_service(axum::routing::any(not_found)))),
        None => dynamic.fallback(not_found),
    };
    router
        .layer(CompressionLayer::new())
        .layer(from_fn(with_headers))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, timeout))
        .layer(TraceLayer::new_for_http())
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "there is nothing at this address\n").into_response()
}

async fn with_headers(request: Request, next: Next) -> Response {
    let lasts = is_hashed(request.uri().path());
    let mut response = next.run(request).await;
    let is_found = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        // Everything but files with a hash in their name may change: it is kept, and asked about each time.
        let value = if lasts && is_found { "public, max-age=31536000, immutable" } else { "no-cache" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
    }
    response
}

/// Whether a path has a digest of the content in its name, as the website's build writes them: `assets/name-HASH.js`.
fn is_hashed(path: &str) -> bool {
    let Some(file) = path.strip_prefix("/assets/").filter(|file| !file.contains('/')) else { return false };
    let Some((stem, end)) = file.rsplit_once('.') else { return false };
    let is_built = matches!(end, "js" | "css" | "woff2" | "svg");
    // Vite's digests have eight characters, of which `-` may be one.
    let is_digest = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    is_built && stem.len() > 9 && stem.is_ascii() && stem.as_bytes()[stem.len() - 9] == b'-' && is_digest(&stem[stem.len() - 8..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what can never change under its name is kept for a year.
    #[test]
    fn only_built_files_last() {
        assert!(is_hashed("/assets/index-DbC3x_9a.js"));
        assert!(is_hashed("/assets/source-sans-3-latin-wght-normal-C5-JJlLA.woff2"));
        for changing in [
            "/index.html",
            "/assets/data/leaderboard.json",
            "/assets/short.js",
            "/assets/data/models-abcdefgh.json",
            "/",
            "/assets/é-12345678.js",
        ] {
            assert!(!is_hashed(changing), "{changing}");
        }
    }

    /// The header says at least what the pages say of themselves.
    #[test]
    fn the_policy_is_the_pages_own() {
        let head = include_str!("../../website/partials/head.html");
        let own = head.split("content=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("the policy");
        assert!(own.starts_with("default-src"));
        for rule in own.split("; ") {
            assert!(CONTENT_SECURITY_POLICY.split("; ").any(|ours| ours.trim() == rule), "{rule}");
        }
    }
}
