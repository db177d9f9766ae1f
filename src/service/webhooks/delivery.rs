//! Sends what is in the outbox of webhooks. Owns signing, what an attempt is, and their back-off. A message goes out at least once:
//! receivers tell repeats by `webhook-id`. No transaction and no connection is held while the network is waited for.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use hmac::Mac;
use rand::Rng;
use reqwest::Client;
use reqwest::StatusCode;
use sha2::Sha256;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::domain::webhooks::DeliveryState;
use crate::instruments;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::webhooks::attempts::Attempts;
use crate::service::webhooks::attempts::Holder;
use crate::service::webhooks::url_guard::Guard;
use crate::store::deliveries;
use crate::store::deliveries::Claimed;
use crate::store::deliveries::Outcome;
use crate::store::deliveries::Wanted;
use crate::store::webhooks;

/// A message that is due, and of which no notice came, waits no longer.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// A host that dies amid an attempt leaves the message to others this long after the attempt's own time.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
const SWEEP_EVERY: Duration = Duration::from_secs(600);
const SWEEP_ROWS: i64 = 10_000;
/// Longest text of `last_error`.
const ERROR_CHARS: usize = 300;

/// Times of deliveries.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    /// An attempt takes no longer.
    pub timeout: Duration,
    /// Pauses after the first, second, ... attempt that failed; after the last of them one more attempt follows.
    pub backoff: Vec<Duration>,
    /// Messages older than this are forgotten.
    pub keep: Duration,
}

/// The worker of one host. Hosts that share a database share the outbox.
pub struct Delivery {
    context: Arc<Context>,
    client: Client,
    guard: Guard,
    settings: DeliverySettings,
    outbox: Arc<Notify>,
}

/// What came of an attempt.
enum AttemptOutcome {
    /// The receiver answered.
    Answered(StatusCode),
    /// No answer came, for this reason.
    Failed(String),
}

impl Delivery {
    /// A worker that looks at the outbox whenever `outbox` says so.
    pub fn new(
        context: Arc<Context>,
        guard: Guard,
        settings: DeliverySettings,
        outbox: Arc<Notify>,
    ) -> reqwest::Result<Self> {
        Ok(Self { context, client: guard.client(settings.timeout)?, guard, settings, outbox })
    }

    /// Sends until `closing` is cancelled, and then lets the attempts that have begun end.
    pub async fn run(self: Arc<Self>, closing: CancellationToken) {
        let mut attempts = Attempts::default();
        let mut sweeps = tokio::time::interval(SWEEP_EVERY);
        while !closing.is_cancelled() {
            let claimed = self.claim(&attempts).await;
            let is_idle = claimed.is_empty();
            claimed.into_iter().for_each(|claimed| self.begin(claimed, &mut attempts));
            if !is_idle {
                continue;
            }
            tokio::select! {
                () = closing.cancelled() => {}
                () = attempts.one_ended(), if !attempts.is_empty() => {}
                () = self.outbox.notified() => {}
                () = tokio::time::sleep(POLL_EVERY) => {}
                _ = sweeps.tick() => self.sweep().await,
            }
        }
        while !attempts.is_empty() {
            attempts.one_ended().await;
        }
    }

