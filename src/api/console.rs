//! `/console`: a page that shows a host to who runs it and to who uses it. Owns how the bundle of `console/dist` is answered, and
//! what the page may do; must never answer anything of a project: the page asks the public API, with a key, like everybody.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Redirect;
use axum::response::Response;
use axum::routing::get;
use rust_embed::EmbeddedFile;
use rust_embed::RustEmbed;

use crate::api::error::ApiError;
use crate::domain::error_code::ErrorCode;

/// What `npm run build` in `console/` made.
#[derive(RustEmbed)]
#[folder = "console/dist"]
struct Bundle;

/// The page.
const INDEX: &str = "index.html";
/// Where names carry a hash of their content, so that a copy is right for ever.
const HASHED: &str = "assets/";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Asked for again each time, and answered 304 while it is the same.
const ASK_AGAIN: &str = "no-cache";

/// Scripts, styles and data of this host alone; no frame around it, no form, no plugin. Of what a browser could be made to do with
/// a text of somebody else, nothing is left.
const POLICY: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Its routes; they need no key, since they hold nothing but the program.
pub fn routes() -> Router {
    Router::new()
        .route("/console", get(async || Redirect::permanent("/console/")))
        .route("/console/", get(async |headers: HeaderMap| answer(INDEX, &headers)))
        .route("/console/{*path}", get(async |Path(path): Path<String>, headers: HeaderMap| answer(&path, &headers)))
}

fn answer(path: &str, asked: &HeaderMap) -> Result<Response, ApiError> {
    let Some(file) = Bundle::get(path) else {
        return Err(ApiError::new(ErrorCode::UnknownUrl, "The console has no such file; it begins at /console/."));
    };
    let tag = etag(&file);
    let is_known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response =
        if is_known { StatusCode::NOT_MODIFIED.into_response() } else { Response::new(Body::from(file.data)) };
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(file.metadata.mimetype()) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    let caching = if path.starts_with(HASHED) { FOR_EVER } else { ASK_AGAIN };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    for (name, value) in POLICY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

fn etag(file: &EmbeddedFile) -> String {
    format!("\"{}\"", hex::encode(file.metadata.sha256_hash()))
}
