//! Webhooks: the signature of a delivery, and what it says.
//!
//! Check [`Secrets::verify`] over the raw bytes before anything else reads them; then [`Event::parse`].
//! Payloads: <https://docs.github.com/en/webhooks/webhook-events-and-payloads>.

use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;

use super::{Comment, Error, Issue, Repository, Secret, User, WorkflowRun};

/// Header with the event's name.
pub const EVENT_HEADER: &str = "x-github-event";
/// Header with the delivery's unique id.
pub const DELIVERY_HEADER: &str = "x-github-delivery";
/// Header with the signature: `sha256=` and 64 hexadecimal digits.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";

/// The secrets that sign deliveries: one, or two while one replaces the other.
#[derive(Clone, Debug)]
pub struct Secrets(Vec<Secret>);

/// Why a delivery is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error("the delivery has no signature: set the webhook's secret on GitHub")]
    Missing,
    /// It does not have the form of one.
    #[error("the signature does not have the form sha256=<64 hexadecimal digits>")]
    Malformed,
    /// It was made with another secret, or of other bytes.
    #[error("the signature does not fit the body")]
    Wrong,
}

impl Secrets {
    /// Takes one or two secrets.
    ///
    /// # Errors
    /// For none, or more than two.
    pub fn new(secrets: Vec<Secret>) -> Result<Self, Error> {
        if secrets.is_empty() || secrets.len() > 2 {
            return Err(Error::permanent("the webhook's secret", "there must be one, or two while one replaces the other"));
        }
        Ok(Self(secrets))
    }

    /// Checks the header `X-Hub-Signature-256` against the raw bytes of the body, in a time that does not depend on where they differ.
    ///
    /// # Errors
    /// When the signature is missing, malformed, or fits none of the secrets.
    pub fn verify(&self, body: &[u8], signature: Option<&str>) -> Result<(), SignatureError> {
        let signature = signature.ok_or(SignatureError::Missing)?;
        let digits = signature.strip_prefix("sha256=").ok_or(SignatureError::Malformed)?;
        let mut expected = [0_u8; 32];
        hex::decode_to_slice(digits, &mut expected).map_err(|_| SignatureError::Malformed)?;
        // Both secrets are always tried, so that the time tells nothing about which one is in use.
        let fits = |secret| mac(secret, body).is_some_and(|mac| mac.verify_slice(&expected).is_ok());
        let fits = self.0.iter().fold(false, |others, secret| fits(secret) | others);
        if fits { Ok(()) } else { Err(SignatureError::Wrong) }
    }

    /// The signature that GitHub would send with this body, made with the first secret.
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> String {
        let mac = self.0.first().and_then(|secret| mac(secret, body));
        mac.map_or_else(String::new, |mac| format!("sha256={}", hex::encode(mac.finalize().into_bytes())))
    }
}

/// HMAC takes keys of any length, so there always is one.
fn mac(secret: &Secret, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).ok()?;
    mac.update(body);
    Some(mac)
}

/// What was done to an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueAction {
    /// Opened.
    Opened,
    /// Title or text changed.
    Edited,
    /// Closed.
    Closed,
    /// Opened again.
    Reopened,
    /// A label was added.
    Labeled,
    /// A label was removed.
    Unlabeled,
    /// Deleted.
    Deleted,
    /// Moved to another repository.
    Transferred,
    /// Something else, by its name there.
    Other(String),
}

impl IssueAction {
    fn of(name: String) -> Self {
        match name.as_str() {
            "opened" => Self::Opened,
            "edited" => Self::Edited,
            "closed" => Self::Closed,
            "reopened" => Self::Reopened,
            "labeled" => Self::Labeled,
            "unlabeled" => Self::Unlabeled,
            "deleted" => Self::Deleted,
            "transferred" => Self::Transferred,
            _ => Self::Other(name),
        }
    }
}

