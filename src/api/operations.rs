//! Routes and their classes. Owns what the operations of a class are held to, and that no route is served without a class; must
//! never read the contract's prose: its tags are for people.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path;
use utoipa::openapi::path::PathItem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::router::UtoipaMethodRouter;

use crate::api::state::App;

/// What an operation is held to. Each route is registered with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteClass {
    /// For load balancers.
    Probe,
    /// The management plane: small calls about records.
    Control,
    /// The steps of a job, and its adapters while it runs.
    DataPlane,
    /// What the device does outside of a job: activations, embeddings, estimates.
    Inference,
}

impl RouteClass {
    /// Whether a call needs a key, and counts against its rate of requests.
    pub fn needs_key(self) -> bool {
        match self {
            Self::Control | Self::DataPlane | Self::Inference => true,
            Self::Probe => false,
        }
    }

    /// Whether a call counts against the rate of tokens and the budgets as well.
    pub fn is_metered(self) -> bool {
        match self {
            Self::DataPlane | Self::Inference => true,
            Self::Probe | Self::Control => false,
        }
    }

    /// Whether a change is written into the audit log. Steps are in the ledger, and inference changes nothing.
    pub fn is_audited(self) -> bool {
        match self {
            Self::Control => true,
            Self::Probe | Self::DataPlane | Self::Inference => false,
        }
    }

    /// Whether a POST that is sent again is carried out once. Steps carry a seq for that, and inference makes nothing.
    pub fn takes_idempotency_key(self) -> bool {
        match self {
            Self::Control => true,
            Self::Probe | Self::DataPlane | Self::Inference => false,
        }
    }
}

/// What the host can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its name in the contract.
    pub name: String,
    /// What it is held to.
    pub class: RouteClass,
}

/// The operations, by method and route.
#[derive(Debug, Clone, Default)]
pub struct Operations(Arc<HashMap<(Method, String), Operation>>);

impl Operations {
    /// The operation behind a route. `None` for a method that the route does not take.
    pub fn get(&self, method: &Method, route: &str) -> Option<&Operation> {
        self.0.get(&(method.clone(), route.to_owned()))
    }

    /// Every operation.
    #[cfg(test)]
    pub fn all(&self) -> impl Iterator<Item = &Operation> {
        self.0.values()
    }

    /// The class of an operation by its name.
    pub fn class_of(&self, name: &str) -> Option<RouteClass> {
        self.0.values().find(|operation| operation.name == name).map(|operation| operation.class)
    }
}

/// Handlers with their contract and their classes. There is no other way to a route: `tests/architecture.rs` sees to that.
#[derive(Default)]
pub struct Routes {
    router: OpenApiRouter<App>,
    operations: HashMap<(Method, String), Operation>,
}

impl Routes {
    /// Registers the handlers of one path.
    #[must_use]
    pub fn add(mut self, class: RouteClass, handlers: UtoipaMethodRouter<App>) -> Self {
        for (path, item) in &handlers.1.paths {
            self.operations.extend(operations_of(path, item, class));
        }
        Self { router: self.router.routes(handlers), ..self }
    }

    /// Puts a layer around the routes so far.
    #[must_use]
    pub fn layer(self, layer: impl FnOnce(Router<App>) -> Router<App>) -> Self {
        let (router, contract) = self.router.split_for_parts();
        let mut router = OpenApiRouter::from(layer(router));
        *router.get_openapi_mut() = contract;
        Self { router, ..self }
    }

    /// These routes and those.
    #[must_use]
    pub fn merge(mut self, others: Self) -> Self {
        self.operations.extend(others.operations);
        Self { router: self.router.merge(others.router), ..self }
    }

    /// These routes below `prefix`, in a contract that begins with `base`.
    #[must_use]
    pub fn nest(self, prefix: &str, base: OpenApi) -> Self {
        let router = OpenApiRouter::with_openapi(base).nest(prefix, self.router);
        let below = |((method, path), operation)| ((method, format!("{prefix}{path}")), operation);
        Self { router, operations: self.operations.into_iter().map(below).collect() }
    }

    /// The router, its contract, and its operations.
    pub fn into_parts(self) -> (Router<App>, OpenApi, Operations) {
        let (router, contract) = self.router.split_for_parts();
        (router, contract, Operations(Arc::new(self.operations)))
    }
}

