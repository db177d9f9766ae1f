//! Fetching a backbone from the Hugging Face hub, with `HF_ENDPOINT` and `HF_TOKEN` honoured. Owns which files are taken:
//! never a pickle, never code.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use hf_hub::Repo;
use hf_hub::RepoType;
use hf_hub::api::tokio::ApiBuilder;

/// Fetches a backbone's configuration, safetensors and tokenizer; gives the folder they are in.
pub async fn fetch(id: &str, revision: &str, cache: &Path) -> anyhow::Result<PathBuf> {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let parts: Vec<&str> = id.split('/').collect();
    if parts.len() > 2 || !parts.iter().all(|part| plain(part)) {
        anyhow::bail!("'{id}' is neither a folder nor a hub id such as bert-base-uncased or org/name");
    }
    let mut builder = ApiBuilder::from_env().with_cache_dir(cache.to_owned());
    if let Ok(token) = std::env::var("HF_TOKEN")
        && !token.is_empty()
    {
        builder = builder.with_token(Some(token));
    }
    let repo = builder.build()?.repo(Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned()));
    let info = repo.info().await.with_context(|| {
        format!("'{id}' is not a folder, and the hub does not have it (HF_ENDPOINT names another hub, HF_TOKEN gives access to private models)")
    })?;
    let names: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).filter(|name| wanted(name)).collect();
    if !names.iter().any(|name| name.ends_with(".safetensors")) {
        anyhow::bail!(
            "'{id}' has no .safetensors files; pickles are never loaded. Convert it with transformers: save_pretrained(folder, safe_serialization=True)"
        );
    }
    let mut config = None;
    for name in &names {
        eprintln!("fetching {name}");
        let path = repo.get(name).await.with_context(|| format!("{name} of {id} could not be fetched"))?;
        if name == "config.json" {
            config = path.parent().map(Path::to_owned);
        }
    }
    config.with_context(|| format!("'{id}' has no config.json"))
}

/// Files of a backbone at the top of the repository.
fn wanted(name: &str) -> bool {
    let json = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "model.safetensors.index.json",
    ];
    json.contains(&name) || (name.ends_with(".safetensors") && !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pickles_and_code_are_never_wanted() {
        for name in ["pytorch_model.bin", "model.pt", "modeling_x.py", "onnx/model.safetensors", "../config.json"] {
            assert!(!wanted(name), "{name}");
        }
        for name in ["config.json", "tokenizer.json", "model-00001-of-00002.safetensors"] {
            assert!(wanted(name), "{name}");
        }
    }

    #[tokio::test]
    async fn names_that_are_paths_or_addresses_are_refused_without_a_call() {
        for id in ["../x", "a/b/c", "http://169.254.169.254", "", "a/..", ".hidden"] {
            let error = fetch(id, "main", Path::new("unused")).await.expect_err(id);
            assert!(error.to_string().contains("neither a folder nor a hub id"), "{id}: {error}");
        }
    }
}
