//! The contract, OpenAPI 3.1. Owns what all operations have in common: authentication, refusals, headers. What an operation
//! does stands at its handler.

use anyhow::Context;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use utoipa::Modify;
use utoipa::OpenApi as Contract;
use utoipa::openapi::Content;
use utoipa::openapi::HeaderBuilder;
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::OpenApi;
use utoipa::openapi::Ref;
use utoipa::openapi::RefOr;
use utoipa::openapi::Required;
use utoipa::openapi::Response;
use utoipa::openapi::path::Operation;
use utoipa::openapi::path::ParameterBuilder;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::Http;
use utoipa::openapi::security::HttpAuthScheme;
use utoipa::openapi::security::SecurityScheme;

use crate::api::examples::BUILT_IN;
use crate::api::examples::Examples;
use crate::api::operations::Operations;
use crate::api::operations::RouteClass;
use crate::domain::limits::LARGEST_WHOLE;

#[derive(Contract)]
#[openapi(
    info(
        title = "blindtune",
        description = "Fine-tuning as a service that never sees the labels. The management plane has OpenAI's shapes; the data \
                       plane (forward, backward, optim_step) is driven by the label holder, step by step.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "This host")),
    modifiers(&BearerKey),
    tags(
        (name = "files", description = "Inputs, without labels"),
        (name = "uploads", description = "Files that come in parts"),
        (name = "models", description = "Backbones and fine-tuned models"),
        (name = "fine-tuning", description = "Jobs, events and checkpoints"),
        (name = "steps", description = "The data plane of a job"),
        (name = "inference", description = "Models outside of a job: activations and embeddings"),
        (name = "batches", description = "Many requests in one file"),
        (name = "webhooks", description = "URLs that receive the events of jobs and batches"),
        (name = "governance", description = "Keys, usage and the audit log"),
        (name = "operator", description = "The host, and all projects: for who runs it"),
        (name = "health", description = "For load balancers; no key needed"),
    ),
)]
struct ApiDoc;

struct BearerKey;

impl Modify for BearerKey {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.bearer_format = Some("JWT".into());
        let components = openapi.components.get_or_insert_with(Default::default);
        components.add_security_scheme("key", SecurityScheme::Http(http));
    }
}

/// The contract before its operations.
pub fn base() -> OpenApi {
    ApiDoc::openapi()
}

/// Adds what every operation has: refusals that come before its handler, and headers. An operation without a class is an error,
/// and so is a contract that cannot be patched: a host must not start with half of it.
pub fn complete(openapi: &mut OpenApi, classes: &Operations) -> anyhow::Result<()> {
    complete_with(openapi, classes, BUILT_IN)
}

fn complete_with(openapi: &mut OpenApi, classes: &Operations, examples: &str) -> anyhow::Result<()> {
    plain_paths(openapi);
    for item in openapi.paths.paths.values_mut() {
        if let Some(operation) = item.post.as_mut()
            && class_of(operation, classes)?.takes_idempotency_key()
        {
            take_idempotency_key(operation);
        }
        for operation in operations(item) {
            if class_of(operation, classes)?.needs_key() {
                refuse_alike(operation);
            }
            headers_are_never_null(operation);
            name_requests(operation);
        }
    }
    *openapi = patched(openapi, examples).context("the contract cannot be patched")?;
    Ok(())
}

fn class_of(operation: &Operation, classes: &Operations) -> anyhow::Result<RouteClass> {
    let name = operation.operation_id.as_deref().unwrap_or_default();
    classes.class_of(name).with_context(|| format!("the operation '{name}' has no class"))
}

/// What the macros cannot say: whole numbers have bounds, and a choice of one is none.
fn patched(openapi: &OpenApi, examples: &str) -> serde_json::Result<OpenApi> {
    let mut document = serde_json::to_value(openapi)?;
    mend(&mut document);
    name_things(&mut document);
    close_forms(&mut document);
    Examples::parse(examples)?.show(&mut document);
    serde_json::from_value(document)
}

/// A list names what it lists, where utoipa writes the thing out once more.
fn name_things(document: &mut Value) {
    let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else { return };
    let known: Vec<String> = schemas.keys().cloned().collect();
    for name in &known {
        let Some(thing) = schemas.get_mut(&format!("List_{name}")) else { continue };
        thing["properties"]["data"]["items"] = json!({"$ref": format!("#/components/schemas/{name}")});
    }
}

/// A form takes no fields but its own.
fn close_forms(document: &mut Value) {
    let operations = document["paths"].as_object().into_iter().flat_map(Map::values);
    let operations = operations.flat_map(|path| path.as_object().into_iter().flat_map(Map::values));
    let forms = operations.filter_map(|operation| {
        let form = &operation["requestBody"]["content"]["multipart/form-data"]["schema"]["$ref"];
        Some(form.as_str()?.rsplit('/').next()?.to_owned())
    });
    for form in forms.collect::<Vec<_>>() {
        document["components"]["schemas"][&form]["additionalProperties"] = json!(false);
    }
}

