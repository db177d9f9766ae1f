//! Budgets of work that the host does without a call: what a key and its project have left this month. Owns the comparison; must
//! never stop a call that is answered, which is `rate_limits`'.

use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::quota::Budget;
use crate::domain::quota::MONTHLY_TOKENS;
use crate::domain::quota::Quota;
use crate::service::context::Result;
use crate::store::Connection;
use crate::store::keys;
use crate::store::projects;
use crate::store::usage;

/// A budget, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBudget {
    /// The key's own; else its project's.
    pub of_key: bool,
    /// The budget.
    pub budget: Budget,
}

/// The budget of the month that is spent, if any, by its name.
pub async fn spent(connection: &mut Connection, project: ProjectId, key: KeyId) -> Result<Option<&'static str>> {
    let held = all(connection, project, key).await?;
    Ok(held.iter().find(|held| held.budget.is_spent()).map(|held| held.budget.name))
}

/// Tokens that are left of the month's budgets; `None` where there is no budget of tokens.
pub async fn tokens_left(connection: &mut Connection, project: ProjectId, key: KeyId) -> Result<Option<i64>> {
    let held = all(connection, project, key).await?;
    Ok(held.iter().filter(|held| held.budget.name == MONTHLY_TOKENS).map(|held| held.budget.left()).min())
}

/// Every budget of the key and of its project.
pub async fn all(connection: &mut Connection, project: ProjectId, key: KeyId) -> Result<Vec<HeldBudget>> {
    let mut found = Vec::new();
    for (quota, holder) in quotas(connection, project, key).await? {
        if quota.has_budget() {
            let used = usage::this_month(connection, project, holder).await?;
            found
                .extend(quota.budgets(&used).into_iter().map(|budget| HeldBudget { of_key: holder.is_some(), budget }));
        }
    }
    Ok(found)
}

/// The quotas of a key and of its project, each with whose use counts against it.
async fn quotas(connection: &mut Connection, project: ProjectId, key: KeyId) -> Result<Vec<(Quota, Option<KeyId>)>> {
    let of_key = keys::get(connection, key).await?.map(|row| (row.quota, Some(key)));
    let of_project = projects::get(connection, project).await?.map(|row| (row.quota, None));
    Ok(of_key.into_iter().chain(of_project).collect())
}
