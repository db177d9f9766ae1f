//! Who is calling, and whether the key may do what the route does. Owns the Authorization header and the scope of each route.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use crate::api::error::ApiError;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;

/// A scope as a type, so that a handler's signature says what it needs.
pub trait Needs: Send {
    /// The scope.
    const SCOPE: Scope;
}

macro_rules! needs {
    ($($(#[$doc:meta])* $name:ident = $scope:ident),* $(,)?) => {
        $($(#[$doc])* pub struct $name;
        impl Needs for $name {
            const SCOPE: Scope = Scope::$scope;
        })*
    };
}

needs! {
    /// `jobs:read`.
    JobsRead = JobsRead,
    /// `jobs:write`.
    JobsWrite = JobsWrite,
    /// `files:read`.
    FilesRead = FilesRead,
    /// `files:write`.
    FilesWrite = FilesWrite,
    /// `models:read`.
    ModelsRead = ModelsRead,
    /// `models:write`.
    ModelsWrite = ModelsWrite,
    /// `steps:write`.
    StepsWrite = StepsWrite,
    /// `admin`.
    Admin = Admin,
    /// `operator`.
    Operator = Operator,
}

/// The caller, checked to hold scope `N`.
pub struct Caller<N> {
    /// The project.
    pub project: ProjectId,
    /// The key.
    pub key: KeyId,
    needs: PhantomData<N>,
}

impl<N: Needs, S: Sync> FromRequestParts<S> for Caller<N> {
    type Rejection = ApiError;

    /// The key itself was checked by `gate`, which every route is behind.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let principal = parts.extensions.get::<Principal>().ok_or_else(ApiError::unauthorized)?;
        let checked = parts.extensions.get::<Checked>();
        debug_assert!(
            checked.is_some_and(|checked| checked.0.contains(&N::SCOPE)),
            "scopes.rs knows what a handler needs"
        );
        check_scope(principal, N::SCOPE)?;
        Ok(Self { project: principal.project, key: principal.key, needs: PhantomData })
    }
}

/// The caller of a route that any valid key may take.
pub struct AnyKey {
    /// The project.
    pub project: ProjectId,
    /// The key.
    pub key: KeyId,
}

impl<S: Sync> FromRequestParts<S> for AnyKey {
    type Rejection = ApiError;

    /// The key itself was checked by `gate`, which every route is behind.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let principal = parts.extensions.get::<Principal>().ok_or_else(ApiError::unauthorized)?;
        Ok(Self { project: principal.project, key: principal.key })
    }
}

/// The scopes that the gate has checked before the body is read.
#[derive(Debug, Clone, Copy)]
pub struct Checked(pub &'static [Scope]);

/// 403 for a key that lacks the scope.
pub fn check_scope(caller: &Principal, scope: Scope) -> Result<(), ApiError> {
    if caller.allows(scope) {
        return Ok(());
    }
    let message = format!("This key lacks the scope {}.", scope.as_str());
    Err(ApiError::new(ErrorCode::MissingScope, message))
}

/// The key that a request shows.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()).filter(|token| !token.is_empty())
}
