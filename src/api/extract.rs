//! Extractors whose refusals speak the error envelope. Owns the parsing of paths, queries and JSON bodies; must never let an
//! answer of axum's own (plain text) reach a client.

use std::str::FromStr;

use axum::extract::FromRequest;
use axum::extract::FromRequestParts;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::ACCEPT;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::api::dto::methods::ELSEWHERE;
use crate::api::dto::methods::not_here;
use crate::api::error::ApiError;
use crate::api::nul::place_of_nul;
use crate::api::pace::too_slow;
use crate::api::whole_numbers;
use crate::domain::error_code::ErrorCode;
use crate::domain::json_names::first_twice;
use crate::domain::labels::is_label_name;
use crate::service::ServiceError;

/// A JSON body. The content type must say so; unknown fields are refused; a field that looks like a label is named as one.
pub struct ApiJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        need_json(request.headers())?;
        let ApiBytes(body) = ApiBytes::from_request(request, state).await?;
        parse_json(&body).map(Self)
    }
}

/// Reads a JSON body whose bytes the handler wants as well.
pub fn json_of<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, ApiError> {
    need_json(headers)?;
    parse_json(body)
}

/// 415 for a body that does not say that it is JSON.
pub fn need_json(headers: &HeaderMap) -> Result<(), ApiError> {
    match content_type(headers) {
        Some(Media::Json) => Ok(()),
        _ => Err(unsupported_media("application/json")),
    }
}

/// Reads JSON, naming the place of what is wrong.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    if let Some(place) = place_of_nul(body) {
        let message = format!("{place}: has the character U+0000, which no text may have.");
        return Err(ApiError::new(ErrorCode::InvalidText, message).at(place));
    }
    if let Some(place) = first_twice(body) {
        let message = format!("{place}: this name stands twice in one object; send it once.");
        return Err(ApiError::new(ErrorCode::InvalidJson, message).at(place));
    }
    // Rewritten only where it is needed: free values come back as they were sent.
    read_strictly(body)
        .or_else(|refused| whole_numbers::rewritten(body).map_or(Err(refused), |body| read_strictly(&body)))
}

fn read_strictly<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        // A body that breaks off has no place: the path then ends in "?".
        let path = error.path().to_string();
        json_error(error.inner(), path.trim_end_matches(['?', '.']))
    })?;
    reader.end().map_err(|error| json_error(&error, ""))?;
    Ok(value)
}

fn json_error(error: &serde_json::Error, path: &str) -> ApiError {
    let text = error.to_string();
    if let Some(field) = text.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
        let place = match path.rsplit_once('.') {
            _ if path.is_empty() => field.to_owned(),
            Some((parent, last)) if last == field => format!("{parent}.{field}"),
            _ if path == field => field.to_owned(),
            _ => format!("{path}.{field}"),
        };
        if path.split('.').next() == Some("method") && ELSEWHERE.contains(&field) {
            return ApiError::new(ErrorCode::UnsupportedMethod, not_here(field)).at(place);
        }
        if is_label_name(field) {
            return ServiceError::label_present(field, place).into();
        }
        return ApiError::new(ErrorCode::UnknownField, format!("There is no field '{place}'.")).at(place);
    }
    let error = ApiError::new(ErrorCode::InvalidJson, format!("The body cannot be read: {text}."));
    if path.is_empty() { error } else { error.at(path) }
}

/// A whole body, within the route's limit.
pub struct ApiBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for ApiBytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => body_too_large(),
            _ => too_slow(&rejection).map_or_else(broken_off, ApiError::from),
        })
    }
}

/// 400 for a body that has no end.
pub fn broken_off() -> ApiError {
    ApiError::new(ErrorCode::BodyUnreadable, "The body broke off before its end.")
}

/// 413 for a body over the route's limit.
pub fn body_too_large() -> ApiError {
    ApiError::new(ErrorCode::BodyTooLarge, "The body is larger than this call accepts.")
}

/// A query string read into a struct.
pub struct ApiQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parse_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Reads a query string into a struct that refuses unknown names.
pub fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    if let Some((name, _)) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| is_label_name(name)) {
        return Err(ServiceError::label_present(&name, name.clone()).into());
    }
    let uri = format!("/?{query}").parse().map_err(|_| invalid_query("The query cannot be read."))?;
    Query::<T>::try_from_uri(&uri).map(|Query(value)| value).map_err(|rejection| invalid_query(&rejection.body_text()))
}

fn invalid_query(message: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidQuery, message)
}

/// One id from the path. An id that cannot exist reads as one that does not.
pub struct ApiId<T>(pub T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for ApiId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let missing = |id: &str| ApiError::from(ServiceError::not_found("resource", id));
        let Path(ids) =
            Path::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(|_| missing("?"))?;
        let text = ids.first().map(|(_, value)| value.as_str()).unwrap_or_default();
        text.parse().map(Self).map_err(|_| missing(text))
    }
}

