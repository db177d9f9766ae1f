//! `/docs`: the site of the documentation where the operator has one, else the reference in which calls can be tried, which stands at `/try`
//! beside a site. Owns these pages; must never need a key, nor show what is not in the contract or the folder.

use std::path::Path;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use tower_http::services::ServeDir;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

/// Its routes, and the contract as JSON.
pub fn routes(openapi: OpenApi, site: Option<&Path>) -> Router {
    let reference = |at: &'static str| Router::new().merge(SwaggerUi::new(at).url("/openapi.json", openapi));
    match site {
        // Its pages name each other from where they stand, and so the folder needs its slash.
        Some(folder) => reference("/try")
            .route("/docs", get(async || Redirect::permanent("/docs/")))
            .nest_service("/docs/", ServeDir::new(folder)),
        None => reference("/docs"),
    }
}
