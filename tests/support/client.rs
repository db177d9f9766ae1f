//! A small HTTP client of the tests' own: JSON, safetensors, and nothing that hides what the host answered.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use safetensors::Dtype;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;
use serde_json::json;

/// The binary media type.
pub const OCTETS: &str = "application/octet-stream";
/// The other one.
pub const JSON: &str = "application/json";

/// Calls one host with one key.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Client {
    /// A client of the host at `base`.
    pub fn new(base: &str, key: Option<&str>) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
        Self { http, base: base.to_owned(), key: key.map(str::to_owned) }
    }

    /// Each call on a connection of its own, so that a balancer sends it anywhere.
    pub fn unpooled(self) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).pool_max_idle_per_host(0);
        Self { http: http.build().expect("a client"), ..self }
    }

    /// The same host with another key, or none.
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), ..self.clone() }
    }

    /// The same key at another host.
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// The key.
    pub fn key(&self) -> &str {
        self.key.as_deref().expect("a key")
    }

    /// Begins a call.
    pub fn call(&self, method: Method, path: &str) -> Call {
        let call = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => Call(call.bearer_auth(key), signature(key).to_owned()),
            None => Call(call, String::new()),
        }
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path).send().await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Reply {
        self.call(Method::DELETE, path).send().await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.call(Method::POST, path).json(body).send().await
    }

    /// `PUT` of JSON.
    pub async fn put_json(&self, path: &str, body: &Value) -> Reply {
        self.call(Method::PUT, path).json(body).send().await
    }

    /// `PATCH` with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.call(Method::PATCH, path).json(body).send().await
    }

    /// `POST` as stock clients send a verb: a JSON content type and no body.
    pub async fn verb(&self, path: &str) -> Reply {
        self.call(Method::POST, path).body(JSON, Vec::new()).header("content-length", "0").send().await
    }

    /// `POST` of tensors, with tensors wanted back.
    pub async fn post_tensors(&self, path: &str, tensors: &Tensors) -> Reply {
        self.call(Method::POST, path).body(OCTETS, pack(tensors)).send().await
    }

    /// `PUT` of tensors.
    pub async fn put_tensors(&self, path: &str, tensors: &Tensors) -> Reply {
        self.call(Method::PUT, path).body(OCTETS, pack(tensors)).send().await
    }

    /// `POST /v1/files`.
    pub async fn upload(&self, filename: &str, content: impl Into<Vec<u8>>) -> Reply {
        let part = reqwest::multipart::Part::bytes(content.into()).file_name(filename.to_owned());
        let form = reqwest::multipart::Form::new().text("purpose", "fine-tune").part("file", part);
        self.form(form).await
    }

    /// `POST /v1/files` with a form of any shape.
    pub async fn form(&self, form: reqwest::multipart::Form) -> Reply {
        self.form_to("/v1/files", form).await
    }

    /// `POST` of a form.
    pub async fn form_to(&self, path: &str, form: reqwest::multipart::Form) -> Reply {
        self.call(Method::POST, path).form(form).send().await
    }
}

/// The part of a key that nobody else may know.
pub fn signature(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or_default()
}

/// A call on its way, and what no answer may hold: the signature of its key.
pub struct Call(RequestBuilder, String);

impl Call {
    /// A JSON body.
    pub fn json(self, body: &Value) -> Self {
        Self(self.0.json(body), self.1)
    }

    /// A body of any kind.
    pub fn body(self, media: &str, body: Vec<u8>) -> Self {
        Self(self.0.header("content-type", media).body(body), self.1)
    }

    /// A form.
    pub fn form(self, form: reqwest::multipart::Form) -> Self {
        Self(self.0.multipart(form), self.1)
    }

