//! The remote: its tip into the cache, and a commit onto its branch.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::{
    AutotagOption, Cred, CredentialType, Direction, ErrorClass, ErrorCode, FetchOptions, Oid, PushOptions, RemoteCallbacks, Repository,
    RepositoryInitOptions,
};

use super::{PublishError, Publisher};

/// At most this much of what the server prints is kept.
const LONGEST_SERVER_TEXT: usize = 8192;
/// A lock in the cache that is older belongs to a process that no longer lives.
const STALE_LOCK: Duration = Duration::from_mins(1);
/// What servers say when a branch is not where the pusher saw it, or is being written by another push: git, GitHub, libgit2.
const RACE_REASONS: [&str; 8] = [
    "non-fast-forward",
    "fetch first",
    "stale info",
    "cannot lock ref",
    "failed to update ref",
    "failed to lock",
    "incorrect old value",
    "reference already exists",
];

/// What the remote asks for before it lets us write.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nothing: a path, or a server that trusts everybody who reaches it.
    #[default]
    Anonymous,
    /// A GitHub token (personal or of an App's installation), handed over in memory only: never in an address or a process argument.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Token(_) => "Token(…)",
        })
    }
}

/// What became of a push that the server did not refuse for good.
#[derive(Debug)]
pub(super) enum PushOutcome {
    Accepted,
    /// The branch was not where the commit expected it.
    Raced(String),
    /// The connection ended without an answer: the commit may have arrived.
    Unknown(PublishError),
}

impl Publisher {
    /// Refuses what must not be sent or shown before anything else happens.
    pub(super) fn check_address(&self) -> Result<(), PublishError> {
        let refuse = |remote: &str, reason: &str| Err(PublishError::Address { remote: remote.to_owned(), reason: reason.to_owned() });
        if !git2::Reference::is_valid_name(&self.reference()) || self.branch.starts_with('-') {
            return refuse(&self.remote, &format!("{:?} is not a branch name", self.branch));
        }
        if let Some(path) = local_path(&self.remote) {
            return if path.is_dir() { Ok(()) } else { refuse(&self.remote, "there is no such folder; make it with `git init --bare`") };
        }
        let Some((scheme, rest)) = self.remote.split_once("://") else { return Ok(()) };
        let authority = rest.split('/').next().unwrap_or(rest);
        if let Some((user, host)) = authority.rsplit_once('@')
            && user.contains(':')
        {
            let path = &rest[authority.len()..];
            return refuse(&format!("{scheme}://{host}{path}"), "the address holds a password; give a token in the configuration instead");
        }
        let host = host_of(authority);
        let encrypted = scheme == "https" || ["localhost", "127.0.0.1", "[::1]"].contains(&host);
        if matches!(self.credentials, Credentials::Token(_)) && scheme == "http" && !encrypted {
            return refuse(&self.remote, "a token would be sent unencrypted; use https");
        }
        Ok(())
    }

    /// Connects as a push would, sends nothing, and gives the commit that the branch is at; `None` where the remote has no such branch.
    ///
    /// # Errors
    /// As for a publication: the address, the connection, the credentials.
    pub fn probe(&self) -> Result<Option<String>, PublishError> {
        self.check_address()?;
        let reference = self.reference();
        let mut remote = git2::Remote::create_detached(self.remote.as_str()).map_err(|error| self.failed(&error))?;
        let connection = remote.connect_auth(Direction::Push, Some(self.callbacks()), None).map_err(|error| self.failed(&error))?;
        let heads = connection.list().map_err(|error| self.failed(&error))?;
        Ok(heads.iter().find(|head| head.name() == reference).map(|head| head.oid().to_string()))
    }

    /// The bare cache repository, made in one step: a process that is killed meanwhile leaves no half of it under its name.
    pub(super) fn open_cache(&self) -> Result<Repository, PublishError> {
        let in_cache = |source| PublishError::Cache { path: self.cache.clone(), source };
        let on_disk = |error: std::io::Error| in_cache(git2::Error::from_str(&error.to_string()));
        if !self.cache.exists() {
            let parent = self.cache.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            std::fs::create_dir_all(parent).map_err(on_disk)?;
            let fresh = tempfile::Builder::new().prefix(".publish-cache-").tempdir_in(parent).map_err(on_disk)?;
            let folder = fresh.path().join("repository");
            let mut options = RepositoryInitOptions::new();
            // No template: the machine's own could bring hooks and settings.
            options.bare(true).external_template(false);
            let repository = Repository::init_opts(&folder, &options).map_err(in_cache)?;
            repository.config().and_then(|mut config| config.set_bool("core.fsyncObjectFiles", true)).map_err(in_cache)?;
            if let Err(error) = std::fs::rename(&folder, &self.cache)
                && !self.cache.exists()
            {
                return Err(on_disk(error));
            }
        }
        Repository::open_bare(&self.cache).map_err(in_cache)
    }

