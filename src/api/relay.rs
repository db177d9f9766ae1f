//! From any node to the one that holds a job's session. Owns which calls need a session, their way to the other node and back, and sending
//! them again when that node dies; must never answer for a caller: the other node checks the caller's own key, and takes nothing on this
//! one's word but that the call was relayed once already.

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use axum::body::Body;
use axum::body::BodyDataStream;
use axum::body::to_bytes;
use axum::extract::RawPathParams;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::response::Response;
use bytes::Bytes;
use futures::Stream;
use futures::StreamExt;
use futures::stream;
use reqwest::Client;
use reqwest::redirect::Policy;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::api::error::ApiError;
use crate::api::operations::Operation;
use crate::api::state::App;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::JobId;
use crate::domain::ids::NodeId;
use crate::domain::principal::Principal;
use crate::service::Place;
use crate::service::Reach;

/// Says that a call was relayed, and by which node: it is not relayed again.
const RELAYED: HeaderName = HeaderName::from_static("x-blindtune-relayed");
/// Says which node did the work.
const NODE: HeaderName = HeaderName::from_static("x-blindtune-node");
/// Operations that need a job's session, or end it. The others are about records, which every node reads.
const OF_SESSIONS: [&str; 9] = [
    "backward",
    "complete_job",
    "create_checkpoint",
    "forward",
    "get_adapter",
    "get_adapters",
    "optim_step",
    "pause_job",
    "put_adapter",
];
/// A takeover takes five seconds and the next look; who waits longer than this is told to try again.
const PATIENCE: Duration = Duration::from_secs(9);
/// Between two looks at who holds a job while nobody can be reached.
const AGAIN: Duration = Duration::from_millis(100);
/// Between two looks at whether a node that has not answered yet still holds its job.
const WATCH: Duration = Duration::from_millis(500);
/// A refusal is read whole, to see whether it means that the session has moved.
const REFUSAL_BYTES: usize = 64 << 10;
/// What is between two neighbours alone (RFC 9110, 7.6.1), and what the other side sets by itself.
const NOT_PASSED: [HeaderName; 6] =
    [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::TE, header::UPGRADE, header::EXPECT];

/// What became of a call.
pub enum Relayed {
    /// It is for this node, body and all.
    Here(Request),
    /// Another node answered, or none could be reached.
    Answered(Response),
}

/// Connections to the other nodes.
static CLIENT: LazyLock<Option<Client>> = LazyLock::new(|| {
    let client = Client::builder().no_proxy().redirect(Policy::none()).connect_timeout(Duration::from_secs(1));
    client.build().inspect_err(|error| tracing::error!(%error, "nodes cannot be called: {error}")).ok()
});

