//! `slm-bench sign`: an SSH signature beside a run's `run.json`, in the form of `ssh-keygen -Y sign` (SSHSIG), and its check for `verify`.

use super::{InvalidInput, Outcome, UsageError};
use crate::evaluation::write_atomically;
use crate::leaderboard::audit::Difference;
use anyhow::Context;
use clap::Args;
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};
use std::fs;
use std::path::{Path, PathBuf};

/// What the signature is for, so that it cannot stand for anything else that the same key signs.
pub(super) const NAMESPACE: &str = "slm-bench-run";

/// Name of the signature beside `run.json`.
pub(super) const SIGNATURE: &str = "run.json.sig";

/// Arguments of `sign`.
#[derive(Args)]
pub(super) struct Arguments {
    /// The run: its folder or its run.json
    run: PathBuf,
    /// Private key (Ed25519, OpenSSH form, without a passphrase)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Runs `sign`.
///
/// # Errors
/// Where the run or the key cannot be read, the key is of another kind, or the signature cannot be written.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let path = if arguments.run.is_dir() { arguments.run.join("run.json") } else { arguments.run.clone() };
    let stored = super::artifact_files::read_run(&path)?;
    let bytes = fs::read(&stored.path).with_context(|| format!("cannot read {}", path.display()))?;
    let by_hand = format!("`ssh-keygen -Y sign -n {NAMESPACE} -f KEY {}` signs with any key", path.display());
    let key = arguments.key.display();
    let private =
        PrivateKey::read_openssh_file(&arguments.key).map_err(|error| UsageError(format!("{key} is no usable private key: {error}")))?;
    if private.is_encrypted() {
        return Err(UsageError(format!("{key} has a passphrase, which is not asked for here; {by_hand}")).into());
    }
    let signature = private
        .sign(NAMESPACE, HashAlg::Sha512, &bytes)
        .map_err(|error| UsageError(format!("{key} cannot sign here ({error}): only Ed25519 keys can")))?;
    let text = signature.to_pem(LineEnding::LF).context("the signature cannot be written as text")?;
    let output = signature_path(&path);
    write_atomically(&output, text.as_bytes())?;
    println!("{}", output.display());
    Ok(Outcome::Done)
}

fn signature_path(run: &Path) -> PathBuf {
    run.with_file_name(SIGNATURE)
}

/// Keys whose signatures count, each with the names it stands for.
pub(super) struct AllowedSigners(Vec<(String, PublicKey)>);

impl AllowedSigners {
    /// Reads a file in the form of `ssh-keygen`'s `allowed_signers`: `names [namespaces="…"] key-type key`.
    ///
    /// # Errors
    /// Where the file cannot be read, or a line cannot be understood: an option that is passed over could let a wrong key in.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).map_err(|reason| InvalidInput(format!("{}, {reason}", path.display())).into())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut signers = Vec::new();
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason: &str| format!("line {}: {reason}", number + 1);
            let (names, mut rest) = line.split_once(char::is_whitespace).ok_or_else(|| wrong("needs names and a key"))?;
            rest = rest.trim_start();
            if let Some(quoted) = rest.strip_prefix("namespaces=\"") {
                let (namespaces, key) = quoted.split_once('"').ok_or_else(|| wrong("the option namespaces has no end"))?;
                rest = key.trim_start();
                if !namespaces.split(',').any(|namespace| namespace == NAMESPACE) {
                    continue;
                }
            }
            let key = PublicKey::from_openssh(rest)
                .map_err(|error| wrong(&format!("is not `names [namespaces=\"{NAMESPACE}\"] key-type key` ({error})")))?;
            signers.push((names.to_owned(), key));
        }
        Ok(Self(signers))
    }

    /// Checks the signature beside a run. `required`: a run without one is a difference.
    ///
    /// # Errors
    /// Where a file is there and cannot be read.
    pub(super) fn check(&self, run: &Path, required: bool) -> anyhow::Result<Option<Difference>> {
        let path = signature_path(run);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(required.then(|| Difference::new("", "is not signed: run.json.sig does not exist")));
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let bytes = fs::read(run).with_context(|| format!("cannot read {}", run.display()))?;
        Ok(self.signer(&bytes, &text).err().map(|reason| Difference::new("", format!("is not what run.json.sig signs: {reason}"))))
    }

    /// The names of the key that signed.
    fn signer(&self, bytes: &[u8], signature: &str) -> Result<&str, String> {
        let signature = SshSig::from_pem(signature).map_err(|error| format!("not an SSH signature ({error})"))?;
        let of_key = |(_, key): &&(String, PublicKey)| key.key_data() == signature.public_key();
        let (names, key) = self.0.iter().find(of_key).ok_or("the key is not among the allowed signers")?;
        key.verify(NAMESPACE, bytes, &signature).map_err(|error| format!("the signature does not hold ({error})"))?;
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssh_key::private::{Ed25519Keypair, KeypairData};

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::new(KeypairData::from(Ed25519Keypair::from_seed(&[seed; 32])), "test").unwrap()
    }

    fn signed(key: &PrivateKey, namespace: &str, bytes: &[u8]) -> String {
        key.sign(namespace, HashAlg::Sha512, bytes).unwrap().to_pem(LineEnding::LF).unwrap()
    }

    /// Only an allowed key, over these bytes, for this purpose.
    #[test]
    fn signatures_hold_for_one_key_one_file_and_one_purpose() {
        let [mine, other] = [key(1), key(2)];
        let line = mine.public_key().to_openssh().unwrap();
        let allowed = AllowedSigners::parse(&format!("# who may sign\n\nlab@example.org namespaces=\"git,{NAMESPACE}\" {line}\n")).unwrap();
        let signature = signed(&mine, NAMESPACE, b"{}");
        assert_eq!(allowed.signer(b"{}", &signature), Ok("lab@example.org"));
        assert!(allowed.signer(b"{ }", &signature).unwrap_err().contains("does not hold"));
        assert!(allowed.signer(b"{}", &signed(&mine, "git", b"{}")).unwrap_err().contains("does not hold"));
        assert!(allowed.signer(b"{}", &signed(&other, NAMESPACE, b"{}")).unwrap_err().contains("not among the allowed"));
        assert!(allowed.signer(b"{}", "x").unwrap_err().contains("not an SSH signature"));
        let elsewhere = AllowedSigners::parse(&format!("lab namespaces=\"git\" {line}")).unwrap();
        assert!(elsewhere.signer(b"{}", &signature).is_err());
    }

    /// An option that is not understood is an error, not passed over.
    #[test]
    fn lines_that_are_not_understood_are_refused() {
        let line = key(1).public_key().to_openssh().unwrap();
        for bad in [
            "lab".to_owned(),
            format!("lab cert-authority {line}"),
            format!("lab namespaces=\"git {line}"),
            "lab ssh-ed25519 AAAA".to_owned(),
        ] {
            assert!(AllowedSigners::parse(&bad).is_err_and(|reason| reason.starts_with("line 1: ")), "{bad}");
        }
    }
}
