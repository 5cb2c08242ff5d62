//! Files to and from GitHub's storage.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::client::escaped;
use super::transport::{Transport, bearer};
use super::{Error, ReleaseAsset};
use crate::error_chain::chain_of;

/// A token must stay valid while a file is sent.
const TRANSFER: Duration = Duration::from_mins(10);

/// Downloads what a path of the API redirects to. The token goes to the API alone, never to the storage.
pub(super) async fn download(
    transport: &Transport,
    path: &str,
    digest: Option<&str>,
    limit: u64,
    what: &str,
) -> Result<NamedTempFile, Error> {
    let tries = transport.settings.retry.tries.max(1);
    let mut tried = 1;
    loop {
        match try_download(transport, path, digest, limit, what).await {
            Err(error) if error.is_transient() && error.retry_after().is_none() && tried < tries => {
                tracing::info!(tried, "{error}; trying again");
                tokio::time::sleep(transport.settings.retry.first_pause.saturating_mul(1 << (tried - 1).min(16))).await;
                tried += 1;
            }
            done => return done,
        }
    }
}

async fn try_download(transport: &Transport, path: &str, digest: Option<&str>, limit: u64, what: &str) -> Result<NamedTempFile, Error> {
    let lost = |reason: String| Error::transient(what, reason, None);
    let storage = location(transport, path, what).await?;
    let is_local = matches!(storage.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if storage.scheme() != "https" && !(storage.scheme() == "http" && is_local) {
        return Err(Error::permanent(what, "GitHub names a storage address that is not encrypted"));
    }
    // The address is signed: whoever reads it may download, so no error repeats it.
    let response = transport.plain.get(storage).send().await.map_err(|error| lost(chain_of(&error.without_url())))?;
    let status = response.status();
    if !status.is_success() {
        let reason = format!("the storage answers {status}");
        let again = status.is_server_error() || matches!(status.as_u16(), 401 | 403 | 408 | 429);
        return Err(if again { Error::transient(what, reason, None) } else { Error::permanent(what, reason) }.with_status(status.as_u16()));
    }
    let mut file = NamedTempFile::new().map_err(|error| lost(format!("no temporary file: {error}")))?;
    let mut hash = Sha256::new();
    let mut received = 0;
    let mut response = response;
    while let Some(chunk) = response.chunk().await.map_err(|error| lost(format!("it broke off: {}", chain_of(&error.without_url()))))? {
        received += chunk.len() as u64;
        if received > limit {
            return Err(Error::permanent(what, format!("it is larger than the limit of {limit} bytes")));
        }
        hash.update(&chunk);
        file.write_all(&chunk).map_err(|error| lost(format!("writing a temporary file: {error}")))?;
    }
    let actual = format!("sha256:{}", hex::encode(hash.finalize()));
    if digest.is_some_and(|digest| digest.starts_with("sha256:") && !digest.eq_ignore_ascii_case(&actual)) {
        return Err(lost("what arrived has another digest than GitHub names".to_owned()));
    }
    Ok(file)
}

/// Where the API sends us.
async fn location(transport: &Transport, path: &str, what: &str) -> Result<reqwest::Url, Error> {
    let url = format!("{}{path}", transport.settings.api_url.trim_end_matches('/'));
    let token = transport.valid_token(Duration::ZERO).await?;
    let request = transport.plain.get(url).header(AUTHORIZATION, bearer(&token)?).header("x-github-api-version", "2022-11-28");
    let response = request.send().await.map_err(|error| Error::transient(what, chain_of(&error.without_url()), None))?;
    let (status, headers) = (response.status(), response.headers().clone());
    transport.note(status, &headers);
    if status.is_redirection()
        && let Some(target) = headers.get(LOCATION).and_then(|value| value.to_str().ok())
    {
        return reqwest::Url::parse(target).map_err(|_| Error::permanent(what, "GitHub names a storage address that is none"));
    }
    let body = response.bytes().await.unwrap_or_default();
    Err(transport.refused(status, headers, body, what))
}

/// Sends a file to a release, once.
pub(super) async fn upload(
    transport: &Transport,
    upload_url: &str,
    name: &str,
    file: &Path,
    size: u64,
    what: &str,
) -> Result<ReleaseAsset, Error> {
    let template = upload_url.split('{').next().unwrap_or(upload_url);
    let url = format!("{template}?name={}", escaped(name));
    let url = reqwest::Url::parse(&url).map_err(|_| Error::permanent(what, "GitHub names an upload address that is none"))?;
    if !takes_our_token(&url, &transport.settings.api_url) {
        return Err(Error::permanent(what, format!("GitHub names an upload address on another host, {:?}", url.host_str().unwrap_or(""))));
    }
    let token = transport.valid_token(TRANSFER).await?;
    let content =
        tokio::fs::File::open(file).await.map_err(|error| Error::transient(what, format!("{}: {error}", file.display()), None))?;
    let request = transport
        .plain
        .post(url)
        .header(AUTHORIZATION, bearer(&token)?)
        .header("x-github-api-version", "2022-11-28")
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, size)
        .body(content);
    let lost = |error: reqwest::Error| Error::transient(what, chain_of(&error.without_url()), None).unclear();
    let response = request.send().await.map_err(lost)?;
    let (status, headers) = (response.status(), response.headers().clone());
    transport.note(status, &headers);
    let body = response.bytes().await.map_err(lost)?;
    if !status.is_success() {
        return Err(transport.refused(status, headers, body, what));
    }
    serde_json::from_slice(&body).map_err(|error| Error::transient(what, format!("the answer is not understood: {error}"), None).unclear())
}

/// Whether an upload address is GitHub's own: on the API's host, or on its sibling for uploads.
fn takes_our_token(url: &reqwest::Url, api_url: &str) -> bool {
    let Ok(api) = reqwest::Url::parse(api_url) else { return false };
    let sibling = api.scheme() == "https" && url.scheme() == "https" && api.port() == url.port() && {
        let domain = api.host_str().and_then(|host| host.strip_prefix("api."));
        domain.is_some() && url.host_str().and_then(|host| host.strip_prefix("uploads.")) == domain
    };
    url.origin() == api.origin() || sibling
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The token goes to GitHub's own hosts alone.
    #[test]
    fn upload_addresses_are_checked() {
        let takes = |url: &str, api: &str| takes_our_token(&reqwest::Url::parse(url).unwrap(), api);
        assert!(takes("https://uploads.github.com/repos/o/r/releases/1/assets", "https://api.github.com"));
        assert!(takes("https://git.example/api/uploads/repos/o/r", "https://git.example/api/v3"));
        assert!(takes("https://uploads.acme.ghe.com/x", "https://api.acme.ghe.com"));
        for wrong in [
            "https://uploads.github.com.evil.example/x",
            "http://uploads.github.com/x",
            "https://evil.example/x",
            "https://uploads.github.com:8443/x",
        ] {
            assert!(!takes(wrong, "https://api.github.com"), "{wrong}");
        }
        assert!(!takes("https://uploads.example/x", "https://git.example/api/v3"));
    }
}
