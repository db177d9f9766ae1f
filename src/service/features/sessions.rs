//! Sessions on the device that feature jobs run in: one for each backbone and precision, whoever's job it is. Owns opening them and
//! closing those that nobody has used for long; a job's bits do not depend on who shares its session.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Mutex;
use uuid::Uuid;

use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::settings::Precision;
use crate::domain::settings::SplitSettings;
use crate::domain::taps::Taps;
use crate::engine;
use crate::engine::EngineError;
use crate::engine::ForwardCall;
use crate::engine::ForwardReply;
use crate::engine::Inputs;
use crate::engine::Metered;
use crate::engine::SessionInfo;
use crate::engine::SessionSpec;
use crate::engine::Start;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::store::models::ModelRow;

/// One that is unused for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Pause while the device's queue is full.
const RETRY: Duration = Duration::from_millis(20);

/// An open session.
pub struct Opened {
    /// Its id on the device; not a job's.
    pub session: JobId,
    /// What the backbone turned out to be.
    pub info: SessionInfo,
    used: parking_lot::Mutex<Instant>,
}

impl Opened {
    /// One forward for hidden states, tried again while the device's queue is full; with what it took of the device.
    pub async fn forward(
        &self,
        context: &Context,
        inputs: &Inputs,
        taps: &Arc<Taps>,
        payer: Option<ProjectId>,
    ) -> std::result::Result<(ForwardReply, Duration), EngineError> {
        loop {
            let call = ForwardCall {
                keep: None,
                random: 0,
                inputs: inputs.clone(),
                adapters: Vec::new(),
                base: false,
                theta: Vec::new(),
                taps: Some(Arc::clone(taps)),
                payer,
            };
            match context.engine.forward(self.session, call).await {
                Err(EngineError::Busy) => tokio::time::sleep(RETRY).await,
                done => return done.map(|Metered { answer, device, .. }| (answer, device)),
            }
        }
    }
}

/// The sessions.
pub struct FeatureSessions {
    context: Arc<Context>,
    open: Mutex<HashMap<(Uuid, Precision), Arc<Opened>>>,
}

impl FeatureSessions {
    /// None yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, open: Mutex::default() }
    }

    /// The session on a backbone, opened where it is not.
    pub async fn get(&self, backbone: &ModelRow, settings: &SplitSettings) -> Result<Arc<Opened>> {
        let mut open = self.open.lock().await;
        let key = (backbone.id, settings.precision);
        if let Some(opened) = open.get(&key) {
            *opened.used.lock() = Instant::now();
            return Ok(Arc::clone(opened));
        }
        let session = JobId(Uuid::now_v7());
        let folder = PathBuf::from(backbone.folder.clone().unwrap_or_default());
        let spec = SessionSpec {
            job: session,
            project: engine::NOBODY,
            folder,
            seed: 0,
            settings: settings.clone(),
            start: Start::Fresh,
        };
        let info = loop {
            match self.context.engine.load(spec.clone()).await {
                Err(EngineError::Busy) => tokio::time::sleep(RETRY).await,
                done => break done?,
            }
        };
        let opened = Arc::new(Opened { session, info, used: parking_lot::Mutex::new(Instant::now()) });
        open.insert(key, Arc::clone(&opened));
        Ok(opened)
    }

    /// Closes a session that failed: the next call opens another.
    pub async fn forget(&self, session: JobId) {
        self.open.lock().await.retain(|_, opened| opened.session != session);
        self.context.engine.close(session).await;
    }

    /// Closes those that nobody has used for long.
    pub async fn close_idle(&self) {
        let mut open = self.open.lock().await;
        let idle = open.extract_if(|_, one| Arc::strong_count(one) == 1 && one.used.lock().elapsed() >= IDLE);
        for (_, opened) in idle.collect::<Vec<_>>() {
            self.context.engine.close(opened.session).await;
        }
    }
}
