//! API keys as signed tokens (JWT, EdDSA) behind a prefix. Owns the host's key pair and the claims; must never decide what a key may do:
//! every call checks it against Postgres as well (`access::keys`).
//!
//! The rules are RFC 8725's: one algorithm, an explicit type, required issuer, audience, subject and expiry, no header that
//! names a key of the sender's choice. Times are the database's: this reads no clock.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::EncodePublicKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use jsonwebtoken::Algorithm;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::Header;
use jsonwebtoken::Validation;
use serde::Deserialize;
use serde::Serialize;
use sha2::Digest as _;
use sha2::Sha256;

use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;

/// The `typ` header of our keys; a token of another type is not a key.
const TOKEN_TYPE: &str = "ft+jwt";
/// A key is dated by the database's clock. One that ran ahead and was set back must not refuse the keys that it dated.
const LEEWAY_SECS: u64 = 86_400;
/// What every key begins with, so that scanners for secrets know it in code and logs. Keys of before have none, and are taken.
const PREFIX: &str = "bt_live_";
/// A year and a day.
const LONGEST_LIFE_SECS: u64 = 366 * 86_400;

/// What a key says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// The project.
    pub sub: ProjectId,
    /// The key's own id.
    pub jti: KeyId,
    /// Issued at, seconds since 1970.
    pub iat: u64,
    /// Expires at, seconds since 1970.
    pub exp: u64,
    /// Not before, seconds since 1970; the host's own keys have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
}

impl Claims {
    /// How much longer the key lives, in seconds; `None` when it has ended or does not live yet. `now` is the database's.
    pub fn life_left(&self, now: u64) -> Option<u64> {
        let begun = self.iat <= now + LEEWAY_SECS && self.nbf.is_none_or(|nbf| nbf <= now + LEEWAY_SECS);
        self.exp.checked_sub(now).filter(|left| begun && *left > 0)
    }
}

/// The token is not one of ours, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid key")]
pub struct BadToken;

/// Signs and reads keys.
pub struct Tokens {
    kid: String,
    encoding: EncodingKey,
    /// What keys are read by, by the fingerprint in their header: that of the pair that signs, and others while pairs are rotated.
    decoding: BTreeMap<String, DecodingKey>,
    validation: Validation,
    issuer: String,
    audience: String,
}

/// Where a host's own key pair lies in the folder of its keys.
pub fn own_pair(folder: &Path) -> PathBuf {
    folder.join("signing_key.pem")
}

impl Tokens {
    /// Reads the host's key pair from `folder`, or makes it at first start (mode 0600).
    pub fn open(folder: &Path, issuer: &str, audience: &str) -> anyhow::Result<Self> {
        let path = own_pair(folder);
        if !path.exists() {
            std::fs::create_dir_all(folder)?;
            let pem = SigningKey::generate(&mut rand_core_os()).to_pkcs8_pem(LineEnding::LF)?;
            write_new(&path, pem.as_bytes())?;
        }
        Self::new(&[read_pair(&path)?], issuer, audience)
    }

    /// Reads key pairs: the first signs, and keys that any of them signed are taken. So that a pair can be replaced while hosts run.
    pub fn read_from(paths: &[PathBuf], issuer: &str, audience: &str) -> anyhow::Result<Self> {
        let pairs = paths.iter().map(|path| read_pair(path)).collect::<anyhow::Result<Vec<_>>>()?;
        Self::new(&pairs, issuer, audience)
    }

