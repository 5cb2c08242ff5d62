//! `POST /webhook`: verify, store, answer. The work is done elsewhere, later.
//!
//! The order is the point: the size before anything is read, the signature over the raw bytes before anything is parsed, the disk
//! before the answer. Whoever cannot sign changes nothing but a counter.

use super::{App, Received, SMALL_BODY};
use crate::bot::store::{Delivery, Intake};
use crate::github::webhook::{CommentAction, DELIVERY_HEADER, EVENT_HEADER, Event, SIGNATURE_HEADER};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;

/// Events that GitHub sends to every App, whatever it subscribes to: nothing is wrong when they come.
const ALWAYS_SENT: [&str; 4] = ["github_app_authorization", "installation", "installation_repositories", "installation_target"];

/// How long a body that is too large is still read.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest delivery id: GitHub's are UUIDs of 36 characters.
const LONGEST_ID: usize = 100;

/// Why a delivery was not stored.
#[derive(Debug)]
enum Refusal {
    /// 401: not signed by GitHub.
    Unsigned(String),
    /// 413: too many bytes.
    TooLarge(usize),
    /// 415: not JSON.
    NotJson,
    /// 422: not an event that is handled here.
    Unfit(String),
    /// 408: it did not arrive whole.
    Broken,
    /// 503: too many large bodies at once.
    Busy,
    /// 500: it could not be stored; GitHub must send it again.
    NotStored,
}

impl Refusal {
    fn kind(&self) -> Received {
        match self {
            Self::Unsigned(_) => Received::BadSignature,
            Self::TooLarge(_) => Received::TooLarge,
            Self::NotJson | Self::Unfit(_) => Received::Unfit,
            Self::Broken => Received::Broken,
            Self::Busy | Self::NotStored => Received::NotStored,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Unsigned(why) => (StatusCode::UNAUTHORIZED, why),
            Self::TooLarge(most) => (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {most} bytes")),
            Self::NotJson => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body is not application/json: choose this content type in the webhook's settings".to_owned(),
            ),
            Self::Unfit(why) => (StatusCode::UNPROCESSABLE_ENTITY, why),
            Self::Broken => (StatusCode::REQUEST_TIMEOUT, "the body did not arrive whole".to_owned()),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too many large deliveries at once; send it again later".to_owned()),
            Self::NotStored => (StatusCode::INTERNAL_SERVER_ERROR, "the delivery could not be stored; send it again later".to_owned()),
        };
        (status, format!("{text}\n")).into_response()
    }
}

pub(super) async fn receive(State(app): State<Arc<App>>, request: Request) -> Response {
    match accept(&app, request).await {
        Ok((kind, status, text)) => {
            app.metrics.received(kind);
            (status, text).into_response()
        }
        Err(refusal) => {
            app.metrics.received(refusal.kind());
            tracing::debug!(?refusal, "a delivery was refused");
            refusal.into_response()
        }
    }
}

