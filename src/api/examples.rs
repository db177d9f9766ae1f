//! Examples of the contract, for people and for tools that try them. Owns where each is shown; what they are is in
//! `examples.json`: by schema, and by operation where its answer is a special one.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// The examples of the contract.
pub const BUILT_IN: &str = include_str!("examples.json");

/// The examples, and how the contract is looked through for their places.
pub struct Examples(Value);

impl Examples {
    /// From a text such as [`BUILT_IN`].
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text).map(Self)
    }

    /// Shows an example with each body of each operation, refusals aside.
    pub fn show(&self, document: &mut Value) {
        let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
        for operation in paths.flat_map(|path| path.as_object_mut().into_iter().flat_map(Map::values_mut)) {
            let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
            if let Some(body) = operation.get_mut("requestBody") {
                self.show_each(body, |schema| self.of_schema(schema));
            }
            if let Some(answer) = operation["responses"].get_mut("200") {
                self.show_each(answer, |schema| self.get("answers", &name).or_else(|| self.of_schema(schema)));
            }
        }
    }

    fn show_each(&self, body: &mut Value, find: impl Fn(&str) -> Option<Value>) {
        let contents = body.get_mut("content").and_then(Value::as_object_mut);
        for content in contents.into_iter().flat_map(Map::values_mut) {
            if let Some(example) = schema_of(content).and_then(&find) {
                content["example"] = example;
            }
        }
    }

    fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.0[kind].get(name).cloned()
    }

    /// A list is shown with one thing in it.
    fn of_schema(&self, name: &str) -> Option<Value> {
        let Some(item) = name.strip_prefix("List_") else { return self.get("schemas", name) };
        let item = self.get("schemas", item)?;
        let id = item["id"].clone();
        Some(json!({"object": "list", "data": [item], "has_more": false, "first_id": id, "last_id": id}))
    }
}

/// Name of the schema of a body that is there.
fn schema_of(content: &Value) -> Option<&str> {
    let schema = &content["schema"];
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    let reference = std::iter::once(schema).chain(choices).find_map(|choice| choice["$ref"].as_str())?;
    let name = reference.rsplit('/').next()?;
    (name != "Binary").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_a_description_and_each_json_body_an_example() {
        let contract = contract();
        for (path, item) in contract["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                assert!(operation["description"].is_string(), "{method} {path}: no description");
                for body in operation["responses"].get("200").into_iter().chain(operation.get("requestBody")) {
                    for (media, content) in body["content"].as_object().into_iter().flatten() {
                        let is_raw = content["schema"]["$ref"] == "#/components/schemas/Binary";
                        assert!(is_raw || !content["example"].is_null(), "{method} {path}: no example of {media}");
                    }
                }
            }
        }
    }

    fn contract() -> Value {
        serde_json::to_value(crate::api::openapi().expect("a contract")).expect("json")
    }
}
