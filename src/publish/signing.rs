//! Signed commits, in the form of git's `gpg.format=ssh`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use git2::{Commit, Oid, Repository, Signature, Tree};
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::PublishError;

/// What git signs commits for, so that the signature cannot stand for anything else that the same key signs.
const NAMESPACE: &str = "git";

/// An SSH key that signs commits: Ed25519, without a passphrase. It shows only its fingerprint.
#[derive(Clone)]
pub struct SigningKey(Arc<PrivateKey>);

impl SigningKey {
    /// Reads a private key in OpenSSH form.
    ///
    /// # Errors
    /// [`PublishError::SigningKey`] where it cannot be read, has a passphrase or is of another kind.
    pub fn read(path: &Path) -> Result<Self, PublishError> {
        let unusable = |reason: String| PublishError::SigningKey { path: path.to_owned(), reason };
        let key = PrivateKey::read_openssh_file(path).map_err(|error| unusable(error.to_string()))?;
        if key.is_encrypted() {
            return Err(unusable(
                "it has a passphrase, which nobody is there to type; make one with `ssh-keygen -t ed25519 -N ''`".to_owned(),
            ));
        }
        key.sign(NAMESPACE, HashAlg::Sha512, b"").map_err(|error| unusable(format!("{error}: only Ed25519 keys can sign here")))?;
        Ok(Self(Arc::new(key)))
    }

    /// The line of its public key, as GitHub's settings and `allowed_signers` files take it.
    ///
    /// # Errors
    /// Where the key cannot be written as text.
    pub fn public_key(&self) -> Result<String, ssh_key::Error> {
        self.0.public_key().to_openssh()
    }

    fn sign(&self, content: &[u8]) -> Result<String, git2::Error> {
        let signature = self.0.sign(NAMESPACE, HashAlg::Sha512, content).and_then(|signature| signature.to_pem(LineEnding::LF));
        signature.map_err(|error| git2::Error::from_str(&format!("the commit cannot be signed: {error}")))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.0.fingerprint(HashAlg::Sha256))
    }
}

/// Writes a commit that no reference names yet, signed where there is a key.
pub(super) fn write_commit(
    repository: &Repository,
    key: Option<&SigningKey>,
    signature: &Signature<'_>,
    message: &str,
    tree: &Tree<'_>,
    parents: &[&Commit<'_>],
) -> Result<Oid, git2::Error> {
    let Some(key) = key else { return repository.commit(None, signature, signature, message, tree, parents) };
    let content = repository.commit_create_buffer(signature, signature, message, tree, parents)?;
    let content = content.as_str().map_err(|error| git2::Error::from_str(&error.to_string()))?;
    repository.commit_signed(content, key.sign(content.as_bytes())?.trim_end(), None)
}
