//! The settings of a [`super::Hub`], as a value made at the edge of the program.

use super::error::HubError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The public hub.
pub const PUBLIC_ENDPOINT: &str = "https://huggingface.co";

/// An access token of the hub. It shows itself to nobody: `Debug` is redacted, and it is sent to the endpoint alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Makes a token of text; surrounding white space and line ends are dropped, as files and secrets often carry them.
    ///
    /// # Errors
    /// [`HubError::Invalid`] when the text is empty or holds characters that no HTTP header can carry.
    pub fn new(text: &str) -> Result<Self, HubError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(HubError::invalid("the hub token", "it is empty"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HubError::invalid("the hub token", "it holds white space or characters outside of ASCII"));
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(redacted)")
    }
}

/// How often and how patiently a request is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included. For downloads: tries in a row that bring no further byte.
    pub tries: u32,
    /// Pause before the second try; it doubles from try to try, with up to a quarter of it added at random.
    pub first_pause: Duration,
    /// Longest pause. A `Retry-After` beyond it ends the tries. (The hub's windows for rate limits last five minutes.)
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { tries: 5, first_pause: Duration::from_millis(500), longest_pause: Duration::from_mins(5) }
    }
}

/// Everything that decides where a [`super::Hub`] reads from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubConfig {
    /// Address of the hub, without a slash at the end.
    pub endpoint: String,
    /// Cache folder in the layout of `huggingface_hub` (`models--owner--name/{blobs,refs,snapshots}`).
    pub cache_dir: PathBuf,
    /// Access token, sent to the endpoint only.
    pub token: Option<Token>,
    /// Use the cache alone; open no connection.
    pub offline: bool,
    /// Repetition of failed requests.
    pub retry: RetryPolicy,
    /// Longest silence on a connection before it counts as broken.
    pub silence: Duration,
}

impl HubConfig {
    /// Settings for a cache that is used without any network.
    #[must_use]
    pub fn offline(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: PUBLIC_ENDPOINT.to_owned(),
            cache_dir: cache_dir.into(),
            token: None,
            offline: true,
            retry: RetryPolicy::default(),
            silence: Duration::from_mins(1),
        }
    }

    /// Settings from the variables of `huggingface_hub`: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH` (else
    /// the file `token` in `HF_HOME`), `HF_HUB_DISABLE_IMPLICIT_TOKEN`, `HF_HUB_OFFLINE`, and their older spellings.
    ///
    /// # Errors
    /// [`HubError::Invalid`] for a token that no header can carry or when no home folder is known, [`HubError::Disk`] for a token file that cannot be read.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_variables(&|name| std::env::var(name).ok())
    }

    /// As [`Self::from_env`], with the variables given by a function.
    ///
    /// # Errors
    /// As [`Self::from_env`].
    pub fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let folder = |text: String| expand_home(&text, set("HOME").as_deref());
        let user = || set("HOME").or_else(|| set("USERPROFILE")).map(|user| Path::new(&user).join(".cache"));
        let home =
            set("HF_HOME").map(folder).or_else(|| set("XDG_CACHE_HOME").map(folder).or_else(user).map(|cache| cache.join("huggingface")));
        let cache_dir = set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE")).map(folder);
        let cache_dir = cache_dir
            .or_else(|| home.as_ref().map(|home| home.join("hub")))
            .ok_or_else(|| HubError::invalid("the hub's cache folder", "none of HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME is set"))?;
        let truthy = |name: &str| set(name).is_some_and(|value| is_truthy(&value));
        let token = if truthy("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            None
        } else {
            match set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN")) {
                Some(text) => Some(Token::new(&text)?),
                None => match set("HF_TOKEN_PATH").map(folder).or_else(|| home.map(|home| home.join("token"))) {
                    Some(path) => read_token_file(&path)?,
                    None => None,
                },
            }
        };
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| PUBLIC_ENDPOINT.to_owned());
        Ok(Self {
            endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
            token,
            offline: truthy("HF_HUB_OFFLINE") || truthy("TRANSFORMERS_OFFLINE"),
            ..Self::offline(cache_dir)
        })
    }
}

/// The values that `huggingface_hub` takes for true.
fn is_truthy(value: &str) -> bool {
    matches!(value.trim().to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
}

fn expand_home(text: &str, home: Option<&str>) -> PathBuf {
    match (text.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => Path::new(home).join(rest.trim_start_matches('/')),
        _ => PathBuf::from(text),
    }
}

fn read_token_file(path: &Path) -> Result<Option<Token>, HubError> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Token::new(&text).map(Some),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(HubError::disk("reading the token file", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(variables: &[(&str, &str)]) -> HubConfig {
        let owned: Vec<(String, String)> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        HubConfig::from_variables(&move |name| owned.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())).unwrap()
    }

    /// The variables mean what they mean to `huggingface_hub`, in its order of precedence.
    #[test]
    fn variables_follow_the_python_client() {
        let plain = configured(&[("HOME", "/home/u")]);
        assert_eq!(plain.cache_dir, Path::new("/home/u/.cache/huggingface/hub"));
        assert_eq!(plain.endpoint, "https://huggingface.co");
        assert!(!plain.offline && plain.token.is_none());
        assert_eq!(configured(&[("HOME", "/home/u"), ("HF_HOME", "~/hf")]).cache_dir, Path::new("/home/u/hf/hub"));
        let all = configured(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c"), ("HF_ENDPOINT", "https://mirror/"), ("HF_TOKEN", " abc\n")]);
        assert_eq!((all.cache_dir.as_path(), all.endpoint.as_str()), (Path::new("/c"), "https://mirror"));
        assert_eq!(all.token.unwrap().reveal(), "abc");
        assert_eq!(configured(&[("HF_HUB_CACHE", "/c")]).cache_dir, Path::new("/c"));
        assert!(HubConfig::from_variables(&|_| None).is_err());
        for (value, offline) in [("1", true), ("true", true), ("Yes", true), ("on", true), ("0", false), ("", false), ("2", false)] {
            assert_eq!(configured(&[("HF_HOME", "/hf"), ("HF_HUB_OFFLINE", value)]).offline, offline, "{value:?}");
        }
        assert!(configured(&[("HF_HOME", "/hf"), ("HF_TOKEN", "abc"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).token.is_none());
    }

    /// The token file beside the cache is read when no variable gives a token.
    #[test]
    fn token_file_is_read() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "from-file\n").unwrap();
        let config = configured(&[("HF_HOME", home.path().to_str().unwrap())]);
        assert_eq!(config.token.unwrap().reveal(), "from-file");
    }

    /// A token never shows in logs or error chains.
    #[test]
    fn token_is_redacted() {
        let config = configured(&[("HF_HOME", "/hf"), ("HF_TOKEN", "secret-value")]);
        assert!(!format!("{config:?}").contains("secret-value"));
        assert!(!Token::new("secret value").unwrap_err().to_string().contains("secret"));
    }
}