async fn accept(app: &Arc<App>, request: Request) -> Result<(Received, StatusCode, &'static str), Refusal> {
    let (parts, body) = request.into_parts();
    let body = read(app, &parts.headers, body).await?;
    let signature = text_of(&parts.headers, SIGNATURE_HEADER);
    app.settings.secrets.verify(&body, signature).map_err(|error| Refusal::Unsigned(error.to_string()))?;
    // From here on GitHub speaks, though in strangers' words.
    if !is_json(&parts.headers) {
        return Err(Refusal::NotJson);
    }
    let name = text_of(&parts.headers, EVENT_HEADER).ok_or_else(|| Refusal::Unfit(format!("the header {EVENT_HEADER} is missing")))?;
    let event = Event::parse(name, &body).map_err(|error| Refusal::Unfit(error.to_string()))?;
    if let Some(repository) = event.repository()
        && !repository.full_name.eq_ignore_ascii_case(&app.settings.repository.to_string())
    {
        return Err(Refusal::Unfit(format!("this server works for {}, the event is of another repository", app.settings.repository)));
    }
    let (issue, comment) = match &event {
        Event::Ping { .. } => return Ok((Received::Ping, StatusCode::OK, "pong\n")),
        Event::Ignored { name } if ALWAYS_SENT.contains(&name.as_str()) => return Ok((Received::Ping, StatusCode::OK, "nothing to do\n")),
        Event::Ignored { name } => {
            let why = format!("the event {name:?} is not handled: choose issues, issue_comment and workflow_run in the webhook's settings");
            return Err(Refusal::Unfit(why));
        }
        Event::Issue(event) => (Some(event.issue.number), None),
        Event::Comment(event) => (Some(event.issue.number), (event.action == CommentAction::Created).then_some(event.comment.id)),
        Event::WorkflowRun(_) => (None, None),
    };
    let id = text_of(&parts.headers, DELIVERY_HEADER).filter(|id| is_id(id));
    let id = id.ok_or_else(|| Refusal::Unfit(format!("the header {DELIVERY_HEADER} is missing or no id")))?;
    let payload = String::from_utf8(body.to_vec()).map_err(|_| Refusal::Unfit("the body is not UTF-8".to_owned()))?;
    let delivery = Delivery { id: id.to_owned(), event: name.to_owned(), issue, comment, payload };
    match store(app, delivery).await? {
        Intake::New => {
            app.arrived.notify_one();
            Ok((Received::New, StatusCode::ACCEPTED, "accepted\n"))
        }
        Intake::Duplicate => Ok((Received::Duplicate, StatusCode::OK, "known already\n")),
    }
}

/// The raw body, if it is not too large.
async fn read(app: &App, headers: &HeaderMap, mut body: Body) -> Result<Bytes, Refusal> {
    let most = app.settings.max_body;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > most) {
        discard(body, most).await;
        return Err(Refusal::TooLarge(most));
    }
    // A body of unknown length counts as a large one.
    let _place = match announced {
        Some(length) if length <= SMALL_BODY => None,
        _ => {
            let Ok(place) = app.large_bodies.try_acquire() else {
                discard(body, most).await;
                return Err(Refusal::Busy);
            };
            Some(place)
        }
    };
    let mut bytes = Vec::new();
    while let Some(part) = next_part(&mut body).await? {
        if bytes.len() + part.len() > most {
            drop(bytes);
            discard(body, most).await;
            return Err(Refusal::TooLarge(most));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.into())
}

/// The next bytes of a body; `None` at its end.
async fn next_part(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    while let Some(frame) = body.frame().await {
        // What is no data is a trailer.
        if let Ok(part) = frame.map_err(|_| Refusal::Broken)?.into_data() {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

/// Reads on and keeps nothing, so that a sender who writes before it reads gets its answer rather than a broken connection. No longer than
/// [`PATIENCE`] and no more than another body's worth: whoever sends on after that loses the connection.
async fn discard(mut body: Body, most: usize) {
    let all = async {
        let mut read = 0;
        while let Ok(Some(part)) = next_part(&mut body).await {
            read += part.len();
            if read > most.saturating_mul(2) {
                break;
            }
        }
    };
    let _in_time = tokio::time::timeout(PATIENCE, all).await;
}

/// Stores a delivery off the event loop. Once begun, it is finished even when the sender hangs up.
async fn store(app: &Arc<App>, delivery: Delivery) -> Result<Intake, Refusal> {
    let app = Arc::clone(app);
    let stored = tokio::task::spawn_blocking(move || {
        let now = (app.settings.now)();
        app.store
            .accept(&delivery, now)
            .inspect_err(|error| tracing::error!(delivery = delivery.id, error = %error, "a delivery was not stored"))
    });
    match stored.await {
        Ok(Ok(intake)) => Ok(intake),
        Ok(Err(_)) | Err(_) => Err(Refusal::NotStored),
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = text_of(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