/// Sends a call to the node that has the session of its job, where that is another.
pub async fn relay(app: &App, caller: &Principal, operation: &Operation, call: Call<'_>) -> Relayed {
    let Call { params, request } = call;
    let Some(job) = job_of(app, operation, params) else { return Relayed::Here(request) };
    if request.headers().contains_key(RELAYED) {
        return arrived(app, caller, job, request).await;
    }
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    let mut kept = None;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let place = match app.fleet.place(caller.project, job).await {
            Ok(place) => place,
            Err(error) => return Relayed::Answered(ApiError::from(error).into_response()),
        };
        let Place::At(node) = place else {
            let body = body.take().unwrap_or_else(|| kept.as_ref().map_or_else(Body::empty, Kept::again));
            return Relayed::Here(Request::from_parts(parts, body));
        };
        let kept = kept.get_or_insert_with(|| Kept::new(body.take().unwrap_or_default()));
        let sent = tokio::select! {
            sent = send(app, &node, &parts, kept) => sent,
            () = moved(app, caller, job, &node) => None,
        };
        if let Some(response) = sent {
            return Relayed::Answered(response);
        }
        if kept.is_broken().await {
            let message = "The body broke off, or did not come in time.";
            return Relayed::Answered(ApiError::new(ErrorCode::BodyTimeout, message).into_response());
        }
        if Instant::now() >= deadline {
            let message = "The node that holds the job cannot be reached; try again.";
            return Relayed::Answered(ApiError::new(ErrorCode::JobElsewhere, message).into_response());
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// A call with what its route found in its path.
pub struct Call<'a> {
    /// What stands in the path.
    pub params: Option<&'a RawPathParams>,
    /// The call.
    pub request: Request,
}

/// Says in an answer that this node did the work.
pub fn stamp(app: &App, mut response: Response) -> Response {
    if app.fleet.is_joined()
        && !response.headers().contains_key(NODE)
        && let Ok(id) = HeaderValue::from_str(&NodeId(app.fleet.id()).to_string())
    {
        response.headers_mut().insert(NODE, id);
    }
    response
}

/// The job whose session a call needs.
fn job_of(app: &App, operation: &Operation, params: Option<&RawPathParams>) -> Option<JobId> {
    if !app.fleet.is_joined() || !OF_SESSIONS.contains(&operation.name.as_str()) {
        return None;
    }
    let job = params?.iter().find(|(name, _)| *name == "job_id")?.1;
    job.parse().ok()
}

/// A call that came from another node. A node that drains opens no session for it: the other one looks again.
async fn arrived(app: &App, caller: &Principal, job: JobId, request: Request) -> Relayed {
    let is_for_others =
        app.fleet.is_draining() && matches!(app.fleet.place(caller.project, job).await, Ok(Place::At(_)));
    if is_for_others {
        let message = "This node drains and has given the job away; try again.";
        return Relayed::Answered(ApiError::new(ErrorCode::JobElsewhere, message).into_response());
    }
    Relayed::Here(request)
}

/// The answer of a node; `None` where it gave none, or only says that it has not got the job.
async fn send(app: &App, node: &Reach, parts: &Parts, kept: &Kept) -> Option<Response> {
    let client = CLIENT.as_ref()?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = passed(&parts.headers);
    headers.insert(RELAYED, HeaderValue::from_str(&NodeId(app.fleet.id()).to_string()).ok()?);
    let has_body =
        [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].iter().any(|name| parts.headers.contains_key(name));
    let mut call = client.request(parts.method.clone(), format!("{}{path}", node.address)).headers(headers);
    if has_body {
        call = call.body(reqwest::Body::wrap_stream(kept.stream()));
    }
    match call.send().await {
        Ok(answer) => answered(answer).await,
        Err(error) => {
            tracing::info!(node.id = %node.id, %error, "node {} did not answer: {error}", node.id);
            None
        }
    }
}

async fn answered(answer: reqwest::Response) -> Option<Response> {
    let (status, headers) = (answer.status(), passed(answer.headers()));
    let body = Body::from_stream(answer.bytes_stream());
    let body = if status == StatusCode::SERVICE_UNAVAILABLE {
        let refusal = to_bytes(body, REFUSAL_BYTES).await.ok()?;
        if code_of(&refusal).as_deref() == Some(ErrorCode::JobElsewhere.as_str()) {
            return None;
        }
        Body::from(refusal)
    } else {
        body
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Some(response)
}

fn code_of(refusal: &[u8]) -> Option<String> {
    let read: serde_json::Value = serde_json::from_slice(refusal).ok()?;
    read["error"]["code"].as_str().map(str::to_owned)
}

fn passed(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    NOT_PASSED.iter().for_each(|name| while passed.remove(name).is_some() {});
    passed
}

/// Ends when that node does not hold the job any more: one that stands still takes a call and never answers.
async fn moved(app: &App, caller: &Principal, job: JobId, node: &Reach) {
    loop {
        tokio::time::sleep(WATCH).await;
        match app.fleet.place(caller.project, job).await {
            Ok(Place::At(now)) if now.id == node.id => {}
            Ok(_) => return,
            Err(error) => tracing::debug!(%error, "no look at who holds {job}: {error}"),
        }
    }
}

/// A body that goes out as it comes in, and can go out again.
#[derive(Clone)]
struct Kept(Arc<Mutex<Arriving>>);

struct Arriving {
    chunks: Vec<Bytes>,
    rest: BodyDataStream,
    is_broken: bool,
}

impl Kept {
    fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Arriving { chunks: Vec::new(), rest: body.into_data_stream(), is_broken: false })))
    }

    /// All of it from the first byte.
    fn again(&self) -> Body {
        Body::from_stream(self.stream())
    }

    fn stream(&self) -> impl Stream<Item = Result<Bytes, axum::Error>> + Send + 'static {
        let kept = self.clone();
        stream::unfold((kept, 0), |(kept, at)| async move {
            let next = kept.chunk(at).await?;
            Some((next, (kept, at + 1)))
        })
    }

    /// The chunk of that number; read on where it has not come yet.
    async fn chunk(&self, at: usize) -> Option<Result<Bytes, axum::Error>> {
        let mut arriving = self.0.lock().await;
        if let Some(known) = arriving.chunks.get(at) {
            return Some(Ok(known.clone()));
        }
        let next = arriving.rest.next().await?;
        match &next {
            Ok(chunk) => arriving.chunks.push(chunk.clone()),
            Err(_) => arriving.is_broken = true,
        }
        Some(next)
    }

    /// Whether its sender did not send all of it.
    async fn is_broken(&self) -> bool {
        self.0.lock().await.is_broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(body: Body) -> String {
        String::from_utf8(to_bytes(body, 100).await.expect("whole").to_vec()).expect("UTF-8")
    }

    #[tokio::test]
    async fn a_body_goes_out_again_from_its_first_byte() {
        let chunks = ["one ", "two ", "three"].map(|chunk| Ok::<_, axum::Error>(Bytes::from(chunk)));
        let kept = Kept::new(Body::from_stream(stream::iter(chunks)));
        let mut first = Box::pin(kept.stream());
        assert_eq!(first.next().await.expect("a chunk").expect("comes"), "one ");
        drop(first); // the node died with the rest on its way
        assert_eq!(text(kept.again()).await, "one two three");
        assert_eq!(text(kept.again()).await, "one two three");
    }

    #[test]
    fn what_is_between_two_neighbours_is_not_passed_on() {
        let given = [("host", "a"), ("connection", "close"), ("authorization", "Bearer b"), ("content-length", "3")];
        let headers = given.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let left = passed(&HeaderMap::from_iter(headers));
        let mut names: Vec<_> = left.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "content-length"]);
    }
}
