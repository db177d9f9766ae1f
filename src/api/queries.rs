//! Names in a query string. Owns that a name which the contract does not have is refused, for every operation alike: what nobody reads would
//! still stand in the URL, and so in logs. Must never read a value.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::MatchedPath;
use axum::extract::Request;
use axum::extract::State;
use axum::http::Method;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::path::ParameterStyle;

use crate::api::error::ApiError;
use crate::api::operations::by_method;
use crate::domain::error_code::ErrorCode;
use crate::domain::labels::is_label_name;
use crate::service::ServiceError;

/// The names that each operation's query may have, by method and route.
#[derive(Debug, Clone, Default)]
pub struct QueryNames(Arc<HashMap<(Method, String), Vec<QueryName>>>);

#[derive(Debug, Clone)]
struct QueryName {
    name: String,
    /// A mapping: a name for each of its keys, as in `metadata[team]`.
    is_map: bool,
}

impl QueryNames {
    /// As the contract has them.
    pub fn of(contract: &OpenApi) -> Self {
        let names = contract.paths.paths.iter().flat_map(|(route, item)| {
            by_method(item).map(move |(method, operation)| ((method, route.clone()), in_query(operation)))
        });
        Self(Arc::new(names.collect()))
    }

    fn check(&self, method: &Method, route: &str, query: &str) -> Result<(), ApiError> {
        // Whoever may be asked by GET may be asked by HEAD.
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        let Some(known) = self.0.get(&(method, route.to_owned())) else { return Ok(()) };
        let mut seen = HashSet::new();
        for (name, _) in url::form_urlencoded::parse(query.as_bytes()) {
            let bracket = name.strip_suffix(']').and_then(|name| name.split_once('['));
            let (base, key) = bracket.unwrap_or((&name, ""));
            if [base, key].into_iter().any(is_label_name) {
                return Err(ServiceError::label_present(&name, name.clone()).into());
            }
            if !known.iter().any(|known| known.name == base && (bracket.is_none() || known.is_map)) {
                return Err(unknown(&name, known));
            }
            if !seen.insert(name.clone()) {
                let message = format!("The query has '{name}' twice; send it once.");
                return Err(ApiError::new(ErrorCode::InvalidQuery, message).at(name));
            }
        }
        Ok(())
    }
}

fn in_query(operation: &Operation) -> Vec<QueryName> {
    let parameters = operation.parameters.iter().flatten().filter(|one| one.parameter_in == ParameterIn::Query);
    let read = |one: &Parameter| QueryName {
        name: one.name.clone(),
        is_map: matches!(one.style, Some(ParameterStyle::DeepObject)),
    };
    parameters.map(read).collect()
}

fn unknown(name: &str, known: &[QueryName]) -> ApiError {
    let takes = if known.is_empty() {
        "none".to_owned()
    } else {
        known.iter().map(|known| known.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let message = format!("There is no query parameter '{name}' in this call; remove it. It takes {takes}.");
    ApiError::new(ErrorCode::InvalidQuery, message).at(name)
}

/// Refuses a query that has other names than the contract.
pub async fn check_names(
    State(names): State<QueryNames>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    match names.check(request.method(), route, request.uri().query().unwrap_or_default()) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_of_the_contract_are_refused_in_every_operation() {
        let contract = crate::api::openapi().expect("a contract");
        let names = QueryNames::of(&contract);
        assert!(names.0.len() > 50, "{} operations", names.0.len());
        for (method, route) in names.0.keys() {
            let refused = |query: &str| names.check(method, route, query).is_err();
            assert!(refused("nonsense=1") && refused("label=1") && refused("y_train=1"), "{method} {route}");
        }
        let jobs = |query: &str| names.check(&Method::HEAD, "/v1/fine_tuning/jobs", query);
        assert!(jobs("limit=1&metadata%5Bteam%5D=a&metadata[run]=2").is_ok() && jobs("metadata=null").is_ok());
        assert!(jobs("limit=1&limit=2").is_err() && jobs("metadata[label]=1").is_err() && jobs("after[x]=1").is_err());
    }
}