/// Two ids from the path, in its order.
pub struct ApiIds<A, B>(pub A, pub B);

impl<S: Send + Sync, A: FromStr, B: FromStr> FromRequestParts<S> for ApiIds<A, B> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let missing = |id: &str| ApiError::from(ServiceError::not_found("resource", id));
        let Path(ids) =
            Path::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(|_| missing("?"))?;
        let text = |place: usize| ids.get(place).map(|(_, value)| value.as_str()).unwrap_or_default();
        let first = text(0).parse().map_err(|_| missing(text(0)))?;
        Ok(Self(first, text(1).parse().map_err(|_| missing(text(1)))?))
    }
}

/// The number of an adapter set, from the path's `set`.
pub struct ApiSet(pub usize);

impl<S: Send + Sync> FromRequestParts<S> for ApiSet {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let missing = |set: &str| ApiError::from(ServiceError::not_found("adapter set", set));
        let Path(ids) =
            Path::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(|_| missing("?"))?;
        let set = ids.iter().find(|(name, _)| name == "set").map(|(_, value)| value.as_str()).unwrap_or_default();
        set.parse().map(Self).map_err(|_| missing(set))
    }
}

/// The media types of the data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `application/json`.
    Json,
    /// `application/octet-stream` or `application/vnd.safetensors`.
    Safetensors,
}

/// The media type of a request's body; `None` when it is neither.
pub fn content_type(headers: &HeaderMap) -> Option<Media> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    media(value.split(';').next().unwrap_or_default().trim())
}

/// The media type that a request wants back; its own body's when it does not say.
pub fn accepted(headers: &HeaderMap) -> Media {
    let wanted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    wanted
        .split(',')
        .find_map(|part| media(part.split(';').next().unwrap_or_default().trim()))
        .or_else(|| content_type(headers))
        .unwrap_or(Media::Json)
}

fn media(name: &str) -> Option<Media> {
    match name.to_ascii_lowercase().as_str() {
        "application/json" => Some(Media::Json),
        "application/octet-stream" | "application/vnd.safetensors" => Some(Media::Safetensors),
        _ => None,
    }
}

/// 415 naming what the call takes.
pub fn unsupported_media(takes: &str) -> ApiError {
    let message = format!("Set the Content-Type header: this call takes {takes}.");
    ApiError::new(ErrorCode::UnsupportedMediaType, message)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        rank: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        inner: Inner,
    }

    async fn answer(body: &str) -> serde_json::Value {
        let response = parse_json::<Outer>(body.as_bytes()).expect_err("refused").into_response();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.expect("small");
        serde_json::from_slice(&bytes).expect("json")
    }

    #[tokio::test]
    async fn a_refused_body_names_its_place() {
        let label = answer(r#"{"inner":{"rank":1,"label":0}}"#).await;
        assert_eq!(
            (&label["error"]["code"], &label["error"]["param"]),
            (&"label_present".into(), &"inner.label".into())
        );
        let unknown = answer(r#"{"innner":{}}"#).await;
        assert_eq!(
            (&unknown["error"]["code"], &unknown["error"]["param"]),
            (&"unknown_field".into(), &"innner".into())
        );
        let wrong = answer(r#"{"inner":{"rank":"x"}}"#).await;
        assert_eq!((&wrong["error"]["code"], &wrong["error"]["param"]), (&"invalid_json".into(), &"inner.rank".into()));
        assert_eq!(answer(r#"{"inner":{"rank":1}} x"#).await["error"]["code"], "invalid_json");
        for (body, param) in [(r#"{"inner":["a","b\u0000"]}"#, "inner.1"), (r#"{"x":{"a\u0000":1}}"#, "x.a\u{fffd}")] {
            let nul = answer(body).await;
            assert_eq!((&nul["error"]["code"], &nul["error"]["param"]), (&"invalid_text".into(), &param.into()));
        }
        assert_eq!(parse_json::<Outer>(br#"{"inner":{"rank":3.0}}"#).expect("an integer").inner.rank, 3);
        for (body, code) in [
            (r#"{"inner":{"rank":3.0,"rank":3}}"#, "invalid_json"),
            (r#"{"inner":{"rank":3.0,"x":0}}"#, "unknown_field"),
        ] {
            assert_eq!(answer(body).await["error"]["code"], code, "as strict as before");
        }
        let escaped = answer(r#"{"inner":{"rank":"\\u0000"}}"#).await;
        assert_eq!(escaped["error"]["code"], "invalid_json", "a backslash and four zeros are plain text");
    }
}
