//! Server-sent events: a job's events as they happen, and the host as it is. Owns what a stream looks like on the wire; what to tell of a job,
//! and when, comes from `service::Events`. The stream is the answer's body, so neither the permit of load shedding nor the time-out of control
//! requests is held by one that waits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::http::header::ACCEPT;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::response::sse::Event;
use axum::response::sse::Sse;
use futures::Stream;
use futures::StreamExt;
use futures::stream;
use tokio::time::Interval;
use tokio::time::MissedTickBehavior;

use crate::api::auth::bearer;
use crate::api::dto::events::EventObject;
use crate::api::dto::events::StepObject;
use crate::api::dto::operator::HostObject;
use crate::api::error::ApiError;
use crate::api::state::App;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::EventId;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::service::EventRow;
use crate::service::Follower;
use crate::service::JobPulse;
use crate::service::Keys;
use crate::service::ProjectFollower;
use crate::service::StreamItem;
use crate::service::StreamPermit;
use crate::service::Wanted;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: &str = "text/event-stream";
/// Between two looks at the host.
const HOST_EVERY: Duration = Duration::from_secs(1);

/// Whether a request wants a stream: `stream` says so, or else the Accept header names it before JSON.
pub fn is_wanted(headers: &HeaderMap, stream: Option<bool>) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut names = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
    let first = names.find(|name| [EVENT_STREAM, "application/json"].contains(&name.to_ascii_lowercase().as_str()));
    stream.unwrap_or_else(|| first.is_some_and(|name| name.eq_ignore_ascii_case(EVENT_STREAM)))
}

/// What a listener asks for.
pub struct Asked<'a> {
    /// Behind which event it begins, unless `Last-Event-ID` says it.
    pub after: Option<&'a str>,
    /// Whether it wants to know how far jobs have come.
    pub steps: bool,
}

/// Answers with a job's events, from behind `Last-Event-ID`, or `after`, or from the first.
pub async fn follow(
    app: &App,
    project: ProjectId,
    job: JobId,
    headers: &HeaderMap,
    asked: Asked<'_>,
) -> Result<Response, ApiError> {
    let follower = app.events.follow(project, job, wanted(headers, &asked)?).await?;
    Ok(answer(events(Listener { follower: Either::Job(follower), holder: Holder::new(app, headers) })))
}

/// Answers with the events of all jobs of a project, from behind `Last-Event-ID`, or `after`, or from now on.
pub async fn follow_project(
    app: &App,
    project: ProjectId,
    headers: &HeaderMap,
    asked: Asked<'_>,
) -> Result<Response, ApiError> {
    let follower = app.events.follow_project(project, wanted(headers, &asked)?).await?;
    Ok(answer(events(Listener { follower: Either::Project(follower), holder: Holder::new(app, headers) })))
}

fn wanted(headers: &HeaderMap, asked: &Asked<'_>) -> Result<Wanted, ApiError> {
    let place = match headers.get(LAST_EVENT_ID) {
        Some(value) => Some(("last-event-id", value.to_str().unwrap_or_default())),
        None => asked.after.map(|after| ("after", after)),
    };
    let after = place.map(|(name, text)| read_place(name, text)).transpose()?;
    Ok(Wanted { after, steps: asked.steps })
}

/// Answers with the host as it is, once a second, until the key is valid no longer or the host shuts down.
pub fn watch_host(app: &App, project: ProjectId, headers: &HeaderMap) -> Result<Response, ApiError> {
    let mut ticks = tokio::time::interval(HOST_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher =
        Watcher { app: app.clone(), ticks, holder: Holder::new(app, headers), _place: app.events.place(project)? };
    Ok(answer(stream::unfold(watcher, |mut watcher| async move {
        watcher.ticks.tick().await;
        let may_go_on = !watcher.app.events.is_closing() && watcher.holder.is_known().await;
        Some((may_go_on.then_some(watcher.look().await)?, watcher))
    })))
}

fn answer(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let headers = [(CACHE_CONTROL, "no-store"), (HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, Sse::new(events.map(Ok::<_, Infallible>))).into_response()
}

struct Watcher {
    app: App,
    ticks: Interval,
    holder: Holder,
    _place: StreamPermit,
}

impl Watcher {
    /// Where the database is away there is a comment, as a sign of life.
    async fn look(&self) -> Event {
        let Ok(now) = self.app.monitor.view().await else { return Event::default().comment("ping") };
        Event::default().event("host").data(serde_json::to_string(&HostObject::from(now)).unwrap_or_default())
    }
}

fn read_place(name: &str, text: &str) -> Result<EventId, ApiError> {
    let message = format!("{name}: unknown cursor: it must be the id of an object in this list.");
    text.parse().map_err(|_| ApiError::new(ErrorCode::InvalidQuery, message).at(name))
}

struct Listener {
    follower: Either,
    holder: Holder,
}

/// Whose events are told.
enum Either {
    Job(Follower),
    Project(ProjectFollower),
}

impl Either {
    async fn next(&mut self) -> StreamItem {
        match self {
            Self::Job(follower) => follower.next().await,
            Self::Project(follower) => follower.next().await,
        }
    }
}

/// Who opened a stream.
struct Holder {
    keys: Arc<Keys>,
    token: String,
}

impl Holder {
    fn new(app: &App, headers: &HeaderMap) -> Self {
        Self { keys: Arc::clone(&app.keys), token: bearer(headers).unwrap_or_default().to_owned() }
    }

    /// Whether the key still is what it was when the stream began; a database that is away revokes nothing.
    async fn is_known(&self) -> bool {
        !matches!(self.keys.check(&self.token).await, Ok(None))
    }
}

fn events(listener: Listener) -> impl Stream<Item = Event> + Send {
    stream::unfold(Some(listener), |listener| async move {
        let mut listener = listener?;
        match listener.follower.next().await {
            StreamItem::Events(rows) => Some((rows.iter().map(|row| event(row)).collect(), Some(listener))),
            StreamItem::Steps(pulses) => Some((pulses.into_iter().map(step).collect(), Some(listener))),
            StreamItem::Silence if listener.holder.is_known().await => {
                Some((vec![Event::default().comment("ping")], Some(listener)))
            }
            StreamItem::Silence | StreamItem::Closing => None,
            StreamItem::Over => Some((vec![Event::default().data("[DONE]")], None)),
        }
    })
    .flat_map(|events: Vec<Event>| stream::iter(events))
}

fn event(row: &EventRow) -> Event {
    let object = EventObject::from(row.clone());
    let name = match () {
        () if object.kind == "metrics" => "job.metrics",
        () if object.data.get("status").is_some() => "job.status",
        () if object.data.get("checkpoint").is_some() => "checkpoint.created",
        () => "job.message",
    };
    // JSON has no line breaks, which is the one thing that a field cannot carry.
    let data = serde_json::to_string(&object).unwrap_or_default();
    Event::default().id(object.id).event(name).data(data)
}

/// Without an id: whoever resumes begins behind an event that is kept.
fn step(pulse: JobPulse) -> Event {
    Event::default().event("job.step").data(serde_json::to_string(&StepObject::from(pulse)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_stream_is_given_to_those_who_want_one() {
        let wanted = |accept: &'static str, stream| {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            is_wanted(&headers, stream)
        };
        assert!(wanted("text/event-stream", None) && wanted("Text/Event-Stream; q=1, application/json", None));
        assert!(wanted("application/json", Some(true)) && wanted("*/*", Some(true)));
        assert!(!wanted("*/*", None) && !wanted("", None) && !wanted("application/json, text/event-stream", None));
        assert!(!wanted("text/event-stream", Some(false)));
    }
}
