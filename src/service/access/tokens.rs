//! API keys as signed tokens (JWT, EdDSA). Owns the host's key pair and the claims; must never decide what a key may do:
//! every call checks it against Postgres as well (`access::keys`).
//!
//! The rules are RFC 8725's: one algorithm, an explicit type, required issuer, audience, subject and expiry, no header that
//! names a key of the sender's choice.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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
/// Clocks of host and client may differ by this much.
const LEEWAY_SECS: u64 = 5;
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
}

/// The token is not one of ours, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid key")]
pub struct BadToken;

/// Signs and reads keys.
pub struct Tokens {
    kid: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    issuer: String,
    audience: String,
}

impl Tokens {
    /// Reads the host's key pair from `folder`, or makes it at first start (mode 0600).
    pub fn open(folder: &Path, issuer: &str, audience: &str) -> anyhow::Result<Self> {
        let path = folder.join("signing_key.pem");
        if !path.exists() {
            std::fs::create_dir_all(folder)?;
            let pem = SigningKey::generate(&mut rand_core_os()).to_pkcs8_pem(LineEnding::LF)?;
            write_new(&path, pem.as_bytes())?;
        }
        let pem = std::fs::read_to_string(&path)?;
        let pair = SigningKey::from_pkcs8_pem(&pem).map_err(|_| {
            anyhow::anyhow!("{} is not an Ed25519 key; move it away to have a new one made", path.display())
        })?;
        Self::new(&pair, issuer, audience)
    }

    fn new(pair: &SigningKey, issuer: &str, audience: &str) -> anyhow::Result<Self> {
        let public = pair.verifying_key();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[issuer]);
        validation.leeway = LEEWAY_SECS;
        validation.validate_nbf = true;
        Ok(Self {
            kid: URL_SAFE_NO_PAD.encode(&Sha256::digest(public.as_bytes())[..9]),
            encoding: EncodingKey::from_ed_pem(pair.to_pkcs8_pem(LineEnding::LF)?.as_bytes())?,
            decoding: DecodingKey::from_ed_pem(public.to_public_key_pem(LineEnding::LF)?.as_bytes())?,
            validation,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        })
    }

    /// Signs a key for `project` that lives from `now` to `exp` (seconds since 1970).
    pub fn sign(&self, project: ProjectId, key: KeyId, now: u64, exp: u64) -> anyhow::Result<String> {
        let claims =
            Claims { iss: self.issuer.clone(), aud: self.audience.clone(), sub: project, jti: key, iat: now, exp };
        let header =
            Header { typ: Some(TOKEN_TYPE.into()), kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        Ok(jsonwebtoken::encode(&header, &claims, &self.encoding)?)
    }

    /// Reads a key: signature, type, issuer, audience, times. `now` in seconds since 1970.
    pub fn read(&self, token: &str, now: u64) -> Result<Claims, BadToken> {
        if token.len() > 4096 {
            return Err(BadToken);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| BadToken)?;
        let ours = header.typ.as_deref() == Some(TOKEN_TYPE) && header.kid.as_deref() == Some(self.kid.as_str());
        let foreign_key = header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some();
        if !ours || foreign_key {
            return Err(BadToken);
        }
        let claims =
            jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation).map_err(|_| BadToken)?.claims;
        let life = claims.exp.checked_sub(claims.iat).ok_or(BadToken)?;
        if life > LONGEST_LIFE_SECS || claims.iat > now + LEEWAY_SECS {
            return Err(BadToken);
        }
        Ok(claims)
    }
}

fn rand_core_os() -> impl ed25519_dalek::ed25519::signature::rand_core::CryptoRngCore {
    ed25519_dalek::ed25519::signature::rand_core::OsRng
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
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
        Tokens::new(&SigningKey::from_bytes(&[byte; 32]), "blindtune", "blindtune-api").expect("a key pair")
    }

    fn now() -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
    }

    fn forged(header: &serde_json::Value, claims: &serde_json::Value, tokens: &Tokens) -> String {
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let body = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(body.as_bytes(), &tokens.encoding, Algorithm::EdDSA).expect("signs");
        format!("{body}.{signature}")
    }

    #[test]
    fn a_key_reads_back() {
        let (tokens, now) = (tokens(1), now());
        let (project, key) = (ProjectId(Uuid::from_u128(1)), KeyId(Uuid::from_u128(2)));
        let token = tokens.sign(project, key, now, now + 60).expect("signs");
        let claims = tokens.read(&token, now).expect("reads");
        assert_eq!((claims.sub, claims.jti, claims.exp), (project, key, now + 60));
    }

    #[test]
    fn every_forgery_is_refused() {
        let (tokens, now) = (tokens(1), now());
        let header = json!({"typ": TOKEN_TYPE, "alg": "EdDSA", "kid": tokens.kid});
        let claims = json!({"iss": "blindtune", "aud": "blindtune-api", "sub": ProjectId(Uuid::from_u128(1)),
            "jti": KeyId(Uuid::from_u128(2)), "iat": now, "exp": now + 60});
        assert!(tokens.read(&forged(&header, &claims, &tokens), now).is_ok(), "the honest one passes");
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
            ("iat", json!(now + 3600)),
            ("iat", json!(null)),
            ("nbf", json!(now + 3600)),
        ] {
            let mut spoiled = claims.clone();
            if value.is_null() {
                spoiled.as_object_mut().expect("object").remove(field);
            } else {
                spoiled[field] = value.clone();
            }
            assert_eq!(tokens.read(&forged(&header, &spoiled, &tokens), now), Err(BadToken), "{field} = {value}");
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
            assert_eq!(tokens.read(&forged(&spoiled, &claims, &tokens), now), Err(BadToken), "{field} = {value}");
        }
    }

    #[test]
    fn another_hosts_key_and_junk_are_refused() {
        let (ours, theirs, now) = (tokens(1), tokens(2), now());
        let token = theirs.sign(ProjectId(Uuid::nil()), KeyId(Uuid::nil()), now, now + 60).expect("signs");
        let long = "a".repeat(5000);
        for junk in [token.as_str(), "", ".", "..", "a.b.c", "sk-123", &token[..token.len() - 2], &long] {
            assert_eq!(ours.read(junk, now), Err(BadToken));
        }
    }
}