    /// The tip of the branch, with all it reaches in the cache; `None` where the remote has no such branch.
    pub(super) fn fetch(&self, cache: &Repository) -> Result<Option<Oid>, PublishError> {
        let reference = self.reference();
        let mut remote = cache.remote_anonymous(&self.remote).map_err(|error| self.failed(&error))?;
        let listed = {
            let connection = remote.connect_auth(Direction::Fetch, Some(self.callbacks()), None).map_err(|error| self.failed(&error))?;
            let heads = connection.list().map_err(|error| self.failed(&error))?;
            heads.iter().find(|head| head.name() == reference).map(git2::RemoteHead::oid)
        };
        let Some(listed) = listed else { return Ok(None) };
        if cache.find_commit(listed).is_ok() {
            return Ok(Some(listed));
        }
        let tracking = format!("refs/remotes/published/{}", self.branch);
        let mut options = FetchOptions::new();
        options.remote_callbacks(self.callbacks()).download_tags(AutotagOption::None).update_fetchhead(false);
        let refspec = [format!("+{reference}:{tracking}")];
        let lock = cache.path().join(format!("{tracking}.lock"));
        let mut fetched = remote.fetch(&refspec, Some(&mut options), None);
        if fetched.is_err() && remove_stale_lock(&lock) {
            fetched = remote.fetch(&refspec, Some(&mut options), None);
        }
        match fetched {
            Ok(()) => {}
            // libgit2 gives a failure to lock no code of its own here.
            Err(source) if lock.exists() => return Err(PublishError::Cache { path: self.cache.clone(), source }),
            Err(error) => return Err(self.failed(&error)),
        }
        // The branch may have moved since it was listed; or be gone, and then the listed commit was not fetched.
        match cache.refname_to_id(&tracking) {
            Ok(tip) => Ok(Some(tip)),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Moves the branch from `tip` to `commit`, if it still is at `tip`.
    pub(super) fn push(&self, cache: &Repository, commit: Oid, tip: Option<Oid>) -> Result<PushOutcome, PublishError> {
        match local_path(&self.remote) {
            Some(path) => self.push_to_path(cache, &path, commit, tip),
            None => self.push_to_server(cache, commit),
        }
    }

    fn push_to_server(&self, cache: &Repository, commit: Oid) -> Result<PushOutcome, PublishError> {
        let reference = self.reference();
        // libgit2 returns Ok when the server refuses the reference: only this callback says so.
        let status: RefCell<Option<Option<String>>> = RefCell::new(None);
        let server_text = RefCell::new(Vec::new());
        let mut callbacks = self.callbacks();
        callbacks.push_update_reference(|name, refusal| {
            if name == reference {
                *status.borrow_mut() = Some(refusal.map(str::to_owned));
            }
            Ok(())
        });
        callbacks.sideband_progress(|bytes| {
            let mut text = server_text.borrow_mut();
            let room = LONGEST_SERVER_TEXT.saturating_sub(text.len());
            text.extend_from_slice(&bytes[..bytes.len().min(room)]);
            true
        });
        let mut options = PushOptions::new();
        options.remote_callbacks(callbacks);
        let mut remote = cache.remote_anonymous(&self.remote).map_err(|error| self.failed(&error))?;
        let result = remote.push(&[format!("{commit}:{reference}")], Some(&mut options));
        drop(options);

        match (result, status.into_inner()) {
            (Err(error), _) if error.code() == ErrorCode::NotFastForward => Ok(PushOutcome::Raced(error.message().to_owned())),
            (Err(error), _) => match self.failed(&error) {
                unknown @ PublishError::Unreachable { .. } => Ok(PushOutcome::Unknown(unknown)),
                certain => Err(certain),
            },
            (Ok(()), Some(None)) => Ok(PushOutcome::Accepted),
            (Ok(()), Some(Some(reason))) if RACE_REASONS.iter().any(|race| reason.contains(race)) => Ok(PushOutcome::Raced(reason)),
            (Ok(()), Some(Some(reason))) => Err(self.rejected(reason, &server_text.into_inner())),
            (Ok(()), None) => Ok(PushOutcome::Unknown(self.unreachable("the server gave no answer for the branch".to_owned()))),
        }
    }

    /// libgit2's push to a path overwrites the branch without looking whether it has moved since it was read, so a commit that came
    /// between would be lost. Here the objects are written first, and then the branch is moved under its lock from the expected commit alone.
    fn push_to_path(&self, cache: &Repository, path: &Path, commit: Oid, tip: Option<Oid>) -> Result<PushOutcome, PublishError> {
        let failed = |error: &git2::Error| self.failed(error);
        let remote = Repository::open(path).map_err(|error| failed(&error))?;
        if !remote.is_bare() {
            let reason = "it has a work tree, which a push would leave behind; give a bare repository (`git init --bare`)".to_owned();
            return Err(PublishError::Address { remote: self.remote.clone(), reason });
        }
        let on_disk = |error: std::io::Error| self.unreachable(error.to_string());
        write_pack(cache, &remote, commit, tip).map_err(|error| failed(&error))?.map_err(on_disk)?;

        let reference = self.reference();
        let log = "publish";
        let moved = match tip {
            Some(tip) => remote.reference_matching(&reference, commit, true, tip, log),
            None => remote.reference(&reference, commit, false, log),
        };
        match moved {
            Ok(_) => {
                // The commit is published; syncing makes it outlast a power cut too.
                sync(&remote.path().join(&reference)).map_err(on_disk)?;
                Ok(PushOutcome::Accepted)
            }
            Err(error) => match error.code() {
                ErrorCode::Modified | ErrorCode::Exists | ErrorCode::NotFound | ErrorCode::Locked => {
                    Ok(PushOutcome::Raced(error.message().to_owned()))
                }
                _ => Err(self.rejected(error.message().to_owned(), b"")),
            },
        }
    }

    fn callbacks(&self) -> RemoteCallbacks<'_> {
        let mut callbacks = RemoteCallbacks::new();
        let mut asked = false;
        callbacks.credentials(move |url, _, allowed| {
            let Credentials::Token(token) = &self.credentials else {
                return Err(unauthorised("the server asks for credentials, and no token is configured"));
            };
            // libgit2 asks again and again while the server refuses.
            if std::mem::replace(&mut asked, true) {
                return Err(unauthorised("the server refuses the token"));
            }
            if origin_of(url) != origin_of(&self.remote) {
                return Err(unauthorised("the server redirects to another host, which must not see the token"));
            }
            if !allowed.contains(CredentialType::USER_PASS_PLAINTEXT) {
                return Err(unauthorised("the server takes no token; use an https address"));
            }
            Cred::userpass_plaintext("x-access-token", token)
        });
        callbacks
    }

    fn failed(&self, error: &git2::Error) -> PublishError {
        let reason = error.message().to_owned();
        let refused = ["status code: 401", "status code: 403"].iter().any(|status| reason.contains(status));
        if error.code() == ErrorCode::Auth || refused {
            return PublishError::Unauthorised { remote: self.remote.clone(), reason };
        }
        let missing = error.code() == ErrorCode::NotFound && error.class() == ErrorClass::Repository || reason.contains("status code: 404");
        if missing || error.code() == ErrorCode::Owner {
            let reason = format!("there is no repository that may be read: {reason}");
            return PublishError::Address { remote: self.remote.clone(), reason };
        }
        self.unreachable(reason)
    }

    fn unreachable(&self, reason: String) -> PublishError {
        PublishError::Unreachable { remote: self.remote.clone(), reason }
    }

    fn rejected(&self, reason: String, server_text: &[u8]) -> PublishError {
        let server_text = String::from_utf8_lossy(server_text).trim().to_owned();
        PublishError::Rejected { remote: self.remote.clone(), branch: self.branch.clone(), reason, server_text }
    }
}

/// A process that was killed leaves its lock behind. Only publishers write to the cache, and none holds a lock for longer than a moment.
fn remove_stale_lock(lock: &Path) -> bool {
    let age = std::fs::metadata(lock).and_then(|metadata| metadata.modified()).ok().and_then(|modified| modified.elapsed().ok());
    age.is_some_and(|age| age > STALE_LOCK) && std::fs::remove_file(lock).is_ok()
}

fn unauthorised(reason: &str) -> git2::Error {
    git2::Error::new(ErrorCode::Auth, ErrorClass::Http, reason)
}

/// Writes what `commit` has and `tip` has not into the remote's object store, and onto the disk.
fn write_pack(cache: &Repository, remote: &Repository, commit: Oid, tip: Option<Oid>) -> Result<std::io::Result<()>, git2::Error> {
    let mut walk = cache.revwalk()?;
    walk.push(commit)?;
    if let Some(tip) = tip {
        walk.hide(tip)?;
    }
    let mut pack = cache.packbuilder()?;
    pack.insert_walk(&mut walk)?;
    let folder = remote.commondir().join("objects").join("pack");
    if let Err(error) = std::fs::create_dir_all(&folder) {
        return Ok(Err(error));
    }
    pack.write(&folder, 0)?;
    let Some(name) = pack.name()? else { return Ok(Ok(())) };
    Ok(["pack", "idx"].iter().try_for_each(|extension| sync(&folder.join(format!("pack-{name}.{extension}")))))
}

/// Waits until the file and its name in the folder are on the disk.
fn sync(file: &Path) -> std::io::Result<()> {
    File::open(file)?.sync_all()?;
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// The folder that the address names, where it names one on this machine.
fn local_path(address: &str) -> Option<PathBuf> {
    if let Some(path) = address.strip_prefix("file://") {
        return Some(PathBuf::from(percent_decoded(path.strip_prefix("localhost").unwrap_or(path))));
    }
    let is_path = Path::new(address).exists() || !address.contains(':');
    is_path.then(|| PathBuf::from(address))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let escaped = others.get(..2).filter(|_| first == b'%').and_then(|digits| hex::decode(digits).ok());
        if let Some(decoded) = escaped {
            bytes.extend(decoded);
            rest = &others[2..];
        } else {
            bytes.push(first);
            rest = others;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Scheme and host with port, by which a redirect to somewhere else is told.
fn origin_of(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    Some((scheme, authority.rsplit_once('@').map_or(authority, |(_, host)| host)))
}

fn host_of(authority: &str) -> &str {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.split(':').next().unwrap_or(host)
}