    fn new(pairs: &[SigningKey], issuer: &str, audience: &str) -> anyhow::Result<Self> {
        let signs = pairs.first().ok_or_else(|| anyhow::anyhow!("there is no key pair to sign with"))?;
        let decoding = pairs.iter().map(|pair| {
            let public = pair.verifying_key().to_public_key_pem(LineEnding::LF)?;
            Ok((fingerprint(pair), DecodingKey::from_ed_pem(public.as_bytes())?))
        });
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[issuer]);
        // By this process's clock. `Claims::life_left` judges the times, by the database's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self {
            kid: fingerprint(signs),
            encoding: EncodingKey::from_ed_pem(signs.to_pkcs8_pem(LineEnding::LF)?.as_bytes())?,
            decoding: decoding.collect::<anyhow::Result<_>>()?,
            validation,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        })
    }

    /// The fingerprint of the key pair that signs.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Whether keys are taken that the pair of this fingerprint signed.
    pub fn takes(&self, kid: &str) -> bool {
        self.decoding.contains_key(kid)
    }

    /// Signs a key for `project` that lives from `now` to `exp` (seconds since 1970).
    pub fn sign(&self, project: ProjectId, key: KeyId, now: u64, exp: u64) -> anyhow::Result<String> {
        let (iss, aud) = (self.issuer.clone(), self.audience.clone());
        let claims = Claims { iss, aud, sub: project, jti: key, iat: now, exp, nbf: None };
        let header =
            Header { typ: Some(TOKEN_TYPE.into()), kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        Ok(format!("{PREFIX}{}", jsonwebtoken::encode(&header, &claims, &self.encoding)?))
    }

    /// Reads a key: signature, type, issuer, audience, length of life. Whether it lives now is for [`Claims::life_left`].
    pub fn read(&self, token: &str) -> Result<Claims, BadToken> {
        if token.len() > 4096 {
            return Err(BadToken);
        }
        let token = token.strip_prefix(PREFIX).unwrap_or(token);
        let header = jsonwebtoken::decode_header(token).map_err(|_| BadToken)?;
        let foreign_key = header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some();
        if header.typ.as_deref() != Some(TOKEN_TYPE) || foreign_key {
            return Err(BadToken);
        }
        let pair = header.kid.and_then(|kid| self.decoding.get(&kid)).ok_or(BadToken)?;
        let claims = jsonwebtoken::decode::<Claims>(token, pair, &self.validation).map_err(|_| BadToken)?.claims;
        let life = claims.exp.checked_sub(claims.iat).ok_or(BadToken)?;
        if life > LONGEST_LIFE_SECS {
            return Err(BadToken);
        }
        Ok(claims)
    }
}

fn read_pair(path: &Path) -> anyhow::Result<SigningKey> {
    let pem = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    SigningKey::from_pkcs8_pem(&pem)
        .map_err(|_| anyhow::anyhow!("{} is not an Ed25519 key; move it away to have a new one made", path.display()))
}

/// Names a key pair: the beginning of the hash of its public half.
fn fingerprint(pair: &SigningKey) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(pair.verifying_key().as_bytes())[..9])
}

fn rand_core_os() -> impl ed25519_dalek::ed25519::signature::rand_core::CryptoRngCore {
    ed25519_dalek::ed25519::signature::rand_core::OsRng
}

