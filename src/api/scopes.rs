//! The scopes of each operation by its name. Owns what is known of a call before its body is read; must never take the place of a
//! handler's own check, by the type of its [`Caller`](crate::api::auth::Caller), which must ask for the same.

use crate::domain::principal::Scope;

/// Operations by the scopes that they need.
const OPERATIONS: &[(&[Scope], &[&str])] = &[
    (&[Scope::FilesRead], &["get_file", "get_file_content", "list_files"]),
    (
        &[Scope::FilesWrite],
        &["cancel_upload", "complete_upload", "create_file", "create_upload", "create_upload_part", "delete_file"],
    ),
    (&[Scope::ModelsRead], &["get_model", "get_model_adapters", "list_models"]),
    (&[Scope::ModelsWrite], &["create_model_adapters", "delete_model"]),
    (
        &[Scope::JobsRead],
        &[
            "capabilities",
            "count_jobs",
            "get_adapter",
            "get_adapters",
            "get_batch",
            "get_checkpoint",
            "get_checkpoint_content",
            "get_job",
            "get_ledger_summary",
            "get_usage",
            "get_webhook",
            "list_all_events",
            "list_batches",
            "list_checkpoints",
            "list_deliveries",
            "list_events",
            "list_jobs",
            "list_ledger",
            "list_metrics",
            "list_webhooks",
        ],
    ),
    (
        &[Scope::JobsWrite],
        &[
            "cancel_job",
            "complete_job",
            "create_job",
            "create_webhook",
            "delete_checkpoint",
            "delete_job",
            "delete_webhook",
            "pause_job",
            "replay_delivery",
            "resume_job",
            "rotate_webhook_secret",
            "test_webhook",
            "update_checkpoint",
            "update_webhook",
        ],
    ),
    (
        &[Scope::StepsWrite],
        &[
            "backward",
            "cancel_batch",
            "create_activations",
            "create_checkpoint",
            "create_embeddings",
            "estimate",
            "forward",
            "optim_step",
            "put_adapter",
            "report_metrics",
        ],
    ),
    (
        &[Scope::Admin],
        &[
            "create_api_key",
            "get_api_key",
            "list_api_keys",
            "list_audit_log",
            "revoke_api_key",
            "rotate_api_key",
            "update_api_key",
        ],
    ),
    (
        &[Scope::Operator],
        &[
            "create_project",
            "create_project_key",
            "get_host",
            "get_project",
            "limit_project",
            "list_nodes",
            "list_projects",
            "offer_model",
            "update_node",
            "withdraw_model",
        ],
    ),
    (&[Scope::StepsWrite, Scope::FilesRead], &["create_batch"]),
];

/// The scopes that an operation needs, all of them; none for one that needs no key, or that takes any.
pub fn scopes_of(operation: &str) -> &'static [Scope] {
    let row = OPERATIONS.iter().find(|(_, names)| names.contains(&operation));
    row.map_or(&[], |(scopes, _)| scopes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;
    use crate::api::operations::RouteClass;

    /// Those that any valid key may ask for, whatever its scopes: they tell of the key itself.
    const OF_ANY_KEY: &[&str] = &["get_me"];

    #[test]
    fn every_operation_with_a_key_has_a_scope() {
        let (_, _, operations) = api::routes_by_default().into_parts();
        for operation in operations.all() {
            let needs_none = operation.class == RouteClass::Probe || OF_ANY_KEY.contains(&&*operation.name);
            assert_eq!(scopes_of(&operation.name).is_empty(), needs_none, "{}", operation.name);
        }
    }
}