    /// A header.
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value), self.1)
    }

    /// Sends it.
    pub async fn send(self) -> Reply {
        self.try_send().await.expect("the host answers")
    }

    /// Sends it, and gives the answer before its body.
    pub async fn start(self) -> reqwest::Result<reqwest::Response> {
        self.0.send().await
    }

    /// Sends it; an error means that the connection broke.
    pub async fn try_send(self) -> reqwest::Result<Reply> {
        let response = self.0.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await?.to_vec();
        let is_told = !self.1.is_empty() && memchr::memmem::find(&body, self.1.as_bytes()).is_some();
        assert!(!is_told, "an answer holds the signature of the caller's key");
        Ok(Reply { status, headers, body })
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}: not JSON: {}", self.status, self.text()))
    }

    /// A header, empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Requires a success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }

    /// Requires a success with a JSON body.
    #[track_caller]
    pub fn ok_json(self) -> Value {
        self.ok().json()
    }

    /// `error.code`.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Requires a refusal in the envelope, and gives its `error`.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        assert!(!self.header("x-request-id").is_empty(), "a request id");
        let error = self.json()["error"].clone();
        for field in ["message", "type", "param", "code"] {
            assert!(error.get(field).is_some(), "{field} in {error}");
        }
        error
    }

    /// The tensors of a binary body.
    #[track_caller]
    pub fn tensors(&self) -> Tensors {
        assert_eq!((self.status, self.header("content-type")), (200, OCTETS), "{}", self.text());
        unpack(&self.body).0
    }

    /// The scalars of a binary body.
    pub fn scalars(&self) -> BTreeMap<String, String> {
        unpack(&self.body).1
    }
}

/// A tensor as it travels.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Little-endian elements.
    pub bytes: Vec<u8>,
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

impl Tensor {
    /// Of floats.
    pub fn f32(shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
    }

    /// Of whole numbers, in one dimension.
    pub fn i64(values: &[i64]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: Dtype::I64, shape: vec![values.len()], bytes }
    }

    /// The elements as floats.
    pub fn floats(&self) -> Vec<f32> {
        assert_eq!(self.dtype, Dtype::F32);
        self.bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
    }

    /// The elements of 8-bit integers.
    pub fn int8s(&self) -> Vec<i8> {
        assert_eq!(self.dtype, Dtype::I8);
        self.bytes.iter().map(|byte| byte.cast_signed()).collect()
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        let dtype = format!("{:?}", self.dtype);
        json!({"dtype": dtype, "shape": self.shape, "data": STANDARD.encode(&self.bytes)})
    }

    /// From the JSON form.
    pub fn from_json(value: &Value) -> Self {
        let mut known = [Dtype::F32, Dtype::I64, Dtype::F16, Dtype::BF16, Dtype::I8].into_iter();
        let dtype = known.find(|known| value["dtype"] == format!("{known:?}")).expect("a known type");
        let shape = value["shape"].as_array().expect("a shape").iter();
        let shape = shape.map(|dim| dim.as_u64().expect("a number") as usize).collect();
        let bytes = STANDARD.decode(value["data"].as_str().expect("data")).expect("base64");
        Self { dtype, shape, bytes }
    }
}

/// Tensors of a JSON object.
pub fn from_json(map: &Value) -> Tensors {
    let map = map.as_object().expect("an object");
    map.iter().map(|(name, tensor)| (name.clone(), Tensor::from_json(tensor))).collect()
}

/// The JSON form of tensors.
pub fn to_json(tensors: &Tensors) -> Value {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.to_json())).collect()
}

/// One tensor by name.
pub fn one(name: &str, tensor: Tensor) -> Tensors {
    Tensors::from([(name.to_owned(), tensor)])
}

/// Safetensors.
pub fn pack(tensors: &Tensors) -> Vec<u8> {
    let views = tensors.iter().map(|(name, tensor)| {
        (name, TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).expect("shape and bytes agree"))
    });
    safetensors::serialize(views, None).expect("can be written")
}

/// Tensors and scalars of a safetensors body.
pub fn unpack(body: &[u8]) -> (Tensors, BTreeMap<String, String>) {
    let file = SafeTensors::deserialize(body).expect("safetensors");
    let tensor = |view: TensorView<'_>| Tensor {
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    let tensors = file.tensors().into_iter().map(|(name, view)| (name, tensor(view))).collect();
    let (_, header) = SafeTensors::read_metadata(body).expect("safetensors");
    let scalars = header.metadata().clone().unwrap_or_default().into_iter().collect();
    (tensors, scalars)
}