    async fn claim(&self, attempts: &Attempts) -> Vec<Claimed> {
        let room = attempts.room();
        if room.messages == 0 {
            return Vec::new();
        }
        let lease = self.settings.timeout + LEASE_MARGIN;
        let wanted = Wanted {
            most: room.messages as i64,
            busy_projects: &room.busy_projects,
            busy_webhooks: &room.busy_webhooks,
        };
        let claimed = async {
            let mut connection = self.context.connection().await?;
            Result::Ok(deliveries::claim(&mut connection, &wanted, lease).await?)
        };
        claimed.await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the outbox could not be read: {error}");
            Vec::new()
        })
    }

    fn begin(self: &Arc<Self>, claimed: Claimed, attempts: &mut Attempts) {
        let holder = Holder { project: claimed.project, webhook: claimed.webhook };
        let delivery = Arc::clone(self);
        attempts.begin(holder, async move { delivery.attempt(&claimed).await });
    }

    async fn attempt(&self, claimed: &Claimed) {
        let outcome = self.post(claimed).await;
        if let Err(error) = self.record(claimed, &outcome).await {
            tracing::warn!(%error, delivery.id = %claimed.id, "a delivery is sent again, for it was not recorded: {error}");
        }
    }

    async fn post(&self, claimed: &Claimed) -> AttemptOutcome {
        // The rules may have become stricter since the webhook was made.
        let url = match self.guard.read(&claimed.url) {
            Ok(url) => url,
            Err(error) => return AttemptOutcome::Failed(error.message),
        };
        let id = claimed.id.to_string();
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let call = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", signatures(claimed, now))
            .body(claimed.payload.clone());
        // The answer's body is never read: dropping it closes the connection.
        match call.send().await {
            Ok(answer) => AttemptOutcome::Answered(answer.status()),
            Err(error) => AttemptOutcome::Failed(words(&error)),
        }
    }

    async fn record(&self, claimed: &Claimed, attempt: &AttemptOutcome) -> Result<()> {
        let (status, error) = match attempt {
            AttemptOutcome::Answered(status) if status.is_success() => (Some(*status), None),
            AttemptOutcome::Answered(status) => {
                (Some(*status), Some(format!("the receiver answered {}", status.as_u16())))
            }
            AttemptOutcome::Failed(words) => (None, Some(words.clone())),
        };
        let is_gone = status == Some(StatusCode::GONE);
        let pause = self.settings.backoff.get(claimed.attempts.max(1).unsigned_abs() as usize - 1);
        let (state, retry_in) = match (&error, pause) {
            (None, _) => (DeliveryState::Delivered, Duration::ZERO),
            (Some(_), Some(pause)) if !is_gone => (DeliveryState::Pending, jittered(*pause)),
            _ => (DeliveryState::Failed, Duration::ZERO),
        };
        count(claimed, state);
        let status = status.map(|status| i32::from(status.as_u16()));
        let outcome = Outcome { state, retry_in, status, error: error.as_deref() };
        let mut transaction = self.context.begin().await?;
        let is_ours = deliveries::finish(&mut transaction, claimed, &outcome).await?;
        if is_gone && is_ours {
            let reason = "the receiver answered 410 Gone; the webhook was disabled";
            webhooks::give_up(&mut transaction, claimed.webhook, reason).await?;
        }
        commit(transaction).await
    }

    async fn sweep(&self) {
        let swept = async {
            let mut connection = self.context.connection().await?;
            let end = OffsetDateTime::now_utc() - self.settings.keep;
            Result::Ok(deliveries::sweep(&mut connection, end, SWEEP_ROWS).await?)
        };
        match swept.await {
            Ok(rows) => tracing::debug!(rows, "forgot {rows} old deliveries"),
            Err(error) => tracing::debug!(%error, "old deliveries were not swept: {error}"),
        }
    }
}

/// An identifier of version 7 tells when it was made, and so when its event was.
fn count(claimed: &Claimed, state: DeliveryState) {
    let made = claimed.id.0.get_timestamp().map(|stamp| Duration::from_millis(stamp.to_unix().0 * 1000));
    let now = Duration::from_millis((OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000) as u64);
    match state {
        DeliveryState::Delivered => {
            instruments::webhook_attempt("delivered", made.map(|made| now.saturating_sub(made)));
        }
        DeliveryState::Pending => instruments::webhook_attempt("retried", None),
        DeliveryState::Failed => instruments::webhook_attempt("given_up", None),
    }
}

/// One for each secret that the receiver may check with: two while a secret is replaced, separated by a blank.
fn signatures(claimed: &Claimed, timestamp: i64) -> String {
    let id = claimed.id.to_string();
    let secrets = std::iter::once(&claimed.secret).chain(&claimed.previous_secret);
    let signed: Vec<String> = secrets.map(|secret| signature(secret, &id, timestamp, &claimed.payload)).collect();
    signed.join(" ")
}

/// As Standard Webhooks wants it.
fn signature(secret: &[u8], id: &str, timestamp: i64, payload: &str) -> String {
    // Any length of key will do, so this cannot fail; an empty signature would be refused by the receiver.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    mac.update(format!("{id}.{timestamp}.{payload}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// Up to a fifth longer: messages that failed together must not all come back together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(1.0..1.2))
}

/// The causes of a failure, without the URL.
fn words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "the receiver did not answer in time".to_owned();
    }
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let text = if causes.is_empty() { "the call failed".to_owned() } else { causes.join(": ") };
    text.chars().take(ERROR_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's own libraries.
    #[test]
    fn a_signature_is_the_one_of_the_standard() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_pause_is_never_shorter_and_at_most_a_fifth_longer() {
        for _ in 0..100 {
            let pause = jittered(Duration::from_secs(10));
            assert!((10.0..=12.0).contains(&pause.as_secs_f64()), "{pause:?}");
        }
    }
}