/// What was done to a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommentAction {
    /// Written.
    Created,
    /// Changed.
    Edited,
    /// Deleted.
    Deleted,
    /// Something else, by its name there.
    Other(String),
}

/// `issues`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueEvent {
    /// What was done.
    pub action: IssueAction,
    /// The issue afterwards.
    pub issue: Issue,
    /// The label that was added or removed.
    pub label: Option<String>,
    /// Where.
    pub repository: Repository,
    /// By whom.
    pub sender: User,
}

/// `issue_comment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommentEvent {
    /// What was done.
    pub action: CommentAction,
    /// The comment afterwards.
    pub comment: Comment,
    /// Its issue.
    pub issue: Issue,
    /// Where.
    pub repository: Repository,
    /// By whom.
    pub sender: User,
}

/// `workflow_run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowRunEvent {
    /// `requested`, `in_progress` or `completed`.
    pub action: String,
    /// The run.
    pub run: WorkflowRun,
    /// Where.
    pub repository: Repository,
    /// By whom.
    pub sender: User,
}

/// A delivery, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// GitHub tries the address.
    Ping {
        /// The hook's id.
        hook_id: u64,
        /// Where it is set; `None` for a hook of an organisation or App.
        repository: Option<Repository>,
    },
    /// Something was done to an issue.
    Issue(Box<IssueEvent>),
    /// Something was done to a comment.
    Comment(Box<CommentEvent>),
    /// A workflow run came on.
    WorkflowRun(Box<WorkflowRunEvent>),
    /// An event that is none of ours.
    Ignored {
        /// Its name, shortened.
        name: String,
    },
}

/// A payload that does not have the form which GitHub publishes.
#[derive(Debug, thiserror::Error)]
#[error("the payload of the event {event:?} is not understood: {reason}")]
pub struct PayloadError {
    /// The event's name, shortened.
    pub event: String,
    /// What is wrong, with line and column; it repeats nothing of the payload beyond the value at that place.
    pub reason: String,
}

/// Longest name of an event that is repeated in messages.
const LONGEST_NAME: usize = 64;

impl Event {
    /// Reads a payload. `name` is the header `X-GitHub-Event`.
    ///
    /// # Errors
    /// When the body of an event that we know is not JSON of the published form.
    pub fn parse(name: &str, body: &[u8]) -> Result<Self, PayloadError> {
        let short: String = name.chars().filter(|character| !character.is_control()).take(LONGEST_NAME).collect();
        let event = short.clone();
        let wrong = move |error: serde_json::Error| {
            let reason: String = error.to_string().chars().filter(|character| !character.is_control()).take(300).collect();
            PayloadError { event, reason }
        };
        Ok(match name {
            "ping" => {
                let ping: PingPayload = serde_json::from_slice(body).map_err(wrong)?;
                Self::Ping { hook_id: ping.hook_id, repository: ping.repository }
            }
            "issues" => {
                match serde_json::from_slice::<IssuePayload>(body) {
                    Ok(payload) => Self::Issue(Box::new(payload.into())),
                    // Some events that we do not act on, such as `pinned`, come with a shorter issue.
                    Err(_) if is_other_action(body) => Self::Ignored { name: short },
                    Err(error) => return Err(wrong(error)),
                }
            }
            "issue_comment" => {
                let payload: CommentPayload = serde_json::from_slice(body).map_err(wrong)?;
                Self::Comment(Box::new(payload.into()))
            }
            "workflow_run" => {
                let payload: WorkflowRunPayload = serde_json::from_slice(body).map_err(wrong)?;
                let WorkflowRunPayload { action, workflow_run: run, repository, sender } = payload;
                Self::WorkflowRun(Box::new(WorkflowRunEvent { action, run, repository, sender }))
            }
            _ => Self::Ignored { name: short },
        })
    }

