//! The keys that blobs are encrypted with. Owns where a key is read, that it is one, and the name that it goes by; must never write a
//! key anywhere but into a file made for it, or print one.

use std::fmt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::TryRngCore;
use rand::rngs::OsRng;
use ring::hkdf::HKDF_SHA256;
use ring::hkdf::Salt;

use crate::store::error::Result;
use crate::store::error::StoreError;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Before the name of a variable of the environment.
const VARIABLE: &str = "env:";

/// One key.
pub struct BlobKey {
    id: String,
    secret: [u8; KEY_BYTES],
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobKey({})", self.id)
    }
}

impl BlobKey {
    fn new(secret: [u8; KEY_BYTES]) -> Result<Self> {
        let named = Salt::new(HKDF_SHA256, b"blindtune").extract(&secret);
        let mut id = [0; KEY_BYTES];
        let name = named.expand(&[b"the name of a key for blobs"], HKDF_SHA256).and_then(|name| name.fill(&mut id));
        name.map_err(|_| StoreError::broken("a key for blobs has no name"))?;
        Ok(Self { id: hex::encode(&id[..8]), secret })
    }

    /// Reads `env:NAME` or a file, which must be its owner's alone and lie in none of `apart`: whoever gets those must not get the key.
    fn read(reference: &str, apart: &[PathBuf]) -> Result<Self> {
        let refuse = |reason: String| StoreError::BadKey { reference: reference.to_owned(), reason };
        if decode(reference).is_some() {
            let reason = "is a key itself: put it into a file or a variable, and name that".to_owned();
            return Err(StoreError::BadKey { reference: "an entry".to_owned(), reason }); // which must not be printed
        }
        let text = match reference.strip_prefix(VARIABLE) {
            Some(name) => std::env::var(name).map_err(|error| refuse(error.to_string()))?,
            None => read_file(Path::new(reference), apart).map_err(refuse)?,
        };
        let wrong = "is no key: it must be 32 bytes in hex or base64 (make one with blindtuned keys new-blob-key FILE)";
        Self::new(decode(&text).ok_or_else(|| refuse(wrong.to_owned()))?)
    }

    /// What it goes by: 16 hexadecimal digits that follow from it and tell nothing of it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key itself; only for what encrypts.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.secret
    }
}

fn decode(text: &str) -> Option<[u8; KEY_BYTES]> {
    let text = text.trim();
    hex::decode(text).ok().or_else(|| STANDARD.decode(text).ok())?.try_into().ok()
}

fn read_file(path: &Path, apart: &[PathBuf]) -> std::result::Result<String, String> {
    let path = std::fs::canonicalize(path).map_err(|error| error.to_string())?;
    if let Some(folder) = apart.iter().find(|folder| std::fs::canonicalize(folder).is_ok_and(|at| path.starts_with(at)))
    {
        return Err(format!("lies in {}: keep the key apart from what it protects", folder.display()));
    }
    let mode = std::fs::metadata(&path).map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!("has mode {:o}: it must be its owner's alone (chmod 600)", mode & 0o777));
    }
    std::fs::read_to_string(&path).map_err(|error| error.to_string())
}

/// The keys of a host: the first encrypts what is new, all of them read. Without any, new blobs are plain.
#[derive(Debug, Clone, Default)]
pub struct BlobKeys(Arc<[BlobKey]>);

impl BlobKeys {
    /// Reads the keys that these name.
    pub fn read(references: &[String], apart: &[PathBuf]) -> Result<Self> {
        let keys = references.iter().map(|reference| BlobKey::read(reference, apart));
        Ok(Self(keys.collect::<Result<Vec<_>>>()?.into()))
    }

    /// The one for new blobs.
    pub fn first(&self) -> Option<&BlobKey> {
        self.0.first()
    }

    /// The one of this name.
    pub fn find(&self, id: &str) -> Option<&BlobKey> {
        self.0.iter().find(|key| key.id == id)
    }
}

/// Makes a key in a file of its own, and gives its name.
pub fn create(path: &Path) -> std::io::Result<String> {
    let mut secret = [0; KEY_BYTES];
    OsRng.try_fill_bytes(&mut secret).map_err(std::io::Error::other)?;
    // A key that is overwritten takes every blob under it with it.
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, format!("{}\n", STANDARD.encode(secret)).as_bytes())?;
    file.sync_all()?;
    Ok(BlobKey::new(secret).map_err(std::io::Error::other)?.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_made_is_read_and_goes_by_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let id = create(&path).expect("makes one");
        assert!(create(&path).is_err(), "a key is never overwritten");
        let reference = path.to_string_lossy().into_owned();
        let keys = BlobKeys::read(std::slice::from_ref(&reference), &[]).expect("reads");
        assert_eq!(keys.first().map(BlobKey::id), Some(id.as_str()));
        let text = std::fs::read_to_string(&path).expect("is there");
        assert!(!format!("{keys:?}").contains(text.trim()) && keys.find("0").is_none());
        let apart = [folder.path().to_owned()];
        let refused = BlobKeys::read(std::slice::from_ref(&reference), &apart).expect_err("lies beside the blobs");
        assert!(refused.to_string().contains("apart"), "{refused}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("sets");
        let refused = BlobKeys::read(&[reference], &[]).expect_err("others can read it");
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }

    #[test]
    fn a_key_where_its_name_should_be_is_refused_and_not_printed() {
        for key in ["5f".repeat(KEY_BYTES), STANDARD.encode([7; KEY_BYTES])] {
            let refused = BlobKeys::read(std::slice::from_ref(&key), &[]).expect_err("is none").to_string();
            assert!(refused.contains("a key itself") && !refused.contains(&key), "{refused}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_by_its_reference_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        std::fs::write(&path, "canary").expect("writes");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("sets");
        for reference in [path.to_string_lossy().into_owned(), "env:BLINDTUNE_NO_SUCH_KEY".into(), "nowhere/key".into()]
        {
            let refused = BlobKeys::read(std::slice::from_ref(&reference), &[]).expect_err("is none").to_string();
            assert!(refused.contains(&reference) && !refused.contains("canary"), "{refused}");
        }
    }
}
