//! Where and as whom to speak to GitHub, as values made at the edge of the program.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Error;

/// GitHub's public API.
pub const PUBLIC_API: &str = "https://api.github.com";

/// A token, key or webhook secret. It shows itself to nobody: `Debug` is redacted and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a secret; surrounding white space and line ends are dropped, as files and variables often carry them.
    ///
    /// # Errors
    /// When nothing is left. `what` names the secret in the message.
    pub fn new(what: &str, text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::permanent(what, "it is empty"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The secret itself, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(redacted)")
    }
}

/// A repository's name, `owner/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepositoryName {
    /// User or organisation.
    pub owner: String,
    /// Name below the owner.
    pub name: String,
}

impl FromStr for RepositoryName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fit = |part: &str| {
            !part.is_empty()
                && part.len() <= 100
                && part != "."
                && part != ".."
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        match text.split_once('/') {
            Some((owner, name)) if fit(owner) && fit(name) => Ok(Self { owner: owner.to_owned(), name: name.to_owned() }),
            _ => Err(Error::permanent(format!("the repository {text:?}"), "it must have the form owner/name")),
        }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.owner, self.name)
    }
}

/// As whom to speak.
#[derive(Clone, Debug)]
pub enum Auth {
    /// A personal token, or the token of a workflow run.
    Token(Secret),
    /// A GitHub App: short-lived tokens of its installation are fetched and renewed as needed.
    App {
        /// The App's id.
        app_id: u64,
        /// The installation on the repository's owner.
        installation_id: u64,
        /// RSA private key, PEM.
        private_key: Secret,
    },
}

/// How often and how patiently a call is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included.
    pub tries: u32,
    /// Pause before the second try; it doubles from try to try, with up to half of it added at random.
    pub first_pause: Duration,
    /// Pause after a secondary rate limit that does not say how long it lasts; it doubles too. GitHub asks for a minute at least.
    pub secondary_pause: Duration,
    /// Longest pause inside a call. Where GitHub asks for more, the call fails as transient and tells the wait.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 5,
            first_pause: Duration::from_secs(1),
            secondary_pause: Duration::from_mins(1),
            longest_pause: Duration::from_mins(2),
        }
    }
}

/// Everything that decides how a [`super::Client`] speaks to GitHub.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the API without a slash at the end; [`PUBLIC_API`], or `https://host/api/v3` of an own server.
    pub api_url: String,
    /// The repository.
    pub repository: RepositoryName,
    /// As whom.
    pub auth: Auth,
    /// Repetition of failed calls.
    pub retry: RetryPolicy,
    /// Longest time for one try of one call (transfers of artifacts and assets have ten times that).
    pub timeout: Duration,
}

impl Settings {
    /// Settings for GitHub itself.
    #[must_use]
    pub fn new(repository: RepositoryName, auth: Auth) -> Self {
        Self { api_url: PUBLIC_API.to_owned(), repository, auth, retry: RetryPolicy::default(), timeout: Duration::from_secs(30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A secret shows in no `Debug` output, also not inside of the settings, and not in the error about it.
    #[test]
    fn secrets_are_redacted() {
        let secret = |text| Secret::new("the token", text).unwrap();
        for auth in
            [Auth::Token(secret(" ghp_shibboleth\n")), Auth::App { app_id: 1, installation_id: 2, private_key: secret("ghp_shibboleth") }]
        {
            let settings = Settings::new("o/r".parse().unwrap(), auth);
            assert!(!format!("{settings:?}").contains("shibboleth"));
        }
        assert!(Secret::new("the token", " \n").unwrap_err().to_string().contains("the token: it is empty"));
    }

    /// Only names that cannot leave their place in an address are repositories.
    #[test]
    fn repository_names_are_checked() {
        assert_eq!("octo-org/slm.bench_1".parse::<RepositoryName>().unwrap().to_string(), "octo-org/slm.bench_1");
        for wrong in ["", "a", "a/", "/a", "a/b/c", "../b", "a/..", "a b/c", "a/b?x", "a/b#", "a/%2e"] {
            assert!(wrong.parse::<RepositoryName>().is_err(), "{wrong}");
        }
    }
}