    /// The repository that the event is about, where it is about one.
    #[must_use]
    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Ping { repository, .. } => repository.as_ref(),
            Self::Issue(event) => Some(&event.repository),
            Self::Comment(event) => Some(&event.repository),
            Self::WorkflowRun(event) => Some(&event.repository),
            Self::Ignored { .. } => None,
        }
    }
}

/// Whether an `issues` payload tells of something that we never act on.
fn is_other_action(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Action {
        action: String,
    }
    serde_json::from_slice::<Action>(body).is_ok_and(|Action { action }| matches!(IssueAction::of(action), IssueAction::Other(_)))
}

#[derive(Deserialize)]
struct PingPayload {
    hook_id: u64,
    #[serde(default)]
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct LabelName {
    name: String,
}

#[derive(Deserialize)]
struct IssuePayload {
    action: String,
    issue: Issue,
    #[serde(default)]
    label: Option<LabelName>,
    repository: Repository,
    sender: User,
}

#[derive(Deserialize)]
struct CommentPayload {
    action: String,
    comment: Comment,
    issue: Issue,
    repository: Repository,
    sender: User,
}

#[derive(Deserialize)]
struct WorkflowRunPayload {
    action: String,
    workflow_run: WorkflowRun,
    repository: Repository,
    sender: User,
}

impl From<IssuePayload> for IssueEvent {
    fn from(payload: IssuePayload) -> Self {
        let action = IssueAction::of(payload.action);
        let label = payload.label.map(|label| label.name);
        Self { action, issue: payload.issue, label, repository: payload.repository, sender: payload.sender }
    }
}

impl From<CommentPayload> for CommentEvent {
    fn from(payload: CommentPayload) -> Self {
        let action = match payload.action.as_str() {
            "created" => CommentAction::Created,
            "edited" => CommentAction::Edited,
            "deleted" => CommentAction::Deleted,
            _ => CommentAction::Other(payload.action),
        };
        Self { action, comment: payload.comment, issue: payload.issue, repository: payload.repository, sender: payload.sender }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn secrets(texts: &[&str]) -> Secrets {
        Secrets::new(texts.iter().map(|text| Secret::new("the webhook's secret", text).unwrap()).collect()).unwrap()
    }

    /// GitHub's own example of a signature is accepted: <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>.
    #[test]
    fn the_published_example_is_accepted() {
        let secrets = secrets(&["It's a Secret to Everybody"]);
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(secrets.verify(b"Hello, World!", Some(signature)), Ok(()));
        assert_eq!(secrets.sign(b"Hello, World!"), signature);
    }

    /// During a rotation both secrets count; a third one, no signature, SHA-1 and malformed ones do not.
    #[test]
    fn only_the_secrets_sign() {
        let both = secrets(&["new", "old"]);
        assert_eq!(both.verify(b"body", Some(&secrets(&["new"]).sign(b"body"))), Ok(()));
        assert_eq!(both.verify(b"body", Some(&secrets(&["old"]).sign(b"body"))), Ok(()));
        assert_eq!(both.verify(b"body", Some(&secrets(&["other"]).sign(b"body"))), Err(SignatureError::Wrong));
        assert_eq!(both.verify(b"Body", Some(&both.sign(b"body"))), Err(SignatureError::Wrong));
        assert_eq!(both.verify(b"body", None), Err(SignatureError::Missing));
        for malformed in ["", "sha256=", "sha1=0123", "sha256=zz", &format!("{}00", both.sign(b"body")), &both.sign(b"body")[7..]] {
            assert_eq!(both.verify(b"body", Some(malformed)), Err(SignatureError::Malformed), "{malformed}");
        }
        assert!(Secrets::new(Vec::new()).is_err());
        assert!(!format!("{both:?}").contains("old"));
    }

    fn issue() -> Value {
        json!({
            "id": 11, "number": 7, "title": "Model Submission", "body": null, "state": "open", "labels": [{"name": "submission"}],
            "user": {"id": 5, "login": "octocat", "type": "User"}, "html_url": "https://github.com/o/r/issues/7",
            "created_at": "2025-01-02T03:04:05Z", "updated_at": "2025-01-02T03:04:05Z",
        })
    }

    fn whole(action: &str) -> Value {
        json!({
            "action": action, "issue": issue(), "repository": {"id": 1, "full_name": "o/r"},
            "sender": {"id": 5, "login": "octocat", "type": "User"},
        })
    }

    /// An issue without text, of an account that is gone, is read; an unknown action keeps its name.
    #[test]
    fn issues_are_read() {
        let Event::Issue(event) = Event::parse("issues", whole("opened").to_string().as_bytes()).unwrap() else { panic!("no issue") };
        assert_eq!((event.action, event.issue.number, event.issue.body.as_str()), (IssueAction::Opened, 7, ""));
        assert_eq!((event.issue.labels, event.sender.id, event.issue.is_pull_request), (vec!["submission".to_owned()], 5, false));
        let mut payload = whole("pinned");
        payload["issue"]["user"] = Value::Null;
        payload["issue"]["pull_request"] = json!({"url": "x"});
        let Event::Issue(event) = Event::parse("issues", payload.to_string().as_bytes()).unwrap() else { panic!("no issue") };
        assert_eq!((event.action, event.issue.user), (IssueAction::Other("pinned".to_owned()), None));
        assert!(event.issue.is_pull_request);
        // As GitHub sends it, without the state: no reason to refuse the delivery. Of an action that counts it is one.
        payload["issue"].as_object_mut().unwrap().remove("state");
        assert!(matches!(Event::parse("issues", payload.to_string().as_bytes()), Ok(Event::Ignored { .. })));
        payload["action"] = json!("opened");
        assert!(Event::parse("issues", payload.to_string().as_bytes()).is_err());
    }

    /// Events that are none of ours are ignored whatever their body is; a field of the wrong kind is an error that names its place.
    #[test]
    fn other_events_are_ignored_and_wrong_ones_refused() {
        assert_eq!(Event::parse("star", b"\xff not json").unwrap(), Event::Ignored { name: "star".to_owned() });
        let long = Event::parse(&"x\u{7}".repeat(1000), b"").unwrap();
        assert_eq!(long, Event::Ignored { name: "x".repeat(LONGEST_NAME) });
        let mut payload = whole("opened");
        payload["issue"]["number"] = json!("7");
        let error = Event::parse("issues", payload.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains("issues") && error.contains("line 1 column"), "{error}");
    }

    /// Any JSON of the shape of a payload but with other values in it.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        let key = prop_oneof![
            Just("action".to_owned()),
            Just("issue".to_owned()),
            Just("user".to_owned()),
            Just("labels".to_owned()),
            Just("comment".to_owned()),
            Just("workflow_run".to_owned()),
            ".{0,8}",
        ];
        leaf.prop_recursive(6, 64, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..8).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever arrives is read, ignored or refused: nothing panics.
        #[test]
        fn hostile_payloads_never_panic(name in "ping|issues|issue_comment|workflow_run|.{0,12}", json in any_json(), bytes in any::<Vec<u8>>(), cut in 0_usize..400) {
            let _ = Event::parse(&name, json.to_string().as_bytes());
            let _ = Event::parse(&name, &bytes);
            let text = whole("opened").to_string();
            let _ = Event::parse(&name, &text.as_bytes()[..cut.min(text.len())]);
            let mut replaced = whole("created");
            replaced["issue"] = json;
            let _ = Event::parse(&name, replaced.to_string().as_bytes());
        }
    }

    /// Nesting that would overflow a stack is refused.
    #[test]
    fn deep_nesting_is_refused() {
        let body = format!("{{\"action\":\"opened\",\"issue\":{}", "[".repeat(100_000));
        assert!(Event::parse("issues", body.as_bytes()).is_err());
    }
}