/// Writes a file that is there whole or not at all. Where another process was first, its file stays.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let staged = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&staged, path);
    std::fs::remove_file(&staged)?;
    match linked {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

/// SHA-256 of a key, which is all that is stored of it.
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn tokens(byte: u8) -> Tokens {
        rotated(&[byte])
    }

    fn rotated(bytes: &[u8]) -> Tokens {
        let pairs: Vec<_> = bytes.iter().map(|byte| SigningKey::from_bytes(&[*byte; 32])).collect();
        Tokens::new(&pairs, "blindtune", "blindtune-api").expect("key pairs")
    }

    /// Some second of 2026; no clock is read.
    const NOW: u64 = 1_780_000_000;

    /// As a check does.
    fn accepts(tokens: &Tokens, token: &str, now: u64) -> bool {
        tokens.read(token).is_ok_and(|claims| claims.life_left(now).is_some())
    }

    fn forged(header: &serde_json::Value, claims: &serde_json::Value, tokens: &Tokens) -> String {
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let body = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(body.as_bytes(), &tokens.encoding, Algorithm::EdDSA).expect("signs");
        format!("{body}.{signature}")
    }

    #[test]
    fn a_key_reads_back() {
        let (tokens, now) = (tokens(1), NOW);
        let (project, key) = (ProjectId(Uuid::from_u128(1)), KeyId(Uuid::from_u128(2)));
        let token = tokens.sign(project, key, now, now + 60).expect("signs");
        assert!(token.starts_with("bt_live_"), "scanners for secrets know it by this");
        for text in [&*token, &token[PREFIX.len()..]] {
            let claims = tokens.read(text).expect("reads, and so do keys of before");
            assert_eq!((claims.sub, claims.jti, claims.exp), (project, key, now + 60));
        }
    }

    #[test]
    fn a_clock_that_was_set_back_refuses_no_key_and_one_that_goes_on_ends_it() {
        let (tokens, day) = (tokens(1), 86_400);
        let token = tokens.sign(ProjectId(Uuid::nil()), KeyId(Uuid::nil()), NOW, NOW + day).expect("signs");
        for (now, is_accepted) in [
            (NOW - day - 1, false),
            (NOW - 3600, true),
            (NOW - 6, true),
            (NOW, true),
            (NOW + day - 1, true),
            (NOW + day, false),
            (NOW + day + 3600, false),
        ] {
            assert_eq!(accepts(&tokens, &token, now), is_accepted, "{} s after it was made", now as i64 - NOW as i64);
        }
        assert_eq!(tokens.read(&token).expect("reads").life_left(NOW + day - 7), Some(7));
    }

    #[test]
    fn a_pair_is_replaced_step_by_step_and_every_host_takes_the_others_keys() {
        let signed = |tokens: &Tokens| {
            let key = tokens.sign(ProjectId(Uuid::nil()), KeyId(Uuid::nil()), NOW, NOW + 60).expect("signs");
            let kid = jsonwebtoken::decode_header(key.strip_prefix(PREFIX).expect("a prefix")).expect("a header").kid;
            assert_eq!(kid.as_deref(), Some(tokens.kid()), "the header names the pair");
            key
        };
        let steps: [&[u8]; 4] = [&[1], &[1, 2], &[2, 1], &[2]];
        let hosts = steps.map(rotated);
        for (at, host) in hosts.iter().enumerate() {
            // Hosts are one step apart at most while they are restarted one by one.
            for beside in &hosts[at.saturating_sub(1)..(at + 2).min(hosts.len())] {
                assert!(accepts(beside, &signed(host), NOW) && beside.takes(host.kid()), "{:?}", steps[at]);
            }
        }
        assert!(!accepts(&hosts[3], &signed(&hosts[0]), NOW), "the first pair's keys end with it");
        assert!(!hosts[0].takes(hosts[3].kid()));
    }

    #[test]
    fn every_forgery_is_refused() {
        let (tokens, now) = (tokens(1), NOW);
        let header = json!({"typ": TOKEN_TYPE, "alg": "EdDSA", "kid": tokens.kid});
        let claims = json!({"iss": "blindtune", "aud": "blindtune-api", "sub": ProjectId(Uuid::from_u128(1)),
            "jti": KeyId(Uuid::from_u128(2)), "iat": now, "exp": now + 60});
        assert!(accepts(&tokens, &forged(&header, &claims, &tokens), now), "the honest one passes");
        for (field, value) in [
            ("iss", json!("other")),
            ("iss", json!(7)),
            ("iss", json!(null)),
            ("aud", json!("other")),
            ("aud", json!(123)),
            ("aud", json!(null)),
            ("sub", json!("me")),
            ("sub", json!(null)),
            ("jti", json!(null)),
            ("jti", json!("x")),
            ("exp", json!(now - 60)),
            ("exp", json!(null)),
            ("exp", json!(u64::MAX)),
            ("exp", json!(-1)),
            ("exp", json!(now + 400 * 86_400)),
            ("iat", json!(now + 2 * 86_400)),
            ("iat", json!(null)),
            ("nbf", json!(now + 2 * 86_400)),
        ] {
            let mut spoiled = claims.clone();
            if value.is_null() {
                spoiled.as_object_mut().expect("object").remove(field);
            } else {
                spoiled[field] = value.clone();
            }
            assert!(!accepts(&tokens, &forged(&header, &spoiled, &tokens), now), "{field} = {value}");
        }
        for (field, value) in [
            ("typ", json!("JWT")),
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("alg", json!("RS256")),
            ("kid", json!("other")),
            ("jku", json!("http://localhost/x")),
            ("x5u", json!("http://localhost/x")),
        ] {
            let mut spoiled = header.clone();
            spoiled[field] = value.clone();
            assert!(!accepts(&tokens, &forged(&spoiled, &claims, &tokens), now), "{field} = {value}");
        }
    }

    #[test]
    fn another_hosts_key_and_junk_are_refused() {
        let (ours, theirs, now) = (tokens(1), tokens(2), NOW);
        let token = theirs.sign(ProjectId(Uuid::nil()), KeyId(Uuid::nil()), now, now + 60).expect("signs");
        let long = "a".repeat(5000);
        for junk in [token.as_str(), "", ".", "..", "a.b.c", "sk-123", &token[..token.len() - 2], &long] {
            assert_eq!(ours.read(junk), Err(BadToken));
        }
    }

    proptest::proptest! {
        /// Whatever is done to a key, and whatever is sent in its place.
        #[test]
        fn nothing_but_the_key_itself_is_read(
            place in 0..400_usize,
            piece in "[ -~]{0,4}|\\PC{1,3}|[A-Za-z0-9_-]{1,8}|\\.{1,3}",
            removed in 0..6_usize,
            any in "\\PC{0,300}",
        ) {
            let tokens = tokens(1);
            let token = tokens.sign(ProjectId(Uuid::nil()), KeyId(Uuid::nil()), NOW, NOW + 60).expect("signs");
            let at = place % (token.len() + 1);
            let spoilt = format!("{}{piece}{}", &token[..at], &token[(at + removed).min(token.len())..]);
            proptest::prop_assert_eq!(tokens.read(&spoilt).is_ok(), spoilt == token, "{}", spoilt);
            proptest::prop_assert!(tokens.read(&any).is_err());
        }
    }
}