/// What the contract says of a path, by method.
pub fn by_method(item: &PathItem) -> impl Iterator<Item = (Method, &path::Operation)> {
    let all = [
        (Method::GET, &item.get),
        (Method::POST, &item.post),
        (Method::PUT, &item.put),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn operations_of(path: &str, item: &PathItem, class: RouteClass) -> Vec<((Method, String), Operation)> {
    let named = by_method(item).filter_map(|(method, operation)| {
        let name = operation.operation_id.clone()?;
        Some(((method, path.to_owned()), Operation { name, class }))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::Json;
    use utoipa::openapi::security::SecurityRequirement;
    use utoipa_axum::routes;

    use super::*;
    use crate::api;
    use crate::api::contract;

    /// What a route is held to, by the name of its operation.
    fn of(class: RouteClass, operations: &Operations) -> BTreeSet<&str> {
        operations.0.values().filter(|one| one.class == class).map(|one| one.name.as_str()).collect()
    }

    fn in_contract(openapi: &mut OpenApi) -> Vec<&mut utoipa::openapi::path::Operation> {
        openapi.paths.paths.values_mut().flat_map(contract::operations).collect()
    }

    fn name(operation: &utoipa::openapi::path::Operation) -> &str {
        operation.operation_id.as_deref().expect("a name")
    }

    fn taking_keys(openapi: &mut OpenApi) -> BTreeSet<String> {
        let takes = |operation: &&mut utoipa::openapi::path::Operation| {
            operation.parameters.iter().flatten().any(|parameter| parameter.name == "Idempotency-Key")
        };
        in_contract(openapi).into_iter().filter(takes).map(|operation| name(operation).to_owned()).collect()
    }

    #[test]
    fn the_device_works_for_these_alone() {
        let (_, mut openapi, operations) = api::routes_by_default().into_parts();
        let steps = ["backward", "forward", "get_adapter", "get_adapters", "optim_step", "put_adapter"];
        assert_eq!(of(RouteClass::DataPlane, &operations), BTreeSet::from(steps));
        let inference = ["create_activations", "create_embeddings", "estimate"];
        assert_eq!(of(RouteClass::Inference, &operations), BTreeSet::from(inference));
        assert_eq!(of(RouteClass::Probe, &operations), BTreeSet::from(["healthz", "readyz"]));
        let all = in_contract(&mut openapi);
        assert_eq!(of(RouteClass::Control, &operations).len(), all.len() - 11);
        for operation in all {
            let open = operation.security.as_deref() == Some(&[SecurityRequirement::default()]);
            let class = operations.class_of(name(operation)).expect("a class");
            assert_eq!(class.needs_key(), !open, "{}", name(operation));
        }
    }

    /// A change of the reference's chapters must not change who pays, what is audited, or what is carried out once.
    #[test]
    fn tags_decide_nothing() {
        let (_, openapi, operations) = api::routes_by_default().into_parts();
        let tagged = |tag: &str| {
            let mut openapi = openapi.clone();
            in_contract(&mut openapi).into_iter().for_each(|operation| operation.tags = Some(vec![tag.to_owned()]));
            contract::complete(&mut openapi, &operations).expect("completes");
            taking_keys(&mut openapi)
        };
        let keys = tagged("steps");
        assert_eq!(keys, tagged("files"));
        assert!(keys.contains("create_job") && !keys.contains("forward") && !keys.contains("create_embeddings"));
    }

    #[utoipa::path(post, path = "/a", tag = "steps", security(("key" = [])), responses((status = 200, description = "x")))]
    async fn tagged_as_a_step() -> Json<()> {
        Json(())
    }

    #[utoipa::path(post, path = "/b", tag = "files", security(("key" = [])), responses((status = 200, description = "x")))]
    async fn tagged_as_a_file() -> Json<()> {
        Json(())
    }

    fn two() -> Routes {
        Routes::default()
            .add(RouteClass::Control, routes!(tagged_as_a_step))
            .add(RouteClass::DataPlane, routes!(tagged_as_a_file))
    }

    #[test]
    fn a_route_has_the_class_that_it_was_registered_with() {
        let (_, mut openapi, operations) = two().layer(|router| router).nest("/v1", contract::base()).into_parts();
        let class = |path: &str| operations.get(&Method::POST, path).map(|operation| operation.class);
        assert_eq!(class("/v1/a"), Some(RouteClass::Control));
        assert_eq!(class("/v1/b"), Some(RouteClass::DataPlane));
        assert_eq!(operations.get(&Method::GET, "/v1/a"), None);
        contract::complete(&mut openapi, &operations).expect("completes");
        assert_eq!(taking_keys(&mut openapi), BTreeSet::from(["tagged_as_a_step".to_owned()]));
    }

    #[test]
    fn a_contract_with_an_operation_that_has_no_class_is_an_error() {
        let (_, mut openapi, _) = two().into_parts();
        let (_, _, others) = api::routes_by_default().into_parts();
        let refused = contract::complete(&mut openapi, &others).expect_err("no class").to_string();
        assert!(refused.contains("tagged_as_a_"), "{refused}");
    }
}