fn mend(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mend),
        Value::Object(fields) => {
            if is_unbounded_integer(fields) {
                fields.insert("maximum".to_owned(), LARGEST_WHOLE.into());
            }
            if let Some(only) = only_choice(fields) {
                // Beside a reference no default may stand.
                fields.retain(|name, _| name == "description");
                fields.insert("$ref".to_owned(), only);
            }
            fields.values_mut().for_each(mend);
        }
        _ => {}
    }
}

/// The reference that is a choice's only one.
fn only_choice(fields: &Map<String, Value>) -> Option<Value> {
    let [only] = fields.get("oneOf")?.as_array()?.as_slice() else { return None };
    only.get("$ref").cloned()
}

fn is_unbounded_integer(fields: &Map<String, Value>) -> bool {
    let integer = match fields.get("type") {
        Some(Value::String(kind)) => kind == "integer",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "integer"),
        _ => false,
    };
    integer && !fields.contains_key("maximum")
}

/// A wildcard route is an ordinary parameter to those who read the contract.
fn plain_paths(openapi: &mut OpenApi) {
    let paths = std::mem::take(&mut openapi.paths.paths);
    openapi.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
}

/// The operations of a path.
pub fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// What `govern` and the layers around it answer, whatever the operation.
const ALIKE: [(&str, &str); 5] = [
    ("401", "No valid key"),
    ("403", "The key lacks the scope that the operation needs"),
    ("429", "Over a rate limit, a budget or a concurrency limit; `retry-after-ms` says when to try again"),
    ("500", "The host failed"),
    ("503", "The host is shutting down, overloaded, or cannot reach its database; try again"),
];

/// And what any call with a body may be answered.
const OF_BODIES: [(&str, &str); 5] = [
    ("400", "A field is wrong, unknown, or looks like a label"),
    ("408", "The body did not come in time"),
    ("413", "The body is too large"),
    ("415", "The body is of a media type that the call does not take"),
    ("422", "The Idempotency-Key was used with another body"),
];

/// And a call that is carried out once, which reads a body even where the operation has none.
const OF_REPEATS: [(&str, &str); 5] = [
    ("400", "The Idempotency-Key is empty or too long"),
    ("408", "The body did not come in time"),
    ("409", "An earlier request with this Idempotency-Key is still in progress, or returned a secret"),
    ("413", "The body is too large"),
    ("422", "The Idempotency-Key was used with another body"),
];

fn refuse_alike(operation: &mut Operation) {
    let body = operation.request_body.is_some();
    let once = operation.parameters.iter().flatten().any(|parameter| parameter.name == "Idempotency-Key");
    let bodies = OF_BODIES.into_iter().filter(|_| body);
    for (status, description) in ALIKE.into_iter().chain(bodies).chain(OF_REPEATS.into_iter().filter(|_| once)) {
        let answers = &mut operation.responses.responses;
        answers.entry(status.to_owned()).or_insert_with(|| RefOr::T(refusal(description)));
    }
}

fn refusal(description: &str) -> Response {
    let mut response = Response::new(description);
    let schema = RefOr::Ref(Ref::from_schema_name("ErrorEnvelope"));
    response.content.insert("application/json".to_owned(), Content::new(Some(schema)));
    response
}

fn take_idempotency_key(operation: &mut Operation) {
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255)).build();
    let header = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "For a day, the same key with the same body is the same request: it is executed once, and every repeat gets the same response.",
        ))
        .schema(Some(text))
        .build();
    operation.parameters.get_or_insert_with(Vec::new).push(header);
}

/// A header that is there is a text: no client can send null.
fn headers_are_never_null(operation: &mut Operation) {
    let headers = operation.parameters.iter_mut().flatten().filter(|one| one.parameter_in == ParameterIn::Header);
    for schema in headers.filter_map(|header| header.schema.as_mut()) {
        if let RefOr::T(Schema::Object(object)) = schema
            && matches!(&object.schema_type, SchemaType::Array(types) if types.contains(&Type::String))
        {
            object.schema_type = SchemaType::Type(Type::String);
        }
    }
}

fn name_requests(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        let id = HeaderBuilder::new()
            .schema(ObjectBuilder::new().schema_type(Type::String).build())
            .description(Some("Id of the request, the same as in the host's log."))
            .build();
        response.headers.insert("x-request-id".to_owned(), id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes_by_default;

    #[test]
    fn a_patch_that_fails_is_an_error() {
        let (_, mut openapi, operations) = routes_by_default().into_parts();
        let refused = complete_with(&mut openapi, &operations, "no json").expect_err("cannot be read");
        assert_eq!(refused.to_string(), "the contract cannot be patched");
        complete(&mut openapi, &operations).expect("the built-in examples are read");
    }
}
