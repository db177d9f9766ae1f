//! Who is calling and what they may do. Must never see a key's text.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::quota::Quota;

/// One permission of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// See jobs, their events, checkpoints and ledger.
    JobsRead,
    /// Create, pause, resume, complete and cancel jobs.
    JobsWrite,
    /// See and download files.
    FilesRead,
    /// Upload and delete files.
    FilesWrite,
    /// See models.
    ModelsRead,
    /// Delete fine-tuned models.
    ModelsWrite,
    /// Use the device: steps, adapters, checkpoints, activations, embeddings, estimates.
    StepsWrite,
    /// Everything in its project, key management included.
    Admin,
    /// This host: its state, and all projects with their limits, use and keys. Nothing in a project's own jobs or files.
    Operator,
}

/// The text is not a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a scope")]
pub struct BadScope;

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 9] = [
        Self::JobsRead,
        Self::JobsWrite,
        Self::FilesRead,
        Self::FilesWrite,
        Self::ModelsRead,
        Self::ModelsWrite,
        Self::StepsWrite,
        Self::Admin,
        Self::Operator,
    ];

    /// What a key may do whose maker did not say: all that is done with models and data.
    pub fn by_default() -> BTreeSet<Self> {
        Self::ALL.into_iter().filter(|scope| !matches!(scope, Self::Admin | Self::Operator)).collect()
    }

    /// The text that keys carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JobsRead => "jobs:read",
            Self::JobsWrite => "jobs:write",
            Self::FilesRead => "files:read",
            Self::FilesWrite => "files:write",
            Self::ModelsRead => "models:read",
            Self::ModelsWrite => "models:write",
            Self::StepsWrite => "steps:write",
            Self::Admin => "admin",
            Self::Operator => "operator",
        }
    }
}

/// The scopes that a text stands for: one, or `files:*` and the like for all of a kind.
pub fn scopes_of(text: &str) -> Result<Vec<Scope>, BadScope> {
    let Some(kind) = text.strip_suffix('*').filter(|kind| kind.ends_with(':')) else { return Ok(vec![text.parse()?]) };
    let found: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| scope.as_str().starts_with(kind)).collect();
    if found.is_empty() { Err(BadScope) } else { Ok(found) }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = BadScope;
    fn from_str(text: &str) -> Result<Self, BadScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(BadScope)
    }
}

/// A caller whose key was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The tenant.
    pub project: ProjectId,
    /// The key that was shown.
    pub key: KeyId,
    /// What the key may do.
    pub scopes: BTreeSet<Scope>,
    /// The key's own limits.
    pub quota: Quota,
    /// The project's limits.
    pub project_quota: Quota,
}

impl Principal {
    /// Whether the caller may do what the scope covers; `admin` covers everything in the project, and so all but `operator`.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || (scope != Scope::Operator && self.scopes.contains(&Scope::Admin))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn principal(scopes: &[Scope]) -> Principal {
        Principal {
            project: ProjectId(Uuid::nil()),
            key: KeyId(Uuid::nil()),
            scopes: scopes.iter().copied().collect(),
            quota: Quota::default(),
            project_quota: Quota::default(),
        }
    }

    #[test]
    fn a_key_may_do_what_its_scopes_name_and_no_more() {
        for held in Scope::ALL {
            for asked in Scope::ALL {
                let expected = held == asked || (held == Scope::Admin && asked != Scope::Operator);
                assert_eq!(principal(&[held]).allows(asked), expected, "{held} asked for {asked}");
            }
        }
        assert!(!principal(&[]).allows(Scope::JobsRead));
    }

    #[test]
    fn scopes_read_back_from_their_text() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        assert_eq!("jobs".parse::<Scope>(), Err(BadScope));
    }

    #[test]
    fn a_star_stands_for_all_scopes_of_a_kind() {
        assert_eq!(scopes_of("files:*"), Ok(vec![Scope::FilesRead, Scope::FilesWrite]));
        assert_eq!(scopes_of("steps:*"), Ok(vec![Scope::StepsWrite]));
        assert_eq!(scopes_of("jobs:read"), Ok(vec![Scope::JobsRead]));
        for text in ["*", ":*", "nothing:*", "admin*", "files*"] {
            assert_eq!(scopes_of(text), Err(BadScope), "{text}");
        }
    }
}
