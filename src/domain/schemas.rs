//! Shapes of the contract that utoipa's attributes cannot say: bounds of what stands in lists and maps. Each says what a check
//! elsewhere refuses; must never check anything itself.

use serde_json::Value;
use serde_json::json;
use utoipa::openapi::ArrayBuilder;
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::RefOr;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::Object;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::schema::Type;

/// A text of `least` to `most` characters.
pub fn text(least: usize, most: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(least)).max_length(Some(most))
}

/// A text that is not empty.
pub fn some_text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(1))
}

/// A whole number of at least zero.
pub fn count() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0))
}

/// A list that is not empty.
pub fn some(item: impl Into<RefOr<Schema>>, most: usize) -> ArrayBuilder {
    ArrayBuilder::new().items(item.into()).min_items(Some(1)).max_items(Some(most))
}

/// A pair of texts.
pub fn pair() -> ArrayBuilder {
    ArrayBuilder::new().items(some_text()).min_items(Some(2)).max_items(Some(2))
}

/// The list, or null.
pub fn or_null(list: ArrayBuilder) -> ArrayBuilder {
    list.schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
}

/// A map from such names to such values.
pub fn map(name: ObjectBuilder, value: impl Into<Schema>) -> ObjectBuilder {
    ObjectBuilder::new().property_names(Some(name)).additional_properties(Some(value.into()))
}

/// The map, or null.
pub fn map_or_null(map: ObjectBuilder) -> ObjectBuilder {
    map.schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
}

/// Null and nothing else; generators want to be told of what.
pub fn only_null(instead_of: Type, description: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([instead_of, Type::Null]))
        .enum_values(Some([Value::Null]))
        .description(Some(description))
        .build()
}

fn modules() -> ArrayBuilder {
    ArrayBuilder::new().items(text(1, 256)).max_items(Some(256)).description(Some(
        "Linear layers that get an update: full module names or their last parts, or `all-linear`; empty (the default) means \
         the family's PEFT default.",
    ))
}

fn ranks() -> ObjectBuilder {
    let rank = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(1024));
    map(some_text(), rank).description(Some("Rank for modules whose name ends in the key."))
}

fn alphas() -> ObjectBuilder {
    let alpha = ObjectBuilder::new().schema_type(Type::Number).exclusive_minimum(Some(0.0)).maximum(Some(1e300));
    map(some_text(), alpha).description(Some("Alpha for modules whose name ends in the key."))
}

/// Names of modules.
pub fn target_modules() -> Schema {
    modules().default(Some(json!([]))).into()
}

/// The same, where they may be left open.
pub fn target_modules_or_null() -> Schema {
    or_null(modules()).into()
}

/// Rank by module.
pub fn rank_pattern() -> Schema {
    ranks().default(Some(json!({}))).into()
}

/// The same, where it may be left open.
pub fn rank_pattern_or_null() -> Schema {
    map_or_null(ranks()).into()
}

/// Alpha by module.
pub fn alpha_pattern() -> Schema {
    alphas().default(Some(json!({}))).into()
}

/// The same, where it may be left open.
pub fn alpha_pattern_or_null() -> Schema {
    map_or_null(alphas()).into()
}
